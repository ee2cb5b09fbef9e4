"""Packs of real results: verified as they are, and caught where somebody has helped them along."""

import argparse
import dataclasses
import gzip
import json
import platform
import sys
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml

from bench.__main__ import main
from bench.harness import records
from bench.harness.suite import Figure
from bench.publish import gallery, packed, plausible, verify
from bench.publish import pack as pack_command
from bench.publish.packed import Pack
from bench.report import predicted
from mpinn.system.errors import UsageError
from tests.bench.test_prediction import HOST
from tests.command.commands import errors, run

BENCH = [sys.executable, "-m", "bench"]
SUITE = {
    "title": "A small suite",
    "description": "For tests.",
    "repeats": 2,
    "minimum_seconds": 0.01,
    "options": {"epochs": 2, "merge": "block-momentum"},
    "experiments": {"strong": {"title": "Speedup", "ranks": [1, 2], "workers": 16, "oracle_epochs": 2}},
}


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a real run on MNIST."""
    folder = tmp_path_factory.mktemp("publish")
    (folder / "small.yml").write_text(yaml.safe_dump(SUITE))
    ran = run([*BENCH, "run", str(folder / "small.yml"), "--out", str(folder / "out"), "--watts", "20"])
    assert ran.returncode == 0, ran.stderr
    return folder / "out"


@pytest.fixture(scope="module")
def pack(measured: Path) -> Pack:
    path = measured.parent / "small.mpinn.json.gz"
    ran = run([*BENCH, "pack", str(measured), "--out", str(path)])
    assert ran.returncode == 0, ran.stderr
    content = packed.load(path)
    sessions = tuple({**one, "commit": "0" * 40} for one in content.sessions)  # a checkout under test may be changed
    return dataclasses.replace(content, sessions=sessions)


def test_a_pack_has_nothing_personal_and_says_first_what_it_leaves_out(measured: Path) -> None:
    out = measured.parent / "said.mpinn.json.gz"
    dry = run([*BENCH, "pack", str(measured), "--out", str(out), "--dry-run"])
    assert dry.returncode == 0 and not out.exists()
    assert f"left out: names of hosts: {platform.node()}" in dry.stdout and "command lines and files" in dry.stdout
    ran = run([*BENCH, "pack", str(measured), "--out", str(out)])
    assert ran.returncode == 0 and "4 records" in ran.stdout and f"next: python -m bench verify {out}" in ran.stdout
    text = gzip.decompress(out.read_bytes()).decode()
    content = json.loads(text)
    for record in content["records"]:
        assert not {"command", "result", "reasons"} & record.keys() and "nodes" not in record["environment"]
        assert all("host" not in host for host in record["hosts"])
    assert str(measured) not in text and sys.executable not in text and str(Path.home()) not in text
    assert f'"{platform.node()}"' not in text
    assert out.stat().st_size < 50_000


def test_what_was_measured_is_verified(pack: Pack) -> None:
    assert verify.check(pack) == ([], [])


def test_the_command_says_so(pack: Pack, tmp_path: Path) -> None:
    path = tmp_path / "good.mpinn.json.gz"
    packed.save(path, pack)
    ran = run([*BENCH, "verify", str(path)])
    assert (ran.returncode, ran.stderr) == (0, "") and ran.stdout.startswith(f"VERIFIED    {path}: A small suite: ")
    bad = tmp_path / "bad.mpinn.json.gz"
    packed.save(bad, doctored(pack, lambda one: one["records"][0]["metrics"].update(epoch_seconds=1e-3)))
    ran = run([*BENCH, "verify", str(path), str(bad)])
    assert ran.returncode == 1 and f"REFUTED     {bad}" in ran.stdout and "epoch_seconds is 0.001, but" in ran.stdout


def doctored(pack: Pack, change: Callable[[dict[str, Any]], object], chained: bool = False) -> Pack:
    """Return a changed pack; chained: by somebody who knows how the chain is made."""
    content = deepcopy(vars(pack))
    content = {name: list(value) if isinstance(value, tuple) else value for name, value in content.items()}
    change(content)
    if chained:
        before = ""
        for record in content["records"]:
            before = record["chain"] = records.link(before, record)
    return Pack(**content)


def faster(one: dict[str, Any], factor: float = 0.5) -> None:
    """Make the first run faster, in all that follows from it."""
    for row in one["runs"][0]["epochs"]:
        row["train_seconds"] *= factor
        for spent in (*row["phases"].values(), row["learn"]):
            for key in spent:
                spent[key] *= factor
    record = one["records"][0]
    result = packed.training(one["runs"][0], record)
    again = verify.measure.of_training(result, 1)
    watts = verify.measure.energy(again["metrics"], 20.0)
    record.update(metrics=again["metrics"] | watts, series=again["series"], seconds=again["seconds"])


def first(**changes: Any) -> Callable[[dict[str, Any]], object]:
    return lambda one: one["records"][0].update(changes)


def first_host(**changes: Any) -> Callable[[dict[str, Any]], object]:
    return lambda one: one["records"][0]["hosts"][0].update(changes)


def wrong_weights(one: dict[str, Any]) -> None:
    one["runs"][0]["epochs"][1]["weights_sha256"] = "0" * 64


def better(one: dict[str, Any]) -> None:
    """A better accuracy, wherever it stands."""
    one["runs"][0]["epochs"][-1]["test_accuracy"] += 1
    record = one["records"][0]
    record["metrics"]["test_accuracy"] += 1
    record["series"]["test_accuracy"][-1] += 1


def copied(one: dict[str, Any]) -> None:
    """One repeat's figures given to another."""
    same_point = [n for n, record in enumerate(one["records"]) if record["point"] == one["records"][0]["point"]]
    a, b = same_point[:2]
    one["runs"][b] = deepcopy(one["runs"][a])
    for key in ("metrics", "series", "seconds"):
        one["records"][b][key] = deepcopy(one["records"][a][key])


