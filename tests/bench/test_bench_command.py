"""`python -m bench` as its user sees it: real runs of a small suite, killed, resumed, disturbed and wrong."""

import dataclasses
import json
import math
import os
import platform
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bench.__main__ import main
from mpinn.hosts.launcher import find_launcher
from tests.bench.suites import write_suite
from tests.bench.test_prediction import HOST
from tests.command.commands import environment, errors, ranks_alive, run, wait_until

BENCH = [sys.executable, "-m", "bench"]


def bench(*words: str | Path, **extra: str) -> subprocess.CompletedProcess[str]:
    return run([*BENCH, *map(str, words)], **extra)


def recorded(directory: Path) -> list[dict]:
    return [json.loads(line) for line in (directory / "records.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a complete run of the small suite."""
    folder = tmp_path_factory.mktemp("bench")
    ran = bench("run", write_suite(folder), "--out", folder / "out", "--watts", "15")
    assert ran.returncode == 0, ran.stderr
    assert "8 records" in ran.stdout
    return folder / "out"


def test_a_run_records_every_point_and_repeat_once_in_mixed_order(measured: Path) -> None:
    found = recorded(measured)
    assert sorted((one["point"], one["repeat"]) for one in found) == sorted(
        (point, repeat)
        for point in ("strong/ranks=1", "strong/ranks=2", "growth/workers=1", "growth/workers=2")
        for repeat in (0, 1)
    )
    assert [one["repeat"] for one in found] == [0] * 4 + [1] * 4
    orders = [[one["point"] for one in found[start : start + 4]] for start in (0, 4)]
    assert orders[0] != orders[1]


def test_runs_that_are_too_short_are_made_longer_until_they_are_official(tmp_path: Path) -> None:
    strong = {"title": "Speed", "ranks": 1, "workers": 2, "mpi": False, "lengthen": "epochs"}
    suite = write_suite(tmp_path, repeats=1, minimum_seconds=0.05, experiments={"strong": strong})
    ran = bench("run", suite, "--out", tmp_path / "out")
    assert ran.returncode == 0, ran.stderr
    short, *_, last = recorded(tmp_path / "out")
    assert short["length"] is None and not short["official"]
    assert last["length"] > 3 and f"--epochs {last['length']}" in last["command"]
    assert len(last["series"]["train_seconds"]) == last["length"] and last["options"]["epochs"] == 3
    assert last["official"] and last["seconds"] >= 0.05
    assert "1 run more: too short" in ran.stderr and "1 record " in ran.stdout
    left = [one["result"] for one in recorded(tmp_path / "out")]
    assert len(set(left)) == len(left) and all((tmp_path / "out" / one).exists() for one in left)  # none is replaced


def test_some_experiments_are_measured_now_and_the_others_later(tmp_path: Path) -> None:
    one = {"title": "One", "ranks": 1, "workers": 2, "mpi": False}
    run_ = (
        "run",
        write_suite(tmp_path, repeats=1, experiments={"one": one, "two": dict(one)}),
        "--out",
        tmp_path / "out",
    )
    (said,) = errors(bench(*run_, "--only", "ones").stderr)
    assert "--only ones: the experiments of small are one, two (did you mean 'one'?)" in said
    assert not (tmp_path / "out").exists()
    assert "1 run," in bench(*run_, "--only", "two", "--dry-run").stderr
    for only, names in (("two", ["two"]), ("two", ["two"]), ("one", ["two", "one"])):
        ran = bench(*run_, "--only", only)
        assert ran.returncode == 0 and [found["point"] for found in recorded(tmp_path / "out")] == names
    assert "nothing left to do of one: 2 records" in bench(*run_, "--only", "one").stdout
    assert "nothing left to do: 2 records" in bench(*run_).stdout


def test_a_record_has_what_is_needed_to_trust_it(measured: Path) -> None:
    for one in recorded(measured):
        assert one["verdict"] in ("VALID", "DEGRADED"), one["reasons"]
        assert one["metrics"]["epoch_seconds"] > 0 and set(one["metrics"]) == set(one["units"])
        assert one["metrics"]["epoch_joules"] == pytest.approx(15 * one["metrics"]["epoch_seconds"])
        assert one["metrics"]["exemplars_per_joule"] == pytest.approx(one["metrics"]["exemplars_per_second"] / 15)
        shares = [one["metrics"][f"{name}_percent"] for name in ("think", "train", "merge", "wait")]
        assert sum(shares) == pytest.approx(100)
        assert one["environment"]["ranks"] == one["ranks"]
        assert one["hosts"][0]["load_before"] is not None and one["hosts"][0]["online"] == os.cpu_count()
        assert json.loads((measured / one["result"]).read_text())["epochs"]
        launcher = "mpirun" if one["experiment"] == "strong" else "python -m mpinn.train"
        assert str(measured) not in one["command"] and one["command"].startswith(launcher)


def test_efficiencies_are_of_the_epochs_that_count_for_speed(measured: Path) -> None:
    for one in recorded(measured):
        rows = json.loads((measured / one["result"]).read_text())["epochs"][1:]
        found = {name: one["metrics"][f"{name}_efficiency"] for name in ("balance", "serialisation", "transfer")}
        learned = sum(row["learn"]["mean"] for row in rows)
        assert one["metrics"]["parallel_efficiency"] == pytest.approx(
            learned / sum(row["train_seconds"] for row in rows)
        )
        assert math.prod(found.values()) == pytest.approx(one["metrics"]["parallel_efficiency"])
        assert min(found.values()) > 0 and max(found.values()) <= 1
        assert one["metrics"]["learned_microseconds"] == pytest.approx(1e6 * learned * one["ranks"] / (2 * 1010))


def test_a_speed_leaves_out_the_warm_up_and_is_the_median_of_the_rest(measured: Path) -> None:
    for one in recorded(measured):
        seconds = [row["train_seconds"] for row in json.loads((measured / one["result"]).read_text())["epochs"]]
        assert len(seconds) == 3 and one["official"]
        assert one["metrics"]["epoch_seconds"] == pytest.approx(sum(seconds[1:]) / 2)
        assert one["metrics"]["exemplars_per_second"] == pytest.approx(2 * 1010 / sum(seconds[1:]))


def test_seeds_are_the_repeats_where_that_is_asked(measured: Path) -> None:
    assert {(one["experiment"], one["repeat"], one["seed"]) for one in recorded(measured)} == {
        ("growth", 0, 0), ("growth", 1, 1), ("strong", 0, 0), ("strong", 1, 0),
    }  # fmt: skip


def test_a_complete_run_has_nothing_left_to_do(measured: Path) -> None:
    before = (measured / "records.jsonl").read_bytes()
    ran = bench("run", measured.parent / "small.yml", "--out", measured, "--watts", "15")
    assert ran.returncode == 0 and "nothing left to do" in ran.stdout
    assert (measured / "records.jsonl").read_bytes() == before


def test_another_plan_in_the_same_directory_is_refused(measured: Path) -> None:
    ran = bench("run", measured.parent / "small.yml", "--out", measured, "--set", "epochs=2", "--watts", "15")
    assert ran.returncode == 2 and len(errors(ran.stderr)) == 1 and "another suite" in ran.stderr


def test_a_suite_that_has_grown_goes_on_with_what_it_has_more(tmp_path: Path) -> None:
    out, first = tmp_path / "out", {"title": "One", "ranks": 1, "repeats": 1}
    assert bench("run", write_suite(tmp_path, experiments={"one": first}), "--out", out).returncode == 0
    before = (out / "records.jsonl").read_text()
    both = {"two": first | {"workers": [1, 2]}, "one": first | {"title": "Another"}}
    dry = bench("run", write_suite(tmp_path, experiments=both), "--out", out, "--dry-run")
    assert dry.returncode == 0 and "1 oracle and 2 runs" in dry.stderr and "one_0" not in dry.stdout
    assert list(json.loads((out / "plan.json").read_text())["suite"]["experiments"]) == ["one"]
    more = bench("run", write_suite(tmp_path, experiments=both), "--out", out)
    assert more.returncode == 0 and "going on: 1 recorded, 2 to do" in more.stderr
    assert (out / "records.jsonl").read_text().startswith(before)
    assert [one["point"] for one in recorded(out)[1:]] in (["two/workers=1", "two/workers=2"][::way] for way in (1, -1))
    assert list(json.loads((out / "plan.json").read_text())["suite"]["experiments"]) == ["two", "one"]
    more_often = {name: one | {"repeats": 2} for name, one in both.items()}
    again = bench("run", write_suite(tmp_path, experiments=more_often, most_repeats=9), "--out", out, "--dry-run")
    assert again.returncode == 0 and "3 runs" in again.stderr  # a second one of each point
    for change in ({"experiments": {"one": first}}, {"experiments": both, "warm_up": 0}):
        ran = bench("run", write_suite(tmp_path, **change), "--out", out)
        assert ran.returncode == 2 and "holds a run with another suite" in ran.stderr


def test_a_run_that_is_killed_goes_on_and_repeats_nothing(tmp_path: Path) -> None:
    command = [*BENCH, "run", str(write_suite(tmp_path)), "--out", str(tmp_path / "out"), "--set", "repeats=1"]
    records = tmp_path / "out" / "records.jsonl"
    for kill, enough in ((signal.SIGKILL, 1), (signal.SIGTERM, 2)):
        child = subprocess.Popen(command, env=environment(), stderr=subprocess.DEVNULL, start_new_session=True)
        assert wait_until(lambda least=enough: records.exists() and records.read_bytes().count(b"\n") >= least, 60)
        child.send_signal(kill)
        child.wait(30)
        if kill == signal.SIGKILL and ranks_alive(str(tmp_path)):
            assert "what a killed one left" in run(command).stderr
        assert wait_until(lambda: not ranks_alive(str(tmp_path)), 30)
        time.sleep(1)  # the launcher ends after its ranks
    kept = records.read_bytes()
    ran = run(command)
    assert ran.returncode == 0, ran.stderr
    assert f"going on: {len(kept.splitlines())} recorded" in ran.stderr
    assert records.read_bytes().startswith(kept)
    found = [(one["point"], one["repeat"]) for one in recorded(tmp_path / "out")]
    assert len(found) == len(set(found)) == 4


def test_a_wrong_result_is_invalid_and_gives_no_figure(tmp_path: Path) -> None:
    out = tmp_path / "out"
    changes = ("--set", "repeats=1", "--set", "experiments.strong.ranks=2")
    ran = bench("run", write_suite(tmp_path), "--out", out, *changes, MPINN_FAULT="flip:rank=1,round=2")
    assert ran.returncode == 1, ran.stderr
    verdicts = {one["point"]: (one["verdict"], one["reasons"]) for one in recorded(out)}
    assert verdicts["strong"][0] == "INVALID" and "not the serial oracle's" in verdicts["strong"][1][0]
    (wrong,) = (one for one in recorded(out) if one["point"] == "strong")
    assert set(wrong["metrics"]) == {"train_accuracy", "test_accuracy"} and "train_seconds" not in wrong["series"]
    assert {verdict for point, (verdict, _) in verdicts.items() if point != "strong"} <= {"VALID", "DEGRADED"}
    assert bench("report", out).returncode == 0
    page = (out / "report.html").read_text()
    assert "INVALID, so without figures" in page
    section = page[page.index('<h2 id="strong">') : page.index('<h2 id="growth">')]
    assert "<td" not in section and "Nothing could be drawn" in section


def test_an_accuracy_outside_its_check_is_invalid(tmp_path: Path) -> None:
    checks = [{"metric": "train_accuracy", "epoch": 1, "least": 0, "most": 1}]
    suite = write_suite(tmp_path, experiments={"one": {"title": "One", "checks": checks, "repeats": 1}})
    ran = bench("run", suite, "--out", tmp_path / "out", "--set", "epochs=1")
    assert ran.returncode == 1 and "train_accuracy after epoch 1" in ran.stderr


def test_a_run_beside_a_busy_loop_is_degraded(tmp_path: Path) -> None:
    loops = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(2)]
    try:
        ran = bench("run", write_suite(tmp_path), "--out", tmp_path / "out", "--set", "repeats=1")
        checked = bench("check")
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()
    assert ran.returncode == 0
    for one in recorded(tmp_path / "out"):
        assert one["verdict"] == "DEGRADED" and any("other processes used" in reason for reason in one["reasons"])
    assert checked.returncode == 1 and "NOT FIT   load" in checked.stdout
    again = bench("run", tmp_path / "small.yml", "--out", tmp_path / "out", "--set", "repeats=1", "--again")
    assert again.returncode == 0 and "4 to do" in again.stderr
    found = recorded(tmp_path / "out")
    assert [one["point"] for one in found[4:]] == [one["point"] for one in found[:4]]
    assert "4 records (" in again.stdout


def test_a_program_that_is_not_here_is_left_out_and_said(tmp_path: Path) -> None:
    peer = {"title": "Go", "program": "peers.go", "mpi": False, "options": {"exemplars": 100}, "repeats": 1}
    experiments = {"go": peer, "one": {"title": "One", "repeats": 1}}
    suite = write_suite(tmp_path, experiments=experiments, minimum_seconds=3600)
    ran = bench("run", suite, "--out", tmp_path / "out", PATH="/nonexistent")
    assert ran.returncode == 0 and "left out  go #1: no Go" in ran.stderr, ran.stderr
    assert [(one["point"], one["official"]) for one in recorded(tmp_path / "out")] == [("one", False)]
    assert bench("report", tmp_path / "out").returncode == 0
    assert "Left out: no Go" in (tmp_path / "out" / "report.html").read_text()


def test_hosts_of_a_hostfile_are_read_one_by_one(tmp_path: Path) -> None:
    hostfile = tmp_path / "hosts"
    hostfile.write_text("localhost slots=2\n" if find_launcher().vendor == "openmpi" else "localhost:2\n")
    suite = write_suite(tmp_path, experiments={"one": {"title": "One", "ranks": 2, "repeats": 1}})
    ran = bench("run", suite, "--out", tmp_path / "out", "--hostfile", hostfile)
    assert ran.returncode == 0, ran.stderr
    (one,) = recorded(tmp_path / "out")
    assert [host["host"] for host in one["hosts"]] == [platform.node()]
    assert one["hosts"][0]["busy_before"] is not None and one["hosts"][0]["busy_with_others"] is None


def test_dry_run_prints_every_command_and_an_estimate_and_runs_none(tmp_path: Path) -> None:
    ran = bench("run", write_suite(tmp_path), "--out", tmp_path / "out", "--dry-run")
    assert ran.returncode == 0
    lines = ran.stdout.splitlines()
    assert len(lines) == 8 + 5 and all("-m mpinn.train" in line for line in lines)
    assert re.search(r"5 oracles and 8 runs, roughly \d+ (s|min)", ran.stderr)
    assert not (tmp_path / "out").exists()


def test_a_second_run_in_the_same_directory_is_refused(tmp_path: Path) -> None:
    out = tmp_path / "out"
    command = [*BENCH, "run", str(write_suite(tmp_path)), "--out", str(out)]
    child = subprocess.Popen(command, env=environment(), stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    try:
        assert wait_until((out / "plan.json").exists, 30)
        second = run(command)
    finally:
        child.terminate()
        child.wait(30)
    assert second.returncode == 2 and "another bench run is at work" in second.stderr
    assert child.returncode == 143


def test_compare_with_itself_shows_no_difference(measured: Path) -> None:
    ran = bench("compare", measured, measured, "--fail-if-slower", "5%")
    assert ran.returncode == 0 and ran.stdout.count("fewer than 3 repeats: measure again") == 4
    assert "no point differs by more than chance explains" in ran.stdout


def test_compare_fails_where_b_is_slower(measured: Path, tmp_path: Path) -> None:
    for name, factor in (("a", 1), ("b", 10)):
        (tmp_path / name).mkdir()
        lines = [
            one | {"repeat": repeat, "metrics": {"epoch_seconds": factor * (1 + repeat / 1000)}}
            for one in recorded(measured)
            for repeat in range(5)
            if one["repeat"] == 0
        ]
        (tmp_path / name / "records.jsonl").write_text("".join(json.dumps(one) + "\n" for one in lines))
    words = ["--fail-if-slower", "5%", "--doubtful-too"]
    assert bench("compare", tmp_path / "b", tmp_path / "a", *words).returncode == 0
    ran = bench("compare", tmp_path / "a", tmp_path / "b", *words)
    assert ran.returncode == 1 and "slower by more than 5%: " in ran.stdout
    assert bench("compare", tmp_path / "a", tmp_path / "b").returncode == 0


@pytest.mark.parametrize("form", ["csv", "json", "markdown"])
def test_export_has_a_row_for_every_metric(measured: Path, form: str) -> None:
    ran = bench("export", measured, "--format", form)
    metrics = sum(len(one["metrics"]) for one in recorded(measured))
    assert ran.returncode == 0
    lines = [line for line in ran.stdout.splitlines() if "strong" in line or "growth" in line]
    rows = json.loads(ran.stdout) if form == "json" else lines
    assert len(rows) == metrics


def test_report_is_one_page_whose_links_all_lead_somewhere(measured: Path) -> None:
    ran = bench("report", measured)
    assert ran.returncode == 0, ran.stderr
    page = (measured / "report.html").read_text()
    assert not re.search(r'(src|href)="(?!#|data:)', page) and "@import" not in page and "<script" not in page
    targets, ids = set(re.findall(r'href="#([^"]+)"', page)), re.findall(r' id="([^"]+)"', page)
    assert len(ids) == len(set(ids)) and targets <= set(ids)
    drawn = {path.stem for path in (measured / "figures").glob("*.svg")}
    assert drawn == {"strong", "strong-2", "strong-3", "strong-4", "growth"} and page.count("<svg") == len(drawn)
    assert page.count('id="record-') == 8
    assert "No numbers for this" in page  # Figure 6 has no published values asked for
    assert "Lenovo" in page and "arXiv" in page  # published speedups beside
    summary = (measured / "report.md").read_text()
    assert summary.startswith("# A small suite") and "| ranks |" in summary


def test_of_the_most_ranks_that_have_a_core_a_trace_is_kept_and_drawn(measured: Path) -> None:
    (path,) = (measured / "traces").iterdir()
    assert path.name == "strong_ranks=2.json.gz"
    assert bench("report", measured).returncode == 0
    summary = (measured / "report.md").read_text()
    assert re.search(r"strong/ranks=2: rounds \d+ to \d+ of \d+ .*2 ranks on 1 host.*: learning \d+ %", summary)
    assert "strong_ranks=2" not in (measured / "records.jsonl").read_text().replace("runs/strong_ranks=2", "")


def test_a_trace_that_is_lost_is_made_again(measured: Path) -> None:
    (path,) = (measured / "traces").iterdir()
    path.unlink()
    ran = bench("run", measured.parent / "small.yml", "--out", measured, "--watts", "15")
    assert ran.returncode == 0 and "trace  strong/ranks=2" in ran.stderr and path.exists()


def test_with_a_calibration_beside_it_a_report_tells_how_far_the_host_would_scale(measured: Path) -> None:
    (measured / "calibration.json").write_text(json.dumps(dataclasses.asdict(HOST)))
    try:
        assert bench("report", measured).returncode == 0
        summary = (measured / "report.md").read_text()
        rows = re.findall(r"^\| (\d+) \| (\d+) \|", summary.partition("## Further")[2], re.MULTILINE)
        assert rows[:3] == [("1", "1"), ("1", "2"), ("1", "4")] and rows[-1] == ("1024", "4096")
        assert (measured / "figures" / "strong-5.svg").exists()
    finally:
        (measured / "calibration.json").unlink()
        (measured / "figures" / "strong-5.svg").unlink(missing_ok=True)


def test_report_puts_hosts_side_by_side(measured: Path, tmp_path: Path) -> None:
    ran = bench("report", measured, measured, "--out", tmp_path)
    assert ran.returncode == 0, ran.stderr
    page = (tmp_path / "report.html").read_text()
    assert page.count('<h2 id="strong">') == 1 and page.count('class="answer"') == 2


def test_list_names_every_suite() -> None:
    ran = bench("list")
    assert ran.returncode == 0
    for name in ("smoke", "paper", "scaling", "worker-batch", "merge"):
        assert re.search(rf"^{name} ", ran.stdout, re.MULTILINE)


WRONG = [
    [],
    ["nonsense"],
    ["run"],
    ["run", "nonsense"],
    ["run", "smoke", "--set", "x"],
    ["run", "smoke", "--watts", "-3"],
    ["run", "smoke", "--host", "nobody"],
    ["run", "smoke", "--out", "/proc/none"],
    ["report", "/nonexistent"],
    ["timeline", "/nonexistent"],
    ["timeline", "README.md"],
    ["compare", ".", "."],
    ["compare", ".", ".", "--fail-if-slower", "x"],
]


@pytest.mark.parametrize("words", WRONG)
def test_what_is_asked_wrongly_is_one_line_and_status_2(words: list[str]) -> None:
    ran = bench(*words)
    assert ran.returncode == 2 and len(errors(ran.stderr)) == 1, ran.stderr


@pytest.mark.parametrize(
    "verb",
    [
        *("list", "run", "check", "report", "timeline", "compare", "export"),
        *("calibrate", "predict", "pack", "verify", "gallery"),
    ],
)
def test_every_verb_explains_itself(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([verb, "--help"])
    assert ended.value.code == 0 and len(capsys.readouterr().out.split()) > 15
