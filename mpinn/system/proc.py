"""Read /proc and /sys. A file that is missing, or that the kernel refuses to read, counts as empty."""

from collections.abc import Iterable
from pathlib import Path


def text(path: Path) -> str:
    """Return the content of a file without white space and NULs around it, or an empty string."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip("\0 \t\n")
    except OSError:
        return ""


def number(path: Path) -> int | None:
    """Return the whole number in a file, or None."""
    try:
        return int(text(path))
    except ValueError:
        return None


def cpus(listed: str) -> list[int]:
    """Return the CPUs of a list as the kernel writes it, ascending: '0-2,5' or '0 1 2 5'."""
    found: set[int] = set()
    for part in listed.replace(",", " ").split():
        first, _, last = part.partition("-")
        found.update(range(int(first), int(last or first) + 1))
    return sorted(found)


def cpu_list(numbers: Iterable[int]) -> str:
    """Return CPUs as the kernel writes them: '0-2,5'."""
    runs: list[list[int]] = []
    for cpu in sorted(numbers):
        if runs and cpu == runs[-1][-1] + 1:
            runs[-1].append(cpu)
        else:
            runs.append([cpu])
    return ",".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs)