def swapped(one: dict[str, Any]) -> None:
    for key in ("records", "runs"):
        one[key][0], one[key][1] = one[key][1], one[key][0]


def without_first(one: dict[str, Any]) -> None:
    for key in ("records", "runs"):
        one[key].pop(0)


def only_first(one: dict[str, Any]) -> None:
    for key in ("records", "runs"):
        del one[key][1:]


def impossible(one: dict[str, Any]) -> None:
    faster(one, 1e-6)


def shorter_phases(one: dict[str, Any]) -> None:
    one["runs"][0]["epochs"][0]["phases"]["merge"]["mean"] += 1


def another_rate(one: dict[str, Any]) -> None:
    one["runs"][0]["config"]["merge"] = "mean"


def other_verdict(one: dict[str, Any]) -> None:
    """The runs may have been disturbed, or not."""
    record = one["records"][0]
    record["verdict"] = records.VALID if record["verdict"] == records.DEGRADED else records.DEGRADED


def slow_governor(one: dict[str, Any]) -> None:
    record = one["records"][0]
    record["verdict"] = records.VALID
    record["hosts"][0].update(governors=["powersave"], busy_with_others=0.0, busy_before=0.0, steal_percent=0.0)


def more_metrics(one: dict[str, Any]) -> None:
    one["records"][0]["metrics"]["speedup"] = 99.0
    one["records"][0]["units"]["speedup"] = "1"


DOCTORED: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "a figure": (lambda one: one["records"][0]["metrics"].update(epoch_seconds=0.01), "epoch_seconds is 0.01, but"),
    "joules": (lambda one: one["records"][0]["metrics"].update(epoch_joules=0.01), "epoch_joules is 0.01, but"),
    "stated watts": (lambda one: one["plan"].update(watts=5.0), "watts is 20.0, but 5.0"),
    "a series": (lambda one: one["records"][0]["series"]["train_seconds"].append(0.1), "the series train_seconds"),
    "work": (first(seconds=100.0), "s of measured work"),
    "weights": (wrong_weights, "are not the serial oracle's"),
    "an accuracy": (better, "test_accuracy after epoch 2 is"),
    "a figure that nothing says": (more_metrics, "speedup: nothing in its run says so"),
    "official": (first(official=False), "official: False"),
    "a verdict": (other_verdict, "; by its conditions it is "),
    "conditions": (slow_governor, "says VALID; by its conditions it is DEGRADED (governor powersave"),
    "a clock": (first_host(clock_mhz=9000.0, max_mhz=3000.0, clock_source="sampled"), "a clock of 9000 MHz"),
    "energy": (first_host(joules=-3.0), "-3 J in"),
    "time that did not pass": (first_host(seconds=0.001), "while 0.001 s passed"),
    "a short run": (first(wall_seconds=0.001), "s of measured work in 0.001 s"),
    "the future": (first(started="2999-01-01T00:00:00+00:00"), "measured in the future: 2999"),
    "no time": (first(started="yesterday"), "records that started at 'yesterday', which is no time"),
    "no day": (
        lambda one: one["sessions"][0].update(started="now"),
        "sessions that started at 'now', which is no time",
    ),
    "a copied repeat": (copied, "to the last digit"),
    "ranks": (first(ranks=7), "is not what the plan has"),
    "a seed": (first(seed=3), "is not what the plan has"),
    "options": (first(options={"epochs": 2}), "is not what the plan has"),
    "another setting": (another_rate, "ran with another merge than its point has"),
    "a lost run": (lambda one: one["runs"].__setitem__(0, {}), "what its training left is missing"),
    "phases": (shorter_phases, "s, its phases"),
    "no cores are so fast": (impossible, "no cores learn it in less than"),
    "a plan": (lambda one: one["plan"]["suite"].update(minimum_seconds=1000), "official: True"),
    "no suite": (lambda one: one["plan"]["suite"].update(experiments={}), "its plan cannot be run"),
}


