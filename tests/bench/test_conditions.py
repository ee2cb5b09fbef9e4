"""Conditions: trees of /proc and /sys as Linux lays them out, and what two readings come to."""

from pathlib import Path
from typing import Any

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
    assert conditions.between(first, second, [], 0.0)["joules"] == pytest.approx(200e-6)
    sensor = "sys/class/hwmon/hwmon1"
    sampled = conditions.reading(
        write(board(tmp_path / "b"), {f"{sensor}/name": "ina226", f"{sensor}/power1_input": 4000000})
    )
    plain = conditions.reading(board(tmp_path / "c"))
    assert conditions.between(plain, plain | {"monotonic": plain["monotonic"] + 3}, [sampled], 0.0)[
        "joules"
    ] == pytest.approx(12)
    assert conditions.between(plain, plain | {"monotonic": plain["monotonic"] + 3}, [], 0.0)["joules"] is None


DISTURBED = [
    ({"proc/stat": "cpu  2500 0 500 8500 100 0 0 0"}, "other processes used 1.5 CPUs"),
    ({"proc/stat": "cpu  1000 0 500 9000 100 0 0 100"}, "hypervisor"),
    ({f"{CPU}/cpufreq/policy4/scaling_governor": "ondemand"}, "governor ondemand"),
    ({"sys/class/thermal/thermal_zone0/temp": 91000}, "degrees Celsius"),
    (
        {f"{CPU}/cpufreq/policy{p}/stats/time_in_state": "480000 2000\n1800000 5000" for p in (0, 4)},
        "clock 480 of 1500 MHz",
    ),
    ({f"{CPU}/online": "0-3"}, "CPUs 4-7 are offline"),
    ({"proc/vmstat": "pswpin 10\npswpout 2000"}, "swapped"),
    ({"proc/meminfo": "MemAvailable: 40960 kB"}, "40 MiB"),
    ({"sys/devices/platform/soc/soc:firmware/get_throttled": "5"}, "throttled, undervoltage"),
]
PI = find("raspberry-pi-4")


@pytest.mark.parametrize("after, said", DISTURBED)
def test_what_disturbs_is_named_and_degrades(tmp_path: Path, after: dict[str, object], said: str) -> None:
    assert PI.limits.temperature_c and PI.machine.clusters[0].base_mhz == 1500
    quiet = between(tmp_path, {})
    assert verdict.judge([], [quiet], PI) == (VALID, [])
    verdict_, reasons = verdict.judge([], [between(tmp_path / "x", after)], PI)
    assert verdict_ == DEGRADED and len(reasons) == 1 and said in reasons[0] and ":" in reasons[0]


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
    assert verdict_ == DEGRADED and len(reasons) == 1 and "slowed down for heat 3 times" in reasons[0]


def test_a_wrong_result_is_invalid_whatever_the_conditions(tmp_path: Path) -> None:
    assert verdict.judge(["wrong"], [between(tmp_path, {})], PI) == (INVALID, ["wrong"])


def test_reasons_name_the_host_where_there_are_several(tmp_path: Path) -> None:
    hot = between(tmp_path, {"sys/class/thermal/thermal_zone0/temp": 91000})
    _, reasons = verdict.judge([], [between(tmp_path / "x", {}), hot], PI)
    assert len(reasons) == 1 and reasons[0].startswith("pi1: ")


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
