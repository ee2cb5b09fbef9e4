"""Conditions: trees of /proc and /sys as Linux lays them out, and what two readings come to."""

import dataclasses
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.harness import conditions, fitness, verdict
from bench.harness.records import DEGRADED, INVALID, VALID
from mpinn.hosts.library import find

CPU = "sys/devices/system/cpu"


def write(root: Path, files: dict[str, object]) -> Path:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{content}\n")
    return root


def board(root: Path, **changes: object) -> Path:
    """Write the tree of an eight-core board of two clusters, well and cool."""
    files: dict[str, object] = {
        "proc/sys/kernel/hostname": "pi1",
        "proc/stat": "cpu  1000 0 500 8000 100 0 0 0 0 0\ncpu0 1 2 3",
        "proc/loadavg": "0.10 0.20 0.30 1/100 1234",
        "proc/meminfo": "MemTotal: 2048000 kB\nMemAvailable: 1536000 kB",
        "proc/vmstat": "pswpin 10\npswpout 20",
        f"{CPU}/online": "0-7",
        f"{CPU}/present": "0-7",
        "sys/class/thermal/thermal_zone0/temp": 55000,
        "dev/shm/there": "",
    }
    for policy in (0, 4):
        at = f"{CPU}/cpufreq/policy{policy}"
        files |= {
            f"{at}/scaling_governor": "performance",
            f"{at}/scaling_cur_freq": 1800000,
            f"{at}/scaling_max_freq": 1800000,
            f"{at}/cpuinfo_max_freq": 1800000,
            f"{at}/stats/time_in_state": "480000 1000\n1800000 5000",
        }
    return write(root, files | changes)


def test_a_reading_finds_every_cluster(tmp_path: Path) -> None:
    found = conditions.reading(board(tmp_path))
    assert found["governors"] == ["performance"] * 2 and found["mhz"] == [1800, 1800] == found["max_mhz"]
    assert found["host"] == "pi1" and found["temperature_c"] == 55 and found["memory_available_mib"] == 1500
    assert found["online"] == list(range(8)) and found["offline"] == [] and found["swapped_pages"] == 30
    assert found["throttle_count"] is None and found["energy_uj"] == {} and found["power_uw"] is None


def test_an_empty_tree_reads_as_nothing_known(tmp_path: Path) -> None:
    found = conditions.reading(write(tmp_path, {"proc/stat": "cpu  1 0 0 1 0 0 0 0"}))
    assert found["mhz"] == [] and found["load"] is None and found["temperature_c"] is None and not found["undervoltage"]


def test_a_reading_is_all_that_the_tree_says(tmp_path: Path) -> None:
    at = f"{CPU}/cpufreq/policy4"
    tree = board(
        tmp_path,
        **{
            "proc/stat": "cpu  1000 200 500 8000 100 30 7 50 9 9\ncpu0 1 2 3",
            f"{CPU}/online": "0-5,7",
            f"{at}/scaling_governor": "ondemand",
            f"{at}/scaling_cur_freq": 1700000,
            f"{at}/scaling_max_freq": 1600000,
            f"{at}/cpuinfo_max_freq": 1500000,
            f"{CPU}/cpu0/thermal_throttle/core_throttle_count": 2,
            f"{CPU}/cpu1/thermal_throttle/package_throttle_count": 3,
            "sys/class/thermal/thermal_zone1/temp": 61500,
            "sys/class/thermal/thermal_zone2/temp": 0,
            "sys/class/thermal/thermal_zone3/temp": "none",
            "sys/class/powercap/intel-rapl:0/energy_uj": 5,
            "sys/class/powercap/intel-rapl:0/max_energy_range_uj": 900,
            "sys/class/powercap/intel-rapl:1/energy_uj": 6,
            "sys/class/powercap/intel-rapl:0:0/energy_uj": 7,
            "sys/class/powercap/intel-rapl:0:0/max_energy_range_uj": 900,
            "sys/class/hwmon/hwmon0/name": "cpu_thermal",
            "sys/class/hwmon/hwmon0/power1_input": 9,
            "sys/class/hwmon/hwmon1/name": "ina3221",
            "sys/class/hwmon/hwmon1/power1_input": 1500000,
            "sys/class/hwmon/hwmon2/name": "ina226",
            "sys/class/hwmon/hwmon2/power1_input": 250000,
            "sys/class/hwmon/hwmon3/name": "ina226",
            "sys/class/hwmon/hwmon4/name": "rpi_volt",
            "sys/class/hwmon/hwmon4/in0_lcrit_alarm": 1,
        },
    )
    earlier = time.monotonic()
    found = conditions.reading(tree)
    assert earlier <= found.pop("monotonic") <= time.monotonic()
    states = {"480.0": 10.0, "1800.0": 50.0}
    assert found == {
        "host": "pi1",
        "busy_seconds": pytest.approx(17.37),
        "idle_seconds": 81.0,
        "steal_seconds": 0.5,
        "load": 0.1,
        "online": [0, 1, 2, 3, 4, 5, 7],
        "offline": [6],
        "governors": ["performance", "ondemand"],
        "time_in_state": {"policy0": states, "policy4": states},
        "mhz": [1800.0, 1700.0],
        "allowed_mhz": [1800.0, 1600.0],
        "max_mhz": [1800.0, 1500.0],
        "throttle_count": 5,
        "undervoltage": ["undervoltage"],
        "temperature_c": 61.5,
        "memory_available_mib": 1500,
        "swapped_pages": 30,
        "energy_uj": {"intel-rapl:0": [5, 900]},
        "power_uw": 1750000,
    }


