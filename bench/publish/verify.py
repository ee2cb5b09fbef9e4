"""`bench verify FILE ...`: is a pack what it claims to be? Nothing in it is believed that can be checked."""

import argparse
import math
import tempfile
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from bench.harness import measure, oracle, records, suite, verdict
from bench.harness.records import INVALID
from bench.harness.suite import Point
from bench.publish import packed, plausible
from bench.publish.packed import Pack
from mpinn.hosts import profile
from mpinn.hosts.profile import Profile
from mpinn.system.errors import MpinnError, UsageError
from mpinn.system.words import counted

VERIFIED, UNVERIFIED, REFUTED = "VERIFIED", "UNVERIFIED", "REFUTED"
GROWING = ("train_accuracy", "test_accuracy")  # series over epochs, of which the figure is the last
EXEMPLARS = 60_000  # of an epoch of a program that tells its accuracies: those of MNIST
SAME = 1e-9  # relative, of figures that are computed again
CONTRADICTIONS = (LookupError, TypeError, ValueError, ArithmeticError, AttributeError)


class Findings(NamedTuple):
    """What a check came to."""

    wrong: list[str]  # what refutes the pack
    unknown: list[str]  # what could not be checked

    @property
    def verdict(self) -> str:
        return REFUTED if self.wrong else UNVERIFIED if self.unknown else VERIFIED


def add_parser(commands: Any) -> None:
    parser = commands.add_parser(
        "verify",
        help="check packs of others",
        description="Check packs: figures are computed again from the runs, weights are held against golden hashes, "
        "verdicts against conditions, times against each other, records against their chain. Exit status: 0 where all "
        "are VERIFIED, else 1; 2 where one is no pack.",
    )
    parser.add_argument("files", type=Path, nargs="+", metavar="FILE", help="packs of `bench pack`")
    parser.add_argument(
        "--train", action="store_true", help="train here what has no golden hash, which may take as long as it took"
    )
    parser.set_defaults(command=command)


def command(asked: argparse.Namespace) -> int:
    """Print what is found; return the exit status. Raises UsageError, MpinnError."""
    verdicts = []
    for path in asked.files:
        pack = packed.load(path)
        found = check(pack, asked.train)
        verdicts.append(found.verdict)
        print(f"{found.verdict:10}  {path}: {pack.title}, {counted(len(pack.records), 'record')}")
        for words in (*found.wrong, *found.unknown):
            print(f"            {words}")
    return 0 if set(verdicts) == {VERIFIED} else 1


def check(pack: Pack, train: bool = False) -> Findings:
    """Return what is wrong with a pack, and what is not known; train: whether to train what has no golden hash.

    A pack says more than its schemas know: what in it makes no sense refutes it.
    """
    try:
        return checked(pack, train)
    except (*CONTRADICTIONS, UsageError) as error:
        return Findings([f"what it says makes no sense: {error!r}"], [])


def checked(pack: Pack, train: bool) -> Findings:
    """As `check`. Raises UsageError or CONTRADICTIONS for what makes no sense."""
    standing = {id(record) for record in records.latest(list(pack.records))}  # no figure is of others: measured again
    runs = [run if id(record) in standing else {} for record, run in zip(pack.records, pack.runs, strict=True)]
    wrong = [*chain(pack), *plausible.doubts(pack.records, runs)]
    wrong += plausible.out_of_order("sessions", pack.sessions)
    wrong += plausible.out_of_order("records", pack.records)
    unknown = [*unchained(pack), *changed(pack)]
    machine = profile.parse(pack.plan["profile"])
    try:
        points = points_of(pack, machine)
    except UsageError as error:
        return Findings([*wrong, f"its plan cannot be run: {error}"], unknown)
    with tempfile.TemporaryDirectory() as folder:
        for record, run in zip(pack.records, runs, strict=True):
            name = f"{record['point']} #{record['repeat'] + 1}"
            point = points.get(record["point"])
            if point is None or not planned(point, record):
                wrong.append(f"{name}: is not what the plan has")
            elif record["verdict"] == INVALID:
                unknown.append(f"{name}: is INVALID by its own account")
            elif not run and record["program"] == "train" and id(record) in standing:
                wrong.append(f"{name}: what its training left is missing")
            else:
                doubts = [*judged(machine, record), *short(point, record)]
                if id(record) in standing:
                    doubts += figures(pack, record, run) if run else from_series(record)
                wrong += [f"{name}: {words}" for words in doubts]
                learned = weights(point, record, run, Path(folder), train) if run else Findings([], [])
                wrong += [f"{name}: {words}" for words in learned.wrong]
                unknown += learned.unknown
    unknown += unfounded(pack)
    return Findings(wrong, list(dict.fromkeys(unknown)))


def points_of(pack: Pack, machine: Profile) -> dict[str, Point]:
    """Return the points that the plan comes to, by name. Raises UsageError."""
    about = dict(pack.plan["suite"])
    planned = suite.parse(about.pop("name"), about)
    return {point.name: point for point in suite.points(planned, machine, pack.plan["hosts"])}


def planned(point: Point, record: dict[str, Any]) -> bool:
    """Return whether a record is of a point: the same run, of a seed that a repeat has."""
    told = {name: record[name] for name in ("program", "ranks", "workers", "options", "wait_policy", "experiment")}
    plan = {name: getattr(point, name) for name in told}
    return bool(told == plan and record["seed"] == point.seed(record["repeat"]))


def chain(pack: Pack) -> Iterator[str]:
    """Yield the first record that was changed since it was written, or that one is missing before."""
    before = ""
    for record in pack.records:
        found = record.get("chain")
        if found is not None and found != records.link(before, record):
            yield f"{record['point']} #{record['repeat'] + 1}: changed since it was measured, or one before is missing"
            return
        before = found or ""