@pytest.mark.parametrize("name", DOCTORED)
@pytest.mark.parametrize("chained", [False, True])
def test_a_doctored_pack_is_refuted(pack: Pack, name: str, chained: bool) -> None:
    change, said = DOCTORED[name]
    found = verify.check(doctored(pack, change, chained))
    assert found.verdict == verify.REFUTED
    assert any(said in words for words in found.wrong), found.wrong


@pytest.mark.parametrize(
    ("seconds", "doubted"), [(7.161e-06, 0), (0.999e-3, 0), (1e-3, 1), (0.716100112, 1), (None, 0)]
)
def test_only_times_that_a_clock_tells_apart_are_called_copied(seconds: float | None, doubted: int) -> None:
    """Where an epoch is not evaluated that takes a few microseconds, and of hundreds of runs some the same."""
    found = [{"metrics": {"epoch_seconds": 0.2 + number, "evaluate_seconds": seconds}} for number in range(3)]
    assert len(list(plausible.copied(found))) == doubted


SENSELESS: list[Callable[[dict[str, Any]], object]] = [
    first_host(max_mhz="fast", clock_mhz=1.0),
    first_host(joules="many"),
    first_host(governors=None),
    lambda one: one["records"][0]["hosts"][0].pop("swapped_pages"),
    lambda one: one["runs"][0].update(config={}),
    lambda one: one["runs"][0]["config"].update(layers="many"),
    lambda one: one["runs"][0]["epochs"][0]["phases"].update(more=3),
]


@pytest.mark.parametrize("number", range(len(SENSELESS)))
def test_what_makes_no_sense_is_refuted_and_not_a_crash(pack: Pack, tmp_path: Path, number: int) -> None:
    """What no schema looks at, through the file, as others would send it."""
    path = tmp_path / "senseless.json.gz"
    packed.save(path, doctored(pack, SENSELESS[number], chained=True))
    try:
        found = packed.load(path)
    except UsageError as error:
        assert str(path) in str(error)
    else:
        assert verify.check(found).verdict == verify.REFUTED


@pytest.mark.parametrize("change", [swapped, without_first, faster])
def test_what_the_figures_do_not_give_away_the_chain_does(
    pack: Pack, change: Callable[[dict[str, Any]], object]
) -> None:
    found = verify.check(doctored(pack, change))
    assert found.verdict == verify.REFUTED
    assert any("changed since it was measured, or one before is missing" in words for words in found.wrong)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda one: one["sessions"][0].update(commit="0" * 40 + "-dirty"), "code that is no commit"),
        (lambda one: one["sessions"][0].pop("commit"), "code that is no commit (None)"),
        (lambda one: [record.update(chain=None) for record in one["records"]], "records without a chain"),
        (first(verdict="INVALID"), "is INVALID by its own account"),
        (lambda one: [r["environment"].pop("numerics") for r in one["records"]], "whose bits are its own"),
    ],
)
def test_what_cannot_be_known_is_unverified(pack: Pack, change: Callable[[dict[str, Any]], object], said: str) -> None:
    found = verify.check(doctored(pack, change, chained="chain" not in said))
    assert found.verdict == verify.UNVERIFIED and any(said in words for words in found.unknown), found


