"""The playbooks against three hosts, from deployment to reset: real SSH, sudo, packages, MPI over a network.

The tests build on each other, in this order, as a user's days would.
"""

import json
import os
import random
import re
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deployment.cluster import (
    CHECKOUT,
    GOVERNOR,
    HOME,
    HOSTS,
    PYTHON,
    Control,
    assert_same,
    changes,
    cluster,
    everything,
    on,
    script,
    until,
    wrong,
)
from tests.faults import hosts
from tests.faults.job import undisturbed

PAIR = """
title: Two ranks
description: A run over two hosts.
repeats: 1
minimum_seconds: 1
experiments:
  pair: {title: Two ranks, ranks: 2, workers: 2, options: {epochs: 1}, figures: [{kind: bars, y: [epoch_seconds]}]}
"""

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def control(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Control]:
    """The control machine of a new cluster."""
    with cluster(tmp_path_factory.mktemp("control")) as control:
        yield control


def test_what_was_interrupted_is_completed(control: Control, untouched: dict[str, set[str]]) -> None:
    control.killed("deploy.yml", lambda line: "suite : Install the wheel" in line)
    said = control.well("deploy.yml")
    assert "one epoch on 6 ranks over all boards, and on each board alone: the same weights" in said
    assert all(on(host, "readlink -f /home/mpinn/current/installed") for host in HOSTS)
    assert "gcc" in on("node1", "ls /usr/bin") and "gcc" not in on("node2", "ls /usr/bin")


def test_a_second_time_changes_nothing_wherever_it_is_started(control: Control, tmp_path: Path) -> None:
    control.directory = tmp_path
    try:
        said = control.well(str(CHECKOUT / "ansible/deploy.yml"))
    finally:
        control.directory = None
    assert changes(said) == dict.fromkeys(HOSTS, 0)
    assert changes(control.well("deploy.yml", "--check", "--diff")) == dict.fromkeys(HOSTS, 0)


def test_the_user_has_no_rights_and_the_hosts_know_one_another(control: Control) -> None:
    assert on("node1", "runuser -u mpinn -- sudo -n id -u 2>&1").startswith("sudo: ")
    for host in HOSTS:
        assert on("node1", f"runuser -u mpinn -- ssh 10.77.0.1{host[-1]} hostname").strip() == host
    assert "StrictHostKeyChecking yes" in on("node1", "cat /home/mpinn/.ssh/config")
    assert on("node2", "cat /home/mpinn/hosts.txt").startswith("10.77.0.11 slots=2 max_slots=16\n")
    assert "btl_tcp_if_include = eth0" in on("node3", "cat /home/mpinn/current/environment/etc/openmpi-mca-params.conf")


def test_status_shows_every_host(control: Control) -> None:
    said = control.well("status.yml").replace("\u00a0", " ")
    assert all(re.search(rf"{host} +\S+ +- ondemand .* Open MPI 5", said) for host in HOSTS)


def test_training_goes_on_without_a_rank_and_without_a_host(control: Control) -> None:
    reference = undisturbed(hosts.Job())
    midst = reference._replace(seconds=reference.seconds / 2)
    for fault in (hosts.rank_of_a_host_stopped, hosts.link_cut):
        trial = fault(Path(), random.Random(0), midst)
        hosts.clear()
        assert trial.survived and trial.hash == reference.hash and trial.faults == 1


def governors() -> list[str]:
    return [on(host, f"cat {GOVERNOR}").strip() for host in HOSTS]


def test_a_suite_runs_over_all_hosts_at_full_clock(control: Control) -> None:
    """Though somebody looks all the time whether it has begun."""
    process = control.start("bench.yml")
    begun = f"test -s {HOME}/results/smoke/run.log"
    look = f"flock --shared --nonblock {HOME}/run.lock true"
    on("node1", f"timeout 180 runuser -u mpinn -- sh -c 'until {begun}; do {look}; done'")
    assert governors() == ["performance"] * 3
    said = process.communicate(timeout=600)[0]
    assert process.returncode == 0, said
    assert governors() == ["ondemand"] * 3
    home = control.results / "node1" / "smoke"
    records = [json.loads(line) for line in (home / "records.jsonl").read_text().splitlines()]
    assert len(records) == 9
    assert {record["verdict"] for record in records} <= {"VALID", "DEGRADED"}
    widest = next(record for record in records if record["ranks"] == 4)
    assert [host["host"] for host in widest["hosts"]] == list(HOSTS)
    assert [len(node["ranks"]) for node in widest["environment"]["nodes"]] == [2, 1, 1]
    assert "<svg" in (home / "report.html").read_text() and "records" in (home / "run.log").read_text()
    assert all(record["environment"]["commit"] for record in records if record["program"] == "train")


def test_a_merge_between_hosts_sends_what_it_must_over_a_link_of_any_speed(control: Control) -> None:
    """And three hosts learn what every machine learns, with merges beside learning too."""
    rates = {}
    sent = 2 * 4 / 3 * (79_510 - 67 * 100) / 1e3  # kB of int16, without the weights of pixels that nothing lights
    for rate, more in (("100mbit", ""), ("free", ""), ("free", "--overlap --worker-batch 50")):
        for host in HOSTS:
            script("shape", host, rate)
        mpirun = f"{PYTHON.removesuffix('python')}mpirun -n 3 --hostfile {HOME}/hosts.txt --map-by node"
        measure = f"{PYTHON} -m bench.programs.network --epochs 2 {more} --result /tmp/network.json"
        on("node1", f"su - mpinn -c 'cd {HOME}/current; {mpirun} {measure}'")
        found = json.loads(on("node1", "cat /tmp/network.json; rm /tmp/network.json"))
        metrics = found["metrics"]
        assert found["checks"][0]["passed"] and "not known" not in found["checks"][0]["detail"]
        assert metrics["hosts"] == 3 and metrics["least_kilobytes"] == pytest.approx(sent)
        assert metrics["least_kilobytes"] < metrics["merge_kilobytes"] < 1.5 * metrics["least_kilobytes"]
        assert metrics["epoch_by_bound"] == pytest.approx(metrics["epoch_seconds"] / metrics["bound_seconds"])
        assert metrics["epoch_seconds"] > metrics["learning_seconds"]
        rates[rate] = metrics["link_mbits_per_second"]
    assert 80 < rates["100mbit"] < 110 < rates["free"]


