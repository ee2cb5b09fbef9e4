"""All of MPI in training: the world of ranks, and the rounds that they do together."""
