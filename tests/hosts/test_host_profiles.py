"""Profiles: those that ship, what is refused and with which words, the JSON Schema, and YAML there and back."""

import dataclasses
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

import jsonschema
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from mpinn.hosts import library
from mpinn.hosts.profile import Profile, dump, load, parse, schema
from mpinn.system.errors import UsageError
from mpinn.system.schema import required

SHIPPED = library.names()
VALID: dict[str, Any] = yaml.safe_load((library.directory() / "banana-pi-m3.yml").read_text(encoding="utf-8"))


def test_those_that_ship() -> None:
    assert SHIPPED == [
        "banana-pi-m3",
        "generic-node",
        "generic-workstation",
        "lenovo-yoga-2",
        "orange-pi-5",
        "raspberry-pi-4",
        "raspberry-pi-5",
    ]


@pytest.mark.parametrize("name", SHIPPED)
def test_a_profile_that_ships_is_valid_and_has_the_name_of_its_file(name: str) -> None:
    profile = library.find(name)
    assert profile.name == name
    assert profile.mpi.slots == profile.machine.cores
    assert profile.mpi.oversubscribe.from_ranks == profile.machine.threads + 1


@pytest.mark.parametrize("name", SHIPPED)
def test_the_json_schema_accepts_what_ships(name: str) -> None:
    jsonschema.Draft202012Validator.check_schema(schema())
    content = yaml.safe_load((library.directory() / f"{name}.yml").read_text(encoding="utf-8"))
    jsonschema.validate(content, schema(), cls=jsonschema.Draft202012Validator)


@pytest.mark.parametrize("name", SHIPPED)
def test_a_profile_survives_being_written_and_read(name: str, tmp_path: Path) -> None:
    profile = library.find(name)
    copy = tmp_path / "copy.yml"
    copy.write_text(dump(profile), encoding="utf-8")
    assert library.find(str(copy)) == profile


def test_the_papers_machines_hold_all_that_it_publishes() -> None:
    def numbers(name: str) -> list[tuple[float | None, ...]]:
        return [
            (r.workers, r.epochs, r.value or r.min, r.median, r.max, r.seconds) for r in library.find(name).published
        ]

    assert numbers("lenovo-yoga-2") == [
        (1, None, 137.29, 142.33, 146.01, None),
        (4, None, 55.10, 56.49, 64.62, None),
        (4, None, 252, None, None, None),
    ]
    assert numbers("banana-pi-m3") == [
        (1, None, 856.57, 1005.80, 1271.73, None),
        (16, None, 171.50, 201.82, 221.38, None),
        (4, None, 320, None, None, None),
        (8, None, 432, None, None, None),
        (None, None, 498, None, None, None),
        (1, None, 99.26, None, None, None),
        (1, None, 97.14, None, None, None),
        (1, 1, 93.24, None, None, 1040),
        (1, 2, 95.22, None, None, 2006),
        (1, 15, 99.03, None, None, 15608),
        (16, 2, 90.18, None, None, 392),
        (16, 8, 95.12, None, None, 1583),
        (16, 49, 99.02, None, None, 9628),
    ]


def changed(dotted: str, value: Any) -> dict[str, Any]:
    """Return a valid profile with one value replaced, added, or left out if it is Ellipsis."""
    content = json.loads(json.dumps(VALID))
    *parents, key = [int(part) if part.isdigit() else part for part in dotted.split(".")]
    place: Any = content
    for parent in parents:
        place = place[parent]
    if value is ...:
        del place[key]
    else:
        place[key] = value
    return content


