"""Snapshots: what is written is read, what is damaged is refused, and a good one is never lost."""

import contextlib
import dataclasses
import errno
import hashlib
import json
import os
import pty
import struct
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from mpinn import config
from mpinn.config import Options, Settings
from mpinn.merging.master import Master
from mpinn.merging.optimizers import OPTIMIZERS
from mpinn.merging.rules import RULES
from mpinn.model.network import weights_sha256
from mpinn.parallel.phases import PHASES
from mpinn.system.errors import MpinnError, UsageError
from mpinn.training import recovery, snapshots
from mpinn.training.snapshots import Snapshot, Store
from mpinn.training.state import RunState

SPREAD = {"min": 0.25, "mean": 0.5, "max": 1.0}
PART = {"train_seconds": 1.5, "clipped": 2, "phases": dict.fromkeys(PHASES, SPREAD), "learn": SPREAD}
ACCURACIES = {"train_accuracy": 90.5, "test_accuracy": None, "loss": 0.5, "classes_named": 3, "saturated_percent": 2.0}


def row(epoch: int) -> dict[str, Any]:
    """Return an epoch as training notes it."""
    return {"epoch": epoch, **ACCURACIES, **PART, "evaluate_seconds": 0.5, "weights_sha256": "0" * 64}


def settings_of(rule: str, seed: int = 0) -> Settings:
    how = {"optimizer": rule} if rule in OPTIMIZERS else {"merge": rule}
    return config.resolve(Options(layers=(9, 4, 3), seed=seed, **how), 100, 9, 3, 1000, 4)


def snapshot(epoch: int = 2, round_: int = 5, rule: str = "block-momentum", seed: int = 0) -> Snapshot:
    settings = settings_of(rule, seed)
    weights = settings.network.initial_weights(seed)
    moments = np.stack([weights * (2 + i) for i in range(len(RULES[rule].moments))] or [weights])
    momentum = settings.block_momentum or 0.0
    master = Master(weights, moments[: len(RULES[rule].moments)], momentum, exponent=-5, loss=2**50)
    good = weights * 3 if rule == "block-momentum" else None
    rows = [row(number) for number in range(1, epoch)]
    state = RunState(epoch, round_, master, good, max(1, epoch - 1), rows, loss=2**51)
    return Snapshot(settings.determines_weights, "c0ffee", "native-1", 1, "0123456789ab", state)


@pytest.mark.parametrize("rule", sorted(RULES))
def test_what_is_saved_is_loaded(tmp_path: Path, rule: str) -> None:
    saved = snapshot(rule=rule)
    loaded = snapshots.load(Store(tmp_path, "0123456789ab").save(saved))
    mine, right = loaded.state, saved.state
    assert [bytes(part) for part in mine.master.bytes] == [bytes(part) for part in right.master.bytes]
    assert mine.master.weights.flags.writeable and mine.master.momentum == right.master.momentum
    assert (mine.good is None) == (right.good is None)
    if right.good is not None:
        assert np.array_equal(mine.good, right.good)
    assert (loaded.settings, loaded.data, loaded.kernel_id, loaded.id) == (
        saved.settings,
        "c0ffee",
        "native-1",
        saved.id,
    )
    assert (mine.epoch, mine.round, mine.good_epoch) == (2, 5, 1)


def test_everything_that_a_state_remembers_is_saved(tmp_path: Path) -> None:
    """A field that is added to the state must be saved, or be one that is not to be."""
    saved = snapshot()
    state = saved.state
    state.partial = PART
    state.divergences = [recovery.after_divergence(state, settings_of("block-momentum"), 5, "nan").divergences[0]]
    state.divergences[0]["block_momentum"] = 0.25
    state.failures = [recovery.failure("lost", (3, "node1"), state, 1.5), recovery.failure("restarted", None, state, 2)]
    state.seconds, state.status, state.error = 2.5, "failed", "why"
    loaded = snapshots.load(Store(tmp_path, "0123456789ab").save(saved)).state
    for field in dataclasses.fields(RunState):
        if field.name not in ("master", "good", "status", "error"):
            assert getattr(loaded, field.name) == getattr(state, field.name), field.name
    assert (loaded.status, loaded.error) == ("running", None)
    assert loaded.master.momentum == 0.25  # what the divergence left of it


