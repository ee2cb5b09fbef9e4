"""Packs of real results: verified as they are, and caught where somebody has helped them along."""

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
from bench.publish import gallery, packed, verify
from bench.publish.packed import Pack
from mpinn.system.errors import UsageError
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
    watts = {"watts": 20.0, "epoch_joules": 20.0 * again["metrics"]["epoch_seconds"]}
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
    "no time": (first(started="yesterday"), "which is no time"),
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
    assert verify.check(pack, train=True) == ([], [])
    assert verify.check(doctored(pack, wrong_weights, chained=True), train=True).verdict == verify.REFUTED


HOSTILE = {
    "no JSON": b"{",
    "another thing": b"[1, 2]",
    "nothing in it": b"{}",
    "deep": b"[" * 100_000,
    "a number beyond all": b'{"schema_version": 1e999}',
    "of tomorrow": b'{"schema_version": 2}',
}


@pytest.mark.parametrize("name", [*HOSTILE, "a bomb", "hosts", "units", "a path", "types", "cut", "watts"])
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


def test_every_pack_of_the_gallery_stands_up() -> None:
    paths = sorted(gallery.PACKS.glob(f"*{packed.SUFFIX}"))
    assert paths
    for path in paths:
        found = verify.check(packed.load(path))
        assert found.verdict != verify.REFUTED, (path, found.wrong)


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
    assert numbers["one"] and numbers["all"] and numbers["speedup"] == pytest.approx(numbers["one"] / numbers["all"])
    assert numbers["joules"] and numbers["rate"] == pytest.approx(20 * numbers["joules"])
    assert f'data-value="{numbers["all"]}"' in index[index.index(row) :].partition("</tr>")[0]
