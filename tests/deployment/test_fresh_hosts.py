"""The playbooks against three hosts without mpinn: what is refused, before anything is changed."""

import re
from collections.abc import Iterator

import pytest

from tests.deployment.cluster import HOSTS, STATE, Control, assert_same, changes, cluster, everything, on, script, wrong

PLAYBOOKS = ("deploy", "bench", "status", "reset")

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def control(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Control]:
    """The control machine of a new cluster, beside that to which mpinn is deployed."""
    with cluster(tmp_path_factory.mktemp("control"), state=STATE.with_name(f"{STATE.name}-fresh")) as control:
        yield control


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
    assert re.search(r"node3 3600\.\d: set those right that are wrong \(sudo timedatectl set-ntp true", said)


def test_a_host_with_a_full_disk_is_refused(control: Control, untouched: dict[str, set[str]]) -> None:
    with wrong("node1", "fallocate -l $(($(df --output=avail -B1 / | tail -1) - 30000000)) /full", "rm /full"):
        said = control.refused()
    assert re.search(r"node1: /home has 2\d MiB free and needs 400: free some \(sudo apt clean", said)


def test_a_profile_of_another_machine_is_refused(control: Control, untouched: dict[str, set[str]]) -> None:
    said = control.refused("--extra-vars", "mpinn_profile=banana-pi-m3")
    assert "host profile banana-pi-m3 describes armv7l with 8: name another (mpinn_profile), or detected" in said
    assert "there are banana-pi-m3, generic-node" in control.refused("--extra-vars", "mpinn_profile=banana")


def test_a_host_with_another_host_key_is_not_talked_to(control: Control, untouched: dict[str, set[str]]) -> None:
    known = control.state / "known_hosts"
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
