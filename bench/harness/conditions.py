"""What a host is doing: load, clock, temperature, throttling, memory, energy. From /proc and /sys, under any root.

`python -m bench.harness.conditions` prints a reading as one line of JSON; `bench run` starts it on every host of a
cluster. A reading has counters that grow and values of the moment; `between` says what two readings come to.
"""

import json
import math
import os
import time
from pathlib import Path
from typing import Any

from mpinn.system.proc import cpus, number, text

CPU = "sys/devices/system/cpu"
TICKS = os.sysconf("SC_CLK_TCK")  # of /proc/stat, a second
GLANCE = 0.3  # seconds over which `busy_now` is measured,
GLANCES = 3  # at most so often, until
QUIET = 0.1  # CPUs are busy
# Bits of the Raspberry Pi's get_throttled, as its documentation has them.
PI_NOW = {0: "undervoltage", 1: "clock capped", 2: "throttled", 3: "soft temperature limit"}

Reading = dict[str, Any]


def reading(root: Path = Path("/")) -> Reading:
    """Return the state of the machine whose /proc and /sys lie under `root`; what it does not have is None or empty."""
    busy, idle, steal = cpu_seconds(root)
    return {
        "host": text(root / "proc/sys/kernel/hostname"),
        "monotonic": time.monotonic(),
        "busy_seconds": busy,
        "idle_seconds": idle,
        "steal_seconds": steal,
        "load": load(root),
        "online": cpus(text(root / CPU / "online")),
        "offline": sorted(set(cpus(text(root / CPU / "present"))) - set(cpus(text(root / CPU / "online")))),
        "governors": governors(root),
        "time_in_state": time_in_state(root),
        "mhz": mhz(root),
        "allowed_mhz": policy_mhz(root, "scaling_max_freq"),
        "max_mhz": policy_mhz(root, "cpuinfo_max_freq"),
        "throttle_count": throttle_count(root),
        "undervoltage": undervoltage(root),
        "temperature_c": temperature(root),
        "memory_available_mib": kilobytes(root, "proc/meminfo", "MemAvailable:", 1024),
        "swapped_pages": (pages_swapped(root, "pswpin") or 0) + (pages_swapped(root, "pswpout") or 0),
        "energy_uj": energy(root),
        "power_uw": power(root),
    }


def cpu_seconds(root: Path) -> tuple[float, float, float]:
    """Return the seconds, over all CPUs since the start, that they were busy, idle, and stolen by the hypervisor."""
    fields = text(root / "proc/stat").partition("\n")[0].split()[1:]
    ticks = [int(field) for field in fields[:8]] + [0] * (8 - len(fields[:8]))
    user, nice, system, idle, iowait, irq, softirq, steal = (tick / TICKS for tick in ticks)
    return user + nice + system + irq + softirq, idle + iowait, steal


def load(root: Path) -> float | None:
    """Return the load average of the last minute."""
    words = text(root / "proc/loadavg").split()
    return float(words[0]) if words else None


def policies(root: Path) -> list[Path]:
    """Return the directories of the clock policies, one a group of CPUs that share a clock."""
    return sorted((root / CPU / "cpufreq").glob("policy*"), key=lambda path: int(path.name[6:]))


def governors(root: Path) -> list[str]:
    return [found for policy in policies(root) if (found := text(policy / "scaling_governor"))]


def time_in_state(root: Path) -> dict[str, dict[str, float]]:
    """Return, by policy, the seconds spent at each clock (MHz, as text) since the start."""
    tables = {}
    for policy in policies(root):
        lines = [line.split() for line in text(policy / "stats/time_in_state").splitlines()]
        states = {str(int(khz) / 1000): int(spent) / 100 for khz, spent in lines}  # units of 10 ms
        if states:
            tables[policy.name] = states
    return tables


def mhz(root: Path) -> list[float]:
    """Return the present clock of each policy, or of each CPU where only /proc/cpuinfo says it."""
    found = policy_mhz(root, "scaling_cur_freq")
    lines = [] if found else text(root / "proc/cpuinfo").splitlines()
    return found or [float(line.partition(":")[2]) for line in lines if line.startswith("cpu MHz")]


def policy_mhz(root: Path, file: str) -> list[float]:
    """Return a clock of each policy: scaling_cur_freq now, scaling_max_freq allowed, cpuinfo_max_freq possible."""
    return [khz / 1000 for policy in policies(root) if (khz := number(policy / file))]


def throttle_count(root: Path) -> int | None:
    """Return how often cores or packages were slowed down for heat since the start, where the kernel counts it."""
    counts = [number(path) or 0 for path in (root / CPU).glob("cpu[0-9]*/thermal_throttle/*_throttle_count")]
    return sum(counts) if counts else None


def undervoltage(root: Path) -> list[str]:
    """Return what a Raspberry Pi's firmware complains of now."""
    flags = text(root / "sys/devices/platform/soc/soc:firmware/get_throttled")
    bits = int(flags, 16) if flags else 0
    found = [name for bit, name in PI_NOW.items() if bits >> bit & 1]
    alarms = [number(path / "in0_lcrit_alarm") for path in hwmon(root, "rpi_volt")]
    return found or (["undervoltage"] if any(alarms) else [])


