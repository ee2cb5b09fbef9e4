"""What machine is this? Read from /proc and /sys under any root, so that recordings of other machines serve as well.

Only CPUs that are online count; those that are switched off are named in `machine.offline`.
"""

import platform
import sys
from pathlib import Path

from mpinn.hosts.profile import Cache, Cluster, Machine, Mpi, Oversubscribe, Profile
from mpinn.system.errors import MpinnError
from mpinn.system.proc import cpu_list, cpus, number, text

CPU = "sys/devices/system/cpu"

# Implementer and part number of ARM cores, as util-linux has them in sys-utils/lscpu-arm.c.
ARM_CORES = {
    ("0x41", "0xc05"): "Cortex-A5",
    ("0x41", "0xc07"): "Cortex-A7",
    ("0x41", "0xc08"): "Cortex-A8",
    ("0x41", "0xc09"): "Cortex-A9",
    ("0x41", "0xc0e"): "Cortex-A17",
    ("0x41", "0xc0f"): "Cortex-A15",
    ("0x41", "0xd03"): "Cortex-A53",
    ("0x41", "0xd04"): "Cortex-A35",
    ("0x41", "0xd05"): "Cortex-A55",
    ("0x41", "0xd07"): "Cortex-A57",
    ("0x41", "0xd08"): "Cortex-A72",
    ("0x41", "0xd09"): "Cortex-A73",
    ("0x41", "0xd0a"): "Cortex-A75",
    ("0x41", "0xd0b"): "Cortex-A76",
    ("0x41", "0xd0c"): "Neoverse-N1",
    ("0x41", "0xd0d"): "Cortex-A77",
    ("0x41", "0xd40"): "Neoverse-V1",
    ("0x41", "0xd41"): "Cortex-A78",
    ("0x41", "0xd49"): "Neoverse-N2",
    ("0x41", "0xd4f"): "Neoverse-V2",
    ("0x41", "0xd80"): "Cortex-A520",
    ("0x41", "0xd81"): "Cortex-A720",
}

PAPER_RANKS = 16  # the paper's largest number of workers: its experiment should run everywhere


def detect(
    root: Path = Path("/"), architecture: str = platform.machine(), bits: int = sys.maxsize.bit_length() + 1
) -> Profile:
    """Return a profile, named 'detected', of the machine whose /proc, /sys and /etc lie under `root`.

    `architecture` is what uname says there, `bits` the width of an address in its programs. Raises MpinnError where
    the architecture is none that profiles know, or where /sys does not say which CPUs are online.
    """
    architecture = "armv7l" if architecture == "armv8l" else architecture  # a 64-bit core in a 32-bit system
    if architecture not in ("x86_64", "armv7l", "aarch64"):
        raise MpinnError(f"cannot detect a machine of architecture {architecture}: write a profile, see docs/hosts.md")
    online = cpus(text(root / CPU / "online"))
    if not online:
        raise MpinnError(f"{root / CPU / 'online'} does not say which CPUs there are: is /sys mounted?")
    allowed = [cpu for cpu in cpus(status(root, "Cpus_allowed_list")) if cpu in online] or online
    quota = cpu_quota(root)
    model, processor = identity(root)
    machine = Machine(
        architecture=architecture,
        bits=bits,
        clusters=clusters(root, architecture, online),
        processor=processor,
        model=model,
        os=operating_system(root),
        caches=caches(root, online),
        memory_mib=memory_mib(root),
        network_mbit=network_mbit(root),
        offline=cpu_list(set(cpus(text(root / CPU / "present"))) - set(online)) or None,
        allowed=cpu_list(allowed) if allowed != online else None,
        cpu_quota=quota,
    )
    limit = max(1, int(quota)) if quota else len(online)
    slots = min(limit, len({siblings(root, cpu) for cpu in allowed}))
    threads = min(limit, len(allowed))
    max_ranks = max(PAPER_RANKS, 2 * threads)
    doublings = {2**power for power in range(max_ranks.bit_length())}
    return Profile(
        name="detected",
        title=model or processor or f"{architecture} machine",
        source="python -m mpinn.hosts detect",
        machine=machine,
        mpi=Mpi(
            slots=slots,
            max_ranks=max_ranks,
            oversubscribe=Oversubscribe(allowed=True, from_ranks=threads + 1),
            wait_policy="yield",
            bind_to="none",
            map_by="slot",
        ),
        ranks=tuple(sorted(doublings | {slots, threads})),
    )


def clusters(root: Path, architecture: str, online: list[int]) -> tuple[Cluster, ...]:
    """Return the online cores grouped by kind and, on ARM, by the clock that they share."""
    names = core_names(root)
    efficient = cpus(text(root / "sys/devices/cpu_atom/cpus"))
    groups: dict[tuple[str, tuple[int, ...]], list[int]] = {}
    for cpu in online:
        name = names.get(cpu) or next(iter(names.values()), architecture)
        together = () if architecture == "x86_64" else tuple(cpus(text(root / CPU / f"cpu{cpu}/cpufreq/related_cpus")))
        if cpu in efficient:
            name += " (efficient cores)"
        groups.setdefault((name, together if len(together) > 1 else ()), []).append(cpu)
    return tuple(cluster(root, name, members) for (name, _), members in groups.items())


