"""`bench check`: is this machine fit to measure now? A line for each thing that would make figures doubtful."""

import argparse
import os
from pathlib import Path
from typing import Any, NamedTuple

from bench.harness import conditions
from bench.harness.verdict import LEAST_MEMORY, OTHERS, SLOWER
from mpinn.datasets import mnist
from mpinn.hosts.library import DETECTED, find
from mpinn.hosts.profile import Profile
from mpinn.system.proc import cpu_list, text

MEMORY_A_RANK = 64  # MiB, roughly


class Finding(NamedTuple):
    what: str
    found: str
    cure: str  # empty where all is well


def add_parser(commands: Any) -> None:
    parser = commands.add_parser(
        "check",
        help="is this machine fit to measure now?",
        description="Say, a line each, what would disturb a measurement now. Exit status: 0 fit, 1 not.",
    )
    parser.add_argument("--host", default=DETECTED, metavar="NAME", help="host profile (default: this machine's)")
    parser.set_defaults(command=check)


def check(asked: argparse.Namespace) -> int:
    """Print the findings; return the exit status."""
    found = findings(find(asked.host))
    for finding in found:
        print(
            f"{'NOT FIT' if finding.cure else 'fit':8}  {finding.what}: {finding.found}"
            + (f"; {finding.cure}" if finding.cure else "")
        )
    unfit = sum(bool(finding.cure) for finding in found)
    print(f"\n{unfit} of {len(found)} would disturb a measurement" if unfit else "\nfit to measure")
    return 1 if unfit else 0


def findings(profile: Profile, root: Path = Path("/")) -> list[Finding]:
    """Return what there is to say of the machine whose /proc and /sys lie under `root`, read now."""
    now = conditions.glance() if root == Path("/") else conditions.reading(root)
    always = [busy(now, root), memory(now, profile, root), offline(now), *clocks(now)]
    return always + [finding for finding in (heat(now, profile), throttling(now), supply(now)) if finding]


def busy(now: dict[str, Any], root: Path) -> Finding:
    """Judge what runs beside."""
    load, used = now["load"], now.get("busy_now")
    said = f"load {load:.2f}" + ("" if used is None else f", {used:.1f} CPUs busy")
    others = strangers(root)
    if others:
        said += f", processes of {', '.join(others)} running"
    much = used is not None and used > OTHERS
    return Finding("load", said, "stop what else runs (top shows it)" if much or others else "")


def strangers(root: Path) -> list[str]:
    """Return the user numbers, other than this one's and root's, that have a process running at this moment."""
    found = set()
    for folder in (root / "proc").glob("[0-9]*"):
        state = text(folder / "stat").rpartition(")")[2].split()[:1]
        try:
            owner = folder.stat().st_uid
        except OSError:
            continue
        if state == ["R"] and owner not in (0, os.getuid()):
            found.add(f"user {owner}")
    return sorted(found)


def memory(now: dict[str, Any], profile: Profile, root: Path) -> Finding:
    """Judge free memory, and the place for the shared data set."""
    free = now["memory_available_mib"] or 0
    needed = MEMORY_A_RANK * profile.ranks[-1] + LEAST_MEMORY
    shared = os.statvfs(root / "dev/shm") if (root / "dev/shm").is_dir() else None
    room = shared.f_bavail * shared.f_frsize >> 20 if shared else 0
    said = f"{free} MiB free, {room} MiB in /dev/shm"
    if room < mnist.SHARED_MIB:
        return Finding(
            "memory", said, f"every rank would hold its own data set: make /dev/shm at least {mnist.SHARED_MIB} MiB"
        )
    cure = f"{profile.ranks[-1]} ranks want about {needed} MiB: free some, or take fewer ranks" if free < needed else ""
    return Finding("memory", said, cure)


def offline(now: dict[str, Any]) -> Finding:
    """Judge CPUs that are switched off."""
    said = f"{len(now['online'])} online"
    if not now["offline"]:
        return Finding("CPUs", said, "")
    return Finding(
        "CPUs",
        f"{said}, {cpu_list(now['offline'])} offline",
        "bring them up: echo 1 > /sys/devices/system/cpu/cpuN/online",
    )


def clocks(now: dict[str, Any]) -> list[Finding]:
    """Judge the governor and the clock of every cluster of CPUs, where there is something to read."""
    if not now["governors"]:
        return [Finding("clock", "not to be read here, so changes of it stay unseen", "")]
    found = []
    clocks = zip(now["governors"], now["mhz"], now["allowed_mhz"], now["max_mhz"], strict=False)
    for number, (governor, clock, allowed, most) in enumerate(clocks):
        cure = ""
        if allowed < SLOWER * most:
            cure = f"capped at {allowed:.0f} MHz: look for heat and power supply, or raise scaling_max_freq"
        elif governor != "performance":
            cure = "set performance (as root: cpupower frequency-set -g performance)"
        found.append(Finding(f"cluster {number}", f"governor {governor}, {clock:.0f} of {most:.0f} MHz", cure))
    return found


def heat(now: dict[str, Any], profile: Profile) -> Finding | None:
    """Judge the temperature, and what cores were slowed down for."""
    if now["temperature_c"] is None:
        return None
    limit = profile.limits.temperature_c
    said = f"{now['temperature_c']:.0f} degrees Celsius" + (f" of {limit:g}" if limit else "")
    return Finding(
        "temperature", said, "let it cool, cool it better" if limit and now["temperature_c"] > limit - 10 else ""
    )


def throttling(now: dict[str, Any]) -> Finding | None:
    """Report how often cores were slowed down for heat, where the kernel counts it."""
    if now["throttle_count"] is None:
        return None
    return Finding("throttling", f"slowed down for heat {now['throttle_count']} times since the start", "")


def supply(now: dict[str, Any]) -> Finding | None:
    """Judge the power supply, where the board reports it."""
    if not now["undervoltage"]:
        return None
    return Finding("power", ", ".join(now["undervoltage"]), "use a better power supply, and cool it")