def test_policies_are_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    clocks = {f"{CPU}/cpufreq/policy{n}/scaling_cur_freq": n * 1000 for n in (10, 0, 4)}
    assert conditions.reading(write(tmp_path, clocks | {"proc/stat": "cpu  1"}))["mhz"] == [4, 10]


def test_without_clock_policies_cpuinfo_tells_every_cpus_clock(tmp_path: Path) -> None:
    cpuinfo = "processor : 0\ncpu MHz : 2445.4\ncache size : 512 KB\nprocessor : 1\ncpu MHz : 1500.0"
    found = conditions.reading(write(tmp_path, {"proc/stat": "cpu  100 0 0 200", "proc/cpuinfo": cpuinfo}))
    assert found["mhz"] == [2445.4, 1500.0] and found["governors"] == [] and found["time_in_state"] == {}
    assert (found["busy_seconds"], found["idle_seconds"], found["steal_seconds"]) == (1, 2, 0)
    assert found["memory_available_mib"] is None and found["swapped_pages"] == 0 and found["host"] == ""


@pytest.mark.parametrize(
    "flags, said",
    [
        ("0x0", []),
        ("1", ["undervoltage"]),
        ("0x2", ["clock capped"]),
        ("4", ["throttled"]),
        ("8", ["soft temperature limit"]),
        ("0xe0000", []),  # once, but not now
        ("0x5000f", ["undervoltage", "clock capped", "throttled", "soft temperature limit"]),
    ],
)
def test_what_a_raspberry_pis_firmware_complains_of(tmp_path: Path, flags: str, said: list[str]) -> None:
    tree = board(tmp_path, **{"sys/devices/platform/soc/soc:firmware/get_throttled": flags})
    assert conditions.reading(tree)["undervoltage"] == said


def test_a_glance_tells_how_busy_this_machine_is() -> None:
    loop = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        assert 0.2 < conditions.glance()["busy_now"] < 2 * (os.cpu_count() or 1)
    finally:
        loop.kill()
        loop.wait()


@pytest.mark.parametrize(
    ("busy", "found"), [([0.09], 0.09), ([1.5, 0.05], 0.05), ([1.5, 0.4, 0.8], 0.4), ([0.11, 0.12, 0.2, 0.0], 0.11)]
)
def test_a_glance_looks_again_where_something_has_just_started(
    monkeypatch: pytest.MonkeyPatch, busy: list[float], found: float
) -> None:
    """Up to three times; the first of a machine at rest is the last."""
    seconds = np.cumsum([0.0, *busy]) * conditions.GLANCE
    told = iter([reading(monotonic=conditions.GLANCE * n, busy_seconds=one) for n, one in enumerate(seconds)])
    monkeypatch.setattr(conditions, "reading", lambda: next(told))
    monkeypatch.setattr(conditions.time, "sleep", lambda _: None)
    assert conditions.glance()["busy_now"] == pytest.approx(found)
    assert len(list(told)) == max(0, len(busy) - 3)


