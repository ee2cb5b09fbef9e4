"""`python -m mpinn.hosts` as a user types it, and the MPI of this environment obeying what it wrote."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from mpinn.hosts.__main__ import parser
from mpinn.hosts.launcher import find_launcher
from mpinn.hosts.library import names
from mpinn.hosts.profile import load
from mpinn.hosts.sheet import sheet

CHECKOUT = Path(__file__).parents[2]
LAUNCHER = find_launcher()
OWN = ("OMPI_MCA_", "PRTE_MCA_", "PMIX_MCA_")


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python environment of its own, so that what apply writes is the user's and not this environment's."""
    folder = tmp_path_factory.mktemp("env")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    return folder / "bin/python"


def run(*command: str | Path, home: Path) -> subprocess.CompletedProcess[str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith(OWN)}
    paths = os.pathsep.join([str(CHECKOUT), str(Path(yaml.__file__).parents[1])])
    path = f"{LAUNCHER.path.parent}{os.pathsep}{os.environ['PATH']}"
    environment = kept | {"HOME": str(home), "PYTHONPATH": paths, "PATH": path}
    return subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment, cwd=home)


def hosts(python: Path, *arguments: str, home: Path) -> subprocess.CompletedProcess[str]:
    return run(python, "-m", "mpinn.hosts", *arguments, home=home)


def test_list_and_show_name_every_profile(python: Path, tmp_path: Path) -> None:
    listed = hosts(python, "list", home=tmp_path).stdout
    for name in names():
        assert f"\n{name} " in listed
        profile = load(CHECKOUT / f"hosts/{name}.yml")
        shown = sheet(profile)
        for cluster in profile.machine.clusters:
            assert f"{cluster.cores} x {cluster.name}" in shown
        for result in profile.published:
            assert f"{result.value or result.median:.10g} {result.unit}" in shown
        assert max(map(len, shown.splitlines())) <= 120


def test_what_detect_prints_is_a_profile(python: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine.yml"
    mine.write_text(hosts(python, "detect", home=tmp_path).stdout)
    assert load(mine).name == "detected"
    assert (
        hosts(python, "show", "mine.yml", home=tmp_path).stdout
        == hosts(python, "show", "detected", home=tmp_path).stdout
    )


def test_schema_is_json(python: Path, tmp_path: Path) -> None:
    assert yaml.safe_load(hosts(python, "schema", home=tmp_path).stdout)["title"] == "mpinn host profile"


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ([], "the following arguments are required: COMMAND; see --help"),
        (["aply", "detected"], "argument COMMAND: invalid choice: 'aply'"),
        (["show", "banana-pi"], "no host profile 'banana-pi' (did you mean 'banana-pi-m3'?)"),
        (["show", "./none.yml"], "none.yml: cannot be read: No such file or directory"),
        (["apply"], "apply: give a NAME, or --undo without one"),
        (["apply", "detected", "--undo"], "apply: give a NAME, or --undo without one"),
        (["apply", "detected", "--interface", "nic9"], "argument --interface: no interface 'nic9' here: there are"),
        (["hostfile", "orange-pi-5=a;b"], "'a;b' is no host name and no IPv4 address"),
        (["hostfile", "--mpi", "lam", "orange-pi-5=a"], "argument --mpi: invalid choice: 'lam'"),
    ],
)
def test_what_is_asked_wrongly_is_one_line_and_status_2(
    python: Path, arguments: list[str], complaint: str, tmp_path: Path
) -> None:
    answer = hosts(python, *arguments, home=tmp_path)
    assert answer.returncode == 2
    assert answer.stderr.startswith(f"mpinn: error: {complaint}")
    assert answer.stderr.count("\n") == 1


@pytest.mark.parametrize("command", ["list", "show", "detect", "apply", "hostfile", "schema"])
def test_help_has_an_example(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match=r"^0$"):
        parser().parse_args([command, "--help"])
    assert f"Example: python -m mpinn.hosts {command}" in capsys.readouterr().out


