"""Hostfiles: which hosts a job runs on, and how many ranks each takes, in the formats of Open MPI and of MPICH."""

import ipaddress
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from mpinn.hosts.library import find
from mpinn.system import untrusted
from mpinn.system.errors import UsageError

LABEL = r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
HOST_NAME = re.compile(rf"(?=.{{1,253}}\Z){LABEL}(\.{LABEL})*", re.ASCII)

READABLE = re.compile(r"\w[\w.@-]*", re.ASCII)  # of a hostfile: nothing that ssh takes for an option
LARGEST_FILE = 2**20  # bytes

FORMATS = {
    "openmpi": lambda address, mpi: f"{address} slots={mpi.slots} max_slots={mpi.max_ranks}",
    "mpich": lambda address, mpi: f"{address}:{mpi.slots}",
}


class Host(NamedTuple):
    """One line of a hostfile."""

    address: str
    line: str


def read(path: Path) -> list[Host]:
    """Return the hosts of a hostfile, at least one. Raises UsageError."""
    cure = "python -m mpinn.hosts hostfile makes one"
    try:
        lines = [line.strip() for line in untrusted.content(path, LARGEST_FILE).decode().splitlines()]
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: not text: {error.reason}; {cure}") from None
    hosts = [Host(line.split()[0].partition(":")[0], line) for line in lines if line and not line.startswith("#")]
    for host in hosts:
        if not READABLE.fullmatch(host.address):
            raise UsageError(f"{path}: {host.address[:60]!r} is no host; {cure}")
    if not hosts:
        raise UsageError(f"{path}: no hosts; {cure}")
    return hosts


def count(path: Path | None) -> int:
    """Return the number of hosts in a hostfile, 1 without one. Raises UsageError."""
    return 1 if path is None else len(read(path))


def write(path: Path, hosts: Sequence[Host]) -> None:
    """Write a hostfile of these hosts."""
    path.write_text("".join(f"{host.line}\n" for host in hosts))


def from_profiles(hosts: Sequence[str], mpi: str) -> str:
    """Return the text of a hostfile for `hosts`, each NAME=ADDRESS with a profile's name; `mpi` is a key of FORMATS.

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