def reading(**changes: Any) -> dict[str, Any]:
    """Return a reading of a board that is well."""
    about: dict[str, Any] = {"host": "pi1", "monotonic": 100.0, "load": 0.5, "online": [0, 1], "offline": []}
    about |= {"busy_seconds": 50.0, "idle_seconds": 500.0, "steal_seconds": 5.0, "governors": ["performance"]}
    about |= {"time_in_state": {}, "mhz": [], "max_mhz": [], "throttle_count": None, "undervoltage": []}
    about |= {"temperature_c": None, "memory_available_mib": 1000, "swapped_pages": 10, "energy_uj": {}}
    return about | {"power_uw": None, **changes}


def test_two_readings_come_to_what_happened_between_them() -> None:
    first = reading(max_mhz=[1500.0, 1800.0], throttle_count=4, temperature_c=50.0, busy_now=0.1)
    sample = reading(mhz=[600.0, 900.0], undervoltage=["throttled"], temperature_c=70.0, memory_available_mib=300)
    cooler = reading(mhz=[1200.0, 700.0], temperature_c=65.0, undervoltage=["clock capped"])
    last = reading(
        monotonic=120.0, busy_seconds=80.0, idle_seconds=505.0, steal_seconds=10.0, load=1.5, online=[0], offline=[1],
        governors=["ondemand", "performance"], throttle_count=6, temperature_c=60.0, undervoltage=["throttled"],
        memory_available_mib=400, swapped_pages=17, mhz=[9.0],
    )  # fmt: skip
    first["energy_uj"], last["energy_uj"] = (
        {"a": [9, 10**7], "b": [5, 5 * 10**6]},
        {"a": [2000009, 10**7], "b": [4, 5 * 10**6]},
    )
    assert conditions.between(first, last, [sample, cooler], 10.0) == {
        "host": "pi1",
        "seconds": 20.0,
        "load_before": 0.5,
        "load_after": 1.5,
        "busy_before": 0.1,
        "busy_with_others": 1.0,
        "steal_percent": 12.5,
        "clock_mhz": 1050.0,
        "clock_source": "sampled",
        "max_mhz": 1800.0,
        "governors": ["ondemand", "performance"],
        "online": 1,
        "offline": [1],
        "temperature_c": 70.0,
        "throttled": 2,
        "undervoltage": ["clock capped", "throttled"],
        "memory_available_mib": 300,
        "swapped_pages": 7,
        "joules": pytest.approx(7.0, rel=1e-9),  # b wrapped
        "meter": "rapl",
    }


def test_what_cannot_be_read_is_unknown_between_two_readings_too() -> None:
    first, last = reading(memory_available_mib=None), reading(monotonic=110.0, memory_available_mib=None)
    found = conditions.between(first, last, [], 20.0)
    for name in ("busy_before", "steal_percent", "clock_mhz", "clock_source", "max_mhz", "temperature_c", "throttled"):
        assert found[name] is None, name
    assert found["memory_available_mib"] is None and found["joules"] is None and found["busy_with_others"] == 0
    for one, other in ((1, None), (None, 1)):
        both = reading(throttle_count=one), reading(monotonic=110.0, throttle_count=other)
        assert conditions.between(*both, [], 0.0)["throttled"] is None


def test_the_clock_is_that_of_the_fastest_policy_and_of_the_time_between() -> None:
    before = {"policy0": {"600.0": 100.0, "1200.0": 100.0}, "policy4": {"600.0": 5.0}}
    after = {
        "policy0": {"600.0": 104.0, "1200.0": 104.0},
        "policy4": {"600.0": 6.0, "1800.0": 3.0},
        "policy6": {"2400.0": 0.0},
    }
    short = reading(time_in_state={"policy4": {"600.0": 5.5}})
    assert conditions.clock_between(reading(time_in_state=before), short, []) == (600.0, "time_in_state")
    first, last = reading(time_in_state=before), reading(time_in_state=after, monotonic=108.0)
    assert conditions.clock_between(first, last, [reading(mhz=[9.0])]) == (1500.0, "time_in_state")
    assert conditions.clock_between(first, first, [reading(mhz=[9.0]), reading()]) == (9.0, "sampled")


