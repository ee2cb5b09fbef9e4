"""`python -m tests.golden.write_golden`: train all golden runs, one rank each, and write mpinn/training/golden.json.

Those of `mpinn.verify`, and the serial oracles of all suites on all host profiles, which need not be run then. It is
run by hand, where NUMERICS was raised or a suite was added; what is there and is still right is kept.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from bench.harness import oracle, suite
from mpinn import config, datasets
from mpinn.config import Options, Settings
from mpinn.hosts import library
from mpinn.kernels.kernel import NUMERICS
from mpinn.system import files
from mpinn.training import golden

MOST_EPOCHS = 100  # of all oracles of a suite's point


def wanted() -> Iterator[tuple[dict[str, Any], int]]:
    """Yield the options and epochs of every golden run."""
    for options in golden.RUNS.values():
        yield options, options["epochs"]
    points = [
        point
        for name in suite.names()
        for host in library.names()
        for point in suite.points(suite.load(name, []), library.find(host))
        if point.program == "train" and point.options.get("kernel") != "reference"
    ]
    for point, seed, epochs in oracle.distinct(Path("/nowhere"), points):
        if point.options.get("worker_batch") != "auto" and not {"data", "test_data"} & set(point.options):
            options = {key: value for key, value in point.options.items() if key in config.WEIGHTS}
            yield {**options, "workers": point.workers, "seed": seed}, epochs


def resolved(options: dict[str, Any], data: datasets.Dataset) -> Settings:
    whole = Options(**{key: tuple(v) if isinstance(v, list) else v for key, v in options.items() if key != "epochs"})
    batch = whole.worker_batch
    assert isinstance(batch, int)
    return config.resolve(whole, batch, data.pixels, data.classes, len(data.train_labels), 1)


def train(options: dict[str, Any], epochs: int) -> list[golden.Epoch]:
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder) / "result.json"
        line = config.words({**options, "epochs": epochs, "kernel": "native", "result": str(result)})
        subprocess.run([sys.executable, "-m", "mpinn.train", "--quiet", *line], check=True)
        rows = json.loads(result.read_text())["epochs"]
    return [golden.Epoch(row["weights_sha256"], row["train_accuracy"], row["test_accuracy"]) for row in rows]


def write(runs: Iterable[dict[str, Any]]) -> None:
    lines = ",\n".join(json.dumps(one) for one in runs)
    files.replace(golden.PATH, f'{{"numerics": {NUMERICS}, "runs": [\n{lines}\n]}}\n'.encode())


def main() -> None:
    data, found = datasets.load(), dict[str, dict[str, Any]]()
    before = {one["key"]: one for one in json.loads(golden.PATH.read_text())["runs"]}
    for options, epochs in list(wanted()):  # all of them first: a suite that cannot be read costs nothing
        about = resolved(options, data).determines_weights
        key = golden.key(about, data.fingerprint)
        known = found[key]["epochs"] if key in found else golden.find(about, data.fingerprint)
        trained = len(known) < epochs
        rows = train(options, epochs) if trained else known
        told = {name: value for name, value in options.items() if name != "epochs"}
        found[key] = {"key": key, "options": told, "epochs": rows}
        if trained:
            print(len(found), key, told, len(rows), flush=True)
            write((before | found).values())
    write(found.values())


if __name__ == "__main__":
    main()
