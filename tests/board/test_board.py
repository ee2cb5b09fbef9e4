"""The playbooks, the kernel and MPI on an emulated 32-bit ARM board; see board.sh.

The tests build on each other, in this order. What is trained there is small: emulation is slow.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.digits import digits, write_npz

CHECKOUT = Path(__file__).parents[2]
BOARD = Path(__file__).parent / "board.sh"
STATE = Path(os.environ.setdefault("BOARD_DIR", "/var/tmp/mpinn-board"))
SSH = f"-i {STATE}/key -o UserKnownHostsFile={STATE}/known_hosts -o StrictHostKeyChecking=yes"
WHEELS = ("setuptools>=77", "Cython>=3.1")
PYTHON = "/home/mpinn/current/environment/bin/python"

pytestmark = pytest.mark.timeout(7200)


def ssh(command: str) -> str:
    """Run a shell command as the user mpinn of the board; return what it printed."""
    line = ["ssh", *SSH.split(), "-p", "2222", "admin@127.0.0.1", f"sudo -iu mpinn sh -ec '{command}'"]
    ran = subprocess.run(line, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def copy(source: Path, target: str) -> None:
    """Copy a file to the board."""
    command = ["scp", *SSH.split(), "-P", "2222", "-q", source, f"admin@127.0.0.1:{target}"]
    subprocess.run(command, check=True)


def bring(name: str, folder: Path) -> None:
    """Copy a file of the board's /var/tmp from it."""
    command = ["scp", *SSH.split(), "-P", "2222", "-q", f"admin@127.0.0.1:/var/tmp/{name}", folder]
    subprocess.run(command, check=True)


