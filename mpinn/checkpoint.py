"""Snapshots of a training run: written so that one is never lost, read so that a damaged one is never believed.

`python -m mpinn.checkpoint show|export` turns one into something a person can read, and only when a person asks.

A snapshot file is, in this order: 8 bytes `MPINNSNP`; the length of the header, uint32; the header, JSON in UTF-8;
the master weights, float32; with block momentum the velocity and the last good weights, float32; the SHA-256,
32 bytes, of all before it.
Numbers are little-endian.
"""

import contextlib
import hashlib
import io
import json
import logging
import os
import struct
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import yaml

from mpinn import config
from mpinn.cli import Parser, run_command
from mpinn.errors import MpinnError, UsageError
from mpinn.files import replace
from mpinn.network import Network, weights_sha256

MAGIC = b"MPINNSNP"
SCHEMA_VERSION = 2
SUFFIX = ".mpinn"
KEPT = 3
SIZE_LIMIT = 3 * 4 * config.MOST_PARAMETERS + 2**26  # bytes


@dataclass
class Snapshot:
    """The state of a run after `round` rounds of epoch `epoch`: whoever has it can go on as if nothing had happened."""

    settings: dict[str, Any]  # Config.weight_settings
    data: str  # fingerprint of the training set
    kernel_id: str
    epoch: int  # from 1: the epoch to go on with
    round: int  # rounds of it already done
    weights: np.ndarray  # (parameters,) float32
    velocity: np.ndarray | None = None  # (parameters,) float32, with block momentum
    good: np.ndarray | None = None  # (parameters,) float32, with block momentum: what a divergence goes back to
    good_epoch: int = 1  # the epoch to go on with from there
    history: dict[str, Any] = field(default_factory=dict)  # what the result file says of the epochs so far

    @property
    def network(self) -> Network:
        """The network that the weights belong to."""
        return network_of(self.settings)

    @property
    def id(self) -> str:
        """Twelve hexadecimal digits that differ where weights, velocity, epoch or round do."""
        digest = hashlib.sha256(f"{self.epoch} {self.round} ".encode() + self.weights.tobytes())
        if self.velocity is not None:
            digest.update(self.velocity.tobytes())
        return digest.hexdigest()[:12]


def network_of(settings: dict[str, Any]) -> Network:
    """Return the network that a run's settings describe."""
    return Network(
        tuple(settings["layers"]),
        tuple(settings["activations"]),
        settings["alpha"],
        settings["bias"],
        settings["layer_normalisation"],
        settings["loss"],
    )


def encode(snapshot: Snapshot) -> bytes:
    """Return the snapshot as the bytes of its file."""
    header = {
        "schema_version": SCHEMA_VERSION,
        "id": snapshot.id,
        "settings": snapshot.settings,
        "data": snapshot.data,
        "kernel_id": snapshot.kernel_id,
        "epoch": snapshot.epoch,
        "round": snapshot.round,
        "velocity": snapshot.velocity is not None,
        "good_epoch": snapshot.good_epoch,
        "history": snapshot.history,
    }
    text = json.dumps(header, allow_nan=False).encode()
    arrays = [a.astype("<f4").tobytes() for a in (snapshot.weights, snapshot.velocity, snapshot.good) if a is not None]
    body = MAGIC + struct.pack("<I", len(text)) + text + b"".join(arrays)
    return body + hashlib.sha256(body).digest()


