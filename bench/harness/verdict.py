"""What to think of a measurement: VALID, DEGRADED (something disturbed it) or INVALID (what it computed is wrong)."""

from typing import Any

from bench.harness.records import DEGRADED, INVALID, VALID
from mpinn.hosts.profile import Profile
from mpinn.system.proc import cpu_list

OTHERS = 0.25  # CPUs busy with something else
STEAL = 2.0  # percent of the time that the hypervisor gave to others
SLOWER = 0.97  # of the clock that the host profile expects under load
SWAPPED = 256  # pages
LEAST_MEMORY = 64  # MiB


def disturbances(conditions: dict[str, Any], profile: Profile) -> list[str]:
    """Return what disturbed a measurement on one host (`conditions.between`), each with what to do."""
    found = []
    busy = conditions["busy_with_others"] or 0.0
    before = conditions["busy_before"] or 0.0
    if max(busy, before) > OTHERS:
        found.append(f"other processes used {max(busy, before):.1f} CPUs: stop them (top shows them)")
    if (conditions["steal_percent"] or 0) > STEAL:
        found.append(
            f"the hypervisor took {conditions['steal_percent']:.0f}% of the time: use a quieter or a real machine"
        )
    others = [governor for governor in conditions["governors"] if governor != "performance"]
    if others:
        found.append(f"governor {', '.join(others)}: set performance (as root: cpupower frequency-set -g performance)")
    if conditions["throttled"]:
        found.append(f"slowed down for heat {conditions['throttled']} times: cool it better")
    limit = profile.limits.temperature_c
    if limit and (conditions["temperature_c"] or 0) >= limit:
        found.append(
            f"{conditions['temperature_c']:.0f} degrees Celsius, the clock is lowered from {limit:g}: cool it better"
        )
    expected = max((cluster.base_mhz or 0 for cluster in profile.machine.clusters), default=0)
    if conditions["clock_source"] == "time_in_state" and conditions["clock_mhz"] < SLOWER * expected:
        found.append(f"clock {conditions['clock_mhz']:.0f} of {expected} MHz: look for heat, power supply and governor")
    if conditions["undervoltage"]:
        found.append(f"{', '.join(conditions['undervoltage'])}: use a better power supply, and cool it")
    if conditions["offline"]:
        found.append(f"CPUs {cpu_list(conditions['offline'])} are offline: bring them up, or run with --host detected")
    if conditions["swapped_pages"] > SWAPPED:
        found.append(f"{conditions['swapped_pages']} pages swapped: free memory or take fewer ranks")
    if conditions["memory_available_mib"] is not None and conditions["memory_available_mib"] < LEAST_MEMORY:
        found.append(f"only {conditions['memory_available_mib']} MiB of memory were free: take fewer ranks")
    return found


def judge(faults: list[str], hosts: list[dict[str, Any]], profile: Profile) -> tuple[str, list[str]]:
    """Return the verdict and its reasons, given what is wrong with the result and the conditions of each host."""
    if faults:
        return INVALID, faults
    reasons = [
        f"{host['host']}: {words}" if len(hosts) > 1 else words
        for host in hosts
        for words in disturbances(host, profile)
    ]
    return (DEGRADED, reasons) if reasons else (VALID, [])
