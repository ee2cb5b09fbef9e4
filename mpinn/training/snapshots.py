"""Snapshots of a training run: written so that one is never lost, read so that a damaged one is never believed.

A snapshot file is, in this order: 8 bytes `MPINNSNP`; the length of the header, uint32; the header, JSON in UTF-8; the
master weights; the vectors that the merge's rule remembers; the last good weights, where they are kept; the SHA-256,
32 bytes, of all before it. Vectors are float32. Numbers are little-endian.
"""

import contextlib
import hashlib
import io
import json
import logging
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from mpinn import config
from mpinn.merging.master import Master
from mpinn.merging.rules import RULES
from mpinn.model.network import Network
from mpinn.parallel.schedule import Schedule
from mpinn.system import files, untrusted
from mpinn.system.errors import UsageError
from mpinn.system.locks import Lock
from mpinn.system.schema import plain
from mpinn.system.untrusted import LONGEST_JSON, json_value
from mpinn.training import snapshot_header
from mpinn.training.snapshot_header import MOST_EPOCHS, SCHEMA_VERSION
from mpinn.training.state import RunState

log = logging.getLogger("mpinn")

MAGIC = b"MPINNSNP"
SUFFIX = ".mpinn"
KEPT = 3
CHUNK = 2**20  # bytes of which the checksum is made at a time
HISTORY = ("epochs", "partial", "loss", "divergences", "failures", "seconds")  # of a state, as they are in the header


@dataclass
class Snapshot:
    """A run's state, and what must be the same for whoever goes on from it."""

    settings: dict[str, Any]  # config.Settings.determines_weights
    data: str  # fingerprint of the training set
    kernel_id: str
    numerics: int | None  # of the bits; None: they are those of a kernel_id
    job: str  # that wrote it; empty where it is not known
    state: RunState

    @property
    def network(self) -> Network:
        """The network that the weights belong to."""
        return config.network_of(self.settings)

    @property
    def id(self) -> str:
        """Twelve hexadecimal digits that differ where the master, the epoch or the round do."""
        digest = hashlib.sha256(f"{self.state.epoch} {self.state.round} ".encode())
        for part in self.state.master.bytes:
            digest.update(part)
        return digest.hexdigest()[:12]


def encode(snapshot: Snapshot) -> bytes:
    """Return the snapshot as the bytes of its file."""
    state = snapshot.state
    header = {
        "schema_version": SCHEMA_VERSION,
        "id": snapshot.id,
        "settings": snapshot.settings,
        "data": snapshot.data,
        "kernel_id": snapshot.kernel_id,
        "numerics": snapshot.numerics,
        "job": snapshot.job,
        "epoch": state.epoch,
        "round": state.round,
        "exponent": state.master.exponent,
        "loss": state.master.loss,
        "moments": RULES[config.rule_of(snapshot.settings["merge"], snapshot.settings["optimizer"])].moments,
        "good": state.good is not None,
        "good_epoch": state.good_epoch,
        "history": {name: getattr(state, name) for name in HISTORY} | {"epochs": state.epochs[-MOST_EPOCHS:]},
    }
    text = json.dumps(header, allow_nan=False).encode()
    vectors = [state.master.weights, *state.master.moments, *([] if state.good is None else [state.good])]
    body = MAGIC + struct.pack("<I", len(text)) + text + b"".join(one.astype("<f4").tobytes() for one in vectors)
    return body + hashlib.sha256(body).digest()


def decode(content: bytes, name: str) -> Snapshot:
    """Return the snapshot in the bytes of a file. Raises UsageError that names the file."""
    return read(io.BytesIO(content), len(content), name)


def read(file: BinaryIO, size: int, name: str) -> Snapshot:
    """Return the snapshot in a file of so many bytes. Raises UsageError that names the file.

    Nothing is allocated for vectors before the header, the size and the checksum are right.
    """
    try:
        if file.read(8) != MAGIC:
            raise UsageError("not a snapshot of mpinn")
        header, settings = snapshot_header.checked(json_value(read_part(file, LONGEST_JSON)))
        network = config.network_of(settings)
        shape = (1 + len(header.moments) + header.good, network.parameters)
        begin = file.tell()
        if size != begin + 4 * shape[0] * shape[1] + 32:
            raise UsageError(f"damaged snapshot: {size:,} bytes are not those of its header; take an earlier one")
        if checksum(file, size - 32) != file.read(32):
            raise UsageError("damaged snapshot: its checksum is wrong; take an earlier one")
        file.seek(begin)
        vectors = np.frombuffer(file.read(size - 32 - begin), "<f4").reshape(shape).astype(np.float32)
    except UsageError as error:
        raise UsageError(f"{name}: {error}") from None
    except (ValueError, MemoryError) as error:
        raise UsageError(f"{name}: damaged snapshot: {error or 'too large'}; take an earlier one") from None
    history = plain(header.history)
    answers = history["divergences"]
    momentum = answers[-1]["block_momentum"] if answers else settings["block_momentum"] or 0.0
    state = RunState(
        header.epoch,
        header.round,
        Master(vectors[0], vectors[1 : 1 + len(header.moments)], momentum, header.exponent, header.loss),
        vectors[-1] if header.good else None,
        header.good_epoch,
        **history,
    )
    return Snapshot(settings, header.data, header.kernel_id, header.numerics, header.job, state)


