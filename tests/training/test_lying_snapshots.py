"""Snapshots whose checksum is right and whose content lies: refused in a line, with little time and memory."""

import hashlib
import itertools
import json
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mpinn.system.errors import UsageError
from mpinn.training import snapshot_header, snapshots
from mpinn.training.snapshots import Store
from tests.refusals import refusal
from tests.training.test_snapshots import row, snapshot


def forged(change: Callable[[dict[str, Any]], None] = lambda header: None, *replaced: tuple[str, str]) -> bytes:
    """Return a snapshot with a changed header, and the checksum of whoever meant it."""
    body = snapshots.encode(snapshot())[:-32]
    (length,) = struct.unpack_from("<I", body, 8)
    header = json.loads(body[12 : 12 + length])
    change(header)
    text = json.dumps(header)
    for old, new in replaced:
        assert old in text
        text = text.replace(old, new)
    content = body[:8] + struct.pack("<I", len(text)) + text.encode() + body[12 + length :]
    return content + hashlib.sha256(content).digest()


def nested(depth: int) -> Any:
    value: Any = []
    for _ in range(depth):
        value = [value]
    return value


LIES: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "no mapping": (lambda header: header.clear(), "schema_version: missing"),
    "round too high": (lambda header: header.update(round=10**12), "round: expected a whole number"),
    "round negative": (lambda header: header.update(round=-1), "round: expected a whole number"),
    "round a fraction": (lambda header: header.update(round=1.5), "round: expected a whole number"),
    "round true": (lambda header: header.update(round=True), "round: expected a whole number"),
    "epoch 0": (lambda header: header.update(epoch=0), "epoch: expected a whole number"),
    "epoch too high": (lambda header: header.update(epoch=2**40), "epoch: expected a whole number"),
    "epochs undone": (lambda header: header.update(epoch=9), "history.epochs: expected a row for each of the 8"),
    "epochs twice": (lambda header: header["history"]["epochs"].append(row(1)), "history.epochs: expected a row"),
    "good epoch ahead": (lambda header: header.update(good_epoch=9), "good_epoch: expected at most 3"),
    "history nested": (lambda header: header["history"].update(epochs=nested(900)), "history.epochs"),
    "history very nested": (lambda header: header["history"].update(partial="DEEP"), "nested too deeply"),
    "history a number": (lambda header: header.update(history=7), "history: expected a mapping"),
    "seconds a text": (lambda header: header["history"].update(seconds="much"), "history.seconds: expected a number"),
    "a row a number": (lambda header: header["history"].update(epochs=[1]), "history.epochs.0.: expected a mapping"),
    "a phase a text": (lambda header: header["history"]["epochs"][0]["phases"].update(wait="a"), "phases.wait"),
    "accuracy above all": (lambda header: header["history"]["epochs"][0].update(test_accuracy=101), "test_accuracy"),
    "escapes for the terminal": (lambda header: header.update(kernel_id="\x1b[2J"), "kernel_id: expected text"),
    "half a surrogate pair": (lambda header: header.update(kernel_id="\ud800"), "damaged snapshot"),
    "layers open": (lambda header: header["settings"].update(layers=None), "settings.layers: missing"),
    "workers open": (lambda header: header["settings"].update(workers=None), "settings.workers: missing"),
    "layers without end": (lambda header: header["settings"].update(layers=[2**24] * 9), "settings.layers|--layers"),
    "a gigabyte of weights": (lambda header: header["settings"].update(layers=[9, 2**24, 3]), "are not those of"),
    "other activations": (lambda header: header["settings"].update(activations=["elu", "softmax"]), "--activations"),
    "good weights missing": (lambda header: header.update(good=False), "are not those of its header"),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_header_that_lies_is_refused(lie: str) -> None:
    change, said = LIES[lie]
    deep = ('"DEEP"', "[" * 100_000 + "]" * 100_000)
    content = forged(change, *([deep] if lie == "history very nested" else []))
    with pytest.raises(UsageError, match=rf"^x\.mpinn: .*({said})") as refused:
        snapshots.decode(content, "x.mpinn")
    assert "\n" not in str(refused.value) and len(str(refused.value)) < 500


def test_a_header_that_is_no_mapping_is_refused() -> None:
    content = snapshots.MAGIC + struct.pack("<I", 1) + b"7" + bytes(8)
    with pytest.raises(UsageError, match=r"^x\.mpinn: no header"):
        snapshots.decode(content + hashlib.sha256(content).digest(), "x.mpinn")


