"""`python -m mpinn.train` as its user sees it: screen, files, errors, exit status."""

import json
import os
import signal
import struct
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

from bench.analysis import trace
from bench.report import timeline
from mpinn.hosts.launcher import find_launcher
from tests.command.commands import errors, ranks_alive, run, start, train, wait_until
from tests.digits import digits, write_npz

OPEN_MPI = find_launcher().vendor == "openmpi"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_npz(tmp_path_factory.mktemp("data") / "digits.npz")


@pytest.mark.parametrize("ranks", [0, 1, 3])
def test_screen_and_result(data: Path, tmp_path: Path, ranks: int) -> None:
    ran = train("--data", data, "--epochs", 2, "--result", tmp_path / "r.json", ranks=ranks)
    assert ran.returncode == 0, ran.stderr
    assert ran.stderr.strip() == ""
    lines = ran.stdout.splitlines()
    for name in ("network", "data", "workers", "merge", "ranks", "MPI", "kernel"):
        assert sum(line.startswith(name) for line in lines) == 1
    header = next(i for i, line in enumerate(lines) if line.split()[:3] == ["epoch", "train", "%"])
    rows = [line.split() for line in lines[header + 1 : header + 3]]
    said = json.loads((tmp_path / "r.json").read_text())
    assert [row[0] for row in rows] == ["1", "2"]
    assert [float(row[1]) for row in rows] == pytest.approx([e["train_accuracy"] for e in said["epochs"]], abs=0.006)
    assert said["weights_sha256"][:12] in lines[-1]
    assert said["environment"]["ranks"] == max(1, ranks)


@pytest.mark.parametrize("ranks", [0, 3])
def test_a_trace_is_written_and_its_place_is_said(data: Path, tmp_path: Path, ranks: int) -> None:
    ran = train("--data", data, "--workers", 3, "--epochs", 2, "--trace", tmp_path / "t.json.gz", ranks=ranks)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.splitlines()[-1].endswith(f"; trace in {tmp_path / 't.json.gz'}")
    (first, *_) = timeline.drawn(tmp_path / "t.json.gz")[1]
    assert first.startswith("rounds 5 to 7 of 8 (epoch 2)") and f"{max(1, ranks)} rank" in first


def test_a_run_that_fails_leaves_its_trace(data: Path, tmp_path: Path) -> None:
    path = tmp_path / "t.json"
    wild = ("--learning-rate", 1e5, "--no-layer-normalisation", "--input-divisor", 1, "--layers", 144, 5)
    ran = train("--data", data, *wild, "--trace", path, ranks=2)
    assert ran.returncode == 1 and "diverged" in ran.stderr, ran.stderr
    found = trace.read(path)
    assert found.about.rounds > 0 and found.ranks == [0, 1] and len(found.of("round")) == 2 * found.about.rounds


def test_the_rank_that_others_wait_for_is_named(data: Path, tmp_path: Path) -> None:
    path = tmp_path / "t.json"
    options = ("--data", data, "--workers", 6, "--worker-batch", 50, "--epochs", 3, "--kernel", "reference")
    ran = train(*options, "--trace", path, ranks=3, MPINN_FAULT="slow:rank=1,round=3,factor=5")
    assert ran.returncode == 0, ran.stderr
    said = timeline.drawn(path)[1][1]
    assert said.startswith("rank 1 learns longest (") and "slowed by MPINN_FAULT" in said


@pytest.mark.parametrize(
    "target, status, told", [(5, "target", "reached after 1 epoch"), (100, "target-missed", "missed: at most ")]
)
def test_the_closing_line_says_what_became_of_a_target(
    data: Path, tmp_path: Path, target: int, status: str, told: str
) -> None:
    path = tmp_path / "r.json"
    ran = train("--data", data, "--epochs", 2, "--learning-rate", 1e-3, "--target-accuracy", target, "--result", path)
    said = json.loads(path.read_text())
    best = max(row["test_accuracy"] for row in said["epochs"])
    told += f"{best:.2f}% in 2 epochs, " if status == "target-missed" else ", "
    assert ran.returncode == (0 if status == "target" else 4) and said["status"] == status
    assert ran.stdout.splitlines()[-1].startswith(f"target of {target}% (test set) {told}")