def test_power_is_sampled_where_no_counter_is_there_at_both_ends() -> None:
    sampled = [reading(power_uw=4_000_000), reading(), reading(power_uw=2_000_000)]
    counted = reading(energy_uj={"a": [0, 9]})
    assert conditions.joules(counted, reading(), sampled, 10.0) == (30.0, "ina")
    assert conditions.joules(reading(), counted, sampled, 10.0) == (30.0, "ina")


def between(tmp_path: Path, after: dict[str, object], own: float | None = 0.0, seconds: float = 10.0) -> dict[str, Any]:
    first = conditions.reading(board(tmp_path))
    second = conditions.reading(board(tmp_path, **after))
    second["monotonic"] = first["monotonic"] + seconds
    return conditions.between(first, second, [], own)


def test_the_clock_is_the_mean_over_the_time_between(tmp_path: Path) -> None:
    states = {f"{CPU}/cpufreq/policy0/stats/time_in_state": "480000 1500\n1800000 5500"}
    found = between(tmp_path, states)
    assert found["clock_mhz"] == pytest.approx((480 + 1800) / 2) and found["clock_source"] == "time_in_state"


def test_processor_time_of_others_is_what_is_left_of_all(tmp_path: Path) -> None:
    ticks = {"proc/stat": "cpu  2500 0 500 8500 100 0 0 100"}  # 15 s busy, 5 s idle, 1 s stolen
    found = between(tmp_path, ticks, own=10.0)
    assert found["busy_with_others"] == pytest.approx(0.5) and found["steal_percent"] == pytest.approx(100 / 21)
    assert between(tmp_path, ticks, own=None)["busy_with_others"] is None


def test_energy_counters_wrap_and_ina_sensors_are_sampled(tmp_path: Path) -> None:
    rapl = "sys/class/powercap/intel-rapl:0"
    first = conditions.reading(
        write(board(tmp_path / "a"), {f"{rapl}/energy_uj": 900, f"{rapl}/max_energy_range_uj": 999})
    )
    second = conditions.reading(write(board(tmp_path / "a"), {f"{rapl}/energy_uj": 100}))
    found = conditions.between(first, second, [], 0.0)
    assert found["joules"] == pytest.approx(200e-6) and found["meter"] == "rapl"
    sensor = "sys/class/hwmon/hwmon1"
    sampled = conditions.reading(
        write(board(tmp_path / "b"), {f"{sensor}/name": "ina226", f"{sensor}/power1_input": 4000000})
    )
    plain = conditions.reading(board(tmp_path / "c"))
    later = plain | {"monotonic": plain["monotonic"] + 3}
    found = conditions.between(plain, later, [sampled], 0.0)
    assert found["joules"] == pytest.approx(12) and found["meter"] == "ina"
    found = conditions.between(plain, later, [], 0.0)
    assert found["joules"] is None and found["meter"] is None