def test_what_has_no_golden_hash_can_be_trained_here(pack: Pack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verify.oracle.golden, "find", lambda settings, data: [])
    found = verify.check(pack)
    assert found.verdict == verify.UNVERIFIED
    assert "strong/ranks=1: no golden hash is known; --train trains it here" in found.unknown
    first_alone = doctored(pack, only_first, chained=True)
    assert verify.check(first_alone, train=True) == ([], [])
    assert verify.check(doctored(first_alone, wrong_weights, chained=True), train=True).verdict == verify.REFUTED


HOSTILE = {
    "no JSON": b"{",
    "another thing": b"[1, 2]",
    "nothing in it": b"{}",
    "deep": b"[" * 100_000,
    "a number beyond all": b'{"schema_version": 1e999}',
    "of tomorrow": b'{"schema_version": 2}',
}


@pytest.mark.parametrize(
    "name", [*HOSTILE, "a bomb", "hosts", "units", "a path", "types", "cut", "watts", "calibration"]
)
def test_what_is_no_pack_is_refused_by_file_and_key(pack: Pack, tmp_path: Path, name: str) -> None:
    path = tmp_path / "pack.json.gz"
    if name in HOSTILE:
        path.write_bytes(gzip.compress(HOSTILE[name]))
    elif name == "a bomb":
        path.write_bytes(gzip.compress(b"[" + b" " * 2**28))
    else:
        changes: dict[str, Callable[[dict[str, Any]], object]] = {
            "hosts": first(hosts=5),
            "units": first(units={}),
            "a path": lambda one: one["plan"]["suite"].update(name="../../etc"),
            "types": lambda one: one["runs"][0]["epochs"][0].update(train_seconds="fast"),
            "cut": lambda one: one["runs"].pop(),
            "watts": lambda one: one["plan"].update(watts="many"),
            "calibration": lambda one: one.update(calibration={"speeds": []}),
        }
        packed.save(path, doctored(pack, changes[name]))
    with pytest.raises(UsageError) as refused:
        packed.load(path)
    assert str(refused.value).startswith(f"{path}: ")
    ran = run([*BENCH, "verify", str(path)])
    assert ran.returncode == 2 and len(errors(ran.stderr)) == 1


def test_own_data_and_lost_runs_are_not_packed(measured: Path, tmp_path: Path) -> None:
    lines = [json.loads(line) for line in (measured / "records.jsonl").read_text().splitlines()]
    for name, change, said in (
        ("own", {"options": {"data": "/home/me/x.npz"}}, "data of your own"),
        ("lost", {"result": "runs/none.json"}, "is not there; restore runs/"),
    ):
        folder = tmp_path / name
        folder.mkdir()
        for one in ("plan.json", "environment.json"):
            (folder / one).write_bytes((measured / one).read_bytes())
        (folder / "records.jsonl").write_text(json.dumps(lines[0] | change) + "\n")
        ran = run([*BENCH, "pack", str(folder), "--out", str(tmp_path / "x.gz")])
        assert ran.returncode == 2 and said in errors(ran.stderr)[0]


@pytest.fixture(scope="module")
def of_kernel(tmp_path_factory: pytest.TempPathFactory) -> Pack:
    """The pack of a program, which leaves no epochs."""
    folder = tmp_path_factory.mktemp("kernel")
    about = {"title": "Kernel", "program": "kernel_speed", "mpi": False, "options": {"turns": 2}}
    (folder / "kernel.yml").write_text(yaml.safe_dump({**SUITE, "options": {}, "experiments": {"kernel": about}}))
    for words in (["run", str(folder / "kernel.yml"), "--out", str(folder / "out")], ["pack", str(folder / "out")]):
        ran = run([*BENCH, *words, *(["--out", str(folder / "x.gz")] if words[0] == "pack" else [])])
        assert ran.returncode == 0, ran.stderr
    content = packed.load(folder / "x.gz")
    return dataclasses.replace(content, sessions=({**content.sessions[0], "commit": "0" * 40},))


def times(name: str, factor: float) -> Callable[[dict[str, Any]], object]:
    """A figure and its series, made so many times as large."""

    def change(one: dict[str, Any]) -> None:
        record = one["records"][0]
        record["metrics"][name] *= factor
        record["series"][name] = [factor * value for value in record["series"][name]]

    return change


