"""Snapshots: what is written is read, what is damaged is refused, and a good one is never lost."""

import contextlib
import errno
import hashlib
import json
import os
import struct
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from mpinn import config
from mpinn.model.network import weights_sha256
from mpinn.system.errors import MpinnError, UsageError
from mpinn.training.snapshots import Snapshot, Store


def snapshot(epoch: int = 2, round_: int = 5, momentum: bool = True, seed: int = 0) -> Snapshot:
    settled = config.resolve(Config(layers=(9, 4, 3), merge="block-momentum", seed=seed), 9, 3, 1000, 4)
    state = {name: getattr(settled, name) for name in config.WEIGHTS}
    weights = checkpoint.network_of(state).initial_weights(seed)
    moving = (weights * 2, weights * 3, epoch - 1) if momentum else ()
    return Snapshot(state, "c0ffee", "native-1", epoch, round_, weights, *moving, history={"epochs": []})


@pytest.mark.parametrize("momentum", [True, False])
def test_what_is_saved_is_loaded(tmp_path: Path, momentum: bool) -> None:
    saved = snapshot(momentum=momentum)
    loaded = checkpoint.load(Store(tmp_path).save(saved))
    assert np.array_equal(loaded.weights, saved.weights) and loaded.weights.flags.writeable
    assert (loaded.velocity is None) == (not momentum)
    if momentum:
        assert np.array_equal(loaded.velocity, saved.velocity) and np.array_equal(loaded.good, saved.good)
    assert (loaded.settings, loaded.epoch, loaded.round, loaded.id) == (saved.settings, 2, 5, saved.id)
    assert loaded.good_epoch == saved.good_epoch


def test_reading_takes_memory_by_the_size_of_the_file(tmp_path: Path) -> None:
    """Not by what a file may be at most: a 32-bit board cannot even ask for that."""
    saved = Store(tmp_path).save(snapshot())
    tracemalloc.start()
    try:
        checkpoint.load(saved)
        assert tracemalloc.get_traced_memory()[1] < 2**24
    finally:
        tracemalloc.stop()


