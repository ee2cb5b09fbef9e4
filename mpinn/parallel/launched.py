"""Who launched this process, from its environment alone: known before MPI starts, and where MPI cannot start."""

import os

LAUNCHERS = {"OMPI_COMM_WORLD_": "Open MPI", "PMI_": "MPICH"}  # prefix of its variables -> launcher


def launched() -> tuple[str, int, int]:
    """Return who launched this process ('' for nobody), the number of ranks it was asked for, and this rank."""
    for prefix, launcher in LAUNCHERS.items():
        if f"{prefix}SIZE" in os.environ:
            return launcher, int(os.environ[f"{prefix}SIZE"]), int(os.environ.get(f"{prefix}RANK", 0))
    if "SLURM_STEP_NUM_TASKS" in os.environ:
        return "SLURM", int(os.environ["SLURM_STEP_NUM_TASKS"]), int(os.environ.get("SLURM_PROCID", 0))
    return "", 1, 0
