"""Suites: what to run, as YAML in bench/suites; the points that a suite comes to on a host.

`Suite` and `Experiment` are the one description of the file's keys; docs/bench.md explains them to its author.
"""

# ruff: noqa: RUF009 (entry returns a dataclasses.field)

import dataclasses
import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mpinn import config
from mpinn.config import Options
from mpinn.hosts.profile import Profile
from mpinn.merging.rates import SCHEDULES
from mpinn.system import schema, yaml_files
from mpinn.system.errors import UsageError, nearest
from mpinn.system.schema import entry, read

SUITES = Path(__file__).parents[1] / "suites"
NAME = r"[a-z0-9][a-z0-9-]{0,63}"
KINDS = (  # of figures
    *("speedup", "lines", "growth", "nutshell", "shares", "efficiencies", "predicted", "timeline"),
    *("bars", "front", "table", "all"),
)
PROGRAM = r"train|[a-z_]+(\.[a-z_]+)*"
OF_ALL = ("repeats", "ranks", "workers")  # what --set changes in every experiment
# Options that bench gives every training run itself.
RESERVED = ("workers", "seed", "result", "config", "checkpoint", "resume", "quiet", "log_level", "debug")


@dataclass(frozen=True)
class Check:
    """Bounds of an accuracy; a run outside them is wrong, and so INVALID."""

    metric: str = entry("what is checked", choices=("train_accuracy", "test_accuracy"))
    epoch: int = entry("after this epoch", least=1)
    least: float = entry("lowest right value", least=0, most=100, unit="%")
    most: float = entry("highest right value", least=0, most=100, unit="%", default=100.0)


@dataclass(frozen=True)
class Figure:
    """How the report draws an experiment."""

    kind: str = entry("kind of figure", choices=KINDS)
    title: str | None = entry("what it shows, if not the experiment's title", default=None)
    y: tuple[str, ...] = entry("metrics, or series for growth", default=())
    of: tuple[str, ...] = entry("experiments of a nutshell or a front", default=())
    x: str | None = entry("what varies: ranks, workers, law or an option", default=None)
    by: tuple[str, ...] = entry("what tells the lines apart: ranks, workers or options", default=())
    epochs: tuple[int, ...] = entry("of series: the epochs after which values are shown", least=1, default=())
    log: bool = entry("whether x is drawn on a logarithmic scale", default=False)
    published: str | None = entry("metric of the published values shown beside", default=None)
    paper: str | None = entry("figure or lesson of the paper", default=None)
    note: str | None = entry("what the reader should know", default=None)


@dataclass(frozen=True)
class Experiment:
    """Points that answer one question. `ranks`, `workers` and `options` may be lists: then there is a point of each."""

    title: str = entry("what it measures")
    figures: tuple[Figure, ...] = entry("how the report draws it", default=())
    program: str = entry(
        "'train', or a module of bench.programs, such as kernel_speed", pattern=PROGRAM, default="train"
    )
    mpi: bool = entry("whether the program runs under mpirun", default=True)
    repeats: int | None = entry("measured runs of every point, if not the suite's", least=1, most=1000, default=None)
    seeds: bool = entry("whether the repeats take the seeds 0, 1, 2, ... instead of 0", default=False)
    oracle_epochs: int | None = entry("epochs of which the serial oracle checks the weights", least=1, default=None)
    minimum_seconds: float | None = entry(
        "time of measured work that makes a figure official, if not the suite's", least=0, unit="s", default=None
    )
    lengthen: str | None = entry(
        "of a measurement of speed: the option that is raised where runs are too short to be official, epochs say",
        pattern=r"[a-z][a-z_]*",
        default=None,
    )
    seconds: float | None = entry(
        "rough time of a point where the native kernel takes 4 microseconds an exemplar; not for train",
        least=0,
        unit="s",
        default=None,
    )
    wait_policies: tuple[str, ...] = entry(
        "wait policies to try, instead of the profile's", choices=("yield", "spin"), default=()
    )
    checks: tuple[Check, ...] = entry("what a right run keeps to", default=())


@dataclass(frozen=True)
class Suite:
    """What is common to the experiments of a suite."""

    title: str = entry("name for people")
    description: str = entry("what it is for")
    repeats: int = entry("measured runs of every point", least=1, most=1000)
    most_repeats: int = entry(
        "up to which a point is repeated while its figures are unstable", least=1, most=1000, default=1
    )
    warm_up: int = entry("epochs at the start of a training run that speed figures leave out", least=0, default=1)
    minimum_seconds: float = entry("time of measured work that makes a figure official", least=0, unit="s", default=5.0)
    target_accuracy: float = entry("test accuracy of the figure of merit", least=0, most=100, unit="%", default=97.0)
    name: str = entry("name of its file", default="")
    experiments: dict[str, dict[str, Any]] = entry("as the file says them, common options merged", default=None)


