"""How long training would take on a cluster that one does not have: a machine calibrated, a model, its simulation."""
