"""`bench run`: every point of a suite, in random order within a repeat, a record after each; it can go on."""

import argparse
import dataclasses
import fcntl
import json
import platform
import shlex
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.harness import estimate, fitness, measure, oracle, records, steps, stored, traces
from bench.harness.measure import Place
from bench.harness.progress import Progress
from bench.harness.records import INVALID, VALID, Record
from bench.harness.steps import Step
from bench.harness.suite import Point, load, points
from bench.programs.program import NotHereError
from mpinn import __version__
from mpinn.hosts import hostfile
from mpinn.hosts.launcher import VENDORS, find_launcher
from mpinn.hosts.library import DETECTED, find
from mpinn.hosts.profile import known
from mpinn.parallel import mpi_library
from mpinn.system import files, untrusted
from mpinn.system.errors import MpinnError, UsageError, nearest
from mpinn.system.words import counted
from mpinn.training import environment

PATIENCE = 20.0  # times the estimate, after which a run is taken to hang
LEAST_PATIENCE = 900.0  # seconds


def add_parser(commands: Any) -> None:
    parser = commands.add_parser(
        "run",
        help="run a suite",
        description="Run a suite on this host, or on those of a hostfile, and record every point. The same command "
        "goes on where it was interrupted. Exit status: 0; 1 a result is INVALID; 2 wrong usage; 130, 143 stopped.",
    )
    parser.add_argument("suite", metavar="SUITE", help="name of a suite (python -m bench list), or a YAML file")
    parser.add_argument("--host", default=DETECTED, metavar="NAME", help="host profile (default: this machine's)")
    parser.add_argument("--hostfile", type=Path, metavar="FILE", help="hosts, as `mpinn.hosts hostfile` writes them")
    parser.add_argument("--out", type=Path, metavar="DIR", help="where the results go (default: results/HOST/SUITE)")
    parser.add_argument(
        *("--set",),
        dest="changes",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="change the suite: repeats=2, epochs=1, 'ranks=[1, 2]', experiments.strong.ranks=4",
    )
    parser.add_argument(
        "--only",
        action="append",
        default=[],
        metavar="EXPERIMENT",
        help="measure this experiment of the suite and leave others for later; may be given more than once",
    )
    parser.add_argument(
        "--watts", type=float, metavar="W", help="power that the machine draws under load, as you measured it"
    )
    parser.add_argument(
        "--again", action="store_true", help="measure once more what is recorded as DEGRADED or INVALID"
    )
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="print the commands of what is left to do and an estimate of the time, and stop",
    )
    parser.set_defaults(command=run)


class TerminatedError(KeyboardInterrupt):
    """SIGTERM, which ends a run as Ctrl-C does: what it has started is ended first."""


def terminate(*_: object) -> None:
    """Handle SIGTERM."""
    raise TerminatedError


def run(asked: argparse.Namespace) -> int:
    """Run what was asked for; return the exit status. Raises MpinnError, UsageError."""
    suite = load(asked.suite, asked.changes)
    profile = find(asked.host)
    launcher = find_launcher()
    mpi_library.check_launcher(launcher.path, VENDORS[launcher.vendor])
    name = platform.node() if asked.host == DETECTED else profile.name
    directory = (asked.out or Path("results") / name / suite.name).absolute()
    if asked.watts is not None and not asked.watts > 0:
        raise UsageError(f"--watts {asked.watts:g}: expected more than 0")
    for experiment in asked.only:
        if experiment not in suite.experiments:
            there = ", ".join(suite.experiments) + nearest(experiment, suite.experiments)
            raise UsageError(f"--only {experiment}: the experiments of {suite.name} are {there}")
    place = Place(directory, suite, profile, launcher, asked.hostfile, asked.watts, tuple(asked.only))
    if asked.dry_run:
        agree(place, plan(place))
        return dry_run(place, to_do(place, records.read(directory), asked.again))
    with mine(directory) as lock:
        files.write_json(directory / "plan.json", agree(place, plan(place)))
        return go_on(dataclasses.replace(place, lock=lock), asked.again)


def all_points(place: Place) -> list[Point]:
    """Return the points of a run. Raises UsageError."""
    return points(place.suite, place.profile, hostfile.count(place.hostfile))


def wanted_now(place: Place) -> list[Point]:
    """Return the points that are measured now."""
    return [point for point in all_points(place) if not place.only or point.experiment in place.only]


def oracles(place: Place, todo: list[Step]) -> list[tuple[Point, int, int]]:
    """Return (point, seed, epochs) of the serial oracles that are needed and not yet kept."""
    training = list({point.name: point for point, _ in todo if point.program == "train"}.values())
    needed = oracle.distinct(place.directory, training)
    return [(p, seed, n) for p, seed, n in needed if not oracle.known(place.directory, p, seed, n)]