CLOCKS = {f"{CPU}/cpufreq/policy{p}/stats/time_in_state": "480000 2000\n1800000 5000" for p in (0, 4)}
DISTURBED = [
    (
        {"proc/stat": "cpu  2500 0 500 8500 100 0 0 0"},
        "other processes used 1.5 CPUs: stop them (top shows them)",
    ),
    (
        {"proc/stat": "cpu  1000 0 500 9000 100 0 0 100"},
        "the hypervisor took 9% of the time: use a quieter or a real machine",
    ),
    (
        {f"{CPU}/cpufreq/policy{p}/scaling_governor": name for p, name in ((0, "schedutil"), (4, "ondemand"))},
        "governor ondemand, schedutil: set performance (as root: cpupower frequency-set -g performance)",
    ),
    (
        {"sys/class/thermal/thermal_zone0/temp": 91000},
        "91 degrees Celsius, the clock is lowered from 80: cool it better",
    ),
    (CLOCKS, "clock 480 of 1500 MHz: look for heat, power supply and governor"),
    ({f"{CPU}/online": "0-3"}, "CPUs 4-7 are offline: bring them up, or run with --host detected"),
    ({"proc/vmstat": "pswpin 10\npswpout 2000"}, "1980 pages swapped: free memory or take fewer ranks"),
    ({"proc/meminfo": "MemAvailable: 40960 kB"}, "only 40 MiB of memory were free: take fewer ranks"),
    (
        {"sys/devices/platform/soc/soc:firmware/get_throttled": "5"},
        "throttled, undervoltage: use a better power supply, and cool it",
    ),
]
PI = find("raspberry-pi-4")


@pytest.mark.parametrize("after, said", DISTURBED)
def test_what_disturbs_is_named_with_what_to_do(tmp_path: Path, after: dict[str, object], said: str) -> None:
    assert PI.limits.temperature_c and PI.machine.clusters[0].base_mhz == 1500
    assert verdict.judge([], [between(tmp_path, {})], PI) == (VALID, [])
    assert verdict.judge([], [between(tmp_path / "x", after)], PI) == (DEGRADED, [said])


def test_a_machine_that_tells_nothing_is_not_disturbed() -> None:
    nothing = conditions.between(reading(), reading(monotonic=110.0), [], None)
    assert verdict.judge([], [nothing | {"steal_percent": None, "memory_available_mib": None}], PI) == (VALID, [])
    unknown = dataclasses.replace(PI, machine=dataclasses.replace(PI.machine, clusters=()))
    any_clock = nothing | {"clock_mhz": 1.0, "clock_source": "time_in_state"}
    assert verdict.judge([], [any_clock], unknown) == (VALID, [])
    slow = nothing | {"clock_mhz": 100.0, "clock_source": "sampled"}  # a sample may have met a processor at rest
    assert verdict.judge([], [slow], PI) == (VALID, [])


def stat(busy: float = 0, steal: float = 0, idle: float = 0) -> dict[str, object]:
    """Return /proc/stat so many seconds later than the board's."""
    return {"proc/stat": f"cpu  {1000 + 100 * busy:.0f} 0 500 {8000 + 100 * idle:.0f} 100 0 0 {100 * steal:.0f}"}


def clocks(slow: float) -> dict[str, object]:
    """Return the tables of both clusters after 100 s of which `slow` were at 480 MHz, not at 1800."""
    table = f"480000 {1000 + 100 * slow:.0f}\n1800000 {5000 + 100 * (100 - slow):.0f}"
    return {f"{CPU}/cpufreq/policy{policy}/stats/time_in_state": table for policy in (0, 4)}


# The most that leaves a run undisturbed, and the least that does not. Of a run of 10 s; the profile expects 1500 MHz.
LIMITS = [
    (stat(busy=2.5), stat(busy=2.6), "other processes used 0.3 CPUs"),
    (stat(steal=2, idle=98), stat(steal=2.1, idle=97.9), "the hypervisor took 2%"),
    (clocks(slow=26.1), clocks(slow=26.2), "clock 1454 of 1500 MHz"),
    ({"proc/vmstat": "pswpin 138\npswpout 148"}, {"proc/vmstat": "pswpin 139\npswpout 148"}, "257 pages swapped"),
    ({"proc/meminfo": f"MemAvailable: {64 << 10} kB"}, {"proc/meminfo": f"MemAvailable: {63 << 10} kB"}, "63 MiB"),
    (
        {"sys/class/thermal/thermal_zone0/temp": 79900},
        {"sys/class/thermal/thermal_zone0/temp": 80000},
        "80 degrees Celsius",
    ),
]


@pytest.mark.parametrize("good, bad, said", LIMITS)
def test_a_little_disturbs_nothing_and_a_little_more_does(
    tmp_path: Path, good: dict[str, object], bad: dict[str, object], said: str
) -> None:
    assert PI.limits.temperature_c == 80
    assert verdict.judge([], [between(tmp_path / "good", good)], PI) == (VALID, [])
    verdict_, reasons = verdict.judge([], [between(tmp_path / "bad", bad)], PI)
    assert verdict_ == DEGRADED and len(reasons) == 1 and said in reasons[0]


