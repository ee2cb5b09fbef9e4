"""Snapshots of a training run: written so that one is never lost, read so that a damaged one is never believed.

A snapshot file is, in this order: 8 bytes `MPINNSNP`; the length of the header, uint32; the header, JSON in UTF-8; the
master weights; the vectors that the merge's rule remembers; the last good weights, where they are kept; the SHA-256,
32 bytes, of all before it. Vectors are float32. Numbers are little-endian.
"""

import contextlib
import hashlib
import json
import logging
import os
import platform
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mpinn import config
from mpinn.merging.master import Master
from mpinn.merging.rules import RULES
from mpinn.model.network import Network
from mpinn.system import files
from mpinn.system.errors import UsageError
from mpinn.system.locks import Lock
from mpinn.training.state import RunState

log = logging.getLogger("mpinn")

MAGIC = b"MPINNSNP"
SCHEMA_VERSION = 3  # 2 is read, too: it knew block momentum's velocity only
SUFFIX = ".mpinn"
KEPT = 3
SIZE_LIMIT = 3 * 4 * config.MOST_PARAMETERS + 2**26  # bytes
HISTORY = ("epochs", "partial", "divergences", "failures", "seconds")  # of a state, as they are in the header


@dataclass
class Snapshot:
    """A run's state, and what must be the same for whoever goes on from it."""

    settings: dict[str, Any]  # config.Settings.determines_weights
    data: str  # fingerprint of the training set
    kernel_id: str
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
        "job": snapshot.job,
        "epoch": state.epoch,
        "round": state.round,
        "moments": RULES[snapshot.settings["merge"]].moments,
        "good": state.good is not None,
        "good_epoch": state.good_epoch,
        "history": {name: getattr(state, name) for name in HISTORY},
    }
    text = json.dumps(header, allow_nan=False).encode()
    vectors = [state.master.weights, *state.master.moments, *([] if state.good is None else [state.good])]
    body = MAGIC + struct.pack("<I", len(text)) + text + b"".join(one.astype("<f4").tobytes() for one in vectors)
    return body + hashlib.sha256(body).digest()


def decode(content: bytes, name: str) -> Snapshot:
    """Return the snapshot in the bytes of a file. Raises UsageError that names the file."""
    if content[:8] != MAGIC:
        raise UsageError(f"{name}: not a snapshot of mpinn")
    if len(content) < 44 or hashlib.sha256(content[:-32]).digest() != content[-32:]:
        raise UsageError(f"{name}: damaged snapshot: its checksum is wrong; take an earlier one")
    try:
        (length,) = struct.unpack_from("<I", content, 8)
        header = json.loads(content[12 : 12 + length])
        schema = header["schema_version"]
        if schema > SCHEMA_VERSION:
            raise UsageError(f"{name}: written by a newer mpinn (schema {schema}); update mpinn")
        if schema < 2:
            raise UsageError(f"{name}: written by an older mpinn (schema {schema}); start anew")
        settings = {key: config.check(key, header["settings"][key], f"{name}: {key}") for key in config.WEIGHTS}
        moments = RULES[settings["merge"]].moments
        held = header["moments"] if schema > 2 else ["velocity"] * header["velocity"]
        if held != list(moments):
            raise UsageError(f"{name}: holds {held}, but {settings['merge']} remembers {list(moments)}; start anew")
        good = header["good"] if schema > 2 else header["velocity"]
        vectors = np.frombuffer(content[12 + length : -32], "<f4").astype(np.float32)
        vectors = vectors.reshape(1 + len(moments) + good, config.network_of(settings).parameters)
        history = {key: header["history"][key] for key in HISTORY}
        answers = history["divergences"]
        momentum = answers[-1]["block_momentum"] if answers else settings["block_momentum"] or 0.0
        state = RunState(
            int(header["epoch"]),
            int(header["round"]),
            Master(vectors[0], vectors[1 : 1 + len(moments)], momentum),
            vectors[-1] if good else None,
            int(header["good_epoch"]),
            **history,
        )
        return Snapshot(settings, header["data"], header["kernel_id"], str(header.get("job", "")), state)
    except (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError, struct.error) as error:
        raise UsageError(f"{name}: damaged snapshot: {type(error).__name__}; take an earlier one") from None


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
        self.lock = Lock(directory / ".lock", str(directory), f"job {job}, process {os.getpid()} on {platform.node()}")
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


def load(path: Path) -> Snapshot:
    """Return the snapshot in a file, or the newest good one of a directory. Raises UsageError."""
    if not path.is_dir():
        return load_file(path)
    problem = f"{path}: no snapshot (*{SUFFIX}) in this directory"
    for file in paths(path):
        try:
            return load_file(file)
        except UsageError as error:
            problem = str(error)
            log.warning("%s", problem)
    raise UsageError(problem)


def load_file(path: Path) -> Snapshot:
    """Return the snapshot in a file. Raises UsageError."""
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size > SIZE_LIMIT:
                raise UsageError(f"{path}: not a snapshot of mpinn: larger than any can be")
            return decode(file.read(size), str(path))
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}; give a snapshot file or directory") from None
