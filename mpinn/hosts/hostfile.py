"""Hostfiles: which hosts a job runs on, and how many ranks each takes, in the words of Open MPI and of MPICH."""

import ipaddress
import re
from collections.abc import Sequence

from mpinn.errors import UsageError
from mpinn.hosts.library import find

LABEL = r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
HOST_NAME = re.compile(rf"(?=.{{1,253}}\Z){LABEL}(\.{LABEL})*", re.ASCII)

FORMATS = {
    "openmpi": lambda address, mpi: f"{address} slots={mpi.slots} max_slots={mpi.max_ranks}",
    "mpich": lambda address, mpi: f"{address}:{mpi.slots}",
}


def hostfile(hosts: Sequence[str], mpi: str) -> str:
    """Return the hostfile for `hosts`, each NAME=ADDRESS with the name of a profile; `mpi` is a key of FORMATS.

    Open MPI gets slots and the most ranks that the profile allows; MPICH's format has room for slots only. Raises
    UsageError for an unknown profile, an address that is no host name or IPv4 address, or one given twice.
    """
    lines: dict[str, str] = {}
    for host in hosts:
        name, equals, address = host.partition("=")
        if not equals:
            raise UsageError(f"{host!r}: expected NAME=ADDRESS, such as raspberry-pi-5=10.0.0.11")
        if not is_address(address):
            raise UsageError(f"{address!r} is no host name and no IPv4 address")
        if address in lines:
            raise UsageError(f"{address} is given twice")
        lines[address] = FORMATS[mpi](address, find(name).mpi)
    return "".join(f"{line}\n" for line in lines.values())


def is_address(text: str) -> bool:
    """Return whether a text is a host name (RFC 1123) or an IPv4 address, and nothing that a shell could read."""
    if re.fullmatch(r"[0-9.]+", text, re.ASCII):
        try:
            ipaddress.IPv4Address(text)
        except ValueError:
            return False
        return True
    return HOST_NAME.fullmatch(text) is not None
