"""What deployment packs of a checkout: the same files, the same version, byte for byte."""

import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

CHECKOUT = Path(__file__).parents[2]


def pack(checkout: Path, directory: Path) -> tuple[str, Path]:
    """Return the version and the archive."""
    command = [sys.executable, CHECKOUT / "ansible/roles/suite/files/pack.py", checkout, directory]
    said = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    return said["version"], Path(said["archive"])


def write(checkout: Path, contents: dict[str, str]) -> None:
    for name, content in contents.items():
        (checkout / name).parent.mkdir(parents=True, exist_ok=True)
        (checkout / name).write_text(content)


def test_the_same_files_are_the_same_version_and_others_another(tmp_path: Path) -> None:
    checkout = tmp_path / "checkout"
    write(checkout, {"mpinn/__init__.py": '__version__ = "1.2.3"\n', "bench/run.py": "a = 1\n"})
    version, archive = pack(checkout, tmp_path / "a")
    os.utime(checkout / "bench/run.py", (0, 0))
    (checkout / "bench/__pycache__").mkdir()
    (checkout / "bench/__pycache__/run.pyc").write_bytes(b"compiled")
    (checkout / "tests").mkdir()
    again, same = pack(checkout, tmp_path / "b")
    assert (version, archive.read_bytes()) == (again, same.read_bytes())
    assert version.startswith("1.2.3-")
    write(checkout, {"bench/run.py": "a = 2\n"})
    assert pack(checkout, tmp_path / "c")[0] != version


def test_this_checkout_without_what_was_built_or_measured(tmp_path: Path) -> None:
    with tarfile.open(pack(CHECKOUT, tmp_path)[1]) as archive:
        names = archive.getnames()
        assert all(member.isdir() or member.isfile() for member in archive)
    assert {
        "pyproject.toml",
        "setup.py",
        "mpinn/kernels/native.pyx",
        "mpinn/kernels/c/vectors.h",
        "mpinn/kernels/c/kernel.c",
        "mpinn/COMMIT",
        "bench/suites/smoke.yml",
    } <= {*names}
    assert not [name for name in names if name.endswith((".so", ".pyc", "native.c")) or "results/" in name]