def test_a_dry_run_writes_nothing(python: Path, tmp_path: Path) -> None:
    answer = hosts(python, "apply", "detected", "--dry-run", home=tmp_path)
    assert answer.returncode == 0
    assert ("needs no parameter file" in answer.stdout) == (LAUNCHER.vendor == "mpich")
    assert ("mpi_yield_when_idle = 1" in answer.stdout) == (LAUNCHER.vendor == "openmpi")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["detected", "banana-pi-m3", "generic-workstation"])
def test_after_apply_a_bare_mpirun_takes_16_ranks_and_after_undo_nothing_is_left(
    python: Path, name: str, tmp_path: Path
) -> None:
    assert hosts(python, "apply", name, home=tmp_path).returncode == 0
    again = hosts(python, "apply", name, home=tmp_path).stdout
    assert ("unchanged" in again) == (LAUNCHER.vendor == "openmpi")
    assert "written" not in again
    ranks = run(LAUNCHER.path, "-n", "16", "echo", "rank", home=tmp_path)
    assert ranks.stdout == "rank\n" * 16, ranks.stderr
    narrowed = hosts(python, "apply", name, "--interface", "lo", home=tmp_path).stdout
    assert ("written" in narrowed) == (LAUNCHER.vendor == "openmpi")
    assert hosts(python, "apply", "--undo", home=tmp_path).returncode == 0
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_an_activated_environment_makes_a_bare_mpirun_take_16_ranks_and_leaves_the_home_alone(
    python: Path, tmp_path: Path
) -> None:
    """As `make train MPI=system` does it."""
    activate = python.parent / "activate"
    before = activate.read_bytes()
    assert hosts(python, "apply", "detected", "--activate", home=tmp_path).returncode == 0
    assert (activate.read_bytes() == before) == (LAUNCHER.vendor == "mpich")
    sixteen = f". {activate} && {LAUNCHER.path} -n 16 sh -c 'echo wait ${{OMPI_MCA_mpi_yield_when_idle:-1}}'"
    ranks = run("bash", "-c", sixteen, home=tmp_path)
    assert ranks.stdout == "wait 1\n" * 16, ranks.stderr
    assert hosts(python, "apply", "--undo", "--activate", home=tmp_path).returncode == 0
    assert activate.read_bytes() == before
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_the_makefile_leaves_the_home_alone_for_the_systems_mpi() -> None:
    asked = ["make", "--dry-run", "--always-make", "MPI=system", "VENV=.venv-none", ".venv-none/.installed"]
    said = subprocess.run(asked, capture_output=True, text=True, cwd=CHECKOUT, check=True).stdout
    assert "mpinn.hosts apply detected --activate" in said


def test_a_home_that_cannot_be_written_is_one_line_and_status_1(python: Path, tmp_path: Path) -> None:
    answer = run("env", "HOME=/proc", python, "-m", "mpinn.hosts", "apply", "detected", home=tmp_path)
    complaints = (
        [] if LAUNCHER.vendor == "mpich" else ["mpinn: error: /proc/.openmpi/mca-params.conf: cannot be written"]
    )
    assert answer.returncode == len(complaints)
    assert [line.partition(": No such")[0] for line in answer.stderr.splitlines()] == complaints


def test_mpirun_reads_the_hostfile(python: Path, tmp_path: Path) -> None:
    arguments = ["hostfile", "--mpi", LAUNCHER.vendor, "generic-workstation=localhost"]
    (tmp_path / "hosts").write_text(hosts(python, *arguments, home=tmp_path).stdout)
    unbound = ["--bind-to", "none"]
    ranks = run(LAUNCHER.path, "--hostfile", "hosts", *unbound, "-n", "8", "echo", "rank", home=tmp_path)
    assert ranks.stdout == "rank\n" * 8, ranks.stderr