@pytest.mark.parametrize("ranks", [0, 2])
def test_dead_training_is_said_and_is_the_exit_status(data: Path, tmp_path: Path, ranks: int) -> None:
    """Steps so long that the softmax is at its ends, where the paper's loss has no slope."""
    path = tmp_path / "r.json"
    ran = train("--data", data, "--workers", 2, "--learning-rate", 200, "--epochs", 3, "--result", path, ranks=ranks)
    said = json.loads(path.read_text())
    assert ran.returncode != 0 if ranks else ran.returncode == 4
    assert said["status"] == "dead" and said["epochs"][-1]["classes_named"] == 1
    assert sum(line.startswith("training is dead: ") for line in ran.stdout.splitlines()) == 1
    assert "lower --learning-rate (now 200)" in ran.stdout and "\ndead after 3 epochs, " in ran.stdout


@pytest.mark.parametrize("command", ["train --epochs 1", "launch -n 2 -- --epochs 1"])
def test_too_few_files_are_one_line(command: str) -> None:
    ran = run(["bash", "-c", f"ulimit -n 12; exec {sys.executable} -m mpinn.{command}"])
    assert ran.returncode == 2 and ran.stderr.startswith("mpinn: error:") and ran.stderr.count("\n") == 1
    assert "ulimit -n" in ran.stderr


def test_a_low_limit_of_files_that_may_be_raised_is_raised(data: Path) -> None:
    ran = run(["bash", "-c", f"ulimit -S -n 12; exec {sys.executable} -m mpinn.train --data {data} --epochs 1"])
    assert ran.returncode == 0, ran.stderr


def test_quiet_prints_nothing(data: Path) -> None:
    ran = train("--data", data, "--epochs", 1, "--quiet", ranks=2)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")


def test_many_workers_under_the_plain_mean_get_one_line_of_advice(data: Path) -> None:
    said = train("--data", data, "--epochs", 1, "--workers", 8).stdout
    assert said.count("hint:") == 1 and "--merge block-momentum" in said
    assert "hint:" not in train("--data", data, "--epochs", 1, "--workers", 2).stdout


@pytest.mark.parametrize("ranks", [0, 3])
def test_help_version_and_configuration_are_printed_once(ranks: int) -> None:
    assert train("--help", ranks=ranks).stdout.count("usage:") == 1
    assert train("--version", ranks=ranks).stdout.count("mpinn ") == 1
    shown = train("--epochs", 9, "--no-bias", "--show-config", ranks=ranks)
    assert shown.returncode == 0
    settings = yaml.safe_load(shown.stdout)
    assert settings["epochs"] == 9 and settings["bias"] is False and settings["learning_rate"] is None


def test_a_configuration_file_says_what_options_say_and_options_go_first(data: Path, tmp_path: Path) -> None:
    (tmp_path / "c.yml").write_text(f"data: {data}\nepochs: 3\nworker-batch: 50\nl1: 1e-6\nlayers: [144, 20, 5]\n")
    train("--config", tmp_path / "c.yml", "--epochs", 1, "--result", tmp_path / "a.json", ranks=2)
    by_hand = ("--worker-batch", 50, "--l1", 1e-6, "--layers", 144, 20, 5)
    train("--data", data, *by_hand, "--epochs", 1, "--result", tmp_path / "b.json", ranks=2)
    a, b = (json.loads((tmp_path / name).read_text()) for name in ("a.json", "b.json"))
    assert len(a["epochs"]) == 1
    assert a["weights_sha256"] == b["weights_sha256"]


def idx(tmp_path: Path, name: str, content: bytes) -> Path:
    """Return a data directory with four IDX files, of which one has this content."""
    data = digits(20, 10, 4)
    files = {
        "train-images-idx3-ubyte": struct.pack(">4i", 0x803, 20, 4, 4) + data.train_images.tobytes(),
        "train-labels-idx1-ubyte": struct.pack(">2i", 0x801, 20) + data.train_labels.astype(np.uint8).tobytes(),
        "t10k-images-idx3-ubyte": struct.pack(">4i", 0x803, 10, 4, 4) + data.test_images.tobytes(),
        "t10k-labels-idx1-ubyte": struct.pack(">2i", 0x801, 10) + data.test_labels.astype(np.uint8).tobytes(),
        name: content,
    }
    for file, held in files.items():
        (tmp_path / file).write_bytes(held)
    return tmp_path


