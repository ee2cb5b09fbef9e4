"""Two runs compared, and one exported, as their user reads it: on records made by hand."""

import json
from pathlib import Path
from typing import Any

import pytest

from bench.__main__ import main
from bench.analysis import compare, results
from bench.harness import records
from mpinn.system.errors import UsageError
from tests.bench.record import RECORD

STABLE = [1.0, 1.01, 0.99, 1.0, 1.0]


def write(directory: Path, seconds: list[float], **changes: Any) -> Path:
    """Write a record for each of a point's repeats."""
    directory.mkdir(exist_ok=True)
    for repeat, one in enumerate(seconds):
        measured = {"metrics": {"epoch_seconds": one}, "units": {"epoch_seconds": "s"}}
        records.append(directory, RECORD | {"repeat": repeat} | measured | changes)
    return directory


def said(capsys: pytest.CaptureFixture[str], a: Path, b: Path, limit: float | None = None) -> tuple[int, str]:
    status = main(["compare", str(a), str(b), *([] if limit is None else ["--fail-if-slower", f"{limit:g}%"])])
    return status, capsys.readouterr().out


@pytest.mark.parametrize(
    "theirs, words",
    [
        (STABLE, "1.000 | no difference shown"),
        ([2 * one for one in STABLE], "2.000 | slower"),
        ([1.5 * one for one in STABLE], "1.500 | slower"),
        ([one / 2 for one in STABLE], "0.500 | faster"),
        ([2.0, 2.9, 2.2, 2.4, 2.0], "2.200 | slower, unstable: measure again"),
        ([1.02, 1.0, 1.01, 0.99, 1.0], "1.000 | no difference shown"),
    ],
)
def test_a_point_of_b_is_faster_or_slower_than_that_of_a(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], theirs: list[float], words: str
) -> None:
    status, table = said(capsys, write(tmp_path / "a", STABLE), write(tmp_path / "b", theirs))
    (line,) = [line for line in table.splitlines() if "epoch_seconds" in line]
    value, note = words.split(" | ")
    assert status == 0 and line.split()[:3] == ["p", "epoch_seconds", value] and line.rstrip().endswith(note)
    ratio = compare.pairs(*(results.open_run(tmp_path / name) for name in "ab"))[0].ratio
    assert f"{ratio.low:.3f} to {ratio.high:.3f}" in line
    assert "B by A: below 1, B is faster" in table
    assert any(row.split() == ["point", "metric", "ratio", "95%", "interval"] for row in table.splitlines())


def test_what_is_not_all_valid_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good, bad = write(tmp_path / "a", STABLE), write(tmp_path / "b", STABLE, verdict="DEGRADED")
    assert "not all VALID" not in said(capsys, good, good)[1]
    for one, other in ((good, bad), (bad, good)):
        assert ", not all VALID: measure again\n" in said(capsys, one, other)[1]


@pytest.mark.parametrize("repeats", [1, 2])
def test_few_repeats_have_no_interval_and_no_verdict(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], repeats: int
) -> None:
    a, b = write(tmp_path / "a", STABLE), write(tmp_path / "b", [9.0] * repeats)
    status, table = said(capsys, a, b, 5)
    (line,) = [line for line in table.splitlines() if "epoch_seconds" in line]
    assert status == 0 and line.split() == [
        "p",
        "epoch_seconds",
        "9.000",
        "fewer",
        "than",
        "3",
        "repeats:",
        "measure",
        "again",
    ]
    assert "no point differs by more than chance explains; over 1 point that needs 4 repeats or more" in table


