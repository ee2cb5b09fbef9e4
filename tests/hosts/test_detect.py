"""Detection, on trees of /proc and /sys of other machines, in containers, and here, where lscpu must agree."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from mpinn.hosts.detect import detect
from mpinn.hosts.library import find
from mpinn.hosts.profile import Cache, Cluster, Profile, dump, parse
from mpinn.system.errors import MpinnError
from mpinn.system.proc import cpu_list, cpus

Unpack = Callable[[str], Path]
ARCHITECTURES = {
    "i7-4500u": ("x86_64", 64),
    "a83t": ("armv7l", 32),
    "a83t-hot": ("armv7l", 32),
    "raspberry-pi-5": ("aarch64", 64),
    "rk3588": ("aarch64", 64),
}


def detected(machine: Unpack, name: str) -> Profile:
    return detect(machine(name), *ARCHITECTURES[name])


def test_hardware_threads_are_told_from_cores(machine: Unpack) -> None:
    profile = detected(machine, "i7-4500u")
    model = "Intel(R) Core(TM) i7-4500U CPU @ 1.80GHz"
    assert profile.machine.clusters == (Cluster(model, cores=2, threads=4, cpus="0-3", min_mhz=800, max_mhz=3000),)
    assert profile.machine.caches == (
        Cache("L1d", 32, 2),
        Cache("L1i", 32, 2),
        Cache("L2", 256, 2),
        Cache("L3", 4096, 1),
    )
    assert (profile.machine.architecture, profile.machine.bits) == ("x86_64", 64)
    assert (profile.machine.memory_mib, profile.machine.os) == (7864, "Ubuntu 18.04.1 LTS")
    assert (profile.mpi.slots, profile.mpi.oversubscribe.from_ranks, profile.ranks) == (2, 5, (1, 2, 4, 8, 16))


def test_clusters_of_equal_cores_are_told_apart_by_their_clocks(machine: Unpack) -> None:
    profile = detected(machine, "a83t")
    assert profile.machine.clusters == (
        Cluster("Cortex-A7", cores=4, threads=4, cpus="0-3", min_mhz=480, max_mhz=1200),
        Cluster("Cortex-A7", cores=4, threads=4, cpus="4-7", min_mhz=480, max_mhz=1200),
    )
    assert profile.machine.model == "Banana Pi BPI-M3"
    assert profile.machine.processor == "allwinner,sun8i-a83t"
    assert (profile.machine.caches, profile.machine.memory_mib) == ((), None)
    assert (profile.mpi.slots, profile.machine.offline) == (8, None)


def test_cores_that_are_switched_off_are_named_and_not_counted(machine: Unpack) -> None:
    profile = detected(machine, "a83t-hot")
    assert profile.machine.clusters == (
        Cluster("Cortex-A7", cores=2, threads=2, cpus="0-1", min_mhz=480, max_mhz=1800),
        Cluster("Cortex-A7", cores=3, threads=3, cpus="4-6", min_mhz=480, max_mhz=1800),
    )
    assert profile.machine.offline == "2-3,7"
    assert (profile.mpi.slots, profile.ranks) == (5, (1, 2, 4, 5, 8, 16))


def test_one_cluster_and_its_network(machine: Unpack) -> None:
    profile = detected(machine, "raspberry-pi-5")
    assert profile.machine.clusters == (
        Cluster("Cortex-A76", cores=4, threads=4, cpus="0-3", min_mhz=1500, max_mhz=2400),
    )
    assert profile.machine.caches == (
        Cache("L1d", 64, 4),
        Cache("L1i", 64, 4),
        Cache("L2", 512, 4),
        Cache("L3", 2048, 1),
    )
    assert profile.title == "Raspberry Pi 5 Model B Rev 1.0"
    assert profile.machine.network_mbit == 1000


def test_big_and_little_cores(machine: Unpack) -> None:
    profile = detected(machine, "rk3588")
    big = {"cores": 2, "threads": 2, "min_mhz": 408, "max_mhz": 2400, "capacity": 1024}
    assert profile.machine.clusters == (
        Cluster("Cortex-A55", cores=4, threads=4, cpus="0-3", min_mhz=408, max_mhz=1800, capacity=397),
        Cluster("Cortex-A76", cpus="4-5", **big),
        Cluster("Cortex-A76", cpus="6-7", **big),
    )
    assert profile.machine.caches == (
        Cache("L1d", 32, 4),
        Cache("L1d", 64, 4),
        Cache("L1i", 32, 4),
        Cache("L1i", 64, 4),
        Cache("L2", 128, 4),
        Cache("L2", 512, 4),
        Cache("L3", 3072, 1),
    )


def test_cores_that_the_kernel_calls_atoms_are_a_cluster_of_their_own(machine: Unpack) -> None:
    root = machine("i7-4500u")
    (root / "sys/devices/cpu_atom").mkdir(parents=True)
    (root / "sys/devices/cpu_atom/cpus").write_text("2-3\n")
    assert [cluster.cpus for cluster in detect(root, "x86_64", 64).machine.clusters] == ["0-1", "2-3"]


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_detected_profile_is_valid_and_survives_being_written_and_read(machine: Unpack, name: str) -> None:
    profile = detected(machine, name)
    assert parse(yaml.safe_load(dump(profile))) == profile


@pytest.mark.parametrize("name", ["lenovo-yoga-2", "banana-pi-m3", "raspberry-pi-5", "orange-pi-5"])
def test_what_ships_is_what_is_detected(machine: Unpack, name: str) -> None:
    """Same cores, threads and caches, cluster by cluster; a kernel that names no caches has nothing to compare."""
    trees = {"lenovo-yoga-2": "i7-4500u", "banana-pi-m3": "a83t", "orange-pi-5": "rk3588"}
    here, shipped = detected(machine, trees.get(name, name)).machine, find(name).machine
    assert [(c.cores, c.threads, c.min_mhz) for c in here.clusters] == [
        (c.cores, c.threads, c.min_mhz) for c in shipped.clusters
    ]
    assert here.caches in ((), shipped.caches)


def write(root: Path, files: dict[str, str]) -> None:
    for path, content in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(content)


@pytest.mark.parametrize(
    ("files", "quota", "slots", "from_ranks"),
    [
        ({"proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/cpu.max": "300000 100000\n"}, 3.0, 3, 4),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "50000 100000\n"}, 0.5, 1, 2),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "max 100000\n"}, None, 8, 9),
        (
            {
                "proc/self/cgroup": "0::/a/b\n",
                "sys/fs/cgroup/a/cpu.max": "200000 100000\n",
                "sys/fs/cgroup/a/b/cpu.max": "600000 100000\n",
            },
            2.0,
            2,
            3,
        ),
        (
            {
                "proc/self/cgroup": "5:memory:/\n4:cpu,cpuacct:/docker/1f\n1:name=systemd:/\n",
                "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "150000\n",
                "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
            },
            1.5,
            1,
            2,
        ),
        (
            {
                "proc/self/cgroup": "2:cpu:/\n0::/\n",
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
            },
            None,
            8,
            9,
        ),
    ],
)
def test_a_containers_share_of_the_cpus_limits_the_slots(
    machine: Unpack, files: dict[str, str], quota: float | None, slots: int, from_ranks: int
) -> None:
    root = machine("rk3588")
    write(root, files)
    profile = detect(root, "aarch64", 64)
    assert profile.machine.cpu_quota == quota
    assert (profile.mpi.slots, profile.mpi.oversubscribe.from_ranks) == (slots, from_ranks)
    assert parse(yaml.safe_load(dump(profile))) == profile


def test_a_cpuset_limits_the_slots_to_the_cores_that_it_touches(machine: Unpack) -> None:
    root = machine("i7-4500u")
    write(root, {"proc/self/status": "Cpus_allowed_list:\t0-1\n"})
    profile = detect(root, "x86_64", 64)
    assert (profile.machine.allowed, profile.machine.threads) == ("0-1", 4)
    assert (profile.mpi.slots, profile.mpi.oversubscribe.from_ranks) == (1, 3)


def test_a_32_bit_system_on_a_64_bit_core(machine: Unpack) -> None:
    profile = detect(machine("raspberry-pi-5"), "armv8l", 32)
    assert (profile.machine.architecture, profile.machine.bits) == ("armv7l", 32)


def test_an_unknown_core_is_named_by_its_numbers(machine: Unpack) -> None:
    root = machine("raspberry-pi-5")
    info = root / "proc/cpuinfo"
    info.write_text(info.read_text().replace("0xd0b", "0xfff"))
    assert detect(root, "aarch64", 64).machine.clusters[0].name == "ARM core 0x41:0xfff"


def test_what_cannot_be_detected_is_said_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(MpinnError, match="does not say which CPUs there are"):
        detect(tmp_path, "aarch64", 64)
    with pytest.raises(MpinnError, match="architecture riscv64"):
        detect(tmp_path, "riscv64", 64)


def test_lists_of_cpus() -> None:
    assert cpus("0-2,5\n") == cpus("0 1 2 5") == [0, 1, 2, 5]
    assert cpu_list([5, 0, 1, 2]) == "0-2,5"
    assert cpus("") == []
    assert cpu_list([]) == ""


def lscpu(*options: str) -> Any:
    run = subprocess.run(
        ["lscpu", "-J", *options], capture_output=True, text=True, check=True, env={"PATH": os.environ["PATH"]}
    )
    (content,) = json.loads(run.stdout).values()
    return content


def test_this_machine_is_what_lscpu_says() -> None:
    profile = detect()
    online = lscpu("-e=CPU,CORE,SOCKET")
    assert profile.machine.threads == len(online)
    assert profile.machine.cores == len({(cpu["core"], cpu["socket"]) for cpu in online})
    total: dict[str, int] = {}
    for cache in profile.machine.caches:
        total[cache.name] = total.get(cache.name, 0) + cache.kib * cache.count * 1024
    assert total == {cache["name"]: int(cache["all-size"]) for cache in lscpu("-B", "-C=NAME,ALL-SIZE")}
    about = {field["field"].rstrip(":"): field["data"] for field in lscpu()}
    assert profile.machine.architecture == about["Architecture"]
    if "CPU max MHz" in about:
        assert max(c.max_mhz or 0 for c in profile.machine.clusters) == round(float(about["CPU max MHz"]))


def test_this_process_may_be_bound_to_one_cpu() -> None:
    first = min(os.sched_getaffinity(0))
    command = ["taskset", "-c", str(first), sys.executable, "-m", "mpinn.hosts", "detect"]
    run = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2])
    profile = parse(yaml.safe_load(run.stdout))
    assert profile.mpi.slots == 1
    assert profile.machine.allowed in (str(first), None)  # None: this machine has one CPU
