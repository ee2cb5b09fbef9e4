"""Result directories from elsewhere: what is in them is shown as text, or refused in a line that names the file."""

import html.parser
import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.analysis import compare, export, results
from bench.harness import oracle, result_file
from bench.report.command import write
from mpinn.system.errors import UsageError
from tests.refusals import refusal

COMMITTED = Path(__file__).parents[2] / "bench/results/epyc-vm"
EVIL = "<script>alert(1)</script> \"' & $\\q$ [x](javascript:alert(1)) `|"


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A result directory like any other."""
    copy = tmp_path / "results"
    shutil.copytree(COMMITTED / "scaling", copy, ignore=shutil.ignore_patterns("report.*", "figures"))
    return copy


def change_json(path: Path, change: Callable[[Any], Any]) -> None:
    content = json.loads(path.read_text())
    changed = change(content)
    path.write_text(json.dumps(content if changed is None else changed))


def change_record(directory: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    """Change the first record."""
    first, *others = (directory / "records.jsonl").read_text().splitlines()
    record = json.loads(first)
    change(record)
    (directory / "records.jsonl").write_text("\n".join([json.dumps(record), *others]) + "\n")


def renamed(plan: dict[str, Any], name: str) -> None:
    experiments = plan["suite"]["experiments"]
    experiments[name] = experiments.pop("fixed")


@pytest.mark.parametrize("name", ["../../x", "/tmp/x", "a/b", "..", "", "A", "a b", "a\nb", '"><script>', "x" * 300])
def test_an_experiment_s_name_cannot_lead_elsewhere(directory: Path, tmp_path: Path, name: str) -> None:
    change_json(directory / "plan.json", lambda plan: renamed(plan, name))
    with pytest.raises(UsageError, match=r"plan\.json: suite\.experiments: expected names of a-z"):
        write([directory], tmp_path / "out" / "deep" / "report")
    assert {path.name for path in tmp_path.iterdir()} == {"results"}


class Tags(html.parser.HTMLParser):
    """The elements of a page, how often each, and the attributes that could do something."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: dict[str, int] = {}
        self.acting: list[tuple[str, str | None]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.found[tag] = self.found.get(tag, 0) + 1
        for name, value in attributes:
            leads = name in ("href", "src", "xlink:href") and not str(value).startswith(("#", "data:,"))
            self.acting += [(name, value)] if leads or name.startswith("on") else []


def poisoned(value: Any, key: str = "") -> Any:
    """Return what a file says with its texts for people replaced by one that means harm."""
    if isinstance(value, dict):
        return {name: poisoned(item, name) for name, item in value.items()}
    if isinstance(value, list):
        return [poisoned(item, key) for item in value]
    words = (
        "title",
        "description",
        "note",
        "paper",
        "reasons",
        "unfit",
        "host",
        "processor",
        "system",
        "commit",
        "mpinn",
    )
    return EVIL if isinstance(value, str) and key in words else value


def test_texts_of_others_are_shown_as_text(directory: Path, tmp_path: Path) -> None:
    write([directory], tmp_path / "right")
    for name in ("plan", "environment"):
        change_json(directory / f"{name}.json", poisoned)
    lines = (directory / "records.jsonl").read_text().splitlines()
    changed = [poisoned(json.loads(line)) for line in lines]
    for record in changed:
        record["reasons"], record["verdict"] = [EVIL], "DEGRADED"
        record["options"]["evil"] = EVIL
        record["metrics"][EVIL], record["units"][EVIL] = 1.0, EVIL
    (directory / "records.jsonl").write_text("\n".join(map(json.dumps, changed)) + "\n")
    change_json(directory / "left_out.json", lambda _: {f"fixed/{EVIL}": EVIL})
    write([directory], tmp_path / "wrong")
    right, wrong = (Tags((tmp_path / which / "report.html").read_text()) for which in ("right", "wrong"))
    assert set(wrong.found) == set(right.found) and "script" not in wrong.found and wrong.acting == []
    assert "&lt;script&gt;alert(1)" in (tmp_path / "wrong/report.html").read_text()
    summary = (tmp_path / "wrong/report.md").read_text()
    assert "alert(1)" in summary and "<script" not in summary and not re.search(r"(?<!\\)\[x\]", summary)
    for figure in (tmp_path / "wrong/figures").iterdir():
        assert "<script" not in figure.read_text()


def test_the_page_lets_nothing_be_loaded_or_run(directory: Path, tmp_path: Path) -> None:
    write([directory], tmp_path / "out")
    page = (tmp_path / "out/report.html").read_text()
    policy = re.search(r'<meta http-equiv="Content-Security-Policy" content="([^"]*)">', page)
    assert policy and "default-src 'none'" in policy[1] and "script" not in policy[1]
    assert page.index("Content-Security-Policy") < page.index("<style") < page.index("<svg")


def test_markdown_of_an_export_is_text(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    change_record(directory, lambda record: record.update(point="fixed/<b>|"))
    from bench.__main__ import main

    main(["export", str(directory), "--format", "markdown"])
    assert "| fixed/&lt;b>\\| |" in capsys.readouterr().out


LIES: dict[str, tuple[str, Callable[[Path], Any]]] = {
    "plan a list": ("plan.json", lambda d: change_json(d / "plan.json", lambda plan: [plan])),
    "plan without suite": (
        "plan.json",
        lambda d: change_json(d / "plan.json", lambda plan: plan.pop("suite") and None),
    ),
    "plan nested": ("plan.json", lambda d: (d / "plan.json").write_text("[" * 100_000)),
    "plan of many values": ("plan.json", lambda d: (d / "plan.json").write_text("[" + "1," * 2**22 + "1]")),
    "plan a fifo": ("plan.json", lambda d: ((d / "plan.json").unlink(), os.mkfifo(d / "plan.json"))),
    "plan of gigabytes": ("plan.json", lambda d: os.truncate(d / "plan.json", 2**33)),
    "a figure without a kind": (
        "plan.json",
        lambda d: change_json(
            d / "plan.json", lambda p: p["suite"]["experiments"]["fixed"]["figures"][0].pop("kind") and None
        ),
    ),
    "a title of lines": (
        "plan.json",
        lambda d: change_json(d / "plan.json", lambda p: p["suite"].update(title="a\nb")),
    ),
    "half a character": (
        "plan.json",
        lambda d: change_json(d / "plan.json", lambda p: p["suite"].update(title="\ud800")),
    ),
    "cores a text": (
        "plan.json",
        lambda d: change_json(d / "plan.json", lambda p: p["profile"]["machine"]["clusters"][0].update(cores="2")),
    ),
    "sessions a mapping": ("environment.json", lambda d: (d / "environment.json").write_text('{"a": 1}')),
    "a session without host": (
        "environment.json",
        lambda d: change_json(d / "environment.json", lambda found: found[0].pop("host") and None),
    ),
    "left out a list": ("left_out.json", lambda d: (d / "left_out.json").write_text('["a"]')),
    "left out without why": ("left_out.json", lambda d: (d / "left_out.json").write_text('{"fixed": 3}')),
    "records of gigabytes": ("records.jsonl", lambda d: os.truncate(d / "records.jsonl", 2**33)),
    "a record of deep options": (
        "records.jsonl, line 1",
        lambda d: change_record(d, lambda record: record["options"].update(a=[[1]])),
    ),
    "infinite seconds": (
        "records.jsonl, line 1",
        lambda d: (d / "records.jsonl").write_text(
            (d / "records.jsonl").read_text().replace('"seconds": ', '"seconds": 1e999, "x": ', 1)
        ),
    ),
    "a metric a text": ("records.jsonl, line 1", lambda d: change_record(d, lambda one: one["metrics"].update(a="b"))),
    "a metric without unit": ("records.jsonl, line 1", lambda d: change_record(d, lambda one: one["units"].clear())),
    "ranks of a negative number": (
        "records.jsonl, line 1",
        lambda d: change_record(d, lambda one: one.update(ranks=-1)),
    ),
    "an experiment elsewhere": (
        "records.jsonl, line 1",
        lambda d: change_record(d, lambda one: one.update(experiment="../x")),
    ),
    "a host's clock a text": (
        "records.jsonl, line 1",
        lambda d: change_record(d, lambda one: one["hosts"][0].update(clock_mhz="fast")),
    ),
    "records that contradict the plan": (
        "",
        lambda d: change_json(
            d / "plan.json",
            lambda p: p["suite"]["experiments"]["fixed"]["figures"][0].update(
                kind="lines", x="merge", y=["epoch_seconds"]
            ),
        ),
    ),
}


@pytest.mark.parametrize("name", LIES)
def test_what_makes_no_sense_is_refused_in_a_line(name: str, directory: Path) -> None:
    file, lie = LIES[name]
    lie(directory)
    said = refusal("results", directory)
    assert said.startswith(str(directory / file) if file else str(directory)) and len(said) < 600


@pytest.mark.parametrize("name", ["plan.json", "environment.json", "left_out.json"])
def test_what_is_missing_is_said_or_done_without(name: str, directory: Path, tmp_path: Path) -> None:
    (directory / name).unlink()
    assert results.open_run(directory).records
    if name == "plan.json":
        with pytest.raises(UsageError, match=r"no plan\.json"):
            write([directory], tmp_path / "out")
    else:
        write([directory], tmp_path / "out")


def test_records_of_options_of_any_kind_are_ordered(directory: Path) -> None:
    """A list, a number and a word in one place: from different versions of a suite."""
    records = results.open_run(directory).records
    for record, value in zip(records, [3, [1, 2], "three", None, True], strict=False):
        record["options"]["mixed"] = value
    assert len(results.rows(records, "fixed", "epoch_seconds")) > 1
    run = results.Run(Path(), {}, [], {}, records)
    assert compare.pairs(run, run) and export.flat(records[0])


def test_a_figure_of_an_older_result_is_read(directory: Path) -> None:
    """`by` was one text."""

    def older(plan: dict[str, Any]) -> None:
        plan["suite"]["experiments"]["fixed"]["figures"] = [{"kind": "lines", "y": ["epoch_seconds"], "by": "merge"}]

    change_json(directory / "plan.json", older)
    assert results.open_run(directory).plan["suite"]["experiments"]["fixed"]["figures"][0]["by"] == ["merge"]


ROW = {
    "epoch": 1, "train_accuracy": 90.0, "test_accuracy": None, "train_seconds": 1.0, "evaluate_seconds": 0.1,
    "phases": {name: {"mean": 0.1} for name in ("think", "train", "merge", "wait")}, "learn": None,
    "weights_sha256": "0" * 64,
}  # fmt: skip
RESULT = {
    "status": "completed", "config": {}, "environment": {"kernel_id": "k"}, "data": {"train": 9}, "epochs": [ROW],
    "rounds_per_epoch": 1, "start": {"data": 0.1}, "total_seconds": 1.0, "memory": None, "kernel_error": 0.0,
}  # fmt: skip


@pytest.mark.parametrize(
    "change",
    [
        {"status": "running"}, {"epochs": [1]}, {"epochs": []}, {"epochs": [ROW | {"train_accuracy": "x"}]},
        {"epochs": [ROW | {"weights_sha256": 3}]}, {"kernel_error": "small"}, {"kernel_error": None},
        {"environment": []},
    ],
)  # fmt: skip
def test_an_oracle_that_is_none_is_not_believed(tmp_path: Path, change: dict[str, Any]) -> None:
    path = tmp_path / "oracle.json"
    path.write_text(json.dumps(RESULT))
    assert oracle.kept(path, 1) == RESULT and oracle.kept(path, 2) is None
    path.write_text(json.dumps(RESULT | change))
    assert oracle.kept(path, 1) is None
    path.unlink()
    os.mkfifo(path)
    assert oracle.kept(path, 1) is None and result_file.load(path) == {}
