"""`make test-course`: every command of docs/course, as a reader gives it, and what should come out of it."""

import doctest
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.course import compare, exercises
from tests.course.exercises import CHECKOUT, CLUSTER, Command
from tests.deployment.cluster import HOME, SCRIPT, Control, cluster

LIKE_DOCTEST = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
LONGEST = 600  # seconds of a command
TRIES = 3
HOSTS = ("node1", "node2")
ON_BOARD = f"cd {HOME}/current && . environment/bin/activate && "

LAPTOP = [path for path in exercises.paths() if not path.name.startswith(CLUSTER)]
BOARDS = [path for path in exercises.paths() if path.name.startswith(CLUSTER)]


@pytest.fixture(scope="module")
def boards(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Control]:
    """Two hosts in namespaces of this machine, and the control machine of them."""
    if os.geteuid() != 0:
        pytest.fail("the exercises for a cluster need root here: their hosts are namespaces of this machine")
    with cluster(tmp_path_factory.mktemp("control"), HOSTS) as control:
        control.well("deploy.yml")
        yield control


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("path", LAPTOP, ids=lambda path: path.stem)
def test_exercise_for_a_laptop(path: Path) -> None:
    tried(path, None)


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("path", BOARDS, ids=lambda path: path.stem)
def test_exercise_for_a_cluster(path: Path, boards: Control) -> None:
    tried(path, boards)


def tried(path: Path, control: Control | None) -> None:
    """Do an exercise; compare what its commands print, its numbers, and that its figures were drawn.

    A number outside its range is measured again, as the course tells its readers to: a busy machine is slow.
    """
    exercise = exercises.read(path)
    for _ in range(TRIES):
        for result in exercise.results:
            shutil.rmtree(result, ignore_errors=True)
        give(exercise.commands, control)
        lines = list(compare.compared(exercise.name))
        print("\n".join(text for _, text in lines))
        wrong = [text for right, text in lines if not right]
        if not wrong:
            break
        if control:
            given(Command("board", "rm -rf ~/course", ""), control)  # where the results are first
    assert wrong == []
    assert [figure.name for figure in exercise.figures if not exercises.made(figure).exists()] == []


def give(commands: list[Command], control: Control | None) -> None:
    """Give commands, one after the other, and hold what each prints against what it should."""
    for command in commands:
        status, said = given(command, control)
        assert status == 0, f"{command.text}\nended with status {status}:\n{said}"
        right = doctest.OutputChecker().check_output(command.expected, said, LIKE_DOCTEST)
        assert right or not command.expected, f"{command.text}\nshould print\n{command.expected}\nand printed\n{said}"


def given(command: Command, control: Control | None) -> tuple[int, str]:
    """Run a command where its prompt says; return its exit status and what it printed."""
    line, where, environment = ["bash", "-c", command.text], CHECKOUT, dict(os.environ)
    if command.where:
        assert control, f"{command.text}: is for a cluster"
    if command.where == "board":
        line = [str(SCRIPT), "in", HOSTS[0], "su", "-", "mpinn", "-c", ON_BOARD + command.text]
    elif command.where == "ansible" and control:
        line, where = [str(SCRIPT), "ctl", *line], CHECKOUT / "ansible"
        environment |= {
            "HOME": str(control.home),
            "ANSIBLE_INVENTORY": str(control.inventory),
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_SSH_CONTROL_PATH_DIR": f"{control.home}/ssh",
        }
    done = subprocess.run(
        line,
        cwd=where,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=LONGEST,
        check=False,
    )
    return done.returncode, done.stdout