def read_part(file: BinaryIO, most: int) -> bytes:
    """Return bytes before which their number, uint32, is written. Raises ValueError."""
    (length,) = struct.unpack("<I", file.read(4).ljust(4, b"\0"))
    if length > most:
        raise ValueError(f"a header of {length:,} bytes")
    return file.read(length)


def checksum(file: BinaryIO, end: int) -> bytes:
    """Return the SHA-256 of a file from its beginning to `end`, where the file then stands."""
    digest = hashlib.sha256()
    file.seek(0)
    while chunk := file.read(min(CHUNK, end - file.tell())):
        digest.update(chunk)
    return digest.digest()


class Store:
    """A directory of snapshots, of which a run keeps the last few; it is this job's alone as long as the run lasts."""

    def __init__(self, directory: Path, job: str) -> None:
        """Make the directory if it is missing. Raises UsageError if snapshots cannot be written there."""
        try:
            directory.mkdir(exist_ok=True)
        except OSError as error:
            raise UsageError(
                f"{directory}: cannot be made: {error.strerror}; give --checkpoint another place"
            ) from None
        files.check_writable(directory, "--checkpoint")
        self.directory = directory
        self.lock = lock_of(directory, job)
        self.written: list[Path] = []  # of this run, those before it was resumed or started again included
        self.last = (0, 0)  # epoch and round of the state that was written last

    def begin(self, resumed: Path | None, again: bool) -> None:
        """Lock the directory. resumed: where the run goes on from; again: whether the job was started again.

        Raises UsageError where another job uses the directory, or where it holds snapshots of another run.
        """
        self.lock.take()
        found = paths(self.directory)
        goes_on = resumed is not None and self.directory.resolve() in (resumed.resolve(), resumed.resolve().parent)
        if found and not goes_on and not again:
            raise UsageError(
                f"{self.directory}: holds snapshots of another run, the last {found[0].name}; --resume "
                f"{self.directory} goes on with that run, another --checkpoint begins a new one"
            )

    def adopt(self, snapshot: Snapshot) -> None:
        """Count the snapshots that are there, of the run that goes on from this one, among those it has written."""
        for path in reversed(paths(self.directory)):
            with contextlib.suppress(UsageError):
                other = load_file(path)
                if (other.settings, other.data) == (snapshot.settings, snapshot.data):
                    self.written.append(path)

    def save(self, snapshot: Snapshot) -> Path:
        """Write the snapshot, then remove all but this run's last few; return its path. Raises MpinnError.

        The state that was written last is not written again. (The lock: rank 0 may be another one than it was.)
        """
        position = (snapshot.state.epoch, snapshot.state.round)
        if self.last == position:
            return self.written[-1]
        self.lock.take()
        highest = max((number_of(path) for path in paths(self.directory)), default=0)
        path = self.directory / f"{highest + 1:06d}{SUFFIX}"
        files.write(path, encode(snapshot))
        self.last = position
        self.written.append(path)
        while len(self.written) > KEPT:
            with contextlib.suppress(OSError):
                self.written.pop(0).unlink()
        return path


def lock_of(directory: Path, job: str) -> Lock:
    """Return the lock of a directory of snapshots."""
    return Lock(directory / ".lock", str(directory), job)


def number_of(path: Path) -> int:
    """Return the running number in a snapshot file's name; it tells the newest, where a board's clock may not."""
    return int(path.stem)


def paths(directory: Path) -> list[Path]:
    """Return the snapshot files of a directory, the newest first."""
    found = [path for path in directory.glob(f"*{SUFFIX}") if path.stem.isdecimal()]
    return sorted(found, key=number_of, reverse=True)


def newest(directory: Path, job: str) -> Path | None:
    """Return the newest good snapshot that a job wrote into a directory, or None."""
    for path in paths(directory):
        with contextlib.suppress(UsageError):
            if load_file(path).job == job:
                return path
    return None


def load(path: Path, exemplars: int | None = None) -> Snapshot:
    """Return the snapshot in a file, or the newest good one of a directory. Raises UsageError.

    exemplars: of the training set, where it is known; a snapshot of more rounds than an epoch has is not good.
    """
    if not path.is_dir():
        return load_file(path, exemplars)
    problem = f"{path}: no snapshot (*{SUFFIX}) in this directory"
    for file in paths(path):
        try:
            return load_file(file, exemplars)
        except UsageError as error:
            problem = str(error)
            log.warning("%s", problem)
    raise UsageError(problem)


def load_file(path: Path, exemplars: int | None = None) -> Snapshot:
    """Return the snapshot in a file. Raises UsageError."""
    with untrusted.opened(path) as file:
        snapshot = read(file, untrusted.size_of(file), str(path))
    if exemplars:
        rounds = Schedule(exemplars, snapshot.settings["workers"], snapshot.settings["worker_batch"]).rounds
        if snapshot.state.round > rounds:
            raise UsageError(
                f"{path}: damaged snapshot: {snapshot.state.round:,} rounds of an epoch that has {rounds:,} on these "
                "data; take an earlier one, or give the same --data"
            )
    return snapshot