def test_a_run_that_diverged_twice_goes_on_with_what_is_left_of_its_momentum(tmp_path: Path) -> None:
    saved = snapshot()
    answer = {"epoch": 4, "round": 8, "seen": "a weight ran away", "back_to_epoch": 3}
    saved.state.divergences = [answer | {"block_momentum": left} for left in (0.5, 0.25)]
    assert snapshots.load(Store(tmp_path, "0123456789ab").save(saved)).state.master.momentum == 0.25


def test_snapshots_that_differ_in_anything_that_is_gone_on_from_have_different_ids() -> None:
    found = [
        snapshot(),
        snapshot(epoch=3),
        snapshot(round_=6),
        snapshot(epoch=25, round_=5),
        *(snapshot() for _ in "wm"),
    ]
    found[-2].state.master.weights[7] += 1
    found[-1].state.master.moments[0, 7] += 1
    assert len({one.id for one in found}) == len(found) and snapshot().id == found[0].id
    assert all(len(one.id) == 12 for one in found)


def test_a_rule_with_two_vectors_needs_nothing_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(RULES, "block-momentum", RULES["block-momentum"]._replace(moments=("first", "second")))
    saved = snapshot()
    loaded = snapshots.load(Store(tmp_path, "0123456789ab").save(saved))
    assert loaded.state.master.moments.shape[0] == 2
    assert np.array_equal(loaded.state.master.moments, saved.state.master.moments)
    monkeypatch.undo()
    with pytest.raises(UsageError, match="block-momentum remembers"):
        snapshots.load(tmp_path)


@pytest.mark.parametrize(
    "schema, merge, form, digest",
    [
        (2, "mean", "float64", "160a073b883e0f86ebdc266bd42e98c28f2af713d35ff76753bc4ea28766778a"),
        (2, "block-momentum", "float64", "51be9224908453710b7510c286cfc3c1d24629a12282d0fb58ddcc48c89f40c1"),
        (4, "block-momentum", "int16", "729e11bfce9dfebe3f579b1c533e30715d01d7d42f2af05c40cc437d33a06404"),
    ],
)
def test_a_snapshot_of_an_earlier_schema_is_read(schema: int, merge: str, form: str, digest: str) -> None:
    """Written by mpinn at commits 534412d and 11f4c44, after two epochs of the digits of these tests."""
    old = snapshots.load(Path(__file__).parent / "snapshots" / f"schema-{schema}-{merge}.mpinn")
    state = old.state
    assert (old.settings["merge_format"], old.settings["overlap"]) == (form, False)
    assert weights_sha256(state.master.weights) == digest
    assert (state.epoch, state.round, len(state.epochs)) == (3, 0, 2) and old.settings["merge"] == merge
    assert state.epochs[-1]["weights_sha256"] == digest
    assert len(state.master.moments) == (1 if merge == "block-momentum" else 0)
    assert state.master.momentum == (old.settings["block_momentum"] or 0)
    assert (state.good is None) == (merge == "mean")
    if state.good is not None:
        assert np.array_equal(state.good, state.master.weights) and state.good_epoch == 3


def test_reading_takes_memory_by_the_size_of_the_file(tmp_path: Path) -> None:
    """Not by what a file may be at most: a 32-bit board cannot even ask for that."""
    saved = Store(tmp_path, "0123456789ab").save(snapshot())
    tracemalloc.start()
    try:
        snapshots.load(saved)
        assert tracemalloc.get_traced_memory()[1] < 2**24
    finally:
        tracemalloc.stop()