def unchained(pack: Pack) -> Iterator[str]:
    if any(record.get("chain") is None for record in pack.records):
        yield "records without a chain: measured by an older bench"


def changed(pack: Pack) -> Iterator[str]:
    for session in pack.sessions:
        commit = str(session.get("commit"))
        if commit == "None" or commit.endswith("-dirty"):
            yield f"measured with code that is no commit ({commit[:46]})"


def judged(machine: Profile, record: dict[str, Any]) -> Iterator[str]:
    """Yield where a verdict is not what the conditions make of it."""
    hosts = [{**host, "host": "host"} for host in record["hosts"]]
    said, reasons = verdict.judge([], hosts, machine)
    if said != record["verdict"]:
        yield f"says {record['verdict']}; by its conditions it is {said}" + (f" ({reasons[0]})" if reasons else "")


def short(point: Point, record: dict[str, Any]) -> Iterator[str]:
    """Yield where a record is not as official as its measured seconds make it."""
    if record["official"] != (record["seconds"] >= point.minimum_seconds):
        yield f"official: {record['official']}, with {record['seconds']:.3g} s of {point.minimum_seconds:g}"


def from_series(record: dict[str, Any]) -> Iterator[str]:
    """Yield the figures of a program that are not what its series come to."""
    for name, found in by_series(record).items():
        if name in record["metrics"] and not same(record["metrics"][name], found):
            yield f"{name} is {record['metrics'][name]}, but {found} by its series"


def by_series(record: dict[str, Any]) -> dict[str, float]:
    """Return the figures that the series of a program come to: medians, of accuracies over epochs the last.

    Seconds and accuracies of epochs tell how long one takes, and when levels of accuracy were reached.
    """
    series = record["series"]
    found = {name: values[-1] if name in GROWING else median(values) for name, values in series.items()}
    if series.keys() >= {"train_seconds", *GROWING}:
        columns = [series[name] for name in ("train_seconds", *GROWING)]
        rows = [
            {"epoch": number, "train_seconds": seconds, "train_accuracy": train, "test_accuracy": test}
            for number, (seconds, train, test) in enumerate(zip(*columns, strict=True), 1)
        ]
        epoch = found["train_seconds"]
        found |= {"epoch_seconds": epoch, "exemplar_microseconds": 1e6 * epoch / EXEMPLARS}
        found |= measure.times_to_accuracy(rows)
    return found


def unfounded(pack: Pack) -> Iterator[str]:
    """Yield the programs with a figure that their series do not come to."""
    programs = [record for record in pack.records if record["program"] != "train"]
    unknown = {record["program"] for record in programs if record["metrics"].keys() - by_series(record).keys()}
    if unknown:
        yield f"not all figures of {', '.join(sorted(unknown))} can be computed again from what is packed"


def figures(pack: Pack, record: dict[str, Any], run: dict[str, Any]) -> Iterator[str]:
    """Yield the figures that are not what the run comes to."""
    result = packed.training(run, record)
    again = measure.of_training(result, min(pack.plan["suite"]["warm_up"], len(result["epochs"]) - 1))
    hosts = [{"joules": None, **host} for host in record["hosts"]]
    watts = measure.power(hosts) if pack.plan["watts"] is None else pack.plan["watts"]
    if watts is not None:
        again["metrics"] |= measure.energy(again["metrics"], watts)
    for name, value in again["metrics"].items():
        if name in record["metrics"] and not same(record["metrics"][name], value):
            yield f"{name} is {record['metrics'][name]}, but {value} by its run"
    more = sorted(record["metrics"].keys() - again["metrics"].keys())
    if more:
        yield f"{more[0]}: nothing in its run says so"
    for name, values in again["series"].items():
        if not all(map(same, record["series"].get(name, []), values)) or len(values) != len(record["series"][name]):
            yield f"the series {name} is not that of its run"
    if not same(record["seconds"], again["seconds"]):
        yield f"{record['seconds']} s of measured work, but {again['seconds']} by its run"


def same(a: float | None, b: float | None) -> bool:
    return a == b or (a is not None and b is not None and math.isclose(a, b, rel_tol=SAME))


def weights(point: Point, record: dict[str, Any], run: dict[str, Any], folder: Path, train: bool) -> Findings:
    """Return where a run's weights or accuracies are not those that every machine learns."""
    other = [name for name, value in asked(point, record).items() if run["config"].get(name) != value]
    if other:
        return Findings([f"ran with another {other[0]} than its point has"], [])
    epochs = min(oracle.epochs_of(point), len(run["epochs"]))
    right = oracle.golden_one(point, record["seed"], epochs)
    if right is None and not train:
        return Findings([], [f"{point.name}: no golden hash is known; --train trains it here"])
    if record["environment"].get("numerics") is None:
        return Findings([], [f"{point.name}: learned by a kernel whose bits are its own"])
    try:
        right = right or oracle.ask(folder, point, record["seed"], epochs)
    except MpinnError as error:
        return Findings([], [f"{point.name}: cannot be trained here: {error}"])
    right = {"kernel_error": 0.0, **right}  # of the kernel here, which only trains what is not known
    result = packed.training(run, record)
    environment = {"same_kernel_everywhere": True, **record["environment"]}
    return Findings(oracle.faults(point, {**result, "environment": environment}, right), [])


def asked(point: Point, record: dict[str, Any]) -> dict[str, Any]:
    """Return the settings that a run of the point must have, but for those that a run finds out or lengthens."""
    open_ones = {None, "auto", "all"}
    found = {name: value for name, value in point.options.items() if isinstance(value, list) or value not in open_ones}
    found |= {"workers": point.workers, "seed": record["seed"]}
    if record["length"] is not None and point.lengthen:
        found[point.lengthen] = record["length"]
    return found
