"""Applying a profile: blocks in parameter files, byte for byte, and MPIs that obey them."""

import os
import stat
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from mpinn.hosts.apply import (
    BLOCK,
    Change,
    added,
    carry_out,
    overruled,
    parameter_files,
    parameters,
    plan,
    removed,
    user_files,
)
from mpinn.hosts.launcher import Launcher
from mpinn.hosts.library import find
from mpinn.system.errors import MpinnError

BANANA, NODE = find("banana-pi-m3"), find("generic-node")
PIECES = [b"# >>> mpinn (profile x) >>>\n", b"# <<< mpinn <<<\n", b"\n", b"a = 1\n", b"b", b"# >>> mpinn (", b"\r\n"]
contents = st.none() | st.binary() | st.lists(st.sampled_from(PIECES)).map(b"".join)


@given(contents)
def test_undo_restores_every_byte_and_twice_is_once(before: bytes | None) -> None:
    assume(before is None or not BLOCK.search(before))
    applied = added(removed(before), "a", ["x = 1", "y = 2"])
    assert b"x = 1\ny = 2\n" in applied
    assert added(removed(applied), "a", ["x = 1", "y = 2"]) == applied
    another = added(removed(applied), "b", ["z = 3"])
    assert b"x = 1" not in another.removeprefix(before or b"")
    assert removed(applied) == removed(another) == before


@given(st.binary(), st.binary())
def test_undo_keeps_what_was_written_around_the_block_later(before: bytes, after: bytes) -> None:
    assume(not BLOCK.search(before) and b"# >>> mpinn" not in after)
    assert removed(added(before, "a", ["x = 1"]) + after) == before + after


def files(folder: Path) -> dict[str, Path]:
    return {"openmpi": folder / "deep/openmpi.conf", "prte": folder / "prte.conf"}


def test_apply_and_undo_on_disk(tmp_path: Path) -> None:
    mine = files(tmp_path)["prte"]
    mine.write_bytes(b"mine = 1")
    mine.chmod(0o640)
    for change in plan(files(tmp_path), BANANA):
        assert change.verb == "written"
        carry_out(change)
    assert [change.verb for change in plan(files(tmp_path), BANANA)] == ["unchanged", "unchanged"]
    assert mine.read_text() == (
        "mine = 1\n"
        "# >>> mpinn (profile banana-pi-m3) >>>\n"
        "rmaps_default_mapping_policy = node:oversubscribe\n"
        "hwloc_default_binding_policy = none\n"
        "# <<< mpinn <<<\n"
    )
    assert stat.S_IMODE(mine.stat().st_mode) == 0o640
    undone = plan(files(tmp_path), None)
    assert [change.verb for change in undone] == ["removed", "restored"]
    for change in undone:
        carry_out(change)
    assert mine.read_bytes() == b"mine = 1"
    assert not files(tmp_path)["openmpi"].exists()
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["deep", "prte.conf"]


def test_planning_writes_nothing(tmp_path: Path) -> None:
    plan(files(tmp_path), BANANA)
    assert list(tmp_path.iterdir()) == []


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "real.conf").write_text("mine = 1\n")
    (tmp_path / "prte.conf").symlink_to("real.conf")
    for change in plan(files(tmp_path), BANANA):
        carry_out(change)
    assert (tmp_path / "prte.conf").is_symlink()
    assert "oversubscribe" in (tmp_path / "real.conf").read_text()


def test_parameters_say_what_the_profile_says() -> None:
    assert parameters(NODE) == {
        "openmpi": [
            "mpi_yield_when_idle = 0",
            "rmaps_base_oversubscribe = 0",
            "rmaps_base_mapping_policy = core",
            "hwloc_base_binding_policy = core",
        ],
        "prte": ["rmaps_default_mapping_policy = core", "hwloc_default_binding_policy = core"],
    }
    assert "mpi_yield_when_idle = 1" in parameters(BANANA)["openmpi"]


def test_an_interface_is_said_to_both_versions() -> None:
    named = parameters(NODE, "eth0")
    assert named["openmpi"][-2:] == ["btl_tcp_if_include = eth0", "oob_tcp_if_include = eth0"]
    assert named["prte"][-1] == "prte_if_include = eth0"


def test_where_the_files_are(tmp_path: Path) -> None:
    """In the environment for an MPI that is installed there, else the user's own."""
    inside = Launcher(tmp_path / "env/bin/mpirun", "openmpi", "5.0.11")
    user = {"openmpi": tmp_path / ".openmpi/mca-params.conf", "prte": tmp_path / ".prte/mca-params.conf"}
    assert parameter_files(inside, tmp_path / "env", tmp_path) == user
    etc = tmp_path / "env/etc"
    etc.mkdir(parents=True)
    (etc / "openmpi-mca-params.conf").touch()
    own = {"openmpi": etc / "openmpi-mca-params.conf", "prte": etc / "prte-mca-params.conf"}
    assert parameter_files(inside, tmp_path / "env", tmp_path) == own
    assert parameter_files(inside, tmp_path / "another", tmp_path) == user


def test_the_users_own_files_go_before_an_environments(tmp_path: Path) -> None:
    """As `ompi_info` prints: ~/.openmpi/mca-params.conf, then etc/openmpi-mca-params.conf."""
    user = user_files(tmp_path)
    user["prte"].parent.mkdir()
    user["prte"].write_text("# rmaps_default_mapping_policy = x\nhwloc_default_binding_policy=core\nother = 1\n")
    environment = {"openmpi": tmp_path / "etc/a", "prte": tmp_path / "etc/b"}
    assert overruled(environment, tmp_path, BANANA) == [f"hwloc_default_binding_policy in {user['prte']}"]
    assert overruled(user, tmp_path, BANANA) == []


def test_a_change_is_shown_as_a_diff(tmp_path: Path) -> None:
    prte = files(tmp_path)["prte"]
    prte.write_text("mine = 1\n")
    (change,) = plan({"prte": prte}, NODE)
    assert change.diff() == (
        f"--- {prte}\n"
        f"+++ {prte}\n"
        "@@ -1 +1,6 @@\n"
        " mine = 1\n"
        "+\n"
        "+# >>> mpinn (profile generic-node) >>>\n"
        "+rmaps_default_mapping_policy = core\n"
        "+hwloc_default_binding_policy = core\n"
        "+# <<< mpinn <<<\n"
    )


@pytest.mark.parametrize(
    "change",
    [
        Change(Path("/proc/mpinn/mca-params.conf"), None, b"x"),
        Change(Path("/dev/null/mca-params.conf"), None, b"x"),
        Change(Path("/proc/self/status"), b"x", None),
    ],
)
def test_a_place_that_cannot_be_written_is_said_in_one_line(change: Change) -> None:
    with pytest.raises(MpinnError, match=f"^{change.path}: cannot be written: [^\n]*$"):
        carry_out(change)


def test_a_file_that_cannot_be_read_is_said_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(MpinnError, match=r"cannot be read: Is a directory$"):
        plan({"prte": tmp_path}, BANANA)


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    """A directory in the file's place makes the last step, the renaming, fail."""
    (tmp_path / "prte.conf").mkdir()
    (tmp_path / "prte.conf/full").touch()
    with pytest.raises(MpinnError):
        carry_out(Change(tmp_path / "prte.conf", None, b"x"))
    assert os.listdir(tmp_path) == ["prte.conf"]  # noqa: PTH208