def test_a_directory_gives_its_newest_good_snapshot(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = Store(tmp_path, "0123456789ab")
    paths = [store.save(snapshot(epoch)) for epoch in (1, 2, 3)]
    assert snapshots.load(tmp_path).state.epoch == 3
    paths[-1].write_bytes(paths[-1].read_bytes()[:-1])
    assert snapshots.load(tmp_path).state.epoch == 2
    assert str(paths[-1]) in caplog.text


def test_the_last_few_are_kept_and_those_of_other_runs_too(tmp_path: Path) -> None:
    other = Store(tmp_path, "0123456789ab").save(snapshot(99))
    store = Store(tmp_path, "0123456789ab")
    for epoch in range(1, 6):
        store.save(snapshot(epoch))
    assert [snapshots.load(path).state.epoch for path in snapshots.paths(tmp_path)] == [5, 4, 3, 99]
    assert other.exists()


def test_the_newest_has_the_highest_number_however_it_is_written(tmp_path: Path) -> None:
    assert snapshots.newest(tmp_path, "0123456789ab") is None
    for name in ("999999.mpinn", "1000000.mpinn", "9.mpinn", "x.mpinn", "2000000.txt"):
        (tmp_path / name).touch()
    assert [path.name for path in snapshots.paths(tmp_path)] == ["1000000.mpinn", "999999.mpinn", "9.mpinn"]
    assert snapshots.newest(tmp_path, "0123456789ab") is None  # none of them is good
    saved = Store(tmp_path, "0123456789ab").save(snapshot())
    assert saved.name == "1000001.mpinn" and snapshots.newest(tmp_path, "0123456789ab") == saved
    assert snapshots.newest(tmp_path, "ba9876543210") is None  # of another job


def test_a_snapshot_that_somebody_removed_does_not_end_the_run(tmp_path: Path) -> None:
    store = Store(tmp_path, "0123456789ab")
    store.save(snapshot(1)).unlink()
    for epoch in range(2, 6):
        store.save(snapshot(epoch))
    assert [snapshots.load(path).state.epoch for path in snapshots.paths(tmp_path)] == [5, 4, 3]


@pytest.mark.parametrize("call", ["fsync", "replace"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
def test_a_write_that_fails_leaves_the_snapshots_as_they_were(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, number: int
) -> None:
    store = Store(tmp_path, "0123456789ab")
    store.save(snapshot(1))

    def fail(*arguments: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(*{"fsync": (os, "fsync"), "replace": (Path, "replace")}[call], fail)
    with pytest.raises(MpinnError, match=os.strerror(number)):
        store.save(snapshot(2))
    assert sorted(path.name for path in tmp_path.iterdir()) == [".lock", "000001.mpinn"]
    assert snapshots.load(tmp_path).state.epoch == 1


def test_killed_while_writing_the_last_good_snapshot_is_there(tmp_path: Path) -> None:
    """SIGKILL at many moments of a loop that does nothing but save."""
    loop = (
        "import sys; sys.path.insert(0, '.')\n"
        "from pathlib import Path; from tests.training.test_snapshots import Store, snapshot\n"
        "store = Store(Path(sys.argv[1]), 'job'); store.save(snapshot(1)); print('saving', flush=True)\n"
        "for round_ in range(10**9): store.save(snapshot(2, round_))\n"
    )
    last = 0
    for trial in range(8):
        process = subprocess.Popen([sys.executable, "-c", loop, tmp_path], stdout=subprocess.PIPE)
        assert process.stdout and process.stdout.readline() == b"saving\n"
        time.sleep(0.005 * trial)
        process.kill()
        process.communicate()
        newest = snapshots.number_of(snapshots.paths(tmp_path)[0])
        assert newest > last  # the newest file is whole: load() had to pass over none
        assert snapshots.load(snapshots.paths(tmp_path)[0]).state.epoch >= 1
        last = newest


@pytest.mark.slow
@given(st.data())
def test_any_damage_is_a_usage_error(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    content = bytearray(snapshots.encode(snapshot()))
    if data.draw(st.booleans()):
        del content[data.draw(st.integers(0, len(content) - 1)) :]
    else:
        place = data.draw(st.integers(0, len(content) - 1))
        content[place] ^= data.draw(st.integers(1, 255))
    with pytest.raises(UsageError, match=r"^x\.mpinn: "):
        snapshots.decode(bytes(content), "x.mpinn")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 2**40) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
)


@pytest.mark.slow
@given(st.sampled_from(["schema_version", "settings", "epoch", "round", "moments", "good", "history"]), JSON)
def test_a_header_that_lies_is_a_usage_error_or_harmless(key: str, value: object) -> None:
    """With a right checksum: whoever made the file meant it."""
    body = snapshots.encode(snapshot())[:-32]
    (length,) = struct.unpack_from("<I", body, 8)
    header = json.loads(body[12 : 12 + length])
    header[key] = value
    text = json.dumps(header).encode()
    forged = body[:8] + struct.pack("<I", len(text)) + text + body[12 + length :]
    with contextlib.suppress(UsageError):
        assert snapshots.decode(forged + hashlib.sha256(forged).digest(), "x.mpinn").state.master.weights.shape == (55,)


def test_other_files_are_refused(tmp_path: Path) -> None:
    for content in (b"", b"\x80\x04N.", b"MPINNSNP"):
        (tmp_path / "x").write_bytes(content)
        with pytest.raises(UsageError, match="x: "):
            snapshots.load(tmp_path / "x")
    with pytest.raises(UsageError, match="no snapshot"):
        snapshots.load(tmp_path)
    with pytest.raises(UsageError, match="cannot be read"):
        snapshots.load(tmp_path / "absent")


def command(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-m", "mpinn.checkpoint", *map(str, arguments)]
    return subprocess.run(words, capture_output=True, text=True, check=False)


def test_export_asks_for_a_file_where_a_terminal_would_get_all_weights(tmp_path: Path) -> None:
    mine, theirs = pty.openpty()
    words = [sys.executable, "-m", "mpinn.checkpoint", "export", str(tmp_path / "none.mpinn")]
    ran = subprocess.run(words, stdout=theirs, stderr=subprocess.PIPE, text=True)
    os.close(theirs)
    os.close(mine)
    assert ran.returncode == 2 and ran.stderr.startswith("mpinn: error: export:") and "--out FILE" in ran.stderr
    assert ran.stderr.count("\n") == 1


def test_show_and_export_make_it_readable(tmp_path: Path) -> None:
    saved = snapshot()
    path = Store(tmp_path, "0123456789ab").save(saved)
    shown = yaml.safe_load(command("show", path).stdout)
    assert shown["epochs_done"] == saved.state.epoch - 1 and shown["rounds_done"] == saved.state.round
    assert shown["goes_on_with"] == f"epoch {saved.state.epoch}, round {saved.state.round + 1}"
    assert shown["weights_sha256"] == weights_sha256(saved.state.master.weights) and shown["settings"]["workers"] == 4
    exported = json.loads(command("export", tmp_path).stdout)
    assert np.array_equal(np.float32(exported["weights"][0]), saved.network.views(saved.state.master.weights)[0])
    assert command("export", path, "--format", "csv", "--out", tmp_path / "w.csv").returncode == 0
    lines = (tmp_path / "w.csv").read_text().splitlines()
    assert lines[0] == "layer,input,output,weight" and len(lines) == 1 + len(saved.state.master.weights)
    assert np.array_equal(np.float32([line.split(",")[3] for line in lines[1:]]), saved.state.master.weights)


def test_a_state_that_is_the_last_written_is_not_written_again(tmp_path: Path) -> None:
    store = Store(tmp_path, "0123456789ab")
    assert store.save(snapshot(2)) == store.save(snapshot(2))
    assert store.save(snapshot(3)) != store.save(snapshot(4))
    assert len(snapshots.paths(tmp_path)) == 3


def test_a_bad_snapshot_is_one_line(tmp_path: Path) -> None:
    ran = command("show", tmp_path / "absent")
    assert ran.returncode == 2 and ran.stderr.startswith("mpinn: error: ") and ran.stderr.count("\n") == 1
