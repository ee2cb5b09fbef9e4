"""Installing where something is missing."""

import shutil
import sys
import zipfile
from pathlib import Path

from tests.command.commands import run

CHECKOUT = Path(__file__).parents[2]


def test_without_a_c_compiler_the_wheel_is_built_without_the_native_kernel(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(CHECKOUT / name, source)
    for name in ("mpinn", "hosts"):
        shutil.copytree(
            CHECKOUT / name, source / name, ignore=shutil.ignore_patterns("*.so", "native.c", "__pycache__")
        )
    wheel = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(tmp_path), str(source)]
    built = run(wheel, CC="/no/such/compiler")
    assert built.returncode == 0, built.stderr
    (path,) = tmp_path.glob("mpinn_bench-*.whl")
    names = zipfile.ZipFile(path).namelist()
    assert {"mpinn/kernels/native.pyx", "mpinn/kernels/c/vectors.h", "mpinn/training/golden.json"} <= set(names)
    assert not any(name.endswith(".so") for name in names)
    assert sum("share/mpinn/hosts/" in name for name in names) == len(list((CHECKOUT / "hosts").glob("*.yml")))
