"""Host profiles: what a machine is, how MPI should be run on it, and what was published for it.

`python -m mpinn.hosts` is the command line; `mpinn.hosts.library.find` gives the rest of the program a profile.
"""
