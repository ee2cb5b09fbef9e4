"""`python -m tests.course.compare EXERCISE ...`: are your numbers those that should come out?

The rows of an exercise's table, beside what its commands measured here. Of repeated runs it takes the fastest of
seconds, for what disturbs a run makes it slower and never faster, and the median of everything else. Exit status: 0; 1
where a number is outside its range.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from statistics import median
from typing import Any

from tests.course import exercises
from tests.course.exercises import RESULTS, Number

ROUNDED = 1e-9  # in the last place of a median of two


def main() -> int:
    names = [path.stem for path in exercises.paths()]
    parser = argparse.ArgumentParser(prog="python -m tests.course.compare", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("exercises", nargs="+", metavar="EXERCISE", choices=names, help=", ".join(names))
    lines = [line for name in parser.parse_args().exercises for line in compared(name)]
    for right, text in lines:
        print(f"{'as expected' if right else 'NOT':12} {text}")
    return 0 if all(right for right, _ in lines) else 1


def compared(name: str) -> Iterator[tuple[bool, str]]:
    """Yield for each number of an exercise whether it is in its range, and a line that says so."""
    for number in exercises.read(exercises.COURSE / f"{name}.md").numbers:
        value = measured(number)
        text = f"{number.what}: {value:.4g} ({number.least:g} to {number.most:g}; {number.here.strip()} in the course)"
        yield number.least - ROUNDED <= value <= number.most + ROUNDED, text


def measured(number: Number) -> float:
    """Return what was measured here for a row of a table."""
    if number.of.endswith(".json"):
        return field_of(json.loads((RESULTS / number.of).read_text()), number.field)
    suite, _, points = number.of.partition(" ")
    lines = (RESULTS / suite / "records.jsonl").read_text().splitlines()
    records = [json.loads(line) for line in lines]
    values = [value_of(records, point, number.field) for point in points.split(" / ")]
    return values[0] / values[1] if len(values) == 2 else values[0]


def field_of(content: Any, field: str) -> float:
    """Return a field of a result file, such as epochs.-1.test_accuracy."""
    for key in field.split("."):
        content = content[int(key)] if isinstance(content, list) else content[key]
    return float(content)


def value_of(records: list[dict[str, Any]], point: str, metric: str) -> float:
    """Return a metric of a point: the least of seconds, the median of anything else."""
    values = [record["metrics"][metric] for record in records if record["point"] == point]
    if not values:
        raise SystemExit(f"no record of {point}: there are {', '.join(sorted({one['point'] for one in records}))}")
    return min(values) if metric.endswith("_seconds") else median(values)


if __name__ == "__main__":
    sys.exit(main())
