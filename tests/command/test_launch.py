"""`python -m mpinn.launch`: every line that it builds is run, under the MPI that is installed here."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mpinn import launch
from mpinn.hosts.launcher import Launcher, find_launcher
from mpinn.hosts.library import find, names
from mpinn.hosts.profile import dump
from mpinn.system.errors import UsageError
from tests.command.commands import environment, errors, ranks_alive, run, train, wait_until
from tests.digits import write_npz

LAUNCH = [sys.executable, "-m", "mpinn.launch"]
CORES = len(os.sched_getaffinity(0))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_npz(tmp_path_factory.mktemp("data") / "digits.npz")


def cases() -> list[tuple[str, int]]:
    """Return every profile with as many ranks as cores, and with more where it allows that."""
    found = [(name, CORES) for name in [*names(), "detected"]]
    return found + [(name, CORES + 1) for name, _ in found if find(name).mpi.oversubscribe.allowed]


@pytest.mark.parametrize("name, ranks", cases())
def test_every_profile_runs_as_many_ranks_as_it_is_asked_for(data: Path, tmp_path: Path, name: str, ranks: int) -> None:
    result = tmp_path / "r.json"
    options = ["--data", str(data), "--epochs", "1", "--quiet", "--result", str(result)]
    ran = run([*LAUNCH, "--host", name, "-n", str(ranks), "--force", "--", *options])
    assert ran.returncode == 0, ran.stderr
    said = json.loads(result.read_text())["environment"]
    assert said["ranks"] == ranks
    assert said["host_profile"] == {"name": name, "fits": "warning: --host" not in ran.stderr}
    if find_launcher().vendor == "openmpi":
        assert said["wait_policy"] == find(name).mpi.wait_policy


@pytest.mark.parametrize("name", ["detected", "one-core-more", "another-architecture"])
def test_a_profile_of_another_machine_is_told(data: Path, tmp_path: Path, name: str) -> None:
    mine = find("detected")
    machine = mine.machine
    first = dataclasses.replace(machine.clusters[0], cores=machine.clusters[0].cores + 1, cpus=None)
    first = dataclasses.replace(first, threads=max(first.threads, first.cores))
    changed = {
        "detected": {},
        "one-core-more": {"clusters": (first, *machine.clusters[1:])},
        "another-architecture": {"architecture": "aarch64" if machine.architecture == "x86_64" else "x86_64"},
    }[name]
    profile, result = tmp_path / "profile.yml", tmp_path / "r.json"
    profile.write_text(dump(dataclasses.replace(mine, name=name, machine=dataclasses.replace(machine, **changed))))
    options = ["--data", str(data), "--epochs", "1", "--quiet", "--result", str(result)]
    ran = run([*LAUNCH, "--host", str(profile), "-n", "2", "--force", "--", *options])
    said = json.loads(result.read_text())["environment"]
    assert ran.returncode == 0 and said["host_profile"] == {"name": name, "fits": name == "detected"}
    warned = [line for line in ran.stderr.splitlines() if line.startswith("mpinn: warning: --host")]
    assert len(warned) == (name != "detected")


def test_without_options_training_has_its_defaults() -> None:
    ran = run([*LAUNCH, "-n", "2", "--dry-run"])
    assert (ran.returncode, ran.stderr) == (0, "") and ran.stdout.endswith(" -m mpinn.train\n")


def test_a_profile_that_launch_did_not_write_is_refused_in_one_line(data: Path) -> None:
    ran = train("--data", data, "--epochs", 1, ranks=2, MPINN_HOST_PROFILE="x:perhaps")
    (line,) = errors(ran.stderr)
    assert ran.returncode == 2 and "MPINN_HOST_PROFILE" in line and "unset it" in line


def test_a_hostfile_of_this_machine(data: Path, tmp_path: Path) -> None:
    hostfile = tmp_path / "hosts"
    vendor = find_launcher().vendor
    made = run([sys.executable, "-m", "mpinn.hosts", "hostfile", "--mpi", vendor, "banana-pi-m3=localhost"])
    hostfile.write_text(made.stdout)
    options = ["--data", str(data), "--epochs", "1", "--quiet", "--result", str(tmp_path / "r.json")]
    ran = run([*LAUNCH, "--host", "banana-pi-m3", "--hostfile", str(hostfile), "-n", "4", "--", *options])
    assert ran.returncode == 0, ran.stderr
    assert json.loads((tmp_path / "r.json").read_text())["environment"]["ranks"] == 4


def test_dry_run_prints_the_line_and_runs_nothing(data: Path, tmp_path: Path) -> None:
    ran = run([*LAUNCH, "--host", "lenovo-yoga-2", "-n", "4", "--dry-run", "--", "--result", str(tmp_path / "r.json")])
    assert ran.returncode == 0 and "-n 4" in ran.stdout and ran.stdout.strip().endswith("r.json")
    assert not (tmp_path / "r.json").exists()


@pytest.mark.parametrize(
    "words, told",
    [
        (["--host", "banana-pi-m3", "-n", "17"], "--workers 17, or --force"),
        (["--host", "banana-pi"], "did you mean 'banana-pi-m3'"),
        (["-n", "0"], "at least 1 rank"),
        (["--hostfile", "/no/such/file"], "/no/such/file"),
        (["--epochs", "3"], "--epochs"),
    ],
)
def test_what_is_asked_wrongly_is_one_line_and_status_2(words: list[str], told: str) -> None:
    ran = run([*LAUNCH, *words])
    assert ran.returncode == 2
    assert len(errors(ran.stderr)) == 1 and told in errors(ran.stderr)[0]


def test_trainings_status_is_launchs() -> None:
    assert run([*LAUNCH, "-n", "2", "--", "--epochs", "0"]).returncode == 2


def test_another_mpis_mpirun_is_refused() -> None:
    own = find_launcher()
    other = Launcher(own.path, "mpich" if own.vendor == "openmpi" else "openmpi", "9")
    with pytest.raises(UsageError, match="mpi4py belongs to"):
        launch.check_launcher(other)


def test_a_signal_goes_to_the_launcher(data: Path, tmp_path: Path) -> None:
    result = tmp_path / "r.json"
    options = ["--data", str(data), "--epochs", "1000000", "--quiet", "--result", str(result)]
    process = subprocess.Popen([*LAUNCH, "-n", "2", "--", *options], stderr=subprocess.DEVNULL, env=environment())
    assert wait_until(result.exists, 60)
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) != 0
    assert wait_until(lambda: not ranks_alive(str(result)), 10)
