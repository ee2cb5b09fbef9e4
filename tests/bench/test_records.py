"""Records: nothing recorded is lost, nothing half written is believed."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.harness import oracle, records, result_file
from mpinn.system.errors import MpinnError, UsageError
from tests.bench.record import RECORD


def test_what_is_appended_is_read_back_in_order(tmp_path: Path) -> None:
    for repeat in range(5):
        records.append(tmp_path, RECORD | {"repeat": repeat, "metrics": {"a": float("nan")}, "units": {"a": "s"}})
    found = records.read(tmp_path)
    assert [one["repeat"] for one in found] == list(range(5))
    assert all(one["schema_version"] == records.SCHEMA_VERSION and one["metrics"] == {"a": None} for one in found)


@given(st.integers(min_value=0, max_value=1400))
def test_a_file_cut_anywhere_loses_only_the_record_that_was_cut(
    tmp_path_factory: pytest.TempPathFactory, cut: int
) -> None:
    folder = tmp_path_factory.mktemp("cut")
    for repeat in range(3):
        records.append(folder, RECORD | {"repeat": repeat})
    path = folder / records.FILE
    content = path.read_bytes()
    path.write_bytes(content[: max(0, len(content) - cut)])
    whole = path.read_bytes().count(b"\n")
    assert [one["repeat"] for one in records.read(folder)] == list(range(whole))
    records.append(folder, RECORD | {"repeat": 99})
    assert [one["repeat"] for one in records.read(folder)] == [*range(whole), 99]


@pytest.mark.parametrize(
    "line",
    [
        "{",
        "[]",
        "3",
        '{"schema_version": 1}',
        json.dumps(RECORD),
        json.dumps(RECORD | {"schema_version": 1, "verdict": "GOOD"}),
    ],
)
def test_a_damaged_line_is_refused_by_its_number(tmp_path: Path, line: str) -> None:
    records.append(tmp_path, RECORD)
    with (tmp_path / records.FILE).open("a") as file:
        file.write(line + "\n")
    with pytest.raises(UsageError, match="line 2: not a record"):
        records.read(tmp_path)


@pytest.mark.parametrize(
    "change",
    [{"metrics": []}, {"reasons": {}}, {"repeat": "0"}, {"suite": 3}, {"point": None}, {"verdict": None}],
)
def test_a_record_with_a_field_of_another_kind_is_refused(tmp_path: Path, change: dict[str, object]) -> None:
    records.append(tmp_path, RECORD | change)
    (name,) = change
    with pytest.raises(UsageError) as raised:
        records.read(tmp_path)
    said = str(raised.value)
    assert said.startswith(f"{tmp_path / records.FILE}, line 1: not a record: {name}: expected ")
    assert said.endswith("; restore the file or start with another --out")


def test_a_file_that_cannot_be_read_or_written_says_so(tmp_path: Path) -> None:
    (tmp_path / records.FILE).mkdir()
    with pytest.raises(UsageError, match=r"records\.jsonl: not a regular file"):
        records.read(tmp_path)
    with pytest.raises(MpinnError, match=r"records\.jsonl: cannot be written: Is a directory; free space, then run"):
        records.append(tmp_path, RECORD)


def test_a_newer_schema_is_refused_and_says_so(tmp_path: Path) -> None:
    (tmp_path / records.FILE).write_text(json.dumps(RECORD | {"schema_version": 99}) + "\n")
    with pytest.raises(UsageError, match=r"jsonl, line 1: written by a newer bench; update mpinn$"):
        records.read(tmp_path)


def test_what_is_measured_again_stands_for_what_was_measured_before(tmp_path: Path) -> None:
    for repeat, point, seconds in ((0, "p", 9.0), (1, "p", 2.0), (0, "q", 3.0), (0, "p", 1.0)):
        records.append(
            tmp_path,
            RECORD | {"repeat": repeat, "point": point, "metrics": {"seconds": seconds}, "units": {"seconds": "s"}},
        )
    found = [(one["point"], one["repeat"], one["metrics"]["seconds"]) for one in records.existing(tmp_path)]
    assert sorted(found) == [("p", 0, 1.0), ("p", 1, 2.0), ("q", 0, 3.0)]
    assert len(records.read(tmp_path)) == 4  # the file forgets nothing


def test_a_directory_without_records_says_how_to_make_some(tmp_path: Path) -> None:
    for directory in (tmp_path, tmp_path / "absent"):
        with pytest.raises(UsageError, match=rf"no records.jsonl .*bench run SUITE --out {directory}` makes them$"):
            records.existing(directory)


plain = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 2**40) | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)
line = st.one_of(
    plain,
    st.sampled_from(["schema_version", *RECORD]).flatmap(lambda key: plain.map(lambda value: RECORD | {key: value})),
)


@given(
    st.binary(max_size=200) | st.lists(line, max_size=3).map(lambda found: "\n".join(map(json.dumps, found)).encode())
)
def test_any_bytes_are_records_or_one_line_that_names_the_file(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    folder = tmp_path_factory.mktemp("any")
    (folder / records.FILE).write_bytes(content + b"\n")
    try:
        found = records.read(folder)
    except UsageError as error:
        assert str(folder) in str(error) and "\n" not in str(error)
    else:
        assert all(one["verdict"] in ("VALID", "DEGRADED", "INVALID") for one in found)


results = st.fixed_dictionaries(
    {}, optional={"status": plain | st.just("completed"), "epochs": plain | st.lists(plain), "kernel_error": plain}
)


@given(st.binary(max_size=200) | (plain | results).map(lambda found: json.dumps(found).encode()))
def test_any_bytes_are_a_complete_result_or_none(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.mktemp("any") / "result.json"
    path.write_bytes(content)
    found = oracle.kept(path, 1)
    assert found is None or (found["status"] == "completed" and len(found["epochs"]) >= 1)
    assert result_file.load(path) == {}
