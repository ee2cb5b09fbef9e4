"""Builds of the C kernel with compilers and flags of one's choice, and what each of them comes to."""

import subprocess
from collections.abc import Sequence
from pathlib import Path

C = Path(__file__).parents[2] / "mpinn" / "kernels" / "c"
EXACT = "-ffp-contract=off"


def build(folder: Path, name: str, command: Sequence[str], source: Path = C, main: str = "bits.c") -> Path:
    """Compile a program of this directory with a copy of the kernel's sources; return it."""
    program = folder / name
    files = [Path(__file__).with_name(main), source / "kernel.c", source / "merge.c", source / "optimizers.c"]
    warnings = ["-std=c11", "-Wall", "-Wextra", "-Werror"]
    subprocess.run([*command, *warnings, f"-I{source}", *map(str, files), "-o", str(program), "-lm"], check=True)
    return program


def run(program: Path, *words: object, runner: Sequence[str] = ()) -> subprocess.CompletedProcess[str]:
    line = [*runner, str(program), *map(str, words)]
    return subprocess.run(line, capture_output=True, text=True, check=True, timeout=280)


def hashes(program: Path, *words: object, runner: Sequence[str] = ()) -> str:
    """Return what the program prints."""
    return run(program, *words, runner=runner).stdout


def vectors(program: Path, runner: Sequence[str] = ()) -> str:
    """Return which vectors the program says it uses."""
    return run(program, runner=runner).stderr.strip()
