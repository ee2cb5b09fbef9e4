"""One measured run of one point: start it under the launcher, watch the host, read what it left, judge it."""

import json
import os
import re
import resource
import shlex
import signal
import subprocess
import sys
import threading
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from time import monotonic
from typing import Any

import numpy as np

from bench.harness import conditions, oracle, result_file, steps, verdict
from bench.harness.conditions import Reading
from bench.harness.records import INVALID, Record
from bench.harness.result_file import Measured, Training
from bench.harness.suite import Point, Suite
from bench.programs.program import NotHereError
from mpinn import config
from mpinn.hosts import hostfile
from mpinn.hosts.launcher import Launcher, command_line
from mpinn.hosts.profile import Profile
from mpinn.parallel import phases
from mpinn.parallel.phases import PHASES
from mpinn.system.errors import MpinnError
from mpinn.training.goals import MISSED

SAMPLE_EVERY = 1.0  # seconds
READ_WITHIN = 120.0  # seconds for the conditions of all hosts
LEVELS = (90, 95, 97, 98, 99)  # accuracies whose epochs and seconds are recorded, percent
PROGRAMS = "bench.programs"  # package of the measuring programs


@dataclass(frozen=True)
class Place:
    """Where and how points are run."""

    directory: Path
    suite: Suite
    profile: Profile
    launcher: Launcher
    hostfile: Path | None
    watts: float | None  # of the whole machine, as its user states them
    only: tuple[str, ...] = ()  # experiments that are measured now; none: all
    lock: int = -1  # file that locks the directory: what is run inherits it, and holds the lock should we be killed


def plain(point: str) -> str:
    """Return the name of a point as a file may have it."""
    return re.sub(r"[^A-Za-z0-9.=-]+", "_", point)


def result_of(place: Place, point: Point, repeat: int, earlier: int) -> Path:
    """Return the file that a run leaves; earlier: its records so far, whose files stay what they are."""
    again = f".{earlier + 1}" if earlier else ""
    return place.directory / "runs" / f"{plain(point.name)}_{repeat}{again}.json"


def command(place: Place, point: Point, repeat: int, earlier: int = 0) -> list[str]:
    """Return the command line of a run; earlier: as for `result_of`. Raises UsageError."""
    result = result_of(place, point, repeat, earlier)
    if point.program == "train":
        return training(place, point, {"workers": point.workers, "seed": point.seed(repeat), "result": str(result)})
    program = [sys.executable, "-m", f"{PROGRAMS}.{point.program}", *program_words(point, repeat, result)]
    return launched(place, point, program)


def training(place: Place, point: Point, options: dict[str, Any]) -> list[str]:
    """Return the command line of a training run of a point, with more or other options. Raises UsageError."""
    words = config.words(point.options | options)
    return launched(place, point, [sys.executable, "-m", "mpinn.train", "--quiet", *words])


def launched(place: Place, point: Point, program: list[str]) -> list[str]:
    """Return the command line that runs a program on the ranks of a point, as the host profile asks."""
    if not point.mpi:
        return program
    mpi = place.profile.mpi
    if point.wait_policy:
        mpi = replace(mpi, wait_policy=point.wait_policy)
    return command_line(mpi, place.launcher, point.ranks, place.hostfile, program)


def program_words(point: Point, repeat: int, result: Path) -> list[str]:
    found = []
    for name, value in point.options.items():
        values = [] if value is True else value if isinstance(value, list) else [value]
        found += [f"--{name.replace('_', '-')}", *map(str, values)] if value is not False else []
    return [*found, *(["--seed", str(repeat)] if point.seeds else []), "--result", str(result)]


def readings(place: Place, glance: bool) -> list[Reading]:
    """Return a reading of every host; with `glance`, how busy it is without us. Raises MpinnError."""
    if place.hostfile is None:
        return [conditions.glance() if glance else conditions.reading()]
    hosts = hostfile.count(place.hostfile)
    program = [sys.executable, "-m", "bench.harness.conditions"]
    line = command_line(place.profile.mpi, place.launcher, hosts, place.hostfile, program)
    if place.launcher.vendor == "mpich":
        line[1:1] = ["-ppn", "1"]
    trouble = MpinnError(
        f"the conditions of the {hosts} hosts of {place.hostfile} cannot be read: do all of them answer to ssh? "
        "The same command goes on from here"
    )
    try:
        ran = subprocess.run(line, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=READ_WITHIN)
    except subprocess.TimeoutExpired:
        raise trouble from None
    found = [json.loads(text) for text in ran.stdout.splitlines() if text.startswith("{")]
    if ran.returncode or len({one["host"] for one in found}) < hosts:
        sys.stderr.write(ran.stderr)
        raise trouble
    return sorted(found, key=lambda one: str(one["host"]))