def measured_again(place: int) -> Callable[[dict[str, Any]], object]:
    """Return what puts a record of the first one's point and repeat at a place, of which no run is left."""

    def change(one: dict[str, Any]) -> None:
        other = deepcopy(one["records"][0])
        other["metrics"] = {name: value and 1.01 * value for name, value in other["metrics"].items()}
        one["records"].insert(place, other)
        one["runs"].insert(place, {})

    return change


def test_the_last_record_of_a_repeat_is_the_one_that_counts(pack: Pack) -> None:
    assert verify.check(doctored(pack, measured_again(0), chained=True)) == ([], [])
    found = verify.check(doctored(pack, measured_again(1), chained=True))
    assert [words for words in found.wrong if "what its training left is missing" in words]


def test_of_accuracies_over_epochs_the_last_is_the_figure(of_kernel: Pack) -> None:
    def learned(figure: float) -> Callable[[dict[str, Any]], object]:
        def change(one: dict[str, Any]) -> None:
            one["records"][0]["series"]["train_accuracy"] = [90.0, 95.0, 96.0]
            one["records"][0]["metrics"]["train_accuracy"] = figure

        return change

    assert verify.check(doctored(of_kernel, learned(96.0), chained=True)).wrong == []
    (wrong,) = verify.check(doctored(of_kernel, learned(95.0), chained=True)).wrong
    assert "train_accuracy is 95.0, but 96.0 by its series" in wrong


LEARNING = Path(__file__).parents[2] / "bench/results/xeon-vm/learning/records.jsonl"


def test_figures_of_a_program_that_learned_come_from_its_epochs() -> None:
    records = [json.loads(line) for line in LEARNING.read_text().splitlines()]
    learned = [record for record in records if record["program"] == "peers.torch_optimizers"]
    assert learned
    for record in learned:
        assert record["metrics"].keys() <= verify.by_series(record).keys()
        assert list(verify.from_series(record)) == []
        for name, value in record["metrics"].items():
            (said,) = verify.from_series(record | {"metrics": record["metrics"] | {name: 1.01 * value}})
            assert said.startswith(f"{name} is ")


def test_figures_of_a_program_are_the_medians_of_what_was_timed(of_kernel: Pack) -> None:
    assert verify.check(of_kernel) == ([], [])
    metrics = of_kernel.records[0]["metrics"]
    assert metrics.keys() == of_kernel.records[0]["series"].keys() and metrics["native_by_bound"] > 1
    found = verify.check(doctored(of_kernel, lambda one: one["records"][0]["series"].pop("bound_microseconds")))
    assert "not all figures of kernel_speed can be computed again from what is packed" in found.unknown


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda one: one["records"][0]["metrics"].update(native_microseconds=2.0), "native_microseconds is 2.0, but"),
        (lambda one: one["records"][0]["series"].update(native_by_bound=[]), "makes no sense"),
        (times("native_microseconds", 1e-3), "no core learns an exemplar in less than 0.167"),
        (times("native_by_bound", 0.01), "faster than the least that learning must do"),
        (first(seconds=1e-3), "official: True, with 0.001 s"),
    ],
)
def test_doctored_figures_of_a_program_are_refuted(
    of_kernel: Pack, change: Callable[[dict[str, Any]], object], said: str
) -> None:
    found = verify.check(doctored(of_kernel, change, chained=True))
    assert found.verdict == verify.REFUTED and any(said in words for words in found.wrong), found


def test_every_pack_of_the_gallery_stands_up() -> None:
    paths = sorted(gallery.PACKS.glob(f"*{packed.SUFFIX}"))
    assert paths
    for path in paths:
        found = verify.check(packed.load(path))
        assert found.verdict != verify.REFUTED, (path, found.wrong)


def test_one_rank_alone_is_no_speedup_but_on_one_core(pack: Pack) -> None:
    def one_rank(one: dict[str, Any]) -> None:
        kept = [n for n, record in enumerate(one["records"]) if record["ranks"] == 1]
        for key in ("records", "runs"):
            one[key] = [one[key][n] for n in kept]

    def one_core(one: dict[str, Any]) -> None:
        one_rank(one)
        one["plan"]["profile"]["machine"]["allowed"] = "0"

    assert gallery.speeds(gallery.as_run(doctored(pack, one_rank))) == {}
    found = gallery.speeds(gallery.as_run(doctored(pack, one_core)))
    assert found["one"] == found["all"] and found["speedup"] == 1


