"""The same bits on other processors and from other compilers: cross-compiled, and run under qemu's user emulation."""

import re
from pathlib import Path

import pytest
from hypothesis import given, settings

from tests.kernels.builds import EXACT, C, build, hashes, vectors
from tests.kernels.test_bits import networks

ARMV7 = ["arm-linux-gnueabihf-gcc", "-march=armv7-a", "-mfloat-abi=hard"]
QEMU_64, QEMU_32 = ["qemu-aarch64", "-L", "/usr/aarch64-linux-gnu"], ["qemu-arm", "-L", "/usr/arm-linux-gnueabihf"]
# name -> compiler, emulator, vectors
KINDS = {
    "x86-64, GCC": (["gcc", "-march=native"], [], None),
    "x86-64, Clang": (["clang", "-march=native"], [], None),
    "x86-64 of 2013, Clang": (["clang", "-march=haswell"], [], "avx2-fma, fused"),
    "x86-64, the oldest, Clang": (["clang"], [], "portable, not fused"),
    "64-bit ARM": (["aarch64-linux-gnu-gcc"], QEMU_64, "neon-64, fused"),
    "64-bit ARM, portable": (["aarch64-linux-gnu-gcc", "-DMPINN_PORTABLE"], QEMU_64, "portable, fused"),
    "Cortex-A7": ([*ARMV7, "-mfpu=neon-vfpv4"], QEMU_32, "neon-vfpv4, fused"),
    "Cortex-A9": ([*ARMV7, "-mfpu=vfpv3-d16"], QEMU_32, "portable, not fused"),
}
MANY = {"64-bit ARM": 100, "64-bit ARM, portable": 100, "Cortex-A7": 100, "Cortex-A9": 40}  # without fused: slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("processors")


@pytest.fixture(scope="module")
def programs(folder: Path) -> dict[str, Path]:
    return {kind: build(folder, kind, [*command, "-O3", EXACT]) for kind, (command, *_) in KINDS.items()}


@pytest.mark.parametrize("level", ["-O0", "-O3"])
@pytest.mark.parametrize("kind", KINDS)
def test_every_processor_comes_to_the_hashes_in_the_source(tmp_path: Path, kind: str, level: str) -> None:
    command, runner, _ = KINDS[kind]
    found = hashes(build(tmp_path, "program", [*command, level, EXACT]), runner=runner).splitlines()
    written = re.findall(r'\{"([^"]+)", \d.*?0x([0-9a-f]+)u,', (C / "self_test.c").read_text())
    assert len(found) > 10 and found == [f"{case} {text.zfill(16)}" for case, text in written]


@pytest.mark.parametrize("kind", MANY)
def test_many_exemplars_come_to_the_same(tmp_path: Path, kind: str) -> None:
    command, runner, _ = KINDS[kind]
    many = f"-DEXEMPLARS={MANY[kind]}"
    here = build(tmp_path, "here", ["gcc", "-march=native", "-O2", EXACT, many])
    there = build(tmp_path, "there", [*command, "-O3", EXACT, many])
    assert hashes(there, runner=runner) == hashes(here)


@settings(max_examples=10, deadline=None)
@given(networks())
def test_random_networks_come_to_the_same_on_every_processor(programs: dict[str, Path], words: list[object]) -> None:
    found = {kind: hashes(program, *words, runner=KINDS[kind][1]) for kind, program in programs.items()}
    assert len(set(found.values())) == 1, found


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind, (_, _, name) in KINDS.items() if name])
def test_each_uses_the_vectors_that_it_has(programs: dict[str, Path], kind: str, name: str) -> None:
    """Else this would test one and the same code many times."""
    assert vectors(programs[kind], KINDS[kind][1]) == name


def test_sanitizers_find_nothing(tmp_path: Path) -> None:
    flags = ["-g", "-O1", "-march=native", EXACT, "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    assert hashes(build(tmp_path, "program", ["gcc", *flags, "-DEXEMPLARS=40"]))
