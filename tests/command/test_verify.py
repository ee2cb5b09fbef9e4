"""`python -m mpinn.verify`: really trained, and held against what is written in golden.json."""

import json
import re
import shutil
import sys
from pathlib import Path

import pytest

from mpinn.training import golden
from tests.command.commands import errors, run

VERIFY = [sys.executable, "-m", "mpinn.verify"]
DOCUMENT = Path(__file__).parents[2] / "docs" / "numerics.md"


@pytest.mark.parametrize("ranks", [1, 3])
def test_a_golden_run_is_equal_on_any_number_of_ranks(ranks: int) -> None:
    launcher = ["mpirun", "-n", str(ranks)] if ranks > 1 else []
    ran = run([*launcher, *VERIFY, "float64", "short batches"])
    assert ran.returncode == 0, ran.stderr
    lines = ran.stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["equal", "equal", "2"] and "2 of 2 are what every" in lines[2]


@pytest.mark.parametrize("field", [0, 2])
def test_other_weights_or_accuracies_are_told(tmp_path: Path, field: int) -> None:
    """By a checkout whose golden file is another."""
    package = tmp_path / "mpinn"
    shutil.copytree(Path(golden.__file__).parents[1], package, ignore=shutil.ignore_patterns("__pycache__", "*.c"))
    place = package / "training" / golden.PATH.name
    content = json.loads(place.read_text())
    for one in content["runs"]:
        one["epochs"][0][field] = "0" * 64 if field == 0 else 12.0
    place.write_text(json.dumps(content))
    ran = run([*VERIFY, "float64"], cwd=tmp_path)
    assert ran.returncode == 1 and ran.stdout.startswith("OTHER  float64")


def test_a_run_that_is_not_there_is_named_and_those_that_are() -> None:
    ran = run([*VERIFY, "sixtin"])
    (line,) = errors(ran.stderr)
    assert ran.returncode == 2 and "'sixtin'" in line and "'sixteen'" in line


def test_every_run_of_verify_is_in_the_document_as_it_is_in_the_file() -> None:
    epochs_of = [one["epochs"] for one in json.loads(golden.PATH.read_text())["runs"]]
    rows = re.findall(r"^\| `([^`]+)` \|.*\| (\d+) \| ([0-9.]+) % \| `([0-9a-f]{64})` \|$", DOCUMENT.read_text(), re.M)
    assert [name for name, *_ in rows] == list(golden.RUNS)
    for name, epochs, accuracy, sha in rows:
        assert int(epochs) == golden.RUNS[name]["epochs"]
        found = [all_of_them[int(epochs) - 1] for all_of_them in epochs_of if len(all_of_them) >= int(epochs)]
        assert accuracy in [f"{one[2]:.2f}" for one in found if one[0] == sha]
