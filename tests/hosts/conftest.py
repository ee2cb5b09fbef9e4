r"""Machines to detect: each file in trees/ is one, a line for each line of a file, as `grep -r "" proc sys etc` prints.

A NUL is written \0.
"""

from collections.abc import Callable
from pathlib import Path

import pytest

TREES = Path(__file__).parent / "trees"


@pytest.fixture
def machine(tmp_path: Path) -> Callable[[str], Path]:
    """Return a function that unpacks a tree and returns the root to detect under."""

    def unpack(name: str) -> Path:
        files: dict[str, list[str]] = {}
        for line in (TREES / f"{name}.txt").read_text(encoding="utf-8").splitlines():
            if not line.startswith("#"):
                path, _, content = line.partition(":")
                files.setdefault(path, []).append(content)
        root = tmp_path / name
        for path, lines in files.items():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_text("\n".join(lines).replace("\\0", "\0") + "\n", encoding="utf-8")
        return root

    return unpack
