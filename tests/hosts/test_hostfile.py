"""Hostfiles: what Open MPI and MPICH read, and addresses in which nothing hides."""

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mpinn.hosts.hostfile import from_profiles
from mpinn.system.errors import UsageError

HOSTS = ["raspberry-pi-5=10.0.0.11", "banana-pi-m3=board-2.local"]


def test_open_mpi_gets_slots_and_max_slots() -> None:
    assert from_profiles(HOSTS, "openmpi") == "10.0.0.11 slots=4 max_slots=16\nboard-2.local slots=8 max_slots=16\n"


def test_mpich_gets_slots() -> None:
    assert from_profiles(HOSTS, "mpich") == "10.0.0.11:4\nboard-2.local:8\n"


@pytest.mark.parametrize(
    ("hosts", "complaint"),
    [
        (["raspberry-pi-5"], "expected NAME=ADDRESS"),
        (["raspberry-pi-6=a"], "did you mean 'raspberry-pi-4'|did you mean 'raspberry-pi-5'"),
        (["raspberry-pi-5="], "is no host name"),
        (["raspberry-pi-5=300.0.0.1"], "is no host name"),
        (["raspberry-pi-5=-oProxyCommand=x"], "is no host name"),
        (["raspberry-pi-5=fe80::1"], "is no host name"),
        (["raspberry-pi-5=a", "raspberry-pi-4=a"], "a is given twice"),
    ],
)
def test_what_is_refused(hosts: list[str], complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint):
        from_profiles(hosts, "openmpi")


@given(st.text() | st.from_regex(r"[a-z0-9.\-: ;$\n]+"))
@example("node\n")
@example("node slots=99")
@example("node;reboot")
@example("$(reboot)")
@example("nöde")
@example("１.２.３.４")
def test_an_address_is_refused_or_is_all_that_the_line_holds(address: str) -> None:
    for mpi, form in (("openmpi", r"([A-Za-z0-9.-]+) slots=4 max_slots=16\n"), ("mpich", r"([A-Za-z0-9.-]+):4\n")):
        try:
            line = from_profiles([f"raspberry-pi-5={address}"], mpi)
        except UsageError:
            continue
        found = re.fullmatch(form, line)
        assert found
        assert found[1] == address
        assert not address.startswith(("-", "."))