def test_many_points_have_to_differ_by_more_than_one_would(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Five repeats: one slow point is shown alone, and not among nine; seven repeats show it there, too."""
    for repeats, points, status in ((5, 1, 1), (5, 9, 0), (7, 9, 1)):
        a, b = (tmp_path / f"{name}{repeats}{points}" for name in "ab")
        same = [1.0 + one / 1000 for one in range(repeats)]
        for number in range(points):
            write(a, same, point=f"p{number}")
            write(b, [(2 if number == 0 else 1) * one for one in same], point=f"p{number}")
        found, text = said(capsys, a, b, 5)
        assert (found, ("p0 of" in text)) == (status, bool(status)), (repeats, points)
        assert ("needs 6 repeats or more" in text) == (not status)


@pytest.mark.parametrize("doubtful", [{"verdict": "DEGRADED"}, {}])
def test_a_doubtful_point_fails_no_gate_unless_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], doubtful: dict[str, Any]
) -> None:
    unsteady = [2.0, 2.9, 2.2, 2.4, 2.0]
    a = write(tmp_path / "a", STABLE)
    b = write(tmp_path / "b", [2 * one for one in STABLE] if doubtful else unsteady, **doubtful)
    status, text = said(capsys, a, b, 5)
    assert status == 0 and "slower" in text and "measure again" in text
    assert main(["compare", str(a), str(b), "--fail-if-slower", "5%", "--doubtful-too"]) == 1


def test_any_number_of_runs_are_compared_with_the_first(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = [write(tmp_path / name, [factor * one for one in STABLE]) for name, factor in (("a", 1), ("b", 2), ("c", 3))]
    status = main(["compare", *map(str, runs), "--fail-if-slower", "150%"])
    text = capsys.readouterr().out
    assert status == 1 and [line.split()[2] for line in text.splitlines() if line.startswith("p ")] == [
        "2.000",
        "3.000",
    ]
    assert text.endswith(f"slower by more than 150%: p of {tmp_path / 'c'}\n")


def test_points_come_in_the_order_of_the_suite(tmp_path: Path) -> None:
    a = tmp_path / "a"
    for experiment, ranks in (("new", 1), ("strong", 16), ("strong", 2), ("weak", 1)):
        write(a, STABLE, point=f"{experiment}/ranks={ranks}", experiment=experiment, ranks=ranks)
    plan = {"suite": {"experiments": {"weak": {}, "strong": {}}}}
    run = results.Run(a, plan, [], {}, records.read(a))
    order = ["weak/ranks=1", "strong/ranks=2", "strong/ranks=16", "new/ranks=1"]
    assert [pair.point for pair in compare.pairs(run, run)] == order


@pytest.mark.parametrize("limit, status", [(None, 0), (97.0, 1), (99.5, 0), (150.0, 0)])
def test_b_is_too_slow_where_its_whole_interval_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], limit: float | None, status: int
) -> None:
    """Twice as slow, with an interval from 1.98."""
    a, b = write(tmp_path / "a", [1.0] * 5), write(tmp_path / "b", [2 * one for one in STABLE])
    found, text = said(capsys, a, b, limit)
    assert found == status and ("slower by more than 97%: p" in text) == bool(status)
    assert said(capsys, b, a, limit)[0] == 0


def test_exactly_as_much_slower_as_is_allowed_is_allowed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a, b = tmp_path / "a", tmp_path / "b"
    for point in "pq":
        write(a, [1.0] * 5, point=point)
        write(b, [1.05] * 5, point=point)
    assert said(capsys, a, b, 5)[0] == 0
    status, text = said(capsys, a, b, 4.98)
    assert status == 1 and text.endswith(f"slower by more than 4.98%: p of {b}, q of {b}\n")


def test_runs_without_a_right_point_in_common_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a, b = write(tmp_path / "a", STABLE), write(tmp_path / "b", STABLE, point="q")
    wrong = write(tmp_path / "c", STABLE, verdict="INVALID")
    for other in (b, wrong):
        with pytest.raises(UsageError, match=f"{a} and {other} have no right result of the same point"):
            said(capsys, a, other)
    write(b, STABLE)  # the second point of b
    assert said(capsys, a, b)[1].count("epoch_seconds") == 1 == said(capsys, b, a)[1].count("epoch_seconds")


@pytest.mark.parametrize(
    "units, name",
    [
        ({"a": "MiB", "b": "us", "exemplar_microseconds": "us"}, "exemplar_microseconds"),
        ({"exemplar_microseconds": "us", "epoch_seconds": "s"}, "epoch_seconds"),
        ({"a": "%", "b": "ms", "c": "s"}, "b"),
        ({"a": "us"}, "a"),
        ({"a": "s"}, "a"),
        ({"a": "%"}, None),
    ],
)
def test_a_point_is_compared_by_its_speed(units: dict[str, str], name: str | None) -> None:
    assert compare.speed_of([{"units": units}]) == name


def test_percent() -> None:
    assert compare.percent("5%") == compare.percent("5") == 5 and compare.percent("0") == 0
    for text in ("-1", "nan", "x%"):
        with pytest.raises(ValueError):
            compare.percent(text)


def exported(capsys: pytest.CaptureFixture[str], directory: Path, form: str) -> str:
    assert main(["export", str(directory), *([] if form == "csv" else ["--format", form])]) == 0
    return capsys.readouterr().out


def test_export_has_what_was_recorded(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path, [1.5], point="p|q", workers=None, started="now")
    assert len(exported(capsys, tmp_path, "csv").splitlines()) == 2
    records.append(
        tmp_path, records.read(tmp_path)[0] | {"repeat": 1, "metrics": {}, "units": {}, "verdict": "INVALID"}
    )
    common = {"suite": "s", "experiment": "p", "point": "p|q", "ranks": 1, "workers": None, "seed": 0, "started": "now"}
    common["official"] = True
    first = common | {"repeat": 0, "verdict": "VALID", "metric": "epoch_seconds", "value": 1.5, "unit": "s"}
    second = common | {"repeat": 1, "verdict": "INVALID", "metric": None, "value": None, "unit": None}
    assert json.loads(exported(capsys, tmp_path, "json")) == [first, second]
    columns = "suite,experiment,point,repeat,ranks,workers,seed,verdict,official,started,metric,value,unit"
    lines = [columns, "s,p,p|q,0,1,,0,VALID,True,now,epoch_seconds,1.5,s", "s,p,p|q,1,1,,0,INVALID,True,now,,,"]
    assert exported(capsys, tmp_path, "csv") == "\n".join(lines) + "\n"
    table = exported(capsys, tmp_path, "markdown").splitlines()
    assert table[0] == f"**Records of {tmp_path}**" and table[1] == ""
    assert table[2] == f"| {columns.replace(',', ' | ')} |" and table[3] == "|" + 13 * " --- |"
    assert table[4].startswith(r"| s | p | p\|q | 0 | 1 |  | 0 | VALID ") and len(table) == 6
