"""What the documents name is there: paths of the repository, modules to run, options of training, other documents."""

import re
from pathlib import Path

import pytest

from mpinn import config

CHECKOUT = Path(__file__).parents[1]
DOCUMENTS = sorted(
    [*CHECKOUT.glob("*.md"), *CHECKOUT.glob("docs/**/*.md"), *CHECKOUT.glob("mpinn/datasets/mnist/*.md")]
)
SOURCES = sorted(path for folder in ("mpinn", "bench", "tests") for path in (CHECKOUT / folder).rglob("*.py"))

# Paths below our folders, and not below a folder of that name elsewhere (~/mpinn/...).
PATH = re.compile(r"(?<![\w/~.-])(?:mpinn|bench|tests|docs|hosts|ansible)/[\w./-]*\w")
MADE = {"ansible/.cache"}  # by the program; not in a checkout
MODULE = re.compile(r"python3? -m ((?:mpinn|bench|tests)\b[\w.]*\b)(?!\.)")
LINK = re.compile(r"\]\(([^)#:]+)(?:#([\w-]+))?\)")
OPTIONS = re.compile(r"(?<=python -m mpinn\.train )[^`#\n|;]*")


def name_of(path: Path) -> str:
    return str(path.relative_to(CHECKOUT))


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_paths_that_a_document_names_exist(document: Path) -> None:
    named = {*PATH.findall(document.read_text(encoding="utf-8"))} - MADE
    assert [name for name in named if not (CHECKOUT / name).exists()] == []


@pytest.mark.parametrize("text", [*DOCUMENTS, *SOURCES, CHECKOUT / "Makefile"], ids=name_of)
def test_modules_that_a_text_runs_exist(text: Path) -> None:
    for name in MODULE.findall(text.read_text(encoding="utf-8")):
        module = CHECKOUT / name.replace(".", "/")
        assert module.with_suffix(".py").is_file() or (module / "__init__.py").is_file(), name


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_links_lead_somewhere(document: Path) -> None:
    for name, heading in LINK.findall(document.read_text(encoding="utf-8")):
        target = document.parent / name
        assert target.exists(), name
        if heading:
            headings = re.findall(r"^#+ (.*)$", target.read_text(encoding="utf-8"), re.MULTILINE)
            slugs = [re.sub(r"[^\w -]", "", line).lower().replace(" ", "-") for line in headings]
            assert heading in slugs, f"{name}#{heading}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_options_of_training_that_a_document_gives_are_accepted(document: Path) -> None:
    for line in OPTIONS.findall(document.read_text(encoding="utf-8").replace("\\\n> ", "")):
        if "--help" not in line:
            config.parse(line.split())