BAD = {
    "unknown option": (["--epoch", "3"], "--epochs"),
    "out of bounds": (["--epochs", "0"], "--epochs"),
    "not a number": (["--learning-rate", "fast"], "--learning-rate"),
    "no such choice": (["--merge", "block"], "block-momentum"),
    "no such data": (["--data", "/no/such/place"], "/no/such/place"),
    "no such configuration": (["--config", "/no/such/place"], "/no/such/place"),
    "no such snapshot": (["--resume", "/no/such/place"], "/no/such/place"),
    "result nowhere": (["--result", "/no/such/place/result.json"], "/no/such/place"),
    "snapshots nowhere": (["--checkpoint", "/no/such/place/snapshots"], "/no/such/place"),
    "result on read-only ground": (["--result", "/proc/result.json"], "/proc"),
    "trace nowhere": (["--trace", "/no/such/place/t.json"], "give --trace another place"),
    "trace on read-only ground": (["--trace", "/proc/t.json"], "/proc: cannot be written"),
    "a trace that is a directory": (["--trace", "/tmp"], "/tmp: is a directory; give --trace a file"),
    "a trace in the result's place": (["--trace", "/tmp/x", "--result", "/tmp/x"], "give each its own"),
    "no rounds to trace": (["--trace-rounds", "0"], "--trace-rounds"),
    "too many workers": (["--workers", "601"], "at most 600 --workers, or --worker-batch 99"),
    "layers that do not fit": (["--layers", "100", "10"], "784"),
    "activations that do not fit": (["--activations", "elu", "softmax"], "--activations"),
    "no softmax at the end": (["--activations", "elu", "elu", "elu"], "softmax"),
    "momentum without its merge": (["--block-momentum", "0.9"], "--merge block-momentum"),
    "flipping weights": (["--l2", "2"], "--l2"),
}


@pytest.mark.parametrize(
    "name, ranks", [*((name, 0) for name in BAD), ("out of bounds", 2), ("no such data", 2), ("too many workers", 3)]
)
def test_what_is_asked_wrongly_is_one_line_and_status_2(name: str, ranks: int) -> None:
    options, told = BAD[name]
    ran = train(*options, ranks=ranks)
    assert ran.returncode == 2, ran.stderr
    assert ran.stdout == ""
    assert len(errors(ran.stderr)) == 1 and told in errors(ran.stderr)[0]
    assert "Traceback" not in ran.stderr


@pytest.mark.parametrize(
    "name, content, told",
    [
        ("train-images-idx3-ubyte", b"\x00\x00\x08\x03\x00", "train-images"),
        ("train-images-idx3-ubyte", struct.pack(">4i", 0x804, 20, 4, 4) + bytes(320), "magic"),
        ("train-images-idx3-ubyte", struct.pack(">4I", 0x803, 2**31, 2**15, 2**15), "train-images"),
        ("train-labels-idx1-ubyte", struct.pack(">2i", 0x801, 21) + bytes(21), "21"),
        ("t10k-images-idx3-ubyte", struct.pack(">4i", 0x803, 10, 5, 5) + bytes(250), "t10k-images"),
    ],
)
def test_bad_data_are_one_line_that_names_the_file(tmp_path: Path, name: str, content: bytes, told: str) -> None:
    ran = train("--data", idx(tmp_path, name, content))
    assert ran.returncode == 2
    assert len(errors(ran.stderr)) == 1 and told in errors(ran.stderr)[0] and str(tmp_path) in errors(ran.stderr)[0]
    assert "Traceback" not in ran.stderr


@pytest.mark.parametrize("words", [["train"], ["launch"], ["hosts", "apply", "detected"]] if OPEN_MPI else [])
def test_without_a_home_there_is_one_line(words: list[str]) -> None:
    """Open MPI would die in its initialisation, and its mpirun would not say whose it is."""
    ran = run(["env", "--unset", "HOME", sys.executable, "-m", f"mpinn.{words[0]}", *words[1:]])
    assert ran.returncode == 2 and ran.stdout == ""
    assert errors(ran.stderr) == ran.stderr.splitlines() and "export HOME=" in ran.stderr


