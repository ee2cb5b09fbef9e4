"""Which tests run where: tests/mpi under mpirun (`--with-mpi`) and alone; tests/processors,
tests/deployment, tests/browser, tests/simgrid, tests/board and tests/course when named; others always.
"""

import os
import shutil
import signal
import sys
import tempfile
from pathlib import Path

import hypothesis
import pytest

from mpinn.parallel.launched import launched

MPI_TESTS = Path(__file__).parent / "mpi"
NAMED = ("processors", "deployment", "browser", "simgrid", "board", "course")
NAMED_TESTS = [Path(__file__).parent / name for name in NAMED]
# No deadline: a busy machine is slow. The same examples each time, so that what was green stays so, but when exploring.
ALWAYS = hypothesis.settings(deadline=None, derandomize=True)
hypothesis.settings.register_profile("any machine", ALWAYS)
hypothesis.settings.register_profile("thorough", ALWAYS, max_examples=3000)
hypothesis.settings.register_profile("exploring", deadline=None, max_examples=1000)
hypothesis.settings.register_profile(  # a counterexample is enough
    "mutants", ALWAYS, phases=[hypothesis.Phase.explicit, hypothesis.Phase.generate]
)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "any machine"))
for variable in ("OMPI_ALLOW_RUN_AS_ROOT", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM"):
    os.environ.setdefault(variable, "1")
os.environ["TERM"] = "xterm"
for number in (
    signal.SIGHUP,
    signal.SIGINT,
):  # under nohup and in the background, too, what tests start can be signalled
    if signal.getsignal(number) == signal.SIG_IGN:
        signal.signal(number, signal.default_int_handler)
for variable in ("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE", "CLICOLOR_FORCE"):
    os.environ.pop(variable, None)


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Under mpirun rank 0 reports for all; a failure of another rank is shown by tests/mpi/conftest.py."""
    _, ranks, rank = launched()
    if ranks > 1:  # pytest's own numbering of temporary directories is not made for several processes
        config.option.basetemp = tempfile.mkdtemp(prefix="mpinn-tests-")
        config.add_cleanup(lambda: shutil.rmtree(config.option.basetemp, ignore_errors=True))
    if rank > 0:
        sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115 - open until the process ends


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave out what does not belong to this kind of run; nothing is skipped."""
    under_mpi = config.getoption("--with-mpi")
    if collection_path in NAMED_TESTS:
        return not any(f"tests/{collection_path.name}" in named for named in config.args)
    if collection_path == MPI_TESTS:
        return not under_mpi
    is_test = collection_path.suffix == ".py" and collection_path.name != "conftest.py"
    return True if under_mpi and is_test and MPI_TESTS not in collection_path.parents else None


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """A skipped test is a failure: it would show nothing."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter and reporter.stats.get("skipped") and exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
