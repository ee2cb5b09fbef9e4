"""Lesson 3: a snapshot as mpinn's binary, as JSON and as XML: bytes, and seconds to write and to read it."""

import json
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import NamedTuple
from xml.etree import ElementTree

import numpy as np

from bench.programs import program
from bench.programs.lessons.saving import snapshot
from mpinn.model.network import Network
from mpinn.system import files
from mpinn.system.command_line import run_command
from mpinn.training import snapshots


class Format(NamedTuple):
    encode: Callable[[np.ndarray], bytes]  # of (parameters,) float32
    decode: Callable[[bytes], np.ndarray]


def to_json(weights: np.ndarray) -> bytes:
    return json.dumps([layer.tolist() for layer in Network().views(weights)]).encode()


def from_json(content: bytes) -> np.ndarray:
    return np.concatenate([np.array(layer, np.float32).ravel() for layer in json.loads(content)])


def to_xml(weights: np.ndarray) -> bytes:
    root = ElementTree.Element("network")
    for layer in Network().views(weights):
        rows = ElementTree.SubElement(root, "layer")
        for row in layer.tolist():
            unit = ElementTree.SubElement(rows, "unit")
            for weight in row:
                ElementTree.SubElement(unit, "weight").text = repr(weight)
    return ElementTree.tostring(root)


def from_xml(content: bytes) -> np.ndarray:
    return np.array([float(one.text or "") for one in ElementTree.fromstring(content).iter("weight")], np.float32)


FORMATS = {
    "binary": Format(
        lambda w: snapshots.encode(snapshot(w, 0)),
        lambda content: snapshots.decode(content, "lesson").state.master.weights,
    ),
    "json": Format(to_json, from_json),
    "xml": Format(to_xml, from_xml),
}


def save(path: Path, form: Format, weights: np.ndarray) -> None:
    files.replace(path, form.encode(weights))


def load(path: Path, form: Format) -> np.ndarray:
    return form.decode(path.read_bytes())


def main() -> int:
    parser = program.parser("lessons.formats", __doc__)
    parser.add_argument("--turns", type=program.positive, default=5, metavar="N", help="times each is written and read")
    asked = parser.parse_args()
    weights = Network().initial_weights(0)
    with tempfile.TemporaryDirectory(dir=asked.result.parent if asked.result else None) as name:
        paths = {form: Path(name) / form for form in FORMATS}
        writing = program.in_turn(
            {form: partial(save, paths[form], about, weights) for form, about in FORMATS.items()}, asked.turns
        )
        reading = program.in_turn(
            {form: partial(load, paths[form], about) for form, about in FORMATS.items()}, asked.turns
        )
        read = {form: load(paths[form], about) for form, about in FORMATS.items()}
        sizes = {form: path.stat().st_size for form, path in paths.items()}
    metrics: dict[str, float] = {f"{form}_bytes": size for form, size in sizes.items()}
    metrics |= {f"{form}_write_milliseconds": 1e3 * median(times) for form, times in writing.items()}
    metrics |= {f"{form}_read_milliseconds": 1e3 * median(times) for form, times in reading.items()}
    units = {name: "bytes" if name.endswith("bytes") else "ms" for name in metrics}
    checks = [
        program.check(form, bool(np.array_equal(weights, back)), "what was read back is what was written, bit for bit")
        for form, back in read.items()
    ]
    program.write(asked.result, metrics, units, sum(map(sum, [*writing.values(), *reading.values()])), checks=checks)
    return 0


if __name__ == "__main__":
    run_command(main)