def test_a_launcher_of_many_ranks_asks_for_files_enough_for_them() -> None:
    ran = run(["bash", "-c", f"ulimit -n 80; exec {sys.executable} -m mpinn.launch -n 16"])
    assert ran.returncode == 2 and errors(ran.stderr) == ran.stderr.splitlines() and "MPI needs 192" in ran.stderr


def test_debug_shows_where(tmp_path: Path) -> None:
    ran = train("--data", "/no/such/place", "--debug")
    assert "Traceback" in ran.stderr and len(errors(ran.stderr)) == 1


@pytest.mark.parametrize(
    "text, told",
    [
        ("epochs: 5\nworkrs: 3\n", "workers"),
        ("epochs: [", "YAML"),
        ("- 1", "key: value"),
        ("epochs: !!python/object/apply:os.getpid []", "YAML"),
        ("epochs: five", "epochs"),
        ("bias: 1", "bias"),
    ],
)
def test_a_bad_configuration_file_is_named_with_its_key(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "c.yml").write_text(text)
    ran = train("--config", tmp_path / "c.yml")
    assert ran.returncode == 2
    assert len(errors(ran.stderr)) == 1
    assert str(tmp_path / "c.yml") in errors(ran.stderr)[0] and told in errors(ran.stderr)[0]


@pytest.mark.parametrize("ranks", [0, 3])
def test_runaway_weights_end_every_rank_and_say_what_to_lower(data: Path, tmp_path: Path, ranks: int) -> None:
    wild = ("--learning-rate", 1e5, "--no-layer-normalisation", "--input-divisor", 1, "--layers", 144, 5)
    ran = train("--data", data, *wild, "--result", tmp_path / "r.json", ranks=ranks)
    assert ran.returncode == 1
    (line,) = errors(ran.stderr)
    assert "training diverged at epoch " in line and "--learning-rate" in line
    said = json.loads((tmp_path / "r.json").read_text())
    assert said["status"] == "failed" and "diverged" in said["error"]


@pytest.mark.parametrize("ranks", [0, 2])
def test_a_master_that_runs_away_while_gradients_are_numbers_is_noticed(data: Path, ranks: int) -> None:
    """Under an optimizer what workers give says nothing of the weights that the step leaves."""
    wild = ("--merge", "gradient", "--optimizer", "adam", "--learning-rate", 1e5, "--layers", 144, 5, "--epochs", 1)
    ran = train("--data", data, "--workers", 2, "--worker-batch", "all", *wild, ranks=ranks)
    assert ran.returncode == 1
    (line,) = errors(ran.stderr)
    assert "training diverged at epoch 1, round 1: " in line and "lower --learning-rate" in line


