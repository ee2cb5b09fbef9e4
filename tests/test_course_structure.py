"""The course in docs/course holds together: `make test-course` gives its commands, this reads what is written."""

import json
import re
from pathlib import Path

import pytest

from bench.harness import suite
from mpinn.hosts.detect import detect
from tests.course import compare, exercises, keep
from tests.course.exercises import COURSE, HEADINGS, Number

PATHS = exercises.paths()
SUITE = re.compile(r"suites/([\w-]+)\.yml")


def answers() -> dict[str, list[int]]:
    """Return the numbers of the answers to each exercise, by its title."""
    sections = exercises.sections_of((COURSE / "answers.md").read_text(encoding="utf-8"))
    return {title: [int(number) for number in exercises.QUESTION.findall(text)] for title, text in sections.items()}


def test_there_are_eight_exercises_for_a_laptop_and_three_for_a_cluster() -> None:
    assert [int(path.stem.partition("-")[0]) for path in PATHS] == list(range(1, 12))
    table = (COURSE / "README.md").read_text(encoding="utf-8")
    assert [path.name for path in PATHS if f"]({path.name})" not in table] == []


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_an_exercise_has_all_its_parts(path: Path) -> None:
    exercise = exercises.read(path)
    assert tuple(exercise.sections) == HEADINGS
    assert exercise.commands
    assert exercise.numbers
    assert all(number.least <= number.most for number in exercise.numbers)
    assert exercise.figures
    assert [
        figure.name for figure in exercise.figures if not figure.read_text(encoding="utf-8").startswith("<?xml")
    ] == []


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_rows_of_numbers_are_all_read(path: Path) -> None:
    rows = [line for line in path.read_text(encoding="utf-8").splitlines() if re.match(r"\| [^|]+ \| `", line)]
    assert len(exercises.read(path).numbers) == len(rows)


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_every_question_is_answered(path: Path) -> None:
    exercise = exercises.read(path)
    title = path.read_text(encoding="utf-8").partition("\n")[0].removeprefix("# ")
    assert 4 <= len(exercise.questions) <= 6
    assert exercise.questions == list(range(1, len(exercise.questions) + 1))
    assert answers()[title] == exercise.questions


def test_suites_are_right_and_used() -> None:
    used = {name for path in PATHS for name in SUITE.findall(path.read_text(encoding="utf-8"))}
    there = {path.stem: path for path in COURSE.glob("suites/*.yml")}
    assert used == set(there)
    for path in there.values():
        assert suite.points(suite.load(str(path), []), detect(), hosts=2)


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_what_was_measured_goes_into_the_last_column_and_nowhere_else(path: Path) -> None:
    text, numbers = path.read_text(encoding="utf-8"), exercises.read(path).numbers
    assert keep.with_numbers(text, [number.here for number in numbers]) == text
    others = [keep.rounded(number.least + 1 / 3, number) for number in numbers]
    rows = [list(row) for row in exercises.ROW.findall(keep.with_numbers(text, others))]
    assert rows == [[*row[:-1], other] for row, other in zip(exercises.ROW.findall(text), others, strict=True)]
    places = [
        [len(one.partition(".")[2]) for one in (number.here, other)]
        for number, other in zip(numbers, others, strict=True)
    ]
    assert all(before == after for before, after in places)


def test_figures_are_used() -> None:
    used = {figure for path in PATHS for figure in exercises.read(path).figures}
    assert used == set(COURSE.glob("figures/*/*.svg"))


def test_commands_and_what_they_print_are_told_apart() -> None:
    block = "$ one\nsaid\n...\nboard$ two \\\n>     more\nansible$ three\n"
    assert exercises.commands_of(block) == [
        ("", "one", "said\n...\n"),
        ("board", "two \\\n    more", ""),
        ("ansible", "three", ""),
    ]


def test_numbers_are_the_fastest_seconds_and_the_median_of_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compare, "RESULTS", tmp_path)
    (tmp_path / "sorts").mkdir()
    runs = [("one", 6.0, 20), ("one", 8.0, 50), ("one", 7.0, 30), ("two", 3.0, 10), ("two", 9.0, 10)]
    records = [{"point": f"x/{p}", "metrics": {"epoch_seconds": s, "merge_percent": m}} for p, s, m in runs]
    (tmp_path / "sorts/records.jsonl").write_text("".join(json.dumps(one) + "\n" for one in records))
    (tmp_path / "run.json").write_text(json.dumps({"epochs": [{"train_seconds": 1}, {"train_seconds": 2}]}))

    def measured(of: str, field: str) -> float:
        return compare.measured(Number("", of, field, 0, 0, ""))

    assert measured("sorts x/one / x/two", "epoch_seconds") == 2
    assert measured("sorts x/one", "merge_percent") == 30
    assert measured("run.json", "epochs.-1.train_seconds") == 2
    with pytest.raises(SystemExit, match="no record of x/three: there are x/one, x/two"):
        measured("sorts x/three", "epoch_seconds")