@dataclass(frozen=True)
class Point:
    """One thing to measure, `repeats` times."""

    name: str  # experiment/what tells it from the experiment's other points
    experiment: str
    program: str
    mpi: bool
    ranks: int
    workers: int | None
    options: dict[str, Any]
    repeats: int
    seeds: bool
    oracle_epochs: int | None
    minimum_seconds: float
    lengthen: str | None
    figures: tuple[str, ...]  # metrics of which a measurement of speed must be sure
    seconds: float | None
    wait_policy: str | None
    checks: tuple[Check, ...]

    def seed(self, repeat: int) -> int:
        """Return the seed of a repeat (from 0)."""
        return repeat if self.seeds else 0


def names() -> list[str]:
    """Return the names of the suites that ship."""
    return sorted(path.stem for path in SUITES.glob("*.yml"))


def load(name: str, changes: list[str]) -> Suite:
    """Return a suite by name or path, with changes such as 'repeats=2' or 'epochs=1'. Raises UsageError."""
    path = Path(name) if "/" in name or name.endswith((".yml", ".yaml")) else SUITES / f"{name}.yml"
    if path.parent == SUITES and name not in names():
        raise UsageError(
            f"no suite {name!r}{nearest(name, names())}: there are {', '.join(names())}, and files (./X.yml)"
        )
    content = yaml_files.read(path)
    try:
        for key in ("experiments", "options"):
            mapping(content.get(key) or {}, key)
        include(content)
        for change in changes:
            apply(content, change)
        return parse(path.stem, content)
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from None


def include(content: dict[str, Any]) -> None:
    """Put the experiments of the suites that `include` names behind a suite's own, in place. Raises UsageError."""
    others = content.pop("include", [])
    if not isinstance(others, list) or not all(one in names() for one in others):
        raise UsageError(f"include: expected a list of suites ({', '.join(names())}), got {schema.shown(others)}")
    for other in others:
        content["experiments"] = {**(content.get("experiments") or {}), **load(other, []).experiments}


def apply(content: dict[str, Any], change: str) -> None:
    """Change a suite in place as --set says. Raises UsageError.

    KEY is one of the suite's, or a dotted one; or an option of training, repeats, ranks or workers: then of all points.
    """
    key, equals, text = change.partition("=")
    try:
        value = yaml_files.parse(text)
    except UsageError:
        value = None
    if not equals or value is None:
        raise UsageError(f"--set {change}: expected KEY=VALUE, such as repeats=2, epochs=1 or 'ranks=[1, 2]'")
    experiments = [about for about in (content.get("experiments") or {}).values() if isinstance(about, dict)]
    training = [about for about in experiments if about.get("program", "train") == "train"]
    if key in OF_ALL:
        for about in training if key == "workers" else experiments:
            if key == "repeats":
                about.pop(key, None)
            elif key == "workers" or key in about:
                about[key] = value
        if key == "repeats":
            content[key] = value
    elif key in config.FIELDS:
        content.setdefault("options", {})[key] = value
        for about in training:
            mapping(about.get("options") or {}, "options").pop(key, None)
    else:
        *way, last = key.split(".")
        inner: Any = content
        for part in way:
            inner = inner.get(part) if isinstance(inner, dict) else None
        known = [f.name for f in dataclasses.fields(Suite)]
        if not isinstance(inner, dict) or (not way and last not in known):
            close = nearest(key, [*known, *OF_ALL, *config.FIELDS])
            raise UsageError(f"--set {change}: the suite has no {key!r}{close}")
        inner[last] = value


def parse(name: str, content: dict[str, Any]) -> Suite:
    """Return the suite that a mapping says. Raises UsageError naming the key."""
    content = dict(content)
    common = mapping(content.pop("options", {}), "options")
    experiments = mapping(content.pop("experiments", None), "experiments")
    if not experiments:
        raise UsageError("experiments: missing; expected at least one")
    suite = read(Suite, content)
    merged = {}
    for key, about in experiments.items():
        if not re.fullmatch(NAME, str(key)):
            raise UsageError(f"experiments: expected names of a-z, 0-9 and hyphens, got {schema.shown(key)}")
        about = dict(mapping(about, f"experiments.{key}"))
        options = mapping(about.get("options", {}), f"experiments.{key}.options")
        about["options"] = {**common, **options} if about.get("program", "train") == "train" else options
        merged[str(key)] = about
    suite = dataclasses.replace(suite, name=name, experiments=merged)
    for experiment in merged:
        describe(suite, experiment)
    return suite