@pytest.mark.parametrize("ranks", [0, 3])
@pytest.mark.parametrize("number, status", [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_run_leaves_a_snapshot_and_no_rank(
    data: Path, tmp_path: Path, ranks: int, number: signal.Signals, status: int
) -> None:
    folder = tmp_path / "snapshots"
    endless = ("--data", data, "--epochs", 10**6, "--checkpoint", folder, "--checkpoint-every", 10**6)
    process = start(*endless, "--result", tmp_path / "r.json", ranks=ranks)
    assert wait_until((tmp_path / "r.json").exists, 60)
    process.send_signal(number)
    process.communicate(timeout=10)
    assert process.returncode != 0 if ranks else process.returncode == status
    assert wait_until(lambda: not ranks_alive(str(folder)), 10)
    assert any(folder.glob("*.mpinn"))
    resumed = train("--data", data, "--resume", folder, "--epochs", 1, ranks=ranks)
    assert resumed.returncode == 0, resumed.stderr


@pytest.mark.parametrize("ranks", [0, 3])
def test_sigusr1_takes_a_snapshot_and_training_goes_on(data: Path, tmp_path: Path, ranks: int) -> None:
    folder = tmp_path / "snapshots"
    endless = ("--data", data, "--epochs", 10**6, "--checkpoint", folder, "--checkpoint-every", 10**6)
    process = start(*endless, "--result", tmp_path / "r.json", ranks=ranks)
    try:
        assert wait_until((tmp_path / "r.json").exists, 60)
        process.send_signal(signal.SIGUSR1)
        assert wait_until(lambda: any(folder.glob("*.mpinn")), 10)
        before = len(json.loads((tmp_path / "r.json").read_text())["epochs"])
        assert wait_until(lambda: len(json.loads((tmp_path / "r.json").read_text())["epochs"]) > before + 2, 10)
    finally:
        process.terminate()
        process.communicate(timeout=10)


def test_ranks_without_a_core_may_rest(data: Path, tmp_path: Path) -> None:
    """They learn nothing, answer no signal, and end with the others: to the weights of ranks that all learn."""
    ranks = 2 * len(os.sched_getaffinity(0)) + 1
    options = ("--data", data, "--epochs", 2, "--worker-batch", 10)
    both = []
    for which in ("all", "cores"):
        ran = train(*options, "--learning-ranks", which, "--result", tmp_path / "r.json", ranks=ranks)
        assert ran.returncode == 0, ran.stderr
        both.append(json.loads((tmp_path / "r.json").read_text()))
    assert both[0]["weights_sha256"] == both[1]["weights_sha256"]
    learning, resting = (both[1]["environment"][name] for name in ("ranks", "resting_ranks"))
    assert learning == len(os.sched_getaffinity(0)) and learning + resting == ranks == both[1]["config"]["workers"]
    assert f"on {learning} learning ranks of {ranks}" in ran.stdout and both[0]["environment"]["resting_ranks"] == 0


def test_an_interrupted_run_with_ranks_that_rest_saves_and_ends(data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "snapshots"
    endless = ("--data", data, "--epochs", 10**6, "--checkpoint", folder, "--checkpoint-every", 10**6)
    process = start(*endless, "--learning-ranks", "cores", "--result", tmp_path / "r.json", ranks=4)
    assert wait_until((tmp_path / "r.json").exists, 60)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=10)
    assert process.returncode != 0
    assert wait_until(lambda: not ranks_alive(str(folder)), 10)
    assert any(folder.glob("*.mpinn"))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--layers", "3", "4"], "does not fit the data"),
        (["--fault-tolerance", "ulfm"], "--fault-tolerance ulfm"),
        (["--data", "nowhere"], "nowhere"),
    ],
)
def test_what_is_wrong_is_said_once_and_ends_ranks_that_rest(options: list[str], said: str) -> None:
    ran = train("--learning-ranks", "cores", *options, ranks=4)
    assert ran.returncode != 0
    (line,) = errors(ran.stderr)
    assert said in line


@pytest.mark.parametrize(
    ("options", "said"),
    [(["--workers", "1"], "--workers 2 or more"), (["--merge-format", "float64"], "--merge-format int16 or int32")],
)
def test_what_cannot_overlap_is_refused(data: Path, options: list[str], said: str) -> None:
    ran = train("--data", data, "--workers", 2, "--overlap", *options)
    assert ran.returncode == 2
    (line,) = errors(ran.stderr)
    assert said in line


def test_one_failing_rank_ends_all_with_one_line(data: Path, tmp_path: Path) -> None:
    """Rank 1 alone runs out of something that nobody foresaw."""
    script = tmp_path / "fails.py"
    script.write_text(
        "import sys\n"
        "from mpinn.parallel.round import Team\n"
        "from mpinn import train\n"
        "learn = Team.learn\n"
        "def fail(self, batches, counts, epoch, round_):\n"
        "    if self.world.rank == 1 and round_ == 3:\n"
        "        raise MemoryError('no more')\n"
        "    return learn(self, batches, counts, epoch, round_)\n"
        "Team.learn = fail\n"
        "sys.exit(train.main(sys.argv[1:]))\n"
    )
    from tests.command import commands

    original = commands.TRAIN
    try:
        commands.TRAIN = [sys.executable, str(script)]
        ran = train("--data", data, ranks=3)
    finally:
        commands.TRAIN = original
    assert ran.returncode != 0
    (line,) = errors(ran.stderr)
    assert "rank 1" in line and "MemoryError" in line