class Sampler:
    """Readings of this host, taken while something runs."""

    def __init__(self) -> None:
        self.samples: list[Reading] = []
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self.sample, daemon=True)

    def sample(self) -> None:
        while not self.ended.wait(SAMPLE_EVERY):
            self.samples.append(conditions.reading())

    def __enter__(self) -> "Sampler":
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.ended.set()
        self.thread.join()


def processor_seconds() -> float:
    """Return the processor time of this process and of its children that have ended."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def start(line: list[str], patience: float, lock: int | None = None) -> str:
    """Run a command to its end and return what went wrong, or an empty string; it inherits the file `lock`.

    The whole process group is killed after `patience` seconds, or when this is interrupted. Raises NotHereError.
    """
    child = subprocess.Popen(
        line,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        start_new_session=True,
        pass_fds=() if lock is None else (lock,),
    )
    try:
        _, said = child.communicate(timeout=patience)
    except subprocess.TimeoutExpired:
        return f"no end after {patience:.0f} seconds"
    finally:
        if child.poll() is None:
            end(child)
    errors = [text for text in said.splitlines() if text.startswith("mpinn: error: ")]
    last = errors[0].removeprefix("mpinn: error: ") if errors else " ".join(said.strip().splitlines()[-1:])
    if child.returncode == NotHereError.status:
        raise NotHereError(last)
    return "" if child.returncode in (0, MISSED) else f"failed with exit status {child.returncode}: {last}"


def end(child: subprocess.Popen[str]) -> None:
    """End a launcher and its ranks: asked first, then killed."""
    child.terminate()
    try:
        child.wait(10)
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()


def measure(place: Place, point: Point, repeat: int, patience: float, earlier: int, length: int | None) -> Record:
    """Run a point once and return its record; earlier: records of it so far; length: of the run (`steps.length_by`).

    Raises NotHereError, MpinnError.
    """
    result = result_of(place, point, repeat, earlier)
    result.parent.mkdir(exist_ok=True)
    result.unlink(missing_ok=True)
    line = command(place, steps.of_length(point, length), repeat, earlier)
    started = datetime.now(UTC).isoformat(timespec="seconds")
    before = readings(place, glance=True)
    own, began = processor_seconds(), monotonic()
    with Sampler() as sampler:
        failure = start(line, patience, place.lock)
    wall = monotonic() - began
    alone = place.hostfile is None and line[0] != "srun"  # then what ran was a child of this process
    own_seconds = processor_seconds() - own if alone else None
    hosts = [
        conditions.between(first, last, sampler.samples if alone else [], own_seconds)
        for first, last in zip(before, readings(place, glance=False), strict=True)
    ]
    left = {} if failure else result_file.load(result, Training if point.program == "train" else Measured)
    if not failure and not left:
        failure = "it ended before it was complete: was a host lost?"
    faults = [failure] if failure else wrong(place, point, repeat, left)
    said, reasons = verdict.judge(faults, hosts, place.profile)
    nothing: dict[str, Any] = {"metrics": {}, "units": {}, "series": {}, "seconds": 0.0}
    what = read(place, point, left, hosts) if left else nothing
    if said == INVALID:
        what |= {key: accuracies(what[key]) for key in ("metrics", "units", "series")}
    return {
        "suite": place.suite.name,
        "experiment": point.experiment,
        "point": point.name,
        "repeat": repeat,
        "program": point.program,
        "ranks": point.ranks,
        "workers": point.workers,
        "seed": point.seed(repeat),
        "options": point.options,
        "length": length,
        "wait_policy": point.wait_policy,
        "verdict": said,
        "reasons": reasons,
        "official": what["seconds"] >= point.minimum_seconds,
        **what,
        "hosts": hosts,
        "environment": left.get("environment", {}),
        "started": started,
        "wall_seconds": wall,
        "command": shown(place, line),
        "result": str(result.relative_to(place.directory)) if left else None,
    }


def shown(place: Place, line: list[str]) -> str:
    """Return a command line as a record keeps it: without the directories of this installation and of the results."""
    names = {sys.executable: "python", str(place.launcher.path): "mpirun"}
    return shlex.join(names.get(word, word.removeprefix(f"{place.directory}/")) for word in line)


def accuracies(found: dict[str, Any]) -> dict[str, Any]:
    """Return what remains of a wrong result's figures: no speed is reported for it, as HPL reports none."""
    return {name: value for name, value in found.items() if name.endswith("_accuracy")}


def wrong(place: Place, point: Point, repeat: int, left: dict[str, Any]) -> list[str]:
    """Return what is wrong with what a run computed."""
    if point.program != "train":
        return [f"{check['name']}: {check['detail']}" for check in left["checks"] if not check["passed"]]
    right = oracle.ask(place.directory, point, point.seed(repeat), oracle.epochs_of(point))
    return oracle.faults(point, left, right)