def mapping(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise UsageError(f"{where}: expected a mapping ('key: value' lines), got {schema.shown(value)}")
    return value


def describe(suite: Suite, experiment: str) -> Experiment:
    """Return the fixed fields of an experiment. Raises UsageError naming the key."""
    varied = ("ranks", "workers", "options")
    fixed = {key: value for key, value in suite.experiments[experiment].items() if key not in varied}
    about = read(Experiment, fixed, f"experiments.{experiment}")
    known = config.FIELDS if about.program == "train" else suite.experiments[experiment]["options"]
    if about.lengthen is not None and about.lengthen not in known:
        raise UsageError(
            f"experiments.{experiment}.lengthen: no option {about.lengthen!r}{nearest(about.lengthen, known)}"
        )
    return about


def points(suite: Suite, profile: Profile, hosts: int = 1) -> list[Point]:
    """Return the points of a suite on so many hosts of a kind, in the order of the file. Raises UsageError."""
    return [point for experiment in suite.experiments for point in points_of(suite, experiment, profile, hosts)]


def points_of(suite: Suite, experiment: str, profile: Profile, hosts: int) -> Iterator[Point]:
    about = describe(suite, experiment)
    where = f"experiments.{experiment}"
    raw = suite.experiments[experiment]
    train = about.program == "train"
    axes: dict[str, list[Any]] = {"ranks": ranks(raw.get("ranks", 1), profile, hosts, f"{where}.ranks")}
    if train:
        axes["workers"] = numbers(raw.get("workers", "ranks"), f"{where}.workers", ("ranks",))
    for key, value in raw["options"].items():
        axes[key] = option(key, value, f"{where}.options.{key}", train)
    axes["wait_policy"] = list(about.wait_policies) or [None]
    varying = [key for key, values in axes.items() if len(values) > 1]
    for chosen in itertools.product(*axes.values()):
        values = dict(zip(axes, chosen, strict=True))
        told = ",".join(f"{key}={shown(values[key])}" for key in varying)
        count, workers = values["ranks"], values.get("workers")
        yield Point(
            name=f"{experiment}/{told}" if told else experiment,
            experiment=experiment,
            program=about.program,
            mpi=about.mpi,
            ranks=count,
            workers=count if workers == "ranks" else workers,
            options=settled({key: values[key] for key in raw["options"] if values[key] is not None}),
            repeats=about.repeats or suite.repeats,
            seeds=about.seeds,
            oracle_epochs=about.oracle_epochs,
            minimum_seconds=suite.minimum_seconds if about.minimum_seconds is None else about.minimum_seconds,
            lengthen=about.lengthen,
            figures=tuple(about.figures[0].y) if about.figures else (),
            seconds=about.seconds,
            wait_policy=values["wait_policy"],
            checks=about.checks,
        )


def settled(options: dict[str, Any]) -> dict[str, Any]:
    """Return the options of a point with the end of their schedule, which is not that of an oracle of fewer epochs."""
    usual = SCHEDULES[options["schedule"]][0] if options.get("schedule") in SCHEDULES else None
    if usual is None or not usual.to_the_end:
        return options
    return {"schedule_epochs": options.get("epochs", Options().epochs), **options}


def shown(value: Any) -> str:
    return "-".join(map(str, value)) if isinstance(value, list) else str(value)


def ranks(value: Any, profile: Profile, hosts: int, where: str) -> list[int]:
    """Return the numbers of ranks.

    A word stands for what the profile lists (`host`), for its slots (`slots`), for a rank on each host (`hosts`), and
    for the slots of all hosts (`cluster`).
    """
    slots = profile.mpi.slots
    words = {"host": list(profile.ranks), "slots": [slots], "hosts": [hosts], "cluster": [hosts * slots]}
    found: list[int] = []
    for item in numbers(value, where, tuple(words)):
        found += words[item] if isinstance(item, str) else [item]
    return sorted(set(found))


def numbers(value: Any, where: str, words: tuple[str, ...]) -> list[Any]:
    values = value if isinstance(value, list) else [value]
    for item in values:
        if item not in words and not (type(item) is int and item > 0):
            raise UsageError(f"{where}: expected whole numbers above 0, or {' or '.join(words)}, got {item!r}")
    if not values:
        raise UsageError(f"{where}: expected at least one")
    return values


def option(name: str, value: Any, where: str, train: bool) -> list[Any]:
    """Return the values of an option, checked where it is one of training: a list has a point for each."""
    several = train and name in config.FIELDS and schema.is_list(config.TYPES[name])
    listed = isinstance(value, list) and (not several or (bool(value) and isinstance(value[0], list)))
    values = value if listed else [value]
    if not train:
        return values
    if name not in config.FIELDS or name in RESERVED:
        raise UsageError(f"{where}: no option that a suite may give{nearest(name, config.FIELDS)}")
    for item in values:
        if item is not None:
            config.check(name, item, where)
    return values