def test_a_suite_over_some_hosts_is_over_these(control: Control, tmp_path: Path) -> None:
    """node1, which has the hostfile's first line, is away."""
    suite = tmp_path / "pair.yml"
    suite.write_text(PAIR)
    script("cut", "node1")
    try:
        control.well("bench.yml", "--limit", "node2,node3", "--extra-vars", f"mpinn_suite={suite}")
    finally:
        script("mend", "node1")
    home = control.results / "node2" / "pair-node2+node3"
    (record,) = [json.loads(line) for line in (home / "records.jsonl").read_text().splitlines()]
    assert record["verdict"] in {"VALID", "DEGRADED"}
    assert [host["host"] for host in record["hosts"]] == ["node2", "node3"]


def test_an_interrupted_benchmark_goes_on_and_is_waited_for(control: Control) -> None:
    """The control machine is gone; then the run itself dies, and the governors go back all the same."""
    suite = ("--extra-vars", "mpinn_suite=lessons")
    process = control.start("bench.yml", *suite)
    assert process.stdout
    assert any("How far it is" in line for line in process.stdout)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert governors() == ["performance"] * 3
    assert "a run is going on" in control.refused()
    little = "mpinn_suite=smoke bench_patience=1"
    status, said = control.run("bench.yml", "--limit", "node2,node3", "--extra-vars", little)
    assert status != 0 and "node2 takes part in a run that another board began" in said
    waiting = control.start("bench.yml", *suite)
    assert waiting.stdout
    assert any("How far it is" in line for line in waiting.stdout)
    on("node1", "pkill -KILL -u mpinn -f 'bench run'")
    assert until(lambda: governors() == ["ondemand"] * 3, 60)
    said = waiting.communicate(timeout=600)[0]
    assert waiting.returncode != 0 and "ended with status none, having been killed" in " ".join(said.split()), said
    assert (control.results / "node1" / "lessons" / "run.log").exists()


def test_a_throttled_host_is_refused(control: Control) -> None:
    policy = GOVERNOR.rpartition("/")[0]
    clocks = {"scaling_cur_freq": 600000, "scaling_max_freq": 600000, "cpuinfo_max_freq": 1800000}
    spoil = "; ".join(f"echo {khz} >{policy}/{name}" for name, khz in clocks.items())
    with wrong("node2", spoil, "; ".join(f"rm {policy}/{name}" for name in clocks)):
        status, said = control.run("bench.yml", "--extra-vars", "mpinn_suite=kernels")
    assert status != 0 and "node2 is throttled: cluster 0: " in said and "capped at 600 MHz" in said
    assert governors() == ["ondemand"] * 3


def test_a_new_version_keeps_results(control: Control, tmp_path: Path) -> None:
    """A checkout whose source differs is another version.

    Its processors are said to differ, and node2's to be older: each compiles for itself, and all learn the same.
    """
    copy = tmp_path / "checkout"
    left_out = shutil.ignore_patterns(".git", ".venv*", ".cache", "build", "results", "*_cache", "__pycache__", "*.so")
    shutil.copytree(CHECKOUT, copy, ignore=left_out)
    (copy / "README.md").write_text("Another version.\n")
    before = on("node1", "readlink /home/mpinn/current")
    control.checkout = copy
    mixed = tmp_path / "mixed.yml"
    mixed.write_text(
        "facts_processor: processor of {{ inventory_hostname }}\n"
        "mpinn_cflags: \"{{ '-O2 -march=x86-64-v3' if inventory_hostname == 'node2' else '' }}\"\n"
    )
    try:
        control.well("deploy.yml", "--extra-vars", f"@{mixed}")
    finally:
        control.checkout = CHECKOUT
    after = on("node1", "readlink /home/mpinn/current")
    assert after != before
    assert sorted(on("node2", "ls -d /home/mpinn/versions/*").split()) == sorted(
        f"/home/mpinn/{version.strip()}" for version in (before, after)
    )
    kernels = {json.loads(on(host, "cat /home/mpinn/alone.json"))["environment"]["kernel_id"] for host in HOSTS}
    assert len(kernels) == 2 and any(name.endswith("avx2-fma") for name in kernels)
    assert len(on("node1", "cat /home/mpinn/results/smoke/records.jsonl").splitlines()) == 9


def test_reset_asks_and_then_leaves_nothing(control: Control, untouched: dict[str, set[str]]) -> None:
    status, said = control.run("reset.yml")
    assert status != 0 and "nothing was removed" in said
    assert on("node1", "id -u mpinn")
    control.well("reset.yml", "--extra-vars", "reset_confirm=yes")
    for host in HOSTS:
        assert_same(everything(host), untouched[host])
    assert changes(control.well("reset.yml", "--extra-vars", "reset_confirm=yes")) == dict.fromkeys(HOSTS, 0)