def temperature(root: Path) -> float | None:
    """Return the temperature of the hottest zone, degrees Celsius."""
    zones = [number(zone / "temp") for zone in (root / "sys/class/thermal").glob("thermal_zone*")]
    degrees = [zone / 1000 for zone in zones if zone is not None and zone > 0]
    return max(degrees, default=None)


def hwmon(root: Path, name: str) -> list[Path]:
    """Return the directories of hardware monitors whose name begins so."""
    return [path for path in (root / "sys/class/hwmon").glob("hwmon*") if text(path / "name").startswith(name)]


def kilobytes(root: Path, file: str, key: str, divisor: int) -> int | None:
    for line in text(root / file).splitlines():
        if line.startswith(key):
            return int(line.split()[1]) // divisor
    return None


def pages_swapped(root: Path, key: str) -> int | None:
    return kilobytes(root, "proc/vmstat", f"{key} ", 1)


def energy(root: Path) -> dict[str, list[int]]:
    """Return the counter of each processor package (RAPL) and where it wraps, microjoules."""
    meters = {}
    for zone in sorted((root / "sys/class/powercap").glob("intel-rapl:?")):
        counter, wraps = number(zone / "energy_uj"), number(zone / "max_energy_range_uj")
        if counter is not None and wraps:
            meters[zone.name] = [counter, wraps]
    return meters


def power(root: Path) -> int | None:
    """Return what the board's INA sensors measure now, microwatts."""
    sensors = [number(path / "power1_input") for path in hwmon(root, "ina")]
    found = [sensor for sensor in sensors if sensor is not None]
    return sum(found) if found else None


def between(before: Reading, after: Reading, samples: list[Reading], own_seconds: float | None) -> dict[str, Any]:
    """Return what two readings of one host, and samples taken between them, come to.

    own_seconds is the processor time of what was measured; None where it cannot be separated from that of others.
    """
    seconds = after["monotonic"] - before["monotonic"]
    busy, idle, steal = (after[key] - before[key] for key in ("busy_seconds", "idle_seconds", "steal_seconds"))
    everything = busy + idle + steal
    all_readings = [before, *samples, after]
    temperatures = [one["temperature_c"] for one in all_readings if one["temperature_c"] is not None]
    throttles = [one["throttle_count"] for one in (before, after)]
    clock, source = clock_between(before, after, samples)
    used, meter = joules(before, after, samples, seconds)
    return {
        "host": before["host"],
        "seconds": seconds,
        "load_before": before["load"],
        "load_after": after["load"],
        "busy_before": before.get("busy_now"),
        "busy_with_others": None if own_seconds is None else max(0.0, busy - own_seconds) / seconds,
        "steal_percent": 100 * steal / everything if everything else None,
        "clock_mhz": clock,
        "clock_source": source,
        "max_mhz": max(before["max_mhz"], default=None),
        "governors": sorted({*before["governors"], *after["governors"]}),
        "online": len(after["online"]),
        "offline": after["offline"],
        "temperature_c": max(temperatures, default=None),
        "throttled": None if None in throttles else throttles[1] - throttles[0],
        "undervoltage": sorted({word for one in all_readings for word in one["undervoltage"]}),
        "memory_available_mib": min(one["memory_available_mib"] or 0 for one in all_readings) or None,
        "swapped_pages": after["swapped_pages"] - before["swapped_pages"],
        "joules": used,
        "meter": meter,
    }


def clock_between(before: Reading, after: Reading, samples: list[Reading]) -> tuple[float | None, str | None]:
    """Return the mean clock of the fastest policy, MHz, and how it is known."""
    means = []
    for policy, states in after["time_in_state"].items():
        spent = {mhz: total - before["time_in_state"].get(policy, {}).get(mhz, 0.0) for mhz, total in states.items()}
        if sum(spent.values()) > 0:
            means.append(sum(float(mhz) * part for mhz, part in spent.items()) / sum(spent.values()))
    if means:
        return max(means), "time_in_state"
    sampled = [max(one["mhz"]) for one in samples if one["mhz"]]  # before and after a run the clock is another
    return (sum(sampled) / len(sampled), "sampled") if sampled else (None, None)


def joules(before: Reading, after: Reading, samples: list[Reading], seconds: float) -> tuple[float | None, str | None]:
    """Return the energy used, and its meter: RAPL's counters of all packages, or INA sensors sampled; None without."""
    if before["energy_uj"] and before["energy_uj"].keys() == after["energy_uj"].keys():
        pairs = [(*before["energy_uj"][zone], after["energy_uj"][zone][0]) for zone in before["energy_uj"]]
        return sum((end - start) % (wraps + 1) for start, wraps, end in pairs) / 1e6, "rapl"
    sampled = [one["power_uw"] for one in samples if one["power_uw"] is not None]
    return (sum(sampled) / len(sampled) / 1e6 * seconds, "ina") if sampled else (None, None)


def glance() -> Reading:
    """Return a reading with `busy_now`: how many CPUs are busy while nothing is measured, the least of a few glances.

    Hosts are read at the same time, and some share a machine: at first they see how the others' programs start.
    """
    least = math.inf
    now = reading()
    for _ in range(GLANCES):
        earlier = now
        time.sleep(GLANCE)
        now = reading()
        busy = now["busy_seconds"] - earlier["busy_seconds"]
        least = min(least, busy / (now["monotonic"] - earlier["monotonic"]))
        if least < QUIET:
            break
    return now | {"busy_now": least}


if __name__ == "__main__":
    print(json.dumps(glance()))