def read(place: Place, point: Point, left: dict[str, Any], hosts: list[dict[str, Any]]) -> dict[str, Any]:
    """Return `metrics`, `units`, `series` and `seconds` (of measured work) of what a run left."""
    if point.program != "train":
        return {key: left[key] for key in ("metrics", "units", "series", "seconds")}
    what = of_training(left, min(place.suite.warm_up, len(left["epochs"]) - 1))
    watts = power(hosts) if place.watts is None else place.watts
    if watts is not None:
        what["metrics"] |= energy(what["metrics"], watts)
        what["units"] |= {"watts": "W", "epoch_joules": "J", "exemplars_per_joule": "1/J"}
    return what


def energy(metrics: dict[str, float], watts: float) -> dict[str, float]:
    """Return what training at a power comes to."""
    return {
        "watts": watts,
        "epoch_joules": watts * metrics["epoch_seconds"],
        "exemplars_per_joule": metrics["exemplars_per_second"] / watts,
    }


def power(hosts: list[dict[str, Any]]) -> float | None:
    """Return the mean power of all hosts, watts, where each has a meter that counts."""
    if not all(host["joules"] for host in hosts):
        return None
    return sum(host["joules"] / host["seconds"] for host in hosts)


def of_training(result: dict[str, Any], warm_up: int) -> dict[str, Any]:
    """Return what a result file comes to; its first `warm_up` epochs do not count for speed."""
    epochs, counted = result["epochs"], result["epochs"][warm_up:]
    seconds = [row["train_seconds"] for row in epochs]
    epoch = median(seconds[warm_up:])
    exemplars, rounds = result["data"]["train"], result["rounds_per_epoch"]
    shares = {name: sum(row["phases"][name]["mean"] for row in counted) for name in PHASES}
    whole = sum(shares.values())
    efficient = efficiencies(result, counted)
    metrics = {
        "epoch_seconds": epoch,
        "round_milliseconds": 1e3 * epoch / rounds,
        "exemplar_microseconds": 1e6 * epoch / exemplars,
        "exemplars_per_second": exemplars / epoch,
        "evaluate_seconds": median(row["evaluate_seconds"] for row in epochs),
        "start_seconds": result["total_seconds"] - sum(seconds) - sum(row["evaluate_seconds"] for row in epochs),
        **{f"start_{name}_seconds": spent for name, spent in result["start"].items()},
        **({"memory_mib": result["memory"]["pss_mib_mean"]} if result["memory"] else {}),
        **{f"{name}_percent": 100 * spent / whole for name, spent in shares.items()},
        **efficient,
        **{name: epochs[-1][name] for name in ("train_accuracy", "test_accuracy")},
    }
    units = dict.fromkeys(metrics, "%") | {
        "epoch_seconds": "s",
        "round_milliseconds": "ms",
        "exemplar_microseconds": "us",
        "exemplars_per_second": "1/s",
        "evaluate_seconds": "s",
        **{name: "s" for name in metrics if name.startswith("start_")},
        **{name: "1" if name.endswith("_efficiency") else "us" for name in efficient},
        "memory_mib": "MiB",
    }
    reached = times_to_accuracy(epochs)
    return {
        "metrics": metrics | reached,
        "units": units | {name: "s" if name.endswith("seconds") else "epochs" for name in reached},
        "series": {
            name: [row[name] for row in epochs] for name in ("train_accuracy", "test_accuracy", "train_seconds")
        },
        "seconds": sum(seconds[warm_up:]),
    }


def efficiencies(result: dict[str, Any], counted: list[dict[str, Any]]) -> dict[str, float]:
    """Return the efficiencies of these epochs, and what all ranks together took to learn an exemplar, where known."""
    about = result["environment"]
    found = None if about.get("oversubscribed", True) else phases.efficiency(counted)
    if found is None:
        return {}
    learned = sum(row["learn"]["mean"] for row in counted) / len(counted) * about.get("ranks", 1)
    return {f"{name}_efficiency": value for name, value in found._asdict().items()} | {
        "learned_microseconds": 1e6 * learned / result["data"]["train"]
    }


def times_to_accuracy(epochs: list[dict[str, Any]]) -> dict[str, float]:
    """Return the epochs and seconds of training until each set was classified so well; without levels not reached."""
    elapsed = np.cumsum([row["train_seconds"] for row in epochs])
    found: dict[str, float] = {}
    for name in ("train", "test"):
        for level in LEVELS:
            reached = [i for i, row in enumerate(epochs) if (row[f"{name}_accuracy"] or 0) >= level]
            if reached:
                found[f"{name}_{level}_epochs"] = epochs[reached[0]]["epoch"]
                found[f"{name}_{level}_seconds"] = float(elapsed[reached[0]])
    return found
