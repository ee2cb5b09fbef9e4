"""What a reader says of a file that it refuses, in a process that may take little memory and little time for it.

`python -m tests.refusals READER PATH` prints it; `refusal` asks a process of its own.
"""

import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from mpinn.system.errors import UsageError

MOST_MEMORY = 100 * 2**20  # bytes beyond what the reader's program takes
MOST_SECONDS = 20  # of processor time, ten times what it may take on a machine that has nothing else to do


def readers() -> dict[str, Callable[[Path], object]]:
    from bench.analysis import trace
    from mpinn import config, datasets
    from mpinn.hosts import hostfile, library
    from mpinn.training import snapshots

    def report(directory: Path) -> None:
        from bench.report import command, page, sections  # noqa: F401 (what they take is not a reader's)

        command.write([directory], directory / "report")

    return {
        "results": report,
        "snapshot": snapshots.load,
        "data": lambda path: datasets.load(path, path if path.suffix == ".csv" else None),
        "config": lambda path: config.read_yaml(str(path)),
        "profile": lambda path: library.find(str(path)),
        "hostfile": hostfile.read,
        "trace": trace.read,
    }


def refusal(reader: str, path: Path) -> str:
    """Return the line with which a reader refuses a file, within its bounds."""
    asked = subprocess.run([sys.executable, "-m", "tests.refusals", reader, path], capture_output=True, text=True)
    assert asked.returncode == 0, f"{asked.returncode}: {asked.stdout}{asked.stderr}"
    said = asked.stdout.removesuffix("\n")
    assert "\n" not in said and "machine's memory" not in said, said
    return said


def main() -> int:
    reader, path = readers()[sys.argv[1]], Path(sys.argv[2])
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    allowed = pages * resource.getpagesize() + MOST_MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (allowed, allowed))
    resource.setrlimit(resource.RLIMIT_CPU, (MOST_SECONDS, MOST_SECONDS))
    try:
        reader(path)
    except UsageError as error:
        print(error)
        return 0
    print("it was read")
    return 1


if __name__ == "__main__":
    sys.exit(main())
