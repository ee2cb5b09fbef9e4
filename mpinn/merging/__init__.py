"""How the workers' results become the master's: an exact mean, and the rules that move the master by it. No MPI."""