def test_a_slow_rank_gets_fewer_workers_and_the_weights_are_the_same(data: Path, tmp_path: Path) -> None:
    options = ("--data", data, "--workers", 16, "--worker-batch", 10, "--epochs", 2, "--kernel", "reference")
    said = {}
    for balance in ("even", "measured"):
        path = tmp_path / f"{balance}.json"
        slow = {"MPINN_FAULT": "slow:rank=1,round=1,factor=4"}
        ran = train(*options, "--balance", balance, "--result", path, ranks=2, **slow)
        assert ran.returncode == 0, ran.stderr
        said[balance] = json.loads(path.read_text())
    even, measured = said["even"], said["measured"]
    assert even["weights_sha256"] == measured["weights_sha256"]
    assert even["workers_of_ranks"] == [8, 8]
    assert measured["workers_of_ranks"][0] > 2 * measured["workers_of_ranks"][1]


def test_a_flipped_bit_changes_the_weights_from_its_round_on(data: Path, tmp_path: Path) -> None:
    results = {}
    for name, fault in (("whole", {}), ("flipped", {"MPINN_FAULT": "flip:rank=1,round=13"})):
        path = tmp_path / name
        ran = train(*("--data", data, "--epochs", 3, "--worker-batch", 10, "--result", path), ranks=2, **fault)
        assert ran.returncode == 0, ran.stderr
        results[name] = json.loads(path.read_text())
    whole, flipped = ([row["weights_sha256"] for row in results[name]["epochs"]] for name in ("whole", "flipped"))
    first_wrong = 12 // results["whole"]["rounds_per_epoch"]
    assert [a == b for a, b in zip(whole, flipped, strict=True)] == [epoch < first_wrong for epoch in range(3)]
    assert results["whole"]["weights_sha256"] == whole[-1]


def test_a_fault_that_is_none_is_refused(data: Path) -> None:
    ran = train("--data", data, MPINN_FAULT="slow:rank=1")
    assert ran.returncode == 2 and len(errors(ran.stderr)) == 1 and "MPINN_FAULT" in ran.stderr


def test_worlds_of_one_rank_are_refused(data: Path) -> None:
    """What another MPI's mpirun leads to: the launcher says 4 ranks, MPI knows of one."""
    ran = train("--data", data, PMI_SIZE="4", PMI_RANK="0")
    assert ran.returncode == 2
    assert len(errors(ran.stderr)) == 1 and "mpi4py" in errors(ran.stderr)[0]
    silent = train("--data", data, PMI_SIZE="4", PMI_RANK="3")
    assert silent.returncode == 0 and errors(silent.stderr) == []


@pytest.mark.parametrize("ranks", [1, 2, 8])
def test_the_same_workers_give_the_same_weights_under_mpirun(data: Path, tmp_path: Path, ranks: int) -> None:
    hashes = []
    for number in (0, ranks):
        path = tmp_path / f"{number}.json"
        train(
            "--data",
            data,
            "--workers",
            8,
            "--worker-batch",
            25,
            "--epochs",
            2,
            "--result",
            path,
            ranks=number,
        )
        hashes.append(json.loads(path.read_text())["weights_sha256"])
    assert hashes[0] == hashes[1]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM] if OPEN_MPI else [signal.SIGINT])
def test_what_the_launcher_is_asked_to_end_reads_interrupted(
    data: Path, tmp_path: Path, number: signal.Signals
) -> None:
    """Open MPI's sends its ranks SIGTERM after either."""
    result = tmp_path / "r.json"
    endless = ("--data", data, "--epochs", 10**6, "--checkpoint", tmp_path / "s", "--checkpoint-every", 10**6)
    process = start(*endless, "--result", result, ranks=2)
    assert wait_until(result.exists, 60)
    process.send_signal(number)
    process.communicate(timeout=10)
    assert json.loads(result.read_text())["status"] in ("interrupted", "running")  # killed too soon to say more
    assert wait_until(lambda: any((tmp_path / "s").glob("*.mpinn")), 10)