def on(day: str, pack: Pack, price: str | None = None) -> Pack:
    """Return a pack as if it had been measured on another day."""
    sessions = tuple({**one, "started": f"{day}T12:00:00+00:00"} for one in pack.sessions)
    return dataclasses.replace(pack, sessions=sessions, price=price)


def test_a_machine_that_was_measured_twice_has_a_history(pack: Pack, tmp_path: Path) -> None:
    paths = [tmp_path / f"{name}.mpinn.json.gz" for name in ("later", "sooner")]
    packed.save(paths[0], on("2026-11-25", pack, "45 EUR"))
    packed.save(paths[1], on("2026-11-24", pack))
    assert main(["gallery", *map(str, paths), "--out", str(tmp_path / "site")]) == 0
    index = (tmp_path / "site/index.html").read_text()
    assert f"Measured 2026-11-24 {'0' * 12}, 2026-11-25 {'0' * 12}." in index
    assert "days since 2026-11-24" in index and 'data-value="45.0">45 EUR<' in index
    assert main(["gallery", str(paths[0]), "--out", str(tmp_path / "alone")]) == 0
    assert "Measured" not in (tmp_path / "alone/index.html").read_text()


@pytest.mark.parametrize("price", ["45", "EUR 45", "-1 EUR", "1e3 EUR", "45 EUR<script>"])
def test_a_price_is_an_amount_and_a_currency(pack: Pack, tmp_path: Path, price: str) -> None:
    packed.save(tmp_path / "x.gz", dataclasses.replace(pack, price=price))
    with pytest.raises(UsageError, match=r"price: expected"):
        packed.load(tmp_path / "x.gz")
    with pytest.raises(argparse.ArgumentTypeError, match="expected an amount and a currency"):
        pack_command.price(price)


def test_a_page_of_the_gallery_predicts_from_the_calibration_of_its_pack(
    pack: Pack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And from no file that lies where the gallery is made."""
    board = json.loads(json.dumps(dataclasses.asdict(HOST)))
    (tmp_path / "calibration.json").write_text(json.dumps(board))
    monkeypatch.chdir(tmp_path)
    known = dataclasses.replace(pack, calibration=board | {"measured": "on another day"})
    for one, said in ((pack, predicted.NOT_CALIBRATED), (known, "a calibration of on another day")):
        path = tmp_path / "one.mpinn.json.gz"
        packed.save(path, one)
        here = gallery.as_run(packed.load(path))
        svg, (part,) = predicted.predicted("strong", Figure("predicted"), [("here", here)])
        assert said in part.note and bool(svg) == (one is known)


def test_a_gallery_shows_what_is_true_and_says_what_it_leaves_out(
    pack: Pack, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    packed.save(tmp_path / "good.mpinn.json.gz", pack)
    packed.save(tmp_path / "bad.mpinn.json.gz", doctored(pack, wrong_weights))
    paths = [str(tmp_path / f"{name}.mpinn.json.gz") for name in ("bad", "good")]
    assert main(["gallery", *paths, "--out", str(tmp_path / "site")]) == 0
    said = capsys.readouterr().out
    assert f"{paths[0]}: REFUTED, left out: " in said and "1 pack, and what was published" in said
    assert sorted(path.name for path in (tmp_path / "site").iterdir()) == ["good.html", "index.html"]
    index, page = ((tmp_path / "site" / name).read_text() for name in ("index.html", "good.html"))
    assert "VERIFIED" in index and "Banana Pi M3" in index and "REFUTED" not in index.split("<tbody>")[1]
    assert "A small suite" in page and "It works: all 4 results are right." in page
    (row,) = [line for line in index.splitlines() if 'href="good.html"' in line]
    numbers = gallery.speeds(gallery.as_run(pack))
    assert numbers["one"] and numbers["all"] and numbers["speedup"]
    assert numbers["all"] == pytest.approx(numbers["speedup"] * numbers["one"])
    assert numbers["joules"] and numbers["all"] == pytest.approx(20 * numbers["joules"]) and numbers["watts"] == 20
    assert f'data-value="{numbers["all"]}"' in index[index.index(row) :].partition("</tr>")[0]