class Control:
    """The control machine: an inventory of one board."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.results = STATE / "results"
        shutil.rmtree(self.results, ignore_errors=True)
        wheelhouse = home / "wheelhouse"
        platform = ("--platform", "any", "--python-version", "3.11", "--no-deps", "--only-binary", ":all:")
        download = ["pip", "download", "--quiet", "--dest", wheelhouse, *platform, *WHEELS]
        subprocess.run(download, check=True)
        board = {"ansible_host": "127.0.0.1", "ansible_port": 2222, "mpinn_address": "10.0.2.15"}
        settings = {
            "ansible_user": "admin",
            "ansible_ssh_common_args": SSH,
            "mpinn_wheelhouse": str(wheelhouse),
            "mpinn_results": str(self.results),
            "mpinn_verify_options": ["--data", "/var/tmp/digits.npz"],
        }
        self.inventory = home / "hosts.yml"
        self.inventory.write_text(yaml.safe_dump({"boards": {"hosts": {"bananapi": board}, "vars": settings}}))

    def run(self, *arguments: str) -> tuple[int, str]:
        """Run a playbook; return its exit status and what it printed, white space made single."""
        command = ["ansible-playbook", "--inventory", self.inventory, *arguments]
        environment = {**os.environ, "HOME": str(self.home), "ANSIBLE_NOCOLOR": "1", "ANSIBLE_TIMEOUT": "60"}
        ran = subprocess.run(
            command,
            cwd=CHECKOUT / "ansible",
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        return ran.returncode, " ".join(ran.stdout.split())

    def well(self, *arguments: str) -> str:
        """Run a playbook that is to succeed; return what it printed."""
        status, said = self.run(*arguments)
        assert status == 0, said
        return said


def hashes(result: dict[str, Any]) -> list[str]:
    """Return what a result's weights were after each epoch."""
    return [row["weights_sha256"] for row in result["epochs"]]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One round of four workers, and a few exemplars to test."""
    return write_npz(tmp_path_factory.mktemp("data") / "digits.npz", digits(400, 100, 28))


@pytest.fixture(scope="module")
def control(tmp_path_factory: pytest.TempPathFactory, data: Path) -> Iterator[Control]:
    """The control machine of a fresh board."""
    subprocess.run([BOARD, "down"], check=True)
    subprocess.run([BOARD, "up"], check=True)
    copy(data, "/var/tmp/digits.npz")
    yield Control(tmp_path_factory.mktemp("control"))
    subprocess.run([BOARD, "down"], check=True)


def test_the_profile_of_a_board_with_more_processors_is_refused(control: Control) -> None:
    status, said = control.run("deploy.yml", "--extra-vars", "mpinn_profile=banana-pi-m3")
    assert status != 0
    assert "is armv7l with 2 processors online, and the host profile banana-pi-m3 describes armv7l with 8" in said


def test_deploy_builds_the_kernel_there_and_verifies(control: Control) -> None:
    said = control.well("deploy.yml")
    assert re.search(r"kernel native-[0-9a-f]{12}-armv7l-neon-vfpv4", said)
    assert "Open MPI 4.1.4, the same on every board" in said
    assert "one epoch on 2 ranks over all boards, and on each board alone: the same weights" in said


def test_a_second_time_changes_nothing(control: Control) -> None:
    assert "changed=0" in control.well("deploy.yml")


def test_any_number_of_ranks_learns_the_same_there_and_here(control: Control, data: Path, tmp_path: Path) -> None:
    """And each goes on from what the other saved."""
    options = "--data {} --workers 4 --epochs 2 --quiet --checkpoint {} --result {}"
    here = options.format(data, tmp_path / "snapshots", tmp_path / "here.json")
    subprocess.run([sys.executable, "-m", "mpinn.train", *here.split()], check=True)
    right = hashes(json.loads((tmp_path / "here.json").read_text()))
    for ranks in (1, 2, 4):
        asked = options.format("/var/tmp/digits.npz", f"snapshots{ranks}", f"{ranks}.json")
        ssh(f"mpirun -n {ranks} {PYTHON} -m mpinn.train {asked}")
        assert hashes(json.loads(ssh(f"cat {ranks}.json"))) == right
    went_on = "--data {} --epochs 4 --quiet --resume {} --checkpoint {} --result {}"
    copy(max((tmp_path / "snapshots").glob("*.mpinn")), "/var/tmp/here.mpinn")
    asked = went_on.format("/var/tmp/digits.npz", "/var/tmp/here.mpinn", "went-on", "went-on.json")
    ssh(f"mpirun -n 2 {PYTHON} -m mpinn.train {asked}")
    ssh("cp snapshots4/000002.mpinn /var/tmp/there.mpinn; chmod a+r /var/tmp/there.mpinn")
    bring("there.mpinn", tmp_path)
    asked = went_on.format(data, tmp_path / "there.mpinn", tmp_path / "went-on", tmp_path / "went-on.json")
    subprocess.run([sys.executable, "-m", "mpinn.train", *asked.split()], check=True)
    assert hashes(json.loads(ssh("cat went-on.json"))) == hashes(json.loads((tmp_path / "went-on.json").read_text()))


def test_it_learns_of_real_mnist_what_every_machine_learns(control: Control) -> None:
    said = ssh(f'mpirun -n 2 {PYTHON} -m mpinn.verify "eight workers"')
    assert re.search(r"equal +eight workers +2 epochs", said)


def test_results_come_home_and_are_verified_here(control: Control, tmp_path: Path) -> None:
    """An epoch of MNIST on one core and on both; the results stay in BOARD_DIR."""
    suite = tmp_path / "epoch.yml"
    options = {"epochs": 1, "merge": "block-momentum", "worker_batch": 25}
    experiment = {"title": "Sixteen workers", "ranks": [1, 2], "workers": 16, "options": options}
    experiment |= {"figures": [{"kind": "speedup", "y": ["epoch_seconds"]}]}
    about = {"title": "One epoch", "description": "What a slow machine does in minutes.", "repeats": 1}
    suite.write_text(yaml.safe_dump({**about, "experiments": {"strong": experiment}}))
    control.well("bench.yml", "--extra-vars", f"mpinn_suite={suite}")
    home = control.results / "bananapi" / "epoch"
    records = [json.loads(line) for line in (home / "records.jsonl").read_text().splitlines()]
    assert {record["ranks"] for record in records} == {1, 2}
    assert {record["verdict"] for record in records} <= {"VALID", "DEGRADED"}
    assert (home / "report.html").exists()
    pack = tmp_path / "board.mpinn.json.gz"
    bench = [sys.executable, "-m", "bench"]
    subprocess.run([*bench, "pack", home, "--out", pack], cwd=CHECKOUT, check=True)
    ran = subprocess.run([*bench, "verify", pack], cwd=CHECKOUT, capture_output=True, text=True)
    assert not ran.stdout.startswith("REFUTED") and "golden" not in ran.stdout and ran.stderr == ""


def test_status_and_reset(control: Control) -> None:
    assert re.search(r"bananapi .* Open MPI 4\.1\.4", control.well("status.yml").replace("\u00a0", " "))
    control.well("reset.yml", "--extra-vars", "reset_confirm=yes")
    assert "no mpinn there" in control.well("status.yml").replace("\u00a0", " ")