def decode(content: bytes, name: str) -> Snapshot:
    """Return the snapshot in the bytes of a file. Raises UsageError naming the file."""
    if content[:8] != MAGIC:
        raise UsageError(f"{name}: not a snapshot of mpinn")
    if len(content) < 44 or hashlib.sha256(content[:-32]).digest() != content[-32:]:
        raise UsageError(f"{name}: damaged snapshot: its checksum is wrong; take an earlier one")
    try:
        (length,) = struct.unpack_from("<I", content, 8)
        header = json.loads(content[12 : 12 + length])
        if header["schema_version"] > SCHEMA_VERSION:
            raise UsageError(f"{name}: written by a newer mpinn (schema {header['schema_version']}); update mpinn")
        if header["schema_version"] < SCHEMA_VERSION:
            raise UsageError(f"{name}: written by an older mpinn (schema {header['schema_version']}); start anew")
        settings = {key: config.check(key, header["settings"][key], f"{name}: {key}") for key in config.WEIGHTS}
        parameters = network_of(settings).parameters
        arrays = np.frombuffer(content[12 + length : -32], "<f4").astype(np.float32)
        weights, velocity, good = (*arrays.reshape(1 + 2 * header["velocity"], parameters), None, None)[:3]
        return Snapshot(
            settings,
            header["data"],
            header["kernel_id"],
            int(header["epoch"]),
            int(header["round"]),
            weights,
            velocity,
            good,
            int(header["good_epoch"]),
            header["history"],
        )
    except (ValueError, KeyError, TypeError, RecursionError, struct.error) as error:
        raise UsageError(f"{name}: damaged snapshot: {type(error).__name__}; take an earlier one") from None


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file, whole or not at all. Raises MpinnError."""
    try:
        replace(path, content)
    except OSError as error:
        raise MpinnError(f"{path}: cannot be written: {error.strerror}; free space or choose another place") from None


def check_writable(directory: Path, option: str) -> None:
    """Raise UsageError unless a file can be made in the directory."""
    try:
        with tempfile.NamedTemporaryFile(dir=directory, prefix=".mpinn-"):
            pass
    except OSError as error:
        raise UsageError(f"{directory}: cannot be written: {error.strerror}; give {option} another place") from None


class Store:
    """A directory of snapshots. A run removes none but its own: the last few that it wrote are kept."""

    def __init__(self, directory: Path) -> None:
        """Make the directory if it is missing. Raises UsageError if snapshots cannot be written there."""
        try:
            directory.mkdir(exist_ok=True)
        except OSError as error:
            raise UsageError(
                f"{directory}: cannot be made: {error.strerror}; give --checkpoint another place"
            ) from None
        check_writable(directory, "--checkpoint")
        self.directory = directory
        self.written: list[Path] = []
        self.newest = (0, 0)  # epoch and round of the last that was written

    def save(self, snapshot: Snapshot) -> Path:
        """Write the snapshot, then remove all but this run's last few; return its path. Raises MpinnError.

        A state of the run that was the last to be written is not written again.
        """
        if self.newest == (snapshot.epoch, snapshot.round):
            return self.written[-1]
        highest = max((number_of(path) for path in files(self.directory)), default=0)
        path = self.directory / f"{highest + 1:06d}{SUFFIX}"
        write_atomically(path, encode(snapshot))
        self.newest = (snapshot.epoch, snapshot.round)
        self.written.append(path)
        while len(self.written) > KEPT:
            with contextlib.suppress(OSError):
                self.written.pop(0).unlink()
        return path


def number_of(path: Path) -> int:
    """Return the running number in a snapshot file's name; it tells the newest, where a board's clock may not."""
    return int(path.stem)


def files(directory: Path) -> list[Path]:
    """Return the snapshot files of a directory, the newest first."""
    found = [path for path in directory.glob(f"*{SUFFIX}") if path.stem.isdecimal()]
    return sorted(found, key=number_of, reverse=True)


def load(path: Path) -> Snapshot:
    """Return the snapshot in a file, or the newest good one of a directory. Raises UsageError."""
    if not path.is_dir():
        return load_file(path)
    problem = f"{path}: no snapshot (*{SUFFIX}) in this directory"
    for file in files(path):
        try:
            return load_file(file)
        except UsageError as error:
            problem = str(error)
            logging.getLogger("mpinn").warning("%s", problem)
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


def describe(snapshot: Snapshot) -> dict[str, Any]:
    """Return all of a snapshot but its weights."""
    return {
        "id": snapshot.id,
        "epochs_done": snapshot.epoch - 1,
        "rounds_done": snapshot.round,
        "goes_on_with": f"epoch {snapshot.epoch}, round {snapshot.round + 1}",
        "parameters": len(snapshot.weights),
        "weights_sha256": weights_sha256(snapshot.weights),
        "block_momentum": snapshot.velocity is not None,
        "kernel_id": snapshot.kernel_id,
        "data": snapshot.data,
        "settings": snapshot.settings,
        "history": snapshot.history,
    }


def export_json(snapshot: Snapshot, out: TextIO) -> None:
    """Write the snapshot as JSON: `describe`, and the weights as a list of (inputs + bias, outputs) arrays."""
    layers = [view.tolist() for view in snapshot.network.views(snapshot.weights)]
    json.dump({**describe(snapshot), "weights": layers}, out, allow_nan=False)
    out.write("\n")


def export_csv(snapshot: Snapshot, out: TextIO) -> None:
    """Write one line a weight: layer (from 1), input (from 0, the bias unit last), output, weight."""
    out.write("layer,input,output,weight\n")
    for layer, view in enumerate(snapshot.network.views(snapshot.weights), start=1):
        for (row, column), weight in np.ndenumerate(view):
            out.write(f"{layer},{row},{column},{weight!s}\n")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = Parser(prog="python -m mpinn.checkpoint", description="Make a snapshot readable.")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="show|export")
    shown = verbs.add_parser("show", help="print what a snapshot holds, but for its weights, as YAML")
    exported = verbs.add_parser("export", help="write a snapshot with its weights as text, for a person to read")
    for verb in (shown, exported):
        verb.add_argument("snapshot", type=Path, help="a file, or a directory: then its newest good snapshot")
    exported.add_argument("--format", choices=("json", "csv"), default="json", help="default: json")
    exported.add_argument("--out", type=Path, metavar="FILE", help="default: standard output")
    asked = parser.parse_args(arguments)
    snapshot = load(asked.snapshot)
    if asked.verb == "show":
        yaml.safe_dump(describe(snapshot), sys.stdout, sort_keys=False, default_flow_style=None)
        return
    text = io.StringIO()
    (export_json if asked.format == "json" else export_csv)(snapshot, text)
    if asked.out:
        write_atomically(asked.out, text.getvalue().encode())
    else:
        sys.stdout.write(text.getvalue())


if __name__ == "__main__":
    run_command(main)