def test_what_ran_before_a_measurement_disturbs_too(tmp_path: Path) -> None:
    quiet = between(tmp_path, {})
    assert verdict.disturbances(quiet | {"busy_before": 0.2}, PI) == []
    (reason,) = verdict.disturbances(quiet | {"busy_before": 0.3}, PI)
    assert "other processes used 0.3 CPUs" in reason


def test_being_slowed_down_for_heat_meanwhile_degrades(tmp_path: Path) -> None:
    counts = [
        f"{CPU}/cpu{cpu}/thermal_throttle/{part}_throttle_count" for cpu in (0, 1) for part in ("core", "package")
    ]
    write(tmp_path, dict.fromkeys(counts, 7))
    quiet = between(tmp_path, {})
    assert quiet["throttled"] == 0 and verdict.judge([], [quiet], PI) == (VALID, [])
    first = conditions.reading(tmp_path)
    last = conditions.reading(write(tmp_path, {counts[0]: 9, counts[3]: 8})) | {"monotonic": first["monotonic"] + 10}
    verdict_, reasons = verdict.judge([], [conditions.between(first, last, [], 0.0)], PI)
    assert verdict_ == DEGRADED and len(reasons) == 1 and reasons[0] == "slowed down for heat 3 times: cool it better"


def test_a_wrong_result_is_invalid_whatever_the_conditions(tmp_path: Path) -> None:
    assert verdict.judge(["wrong"], [between(tmp_path, {})], PI) == (INVALID, ["wrong"])


def test_reasons_name_the_host_where_there_are_several(tmp_path: Path) -> None:
    hot = between(tmp_path, {"sys/class/thermal/thermal_zone0/temp": 91000})
    _, reasons = verdict.judge([], [between(tmp_path / "x", {}), hot], PI)
    assert reasons == ["pi1: 91 degrees Celsius, the clock is lowered from 80: cool it better"]


def test_a_process_of_another_user_disturbs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree = write(board(tmp_path), {"proc/77/stat": "77 (a b) R 1 77", "proc/78/stat": "78 (c) S 1 78"})
    if os.getuid() == 0:
        for number in (77, 78):
            os.chown(tree / f"proc/{number}", 1234, 1234)
    owner = (tree / "proc/77").stat().st_uid
    monkeypatch.setattr(os, "getuid", lambda: owner + 1)
    load = fitness.findings(PI, tree)[0]
    assert load.found == f"load 0.10, processes of user {owner} running" and load.cure
    (tree / "proc/77/stat").write_text("77 (a b) S 1 77")
    assert not fitness.findings(PI, tree)[0].cure


def test_a_quiet_board_is_fit(tmp_path: Path) -> None:
    found = fitness.findings(PI, board(tmp_path))
    assert [one.what for one in found] == ["load", "memory", "CPUs", "cluster 0", "cluster 1", "temperature"]
    assert [one.cure for one in found if one.cure and one.what != "memory"] == []


@pytest.mark.parametrize(
    "change, what",
    [
        ({f"{CPU}/cpufreq/policy4/scaling_governor": "schedutil"}, "cluster 1"),
        ({f"{CPU}/cpufreq/policy0/scaling_max_freq": 1000000}, "cluster 0"),
        ({"sys/class/thermal/thermal_zone0/temp": 79000}, "temperature"),
        ({f"{CPU}/online": "0-3"}, "CPUs"),
        ({"proc/meminfo": "MemAvailable: 204800 kB"}, "memory"),
        ({"sys/devices/platform/soc/soc:firmware/get_throttled": "50001"}, "power"),
    ],
)
def test_what_makes_a_board_unfit_comes_with_a_cure(tmp_path: Path, change: dict[str, object], what: str) -> None:
    (finding,) = [one for one in fitness.findings(PI, board(tmp_path, **change)) if one.what == what]
    assert finding.cure