def estimates(place: Place, asked: list[tuple[Point, int, int]], todo: list[Step]) -> list[float]:
    """Return the seconds that each oracle, then each step will take."""
    microseconds = estimate.kernel_microseconds()
    cores = place.profile.machine.cores * hostfile.count(place.hostfile)
    serial = [estimate.oracle_seconds(point, epochs, microseconds) for point, _, epochs in asked]
    return serial + [estimate.seconds(point, cores, microseconds) for point, _ in todo]


def dry_run(place: Place, todo: list[Step]) -> int:
    """Print the commands of what is left to do, and an estimate."""
    asked = oracles(place, todo)
    for point, seed, epochs in asked:
        path = oracle.place(place.directory, point, seed)
        print(shlex.join(oracle.command(point, seed, epochs, path)))
    for point, repeat in todo:
        print(shlex.join(measure.command(place, point, repeat)))
    seconds = sum(estimates(place, asked, todo))
    left = f"{counted(len(asked), 'oracle')} and {counted(len(todo), 'run')}"
    print(f"# {left}, roughly {estimate.told(seconds)}", file=sys.stderr)
    return 0


@contextmanager
def mine(directory: Path) -> Iterator[int]:
    """Lock the file given, so that no second `bench run` uses the directory meanwhile. Raises UsageError."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        lock = (directory / ".lock").open("w")
    except OSError as error:
        raise UsageError(f"{directory}: cannot be written: {error.strerror}; give --out another place") from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise UsageError(
                f"{directory}: another bench run is at work there, or what a killed one left; wait for it, or give "
                "--out another place"
            ) from None
        yield lock.fileno()


def plan(place: Place) -> dict[str, Any]:
    """Return what a run must share with the one that it resumes, but for what `grown` allows."""
    return {
        "schema_version": records.SCHEMA_VERSION,
        "suite": dataclasses.asdict(place.suite),
        "profile": known(dataclasses.asdict(place.profile)),
        "mpi": {"vendor": place.launcher.vendor, "version": place.launcher.version},
        "hostfile": untrusted.content(place.hostfile, hostfile.LARGEST_FILE).decode() if place.hostfile else None,
        "watts": place.watts,
        "points": [dataclasses.asdict(point) for point in all_points(place)],
    }


def agree(place: Place, planned: dict[str, Any]) -> dict[str, Any]:
    """Return the plan as it is stored. Raises UsageError where another is that this one has not grown out of."""
    path = place.directory / "plan.json"
    now: dict[str, Any] = json.loads(json.dumps(planned))
    before = untrusted.json_file(path) if path.exists() else now
    differ = [key for key in now if not isinstance(before, dict) or before.get(key) != now[key]]
    if differ and not grown(before, now):
        raise UsageError(
            f"{place.directory}: holds a run with another {' and '.join(differ)}; give --out another place, or "
            "repeat the command that began it"
        )
    return now


def grown(before: Any, now: dict[str, Any]) -> bool:
    """Return whether the plan before has no points but this one's, however often: its records are of this one, too."""
    if not (isinstance(before, dict) and isinstance(before.get("suite"), dict) and before.get("points")):
        return False
    free = {"experiments": {}, "repeats": 0, "most_repeats": 0}
    alike = [plan | {"points": [], "suite": plan["suite"] | free} for plan in (before, now)]
    points = [point | {"repeats": 0} for point in now["points"]]
    return alike[0] == alike[1] and all(
        isinstance(point, dict) and point | {"repeats": 0} in points for point in before["points"]
    )


def keep_environment(place: Place) -> None:
    """Write where and when this session measures, after those of earlier sessions."""
    path = place.directory / "environment.json"
    earlier = stored.load(place.directory, "environment")
    now = {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "host": platform.node(),
        "processor": environment.processor(),
        "architecture": platform.machine(),
        "system": f"{platform.system()} {platform.release()}",
        "memory_mib": environment.memory_mib(),
        "mpinn": __version__,
        "commit": environment.commit(),
        "python": platform.python_version(),
        "mpi": f"{VENDORS[place.launcher.vendor]} {place.launcher.version}",
        "unfit": [
            f"{finding.what}: {finding.found}; {finding.cure}"
            for finding in fitness.findings(place.profile)
            if finding.cure
        ],
    }
    files.write_json(path, [*earlier, now])