def cluster(root: Path, name: str, members: list[int]) -> Cluster:
    """Return the cluster that these CPUs make up."""

    def values(file: str) -> list[int]:
        return [value for cpu in members if (value := number(root / CPU / f"cpu{cpu}" / file))]

    def mhz(kilohertz: int | None) -> int | None:
        return round(kilohertz / 1000) if kilohertz else None

    return Cluster(
        name=name,
        cores=len({siblings(root, cpu) for cpu in members}),
        threads=len(members),
        cpus=cpu_list(members),
        min_mhz=mhz(min(values("cpufreq/cpuinfo_min_freq"), default=None)),
        base_mhz=mhz(max(values("cpufreq/base_frequency"), default=None)),
        max_mhz=mhz(max(values("cpufreq/cpuinfo_max_freq"), default=None)),
        capacity=max(values("cpu_capacity"), default=None),
    )


def siblings(root: Path, cpu: int) -> tuple[int, ...]:
    """Return the CPUs that are hardware threads of the same core."""
    return tuple(cpus(text(root / CPU / f"cpu{cpu}/topology/thread_siblings_list"))) or (cpu,)


def cpuinfo(root: Path) -> list[dict[str, str]]:
    """Return the paragraphs of /proc/cpuinfo as mappings."""
    paragraphs = text(root / "proc/cpuinfo").split("\n\n")
    pairs = [[line.partition(":") for line in paragraph.splitlines()] for paragraph in paragraphs]
    return [{key.strip(): value.strip() for key, _, value in lines} for lines in pairs]


def core_names(root: Path) -> dict[int, str]:
    """Return the kind of core that each online CPU is."""
    paragraphs = cpuinfo(root)
    # ARM kernels before 3.8 say what every core is in a paragraph of its own.
    common = {
        key: value for paragraph in paragraphs if "processor" not in paragraph for key, value in paragraph.items()
    }
    names = {}
    for paragraph in paragraphs:
        about = common | paragraph
        if not about.get("processor", "").isdigit():
            continue
        part = (about.get("CPU implementer", ""), about.get("CPU part", ""))
        name = ARM_CORES.get(part, f"ARM core {':'.join(part)}") if part[1] else about.get("model name", "")
        names[int(about["processor"])] = name
    return names


def identity(root: Path) -> tuple[str | None, str | None]:
    """Return what the firmware calls the machine, and its processor."""
    tree, dmi = root / "proc/device-tree", root / "sys/devices/virtual/dmi/id"
    model = text(tree / "model") or f"{text(dmi / 'sys_vendor')} {text(dmi / 'product_name')}".strip()
    about = {key: value for paragraph in cpuinfo(root) for key, value in paragraph.items()}
    chip = text(tree / "compatible").split("\0")[-1] or about.get("Hardware", "") or about.get("model name", "")
    return model or None, chip or None


def operating_system(root: Path) -> str | None:
    """Return the name and version of the distribution."""
    for line in text(root / "etc/os-release").splitlines():
        if line.startswith("PRETTY_NAME="):
            return line.partition("=")[2].strip("\"'") or None
    return None


def caches(root: Path, online: list[int]) -> tuple[Cache, ...]:
    """Return the caches of the online CPUs, by name and size. A cache that CPUs share counts once."""
    found: dict[tuple[str, int], set[str]] = {}
    for cpu in online:
        for cache in sorted((root / CPU / f"cpu{cpu}/cache").glob("index*")):
            level, kind, size = (text(cache / file) for file in ("level", "type", "size"))
            if level and size.endswith("K"):
                name = f"L{level}" + {"Data": "d", "Instruction": "i"}.get(kind, "")
                found.setdefault((name, int(size[:-1])), set()).add(text(cache / "shared_cpu_list") or str(cpu))
    return tuple(Cache(name, kib, len(shared)) for (name, kib), shared in sorted(found.items()))


def memory_mib(root: Path) -> int | None:
    """Return the memory that the kernel manages, in MiB."""
    for line in text(root / "proc/meminfo").splitlines():
        if line.startswith("MemTotal:"):
            return int(line.split()[1]) // 1024
    return None


def network_mbit(root: Path) -> int | None:
    """Return the speed of the fastest network interface that is a device and knows its speed, in Mbit/s."""
    interfaces = [path for path in (root / "sys/class/net").glob("*") if (path / "device").exists()]
    speeds = [number(interface / "speed") or 0 for interface in interfaces]
    return max((speed for speed in speeds if speed > 0), default=None)


def status(root: Path, key: str) -> str:
    """Return what /proc/self/status says of this process under a key, or an empty string."""
    for line in text(root / "proc/self/status").splitlines():
        if line.startswith(f"{key}:"):
            return line.partition(":")[2].strip()
    return ""


def cpu_quota(root: Path) -> float | None:
    """Return the CPU time that the control groups (version 1 or 2) allow, in seconds a second, or None."""
    quotas = []
    for line in text(root / "proc/self/cgroup").splitlines():
        _, controllers, group = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        inside = Path(group.lstrip("/"))
        for mount in (controllers, "cpu", "unified", ""):
            for directory in (inside, *inside.parents):
                quotas.append(group_quota(root / "sys/fs/cgroup" / mount / directory))
    return min((quota for quota in quotas if quota), default=None)


def group_quota(directory: Path) -> float | None:
    """Return the CPU time that one control group allows, in seconds a second, or None."""
    limit = text(directory / "cpu.max").split()
    limit = limit or [text(directory / "cpu.cfs_quota_us"), text(directory / "cpu.cfs_period_us")]
    if len(limit) == 2 and all(value.isdigit() for value in limit):  # unlimited is 'max', and -1 in version 1
        return int(limit[0]) / int(limit[1])
    return None
