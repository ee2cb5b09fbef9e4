"""Traces of the points that a report draws a timeline of: runs of their own, for what is traced is not measured."""

from collections.abc import Sequence
from pathlib import Path

from bench.harness import measure, suite
from bench.harness.measure import Place
from bench.harness.suite import Point
from mpinn.system.errors import MpinnError

EPOCHS, ROUNDS = 2, 100  # of a trace
PATIENCE = 900.0  # seconds


def path_of(directory: Path, point: str) -> Path:
    """Return where the trace of a point is kept."""
    return directory / "traces" / f"{measure.plain(point)}.json.gz"


def missing(place: Place, points: Sequence[Point]) -> list[Point]:
    """Return the points of which a timeline is wanted, and no trace is there.

    Of an experiment with a timeline that is the one of training with most ranks of those that have a core each.
    """
    wanted: dict[str, Point] = {}
    for point in points:
        kinds = [figure.kind for figure in suite.describe(place.suite, point.experiment).figures]
        most = wanted.get(point.experiment)
        if "timeline" in kinds and point.program == "train" and point.ranks <= place.profile.mpi.slots:
            wanted[point.experiment] = point if most is None or point.ranks > most.ranks else most
    return [point for point in wanted.values() if not path_of(place.directory, point.name).exists()]


def trace(place: Place, point: Point) -> None:
    """Run a point for its trace. Raises MpinnError."""
    path = path_of(place.directory, point.name)
    path.parent.mkdir(exist_ok=True)
    options = {"workers": point.workers, "seed": 0, "epochs": EPOCHS, "trace": str(path), "trace_rounds": ROUNDS}
    failure = measure.start(measure.training(place, point, options), PATIENCE, place.lock)
    if failure or not path.exists():
        raise MpinnError(f"{point.name}: no trace: {failure or 'it ended before it was written'}")