def test_a_directory_gives_its_newest_good_snapshot(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = Store(tmp_path)
    paths = [store.save(snapshot(epoch)) for epoch in (1, 2, 3)]
    assert checkpoint.load(tmp_path).epoch == 3
    paths[-1].write_bytes(paths[-1].read_bytes()[:-1])
    assert checkpoint.load(tmp_path).epoch == 2
    assert str(paths[-1]) in caplog.text


def test_the_last_few_are_kept_and_those_of_other_runs_too(tmp_path: Path) -> None:
    other = Store(tmp_path).save(snapshot(99))
    store = Store(tmp_path)
    for epoch in range(1, 6):
        store.save(snapshot(epoch))
    assert [checkpoint.load(path).epoch for path in checkpoint.files(tmp_path)] == [5, 4, 3, 99]
    assert other.exists()


@pytest.mark.parametrize("call", ["fsync", "replace"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
def test_a_write_that_fails_leaves_the_snapshots_as_they_were(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, number: int
) -> None:
    store = Store(tmp_path)
    store.save(snapshot(1))

    def fail(*arguments: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(*{"fsync": (os, "fsync"), "replace": (Path, "replace")}[call], fail)
    with pytest.raises(MpinnError, match=os.strerror(number)):
        store.save(snapshot(2))
    assert [path.name for path in tmp_path.iterdir()] == ["000001.mpinn"]
    assert checkpoint.load(tmp_path).epoch == 1


def test_killed_while_writing_the_last_good_snapshot_is_there(tmp_path: Path) -> None:
    """SIGKILL at many moments of a loop that does nothing but save."""
    loop = (
        "import sys; sys.path.insert(0, '.')\n"
        "from pathlib import Path; from tests.test_checkpoint import Store, snapshot\n"
        "store = Store(Path(sys.argv[1])); store.save(snapshot(1)); print('saving', flush=True)\n"
        "for epoch in range(2, 10**9): store.save(snapshot(epoch))\n"
    )
    last = 0
    for trial in range(8):
        process = subprocess.Popen([sys.executable, "-c", loop, tmp_path], stdout=subprocess.PIPE)
        assert process.stdout and process.stdout.readline() == b"saving\n"
        time.sleep(0.005 * trial)
        process.kill()
        process.communicate()
        newest = checkpoint.number_of(checkpoint.files(tmp_path)[0])
        assert newest > last  # the newest file is whole: load() had to pass over none
        assert checkpoint.load(checkpoint.files(tmp_path)[0]).epoch >= 1
        last = newest


@settings(max_examples=200)
@given(st.data())
def test_any_damage_is_a_usage_error(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    content = bytearray(checkpoint.encode(snapshot()))
    if data.draw(st.booleans()):
        del content[data.draw(st.integers(0, len(content) - 1)) :]
    else:
        place = data.draw(st.integers(0, len(content) - 1))
        content[place] ^= data.draw(st.integers(1, 255))
    with pytest.raises(UsageError, match=r"^x\.mpinn: "):
        checkpoint.decode(bytes(content), "x.mpinn")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 2**40) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
)


@settings(max_examples=200)
@given(st.sampled_from(["schema_version", "settings", "epoch", "round", "velocity", "history"]), JSON)
def test_a_header_that_lies_is_a_usage_error_or_harmless(key: str, value: object) -> None:
    """With a right checksum: whoever made the file meant it."""
    body = checkpoint.encode(snapshot())[:-32]
    (length,) = struct.unpack_from("<I", body, 8)
    header = json.loads(body[12 : 12 + length])
    header[key] = value
    text = json.dumps(header).encode()
    forged = body[:8] + struct.pack("<I", len(text)) + text + body[12 + length :]
    with contextlib.suppress(UsageError):
        assert checkpoint.decode(forged + hashlib.sha256(forged).digest(), "x.mpinn").weights.shape == (55,)


def test_other_files_are_refused(tmp_path: Path) -> None:
    for content in (b"", b"\x80\x04N.", b"MPINNSNP"):
        (tmp_path / "x").write_bytes(content)
        with pytest.raises(UsageError, match="x: "):
            checkpoint.load(tmp_path / "x")
    with pytest.raises(UsageError, match="no snapshot"):
        checkpoint.load(tmp_path)
    with pytest.raises(UsageError, match="cannot be read"):
        checkpoint.load(tmp_path / "absent")


def command(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-m", "mpinn.checkpoint", *map(str, arguments)]
    return subprocess.run(words, capture_output=True, text=True, check=False)


def test_show_and_export_make_it_readable(tmp_path: Path) -> None:
    saved = snapshot()
    path = Store(tmp_path).save(saved)
    shown = yaml.safe_load(command("show", path).stdout)
    assert shown["epochs_done"] == saved.epoch - 1 and shown["rounds_done"] == saved.round
    assert shown["goes_on_with"] == f"epoch {saved.epoch}, round {saved.round + 1}"
    assert shown["weights_sha256"] == weights_sha256(saved.weights) and shown["settings"]["workers"] == 4
    exported = json.loads(command("export", tmp_path).stdout)
    assert np.array_equal(np.float32(exported["weights"][0]), saved.network.views(saved.weights)[0])
    assert command("export", path, "--format", "csv", "--out", tmp_path / "w.csv").returncode == 0
    lines = (tmp_path / "w.csv").read_text().splitlines()
    assert lines[0] == "layer,input,output,weight" and len(lines) == 1 + len(saved.weights)
    assert np.array_equal(np.float32([line.split(",")[3] for line in lines[1:]]), saved.weights)


def test_a_state_that_is_the_last_written_is_not_written_again(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert store.save(snapshot(2)) == store.save(snapshot(2))
    assert store.save(snapshot(3)) != store.save(snapshot(4))
    assert len(list(tmp_path.iterdir())) == 3


def test_a_bad_snapshot_is_one_line(tmp_path: Path) -> None:
    ran = command("show", tmp_path / "absent")
    assert ran.returncode == 2 and ran.stderr.startswith("mpinn: error: ") and ran.stderr.count("\n") == 1
