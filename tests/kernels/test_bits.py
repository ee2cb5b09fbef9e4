"""The same bits from every build: optimised or not, with vectors or without; and a build with others is noticed."""

import re
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpinn import kernels
from mpinn.kernels import native
from mpinn.model.network import Network
from mpinn.system.errors import UsageError
from tests.kernels.builds import EXACT, C, build, hashes

MANY = "-DEXEMPLARS=100"  # of each case, over a thousand in all
BUILDS = {
    "unoptimised": ["-O0", "-march=native"],
    "usual": ["-O2", "-march=native"],
    "portable": ["-O3", "-march=native", "-DMPINN_PORTABLE"],
    "oldest": ["-O3"],
}
MUTANTS = {
    "fused": ("", "", ["-ffp-contract=fast", "-march=native"]),
    "regrouped": ("((x[0] + x[4]) + (x[2] + x[6]))", "((x[0] + x[2]) + (x[4] + x[6]))", [EXACT]),
    "rounded twice": (
        "EACH(fmaf(a.lane[i], b.lane[i], c.lane[i]))",
        "EACH(a.lane[i] * b.lane[i] + c.lane[i])",
        [EXACT],
    ),
    "other rows first": ("i < r.owing; i++", "i < r.owing - 1; i++", [EXACT]),
    "another exponential": ("1.6666665459e-1f", "1.6666667e-1f", [EXACT]),
    "rounded down": ("0x1.8p23f", "0x1.7ffffep23f", [EXACT]),
}


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("builds")
    made = {name: build(folder, name, ["cc", *flags, EXACT]) for name, flags in BUILDS.items()}
    return made | {"many": build(folder, "many", ["cc", "-O3", "-march=native", EXACT, MANY])}


@pytest.mark.parametrize("name", BUILDS)
def test_every_build_comes_to_the_hashes_in_the_source(programs: dict[str, Path], name: str) -> None:
    found = dict(line.rsplit(" ", 1) for line in hashes(programs[name]).splitlines())
    written = re.findall(r'\{"([^"]+)", \d.*?0x([0-9a-f]+)u,', (C / "self_test.c").read_text())
    assert len(written) == len(found) > 10 and found == {case: text.zfill(16) for case, text in written}


@pytest.mark.parametrize("name", ["portable", "oldest"])
def test_many_exemplars_come_to_the_same(programs: dict[str, Path], tmp_path: Path, name: str) -> None:
    other = build(tmp_path, name, ["cc", *BUILDS[name], EXACT, MANY])
    assert hashes(other) == hashes(programs["many"]) != hashes(programs["usual"])


@st.composite
def networks(draw: st.DrawFn) -> list[object]:
    """Return the words that describe a network to bits.c.

    Without divisors hidden units are sigmoid or tanh: others would run away, and a NaN's bits are not promised.
    """
    layers = draw(st.integers(2, 4))
    units = [draw(st.integers(1, 150)) for _ in range(layers - 1)] + [draw(st.integers(2, 12))]
    flags = [draw(st.integers(0, 2)), *(draw(st.integers(0, 1)) for _ in range(2))]
    hidden = st.sampled_from([0, 1, 2, 3, 4, 5, 7, 8] if flags[2] else [4, 5])
    codes = [draw(st.integers(0, 5)), *(draw(hidden) for _ in range(layers - 2)), 6]
    return [layers, *units, *codes, *flags, *(draw(st.sampled_from([0, 1e-30, 1e-7, 1e-3, 0.1])) for _ in range(2))]


@given(networks())
def test_random_networks_come_to_the_same_in_every_build(programs: dict[str, Path], words: list[object]) -> None:
    found = {hashes(programs[name], *words) for name in BUILDS}
    assert len(found) == 1


@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_build_with_other_bits_fails_the_self_test(programs: dict[str, Path], tmp_path: Path, mutant: str) -> None:
    before, after, flags = MUTANTS[mutant]
    source = shutil.copytree(C, tmp_path / "c")
    for path in source.glob("*.[ch]"):
        text = path.read_text()
        path.write_text(text.replace(before, after) if before else text)
    flags = flags if "-march=native" in flags else [*flags, "-DMPINN_PORTABLE", "-march=native"]
    program = build(tmp_path, "mutant", ["cc", "-O2", *flags, "-Wno-error"], source)
    assert hashes(program) != hashes(programs["usual"])


def test_functions_are_as_near_as_their_comments_say(tmp_path: Path) -> None:
    program = build(tmp_path, "errors", ["cc", "-O2", "-march=native", EXACT], main="errors.c")
    found = [float(word) for word in hashes(program).split()]
    stated = re.findall(r"Within ([0-9.]+) units", (C / "functions.h").read_text())
    assert all(0.5 < error < float(most) < error + 0.2 for error, most in zip(found, stated, strict=True))


def test_this_build_gives_the_bits_and_one_that_does_not_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert native.self_test() == []
    monkeypatch.setattr(native, "self_test", lambda: ["relu", "tanh"])
    for name in ("auto", "native"):
        with pytest.raises(UsageError, match=r"fails its self-test \(relu, tanh; .*--kernel reference"):
            kernels.choose(name, Network(), 0.8, 0, 0)
    assert kernels.choose("reference", Network(), 0.8, 0, 0).name == "reference"


def test_a_build_without_fused_multiply_add_says_that_it_is_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    assert kernels.choose("native", Network(), 0.8, 0, 0).note == ""
    monkeypatch.setattr(native, "FUSED", False)
    chosen = kernels.choose("native", Network(), 0.8, 0, 0)
    assert chosen.name == "native" and "slow" in chosen.note and chosen.numerics == 1