@pytest.mark.parametrize(
    "number, said",
    [("1e999", "no number"), ("NaN", "no number"), ("-Infinity", "no number"), ("9" * 4200, "no number")],
)
def test_numbers_that_are_none_are_refused(number: str, said: str) -> None:
    with pytest.raises(UsageError, match=rf"^x\.mpinn: damaged snapshot: .*{said}"):
        snapshots.decode(forged(lambda header: None, ('"epoch": 2', f'"epoch": {number}')), "x.mpinn")


def test_the_good_snapshot_before_a_lie_is_taken(tmp_path: Path) -> None:
    store = Store(tmp_path, "0123456789ab")
    store.save(snapshot(2, 5))
    (tmp_path / "000002.mpinn").write_bytes(forged(lambda header: None, ('"epoch": 2', '"epoch": 1e999')))
    os.mkfifo(tmp_path / "000003.mpinn")
    (tmp_path / "000004.mpinn").write_bytes(forged(lambda header: header.update(round=4)))
    (tmp_path / "000005.mpinn").write_bytes(forged(lambda header: header.update(round=2**31 - 1)))
    assert snapshots.load(tmp_path).state.round == 2**31 - 1  # nothing is known of the data
    assert snapshots.load(tmp_path, 1600).state.round == 4  # 4 workers learn 1600 exemplars in 4 rounds of 100
    with pytest.raises(UsageError, match="5 rounds of an epoch that has 1 on these data"):
        snapshots.load(tmp_path / "000001.mpinn", 400)


def test_a_long_history_is_cut_and_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshots, "MOST_EPOCHS", 3)
    monkeypatch.setattr(snapshot_header, "MOST_EPOCHS", 3)
    loaded = snapshots.load(Store(tmp_path, "0123456789ab").save(snapshot(9, 0)))
    assert [one["epoch"] for one in loaded.state.epochs] == [6, 7, 8] and loaded.state.epoch == 9


def test_the_longest_history_is_read(tmp_path: Path) -> None:
    """What a run may save is within what JSON from outside may be."""
    loaded = snapshots.load(Store(tmp_path, "0123456789ab").save(snapshot(snapshot_header.MOST_EPOCHS + 2, 0)))
    assert len(loaded.state.epochs) == snapshot_header.MOST_EPOCHS


def sparse(path: Path, content: bytes, size: int) -> Path:
    path.write_bytes(content)
    os.truncate(path, size)
    return path


HUGE = {
    "two gigabytes of nothing": (b"MPINNSNP", 2**31),
    "twelve gigabytes of nothing": (b"MPINNSNP" + b"\x00\x00\x00\x01", 12 * 2**30),
    "the longest header": (b"MPINNSNP" + struct.pack("<I", 2**24) + b"[" * 2**24, 2**31),
    "many small values": (b"MPINNSNP" + struct.pack("<I", 2**24) + b"[" + b"1.5," * 2**22, 2**31),
    "a good snapshot, and gigabytes behind it": (snapshots.encode(snapshot()), 2**31),
}


@pytest.mark.parametrize("name", HUGE)
def test_huge_files_are_refused_without_reading_them(name: str, tmp_path: Path) -> None:
    path = sparse(tmp_path / "000001.mpinn", *HUGE[name])
    assert refusal("snapshot", path).startswith(f"{path}: damaged snapshot")


def test_a_wrong_checksum_is_found_without_holding_the_file(tmp_path: Path) -> None:
    """The header and the size agree: half a gigabyte is read, and none of it kept."""
    layers = [784, 2**16, 2, 10]
    change = {"layers": layers, "activations": ["identity", "elu", "elu", "softmax"]}
    content = forged(lambda header: header["settings"].update(change))
    begin = 12 + struct.unpack_from("<I", content, 8)[0]
    parameters = sum((n + 1) * m for n, m in itertools.pairwise(layers))
    path = sparse(tmp_path / "000001.mpinn", content[:begin], begin + 3 * 4 * parameters + 32)
    assert "its checksum is wrong" in refusal("snapshot", path)


def test_a_fifo_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "000001.mpinn")
    assert "not a regular file" in refusal("snapshot", tmp_path / "000001.mpinn")