def to_do(place: Place, found: list[Record], again: bool) -> list[Step]:
    """Return what is not recorded yet, or with `again` not as VALID; or what is not measured well enough."""
    wanted = wanted_now(place)
    done = {(one["point"], one["repeat"]) for one in records.latest(found) if one["verdict"] == VALID or not again}
    todo = [(point, repeat) for point, repeat in steps.planned(wanted) if (point.name, repeat) not in done]
    return todo or steps.more(wanted, found, place.suite.most_repeats)


def go_on(place: Place, again: bool) -> int:
    """Run the oracles, then what is left to do; return the exit status.

    Where speed is measured, go on until it is measured well.
    """
    signal.signal(signal.SIGTERM, terminate)
    wanted, found = wanted_now(place), records.read(place.directory)
    todo, recorded = to_do(place, found, again), len(records.latest(found))
    untraced = traces.missing(place, wanted)
    if not todo and not untraced:
        of = f" of {', '.join(place.only)}" if place.only else ""
        has = f"{counted(recorded, 'record')} in {place.directory}"
        print(f"nothing left to do{of}: {has}; for a new run give --out another place")
        return summary(place)
    if found:
        print(f"going on: {recorded} recorded, {len(todo)} to do", file=sys.stderr)
    left_out: dict[str, str] = {}
    try:
        keep_environment(place)
        ask_oracles(place, todo)
        while todo:
            measure_all(place, todo, left_out)
            todo = steps.more(wanted, records.read(place.directory), place.suite.most_repeats)
            if todo:
                print(f"{counted(len(todo), 'run')} more: too short, disturbed, or of unstable points", file=sys.stderr)
        for point in untraced:
            print(f"trace  {point.name}", file=sys.stderr)
            traces.trace(place, point)
    except KeyboardInterrupt as stopped:
        print("\nstopped; the same command goes on from here", file=sys.stderr)
        return 143 if isinstance(stopped, TerminatedError) else 130
    finally:
        files.write_json(place.directory / "left_out.json", left_out)
    return summary(place)


def ask_oracles(place: Place, todo: list[Step]) -> None:
    """Run the oracles that steps need."""
    asked = oracles(place, todo)
    with Progress(estimates(place, asked, [])) as progress:
        for point, seed, epochs in asked:
            progress.start(f"serial oracle: {point.name}")
            oracle.ask(place.directory, point, seed, epochs)
            progress.end(f"serial oracle  {point.name}, seed {seed}")


def measure_all(place: Place, todo: list[Step], left_out: dict[str, str]) -> None:
    """Measure and record steps."""
    expected = estimates(place, [], todo)
    with Progress(expected) as progress:
        for (point, repeat), seconds in zip(todo, expected, strict=True):
            progress.start(f"{point.name} #{repeat + 1}")
            progress.end(step(place, point, repeat, seconds, left_out))


def step(place: Place, point: Point, repeat: int, expected: float, left_out: dict[str, str]) -> str:
    """Measure and record one step, unless its program is not there; return its line."""
    title = f"{point.name} #{repeat + 1}"
    try:
        if point.name in left_out:
            raise NotHereError(left_out[point.name])
        found = records.read(place.directory)
        earlier = sum((one["point"], one["repeat"]) == (point.name, repeat) for one in found)
        length = steps.length_by(point, found, place.suite.warm_up)
        record = measure.measure(place, point, repeat, max(LEAST_PATIENCE, PATIENCE * expected), earlier, length)
    except NotHereError as missing:
        left_out[point.name] = str(missing)
        return f"left out  {title}: {missing}"
    records.append(place.directory, record)
    return f"{record['verdict']:8}  {title}  {headline(record)}" + "".join(
        f"\n          {r}" for r in record["reasons"]
    )


def headline(record: Record) -> str:
    """Return the first figures of a record."""
    metrics, units = record["metrics"], record["units"]
    shown = [name for name in ("epoch_seconds", "test_accuracy") if name in metrics] or list(metrics)[:2]
    return ", ".join(f"{name} {metrics[name]:.4g} {units[name]}" for name in shown if metrics[name] is not None)


def summary(place: Place) -> int:
    """Print what came of the whole run; return the exit status."""
    found = records.latest(records.read(place.directory))
    verdicts = {name: sum(record["verdict"] == name for record in found) for name in (VALID, records.DEGRADED, INVALID)}
    said = ", ".join(f"{count} {name}" for name, count in verdicts.items() if count)
    count = counted(len(found), "record")
    print(f"{count} ({said}) in {place.directory}; next: python -m bench report {place.directory}")
    if verdicts[INVALID] == len(found) and found:
        raise MpinnError(f"every result is INVALID: {found[-1]['reasons'][0]}")
    return 1 if verdicts[INVALID] else 0