SHAPE = [  # key, wrong value, beginning of the complaint; the JSON Schema refuses them too
    ("name", ..., "name: missing; expected text"),
    ("name", "Banana Pi", "name: expected text"),
    ("title", 3, "title: expected text (name for people), got 3"),
    ("title", "", "title: expected text"),
    ("nmae", "x", "unknown key 'nmae' (did you mean 'name'?)"),
    ("machine", [], "machine: expected a mapping"),
    ("machine.architecture", "arm64", "machine.architecture: expected x86_64 or armv7l or aarch64, got 'arm64' (did"),
    ("machine.bits", 48, "machine.bits: expected 32 or 64, got 48"),
    ("machine.bits", "32", "machine.bits: expected 32 or 64, got '32'"),
    ("machine.memory_mib", 0, "machine.memory_mib: expected a whole number (main memory, MiB), at least 1"),
    ("machine.memory_mib", 2048.5, "machine.memory_mib: expected a whole number"),
    ("machine.memory_mb", 2048, "machine: unknown key 'memory_mb' (did you mean 'memory_mib'?)"),
    ("machine.clusters", [], "machine.clusters: expected a list of at least one"),
    ("machine.clusters", {"name": "x"}, "machine.clusters: expected a list of at least one"),
    (
        "machine.clusters.1.cores",
        True,
        "machine.clusters[1].cores: expected a whole number (physical cores), at least 1",
    ),
    ("machine.clusters.1.cores", ..., "machine.clusters[1].cores: missing; expected a whole number"),
    ("machine.clusters.0.cpus", "0-3; reboot", "machine.clusters[0].cpus: expected text"),
    ("machine.caches.0.name", "L9", "machine.caches[0].name: expected L1d or L1i or L1 or L2 or L3 or L4, got 'L9'"),
    ("mpi.slots", -1, "mpi.slots: expected a whole number"),
    ("mpi.slots", 10**9, "mpi.slots: expected a whole number"),
    ("mpi.wait_policy", "yeild", "mpi.wait_policy: expected yield or spin, got 'yeild' (did you mean 'yield'?)"),
    ("mpi.wait_policy", "yield\nplm_rsh_agent = x", "mpi.wait_policy: expected yield or spin"),
    ("mpi.bind_to", ["core"], "mpi.bind_to: expected none or core or hwthread, got ['core']"),
    ("mpi.oversubscribe", True, "mpi.oversubscribe: expected a mapping"),
    ("mpi.oversubscribe.allowed", 1, "mpi.oversubscribe.allowed: expected true or false"),
    ("ranks", [], "ranks: expected a list of at least one"),
    ("ranks", [1, "2"], "ranks[1]: expected a whole number"),
    ("limits", {"temperature_c": 500}, "limits.temperature_c: expected a number"),
    ("published.0.source", ..., "published[0].source: missing"),
]
SENSE = [  # what the JSON Schema cannot say
    ("limits", {"temperature_c": float("nan")}, "limits.temperature_c: expected a number"),
    ("machine.bits", 64, "machine.bits: expected 32 on armv7l"),
    ("machine.clusters.0.threads", 3, "machine.clusters[0].threads: expected at least its 4 cores, got 3"),
    ("machine.clusters.0.min_mhz", 2000, "machine.clusters[0].max_mhz: expected min_mhz <= base_mhz <= max_mhz"),
    ("mpi.max_ranks", 4, "mpi.max_ranks: expected at least mpi.slots (8), got 4"),
    (
        "mpi.oversubscribe.allowed",
        False,
        "mpi.max_ranks: expected mpi.slots (8), as mpi.oversubscribe.allowed is false",
    ),
    ("mpi.oversubscribe.from_ranks", 8, "mpi.oversubscribe.from_ranks: expected more than mpi.slots (8)"),
    ("ranks", [4, 2], "ranks: expected ascending numbers, got [4, 2]"),
    ("ranks", [1, 32], "ranks: expected at most mpi.max_ranks (16), got 32"),
    ("published.2.value", ..., "published[2].value: missing; expected value, or min, median and max"),
    ("published.0.median", 1.0, "published[0].median: expected min <= median <= max"),
]


@pytest.mark.parametrize(("dotted", "value", "complaint"), SHAPE + SENSE)
def test_a_wrong_value_is_refused_in_one_line_with_file_and_key(
    dotted: str, value: Any, complaint: str, tmp_path: Path
) -> None:
    path = tmp_path / "mine.yml"
    path.write_text(yaml.safe_dump(changed(dotted, value)), encoding="utf-8")
    with pytest.raises(UsageError) as refused:
        load(path)
    assert str(refused.value).startswith(f"{path}: {complaint}")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(("dotted", "value", "complaint"), SHAPE)
def test_the_json_schema_refuses_what_the_program_refuses(dotted: str, value: Any, complaint: str) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(changed(dotted, value), schema(), cls=jsonschema.Draft202012Validator)


