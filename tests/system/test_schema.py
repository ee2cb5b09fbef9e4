"""The one schema: what a mapping may hold, in words when it does not, and as JSON Schema that agrees."""

from dataclasses import dataclass
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpinn.system import schema
from mpinn.system.errors import UsageError
from mpinn.system.schema import entry


@dataclass(frozen=True)
class Inner:
    size: int = entry("size", unit="MiB", least=1, most=9)


@dataclass(frozen=True)
class Outer:
    name: str = entry("name of it", pattern="[a-z]+")
    share: float = entry("share", above=0, below=1, default=0.5)
    batch: int | str = entry("batch", least=1, choices=("auto",), default=10)
    kind: str = entry("kind", choices=("one", "two"), default="one")
    bits: int = entry("bits", choices=(32, 64), default=64)
    on: bool = entry("on", default=True)
    list: tuple[int, ...] | None = entry("numbers; further words", least=0, items=2, default=None)
    inner: tuple[Inner, ...] = entry("parts", default=())


def test_what_fits_is_read_in_the_fields_types() -> None:
    read = schema.read(
        Outer, {"name": "a", "share": "1e-7", "batch": "auto", "list": [1, 2], "inner": [{"size": 9}], "bits": 32}
    )
    assert read == Outer("a", 1e-7, "auto", bits=32, list=(1, 2), inner=(Inner(9),))
    assert schema.read(Outer, {"name": "a", "batch": 3, "list": None}) == Outer("a", batch=3)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"name": "A"}, "name: expected text (name of it), got 'A'"),
        ({"name": 3}, "name: expected text (name of it), got 3"),
        ({"nane": "a"}, "unknown key 'nane' (did you mean 'name'?)"),
        ({"share": 0}, "share: expected a number (share), more than 0, less than 1, got 0"),
        ({"share": 1.0}, "less than 1, got 1.0"),
        ({"share": float("nan")}, "got nan"),
        ({"share": True}, "share: expected a number"),
        ({"batch": 0}, "batch: expected a whole number (batch), at least 1, or auto, got 0"),
        ({"batch": "atuo"}, "or auto, got 'atuo' (did you mean 'auto'?)"),
        ({"batch": 1.5}, "got 1.5"),
        ({"kind": "twp"}, "kind: expected one or two, got 'twp' (did you mean 'two'?)"),
        ({"bits": 16}, "bits: expected 32 or 64, got 16"),
        ({"on": 1}, "on: expected true or false (on), got 1"),
        ({"list": [1]}, "list: expected a list of at least two: a whole number (numbers), at least 0, got [1]"),
        ({"list": [1, -1]}, "list[1]: expected a whole number (numbers), at least 0, got -1"),
        (
            {"inner": [{"size": 10}]},
            "inner[0].size: expected a whole number (size, MiB), at least 1, at most 9, got",
        ),
        ({"inner": [{}]}, "inner[0].size: missing; expected a whole number"),
        ({"inner": [3]}, "inner[0]: expected a mapping"),
        ({"on": None}, "on: expected true or false"),
    ],
)
def test_what_does_not_fit_is_named_with_what_was_expected(change: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as raised:
        schema.read(Outer, {"name": "a"} | change, "")
    assert message in str(raised.value)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 70) | st.floats(-1, 2) | st.sampled_from(["a", "one", "auto", "B"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["size", "x"]), inner, max_size=2),
)


@given(st.dictionaries(st.sampled_from([*schema.fields(Outer), "x"]), VALUES))
def test_the_json_schema_takes_what_the_program_takes(content: dict[str, Any]) -> None:
    """But for null, which stands for a default, and whole floats, which JSON does not tell from integers."""
    validator = jsonschema.Draft202012Validator(schema.json_schema(Outer))
    try:
        schema.read(Outer, content)
    except UsageError:
        refused = True
    else:
        refused = False
    if content.get("list", 0) is None or any(isinstance(one, float) for one in flat(content)):
        return
    assert validator.is_valid(content) is not refused


def flat(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [item for one in value.values() for item in flat(one)]
    return [item for one in value for item in flat(one)] if isinstance(value, list) else [value]
