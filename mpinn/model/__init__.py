"""What is learned: the network, and tables of its activations and losses."""