BOMB = "a: &a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]\nname: *c\n"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "name: missing; expected text"),
        ("- a\n- b\n", "expected a mapping ('key: value' lines), got list"),
        ("name: [unclosed\n", "not valid YAML: "),
        ("name: a\n\tb: c\n", "not valid YAML: "),
        (BOMB, "not valid YAML: line 2, column 8: aliases are not allowed"),
        ("name: a\nname: b\n", "not valid YAML: line 1, column 1: a key is given twice"),
        (
            "name: !!python/object/apply:os.system ['true']\n",
            "not valid YAML: line 1, column 7: could not determine a constructor",
        ),
        ("? [a, b]\n: c\n", "not valid YAML: "),
        ("a: " + "{a: " * 9000, "not valid YAML: maximum recursion depth exceeded"),
        ("a: 2024-13-45\n", "not valid YAML: "),
        ("1: a\n", "unknown key 1"),
        ("# " + "x" * 2**20 + "\nname: a\n", "longer than 262,144 characters"),
    ],
)
def test_a_file_that_is_no_profile_is_refused_in_one_line(text: str, complaint: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.yml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UsageError) as refused:
        load(path)
    assert str(refused.value).startswith(f"{path}: {complaint}")
    assert "\n" not in str(refused.value)


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "mine.yml"
    path.write_bytes(b"name: \xff\xfe\x00")
    with pytest.raises(UsageError, match="not valid YAML"):
        load(path)


@pytest.mark.parametrize("name", ["missing.yml", "."])
def test_a_file_that_cannot_be_read_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        load(tmp_path / name)


def test_an_unknown_name_is_answered_with_the_nearest_and_all() -> None:
    with pytest.raises(UsageError, match=r"'banana-pi-m4' \(did you mean 'banana-pi-m3'\?\): there are banana-pi-m3, "):
        library.find("banana-pi-m4")


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(sorted(VALID)) | st.text(), inner),
    max_leaves=20,
)


@given(plain, st.sampled_from(["machine", "mpi", "ranks", "limits", "published", "name"]))
def test_whatever_a_file_holds_it_is_a_profile_or_a_usage_error(value: Any, key: str) -> None:
    for content in (value, VALID | {key: value}):
        try:
            assert isinstance(parse(content), Profile)
        except UsageError as error:
            assert str(error)


def test_profiles_are_found_where_they_are_installed(tmp_path: Path) -> None:
    """The package alone, in an environment whose share/mpinn/hosts holds one profile."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "env"], check=True)
    package = Path(library.__file__).parents[1]
    shutil.copytree(package, tmp_path / "site/mpinn", ignore=shutil.ignore_patterns("__pycache__", "mnist", "*.so"))
    share = tmp_path / "env/share/mpinn/hosts"
    share.mkdir(parents=True)
    shutil.copy(library.directory() / "generic-node.yml", share)
    places = [str(tmp_path / "site"), str(Path(yaml.__file__).parents[1])]
    code = f"import sys; sys.path[:0] = {places}; from mpinn.hosts.library import names; print(names())"
    run = subprocess.run([tmp_path / "env/bin/python", "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert run.stdout == "['generic-node']\n", run.stderr


def field_rows(kind: type, prefix: str = "") -> list[str]:
    """Return the documentation's table of fields, a row each."""
    rows = []
    for field in dataclasses.fields(kind):
        hint = required(get_type_hints(kind)[field.name])
        many = get_origin(hint) is tuple
        hint = get_args(hint)[0] if many else hint
        name = f"{prefix}{field.name}{'[]' if many else ''}"
        if dataclasses.is_dataclass(hint):
            rows += field_rows(hint, f"{name}.")
            continue
        about, optional = field.metadata, "" if field.default is dataclasses.MISSING else "optional "
        values = {str: "text", int: "whole number", float: "number", bool: "true, false"}[hint]
        values = " ".join(f"`{choice}`" for choice in about["choices"]) or values
        unit = f", {about['unit']}" if about["unit"] else ""
        rows.append(f"| `{name}` | {values} | {optional}| {about['help']}{unit} |")
    return rows


def test_the_documentation_describes_every_field_as_the_code_does() -> None:
    text = (Path(__file__).parents[2] / "docs/hosts.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| `[a-z_.\[\]]+` \| .* \| (?:optional )?\| .* \|$", text, re.MULTILINE) == field_rows(Profile)
