"""Dataclasses as a schema: what a YAML mapping or a command line may hold, checked key by key, and as JSON Schema.

The type of a field says what it holds: text, a number, true or false, a list, a further mapping, or one whose keys are
names. `entry` says the rest: help, unit, bounds, choices. A field with a default may be left out; one whose default is
None may also be null. A dataclass with `OPEN = True` takes a mapping with further keys and forgets these.
"""

import dataclasses
import functools
import math
import re
import reprlib
import types
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from mpinn.system.errors import UsageError, nearest

T = TypeVar("T")

WORDS = {str: "text", int: "a whole number", float: "a number", bool: "true or false"}
CHARACTERS = r"[^\x00-\x1f\x7f-\x9f\ud800-\udc7f]"  # of a line; not those that steer a terminal or are half of one
PRINTABLE = rf"{CHARACTERS}*[^\s\x00-\x1f\x7f-\x9f\ud800-\udc7f]{CHARACTERS}*"  # and not blank
KEY = re.compile(rf"{CHARACTERS}+")  # of a table
LONGEST_INTEGER = 64  # bits
JSON_TYPES = {str: "string", int: "integer", float: "number", bool: "boolean"}


def entry(
    help: str,
    *,
    unit: str = "",
    least: float = -math.inf,
    most: float = math.inf,
    above: float = -math.inf,
    below: float = math.inf,
    choices: Sequence[str | int] = (),
    pattern: str = PRINTABLE,
    items: int = 1,
    default: Any = dataclasses.MISSING,
    **further: Any,
) -> Any:
    """Describe a field of a dataclass.

    least, most: inclusive bounds; above, below: exclusive ones. A text must be one of `choices`, or match all of
    `pattern`; a field that takes a number or a text takes these choices beside the number. items: the fewest of a list.
    further: what else a user of the schema wants to know of the field.
    """
    about = dict(help=help, unit=unit, least=least, most=most, above=above, below=below)
    about |= dict(choices=tuple(choices), pattern=pattern, items=items)
    return dataclasses.field(default=default, metadata=about | further)


@functools.cache
def fields(kind: Any) -> dict[str, dataclasses.Field[Any]]:
    """Return the fields of a dataclass by name."""
    return {f.name: f for f in dataclasses.fields(kind)}


def read(kind: type[T], content: Any, where: str = "") -> T:
    """Return `content`, a mapping found at the dotted key `where`, as a `kind`. Raises UsageError naming the key."""
    return kind(**read_fields(kind, content, where))


def read_fields(kind: type, content: Any, where: str = "", complete: bool = True) -> dict[str, Any]:
    """Return the checked values of a mapping by the names of the fields of `kind`.

    complete: whether every field without a default must be there. Raises UsageError that names the key.
    """
    if not isinstance(content, dict):
        raise UsageError(f"{prefix(where)}expected a mapping ('key: value' lines), got {shown(content)}")
    known = fields(kind)
    for key in content:
        if key not in known and not getattr(kind, "OPEN", False):
            raise UsageError(f"{prefix(where)}unknown key {shown(key)}{nearest(str(key), known)}")
    values = {}
    for name, field in known.items():
        dotted = f"{where}.{name}" if where else name
        if name in content:
            values[name] = check(kind, name, content[name], dotted)
        elif complete and field.default is dataclasses.MISSING:
            raise UsageError(f"{dotted}: missing; expected {expected(hints(kind)[name], field.metadata)}")
    return values


def check(kind: type, name: str, value: Any, where: str) -> Any:
    """Return a value for the field `name` of a dataclass, in the field's type. Raises UsageError that names `where`."""
    field = fields(kind)[name]
    if value is None and field.default is None:
        return None
    return checked(hints(kind)[name], field.metadata, value, where)


@functools.cache
def hints(kind: type) -> dict[str, Any]:
    """Return the types of the fields of a dataclass, without their `| None`."""
    return {name: required(hint) for name, hint in get_type_hints(kind).items()}


def required(hint: Any) -> Any:
    """Return the type of a field without its `| None`."""
    left = [one for one in alternatives(hint) if one is not type(None)]
    return left[0] if len(left) == 1 else hint


def alternatives(hint: Any) -> tuple[Any, ...]:
    """Return the types of a union, or the type itself."""
    return get_args(hint) if isinstance(hint, types.UnionType) else (hint,)


def is_list(hint: Any) -> bool:
    """Return whether a type is a list of values, written in Python as tuple[item, ...]."""
    return get_origin(required(hint)) is tuple


def is_table(hint: Any) -> bool:
    """Return whether a type is a mapping whose keys are names, written in Python as dict[str, item]."""
    return get_origin(required(hint)) is dict


def takes_integers(hint: Any) -> bool:
    """Return whether a value of a type, or each item of a list, may be a whole number."""
    return int in alternatives(get_args(hint)[0] if is_list(hint) else hint)


def checked(hint: Any, about: Mapping[str, Any], value: Any, where: str) -> Any:
    """Return one value in the type that `hint` names. Raises UsageError."""
    if is_list(hint):
        if not isinstance(value, list | tuple) or len(value) < about["items"]:
            raise UsageError(f"{where}: expected {expected(hint, about)}, got {shown(value)}")
        item = get_args(hint)[0]
        return tuple(checked(item, about, one, f"{where}[{index}]") for index, one in enumerate(value))
    if is_table(hint):
        item = get_args(hint)[1]
        if not isinstance(value, dict) or not all(isinstance(key, str) and KEY.fullmatch(key) for key in value):
            raise UsageError(f"{where}: expected {expected(hint, about)}, got {shown(value)}")
        return {key: checked(item, about, one, f"{where}.{key}") for key, one in value.items()}
    if dataclasses.is_dataclass(hint):
        return read(hint, value, where)  # type: ignore[arg-type]
    if hint is Any or (value is None and types.NoneType in alternatives(hint)):
        return value
    for kind in alternatives(hint):
        if kind is float and type(value) in (int, str):
            value = as_float(value)
        if type(value) is kind and allowed(about, value):
            return value
    close = nearest(value, map(str, about["choices"])) if isinstance(value, str) else ""
    raise UsageError(f"{where}: expected {expected(hint, about)}, got {shown(value)}{close}")


def as_float(value: int | str) -> Any:
    """Return a number as float, and a text that is one: YAML 1.1 reads 1e-7, without a point, as text."""
    try:
        return float(value)
    except (ValueError, OverflowError):
        return value


def allowed(about: Mapping[str, Any], value: Any) -> bool:
    """Return whether a value of the right type is one that its field takes."""
    if isinstance(value, str) or (about["choices"] and not isinstance(about["choices"][0], str)):
        return value in about["choices"] if about["choices"] else re.fullmatch(about["pattern"], value) is not None
    if isinstance(value, int) and value.bit_length() > LONGEST_INTEGER:
        return False
    within = about["least"] <= value <= about["most"]
    return bool(within and about["above"] < value < about["below"])


def expected(hint: Any, about: Mapping[str, Any]) -> str:
    """Return in words what a field holds."""
    if is_list(hint):
        fewest = {1: "one", 2: "two"}.get(about["items"], about["items"])
        return f"a list of at least {fewest}: {expected(get_args(required(hint))[0], about)}"
    if is_table(hint):
        return f"a mapping of names ({about['help']})"
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        return f"a mapping of {', '.join(fields(hint))}"
    choices = " or ".join(map(str, about["choices"]))
    numbers = [kind for kind in alternatives(hint) if kind in (int, float)]
    if hint is Any:
        return f"a value ({about['help']})"
    if choices and not (numbers and isinstance(about["choices"][0], str)):
        return choices
    unit = f", {about['unit']}" if about["unit"] else ""
    in_short = re.split(r"; | \(", about["help"])[0]
    words = f"{WORDS[alternatives(hint)[0]]} ({in_short}{unit})"
    return words + bounds(about) + (f", or {choices}" if choices else "")


def bounds(about: Mapping[str, Any]) -> str:
    """Return the bounds of a field in words, each behind a comma."""
    words = {"least": "at least", "above": "more than", "most": "at most", "below": "less than"}
    return "".join(f", {word} {about[name]:.16g}" for name, word in words.items() if math.isfinite(about[name]))


def prefix(where: str) -> str:
    return f"{where}: " if where else ""


def shown(value: Any) -> str:
    """Return a value for an error message, cut to a readable length."""
    try:
        text = reprlib.repr(value)
    except ValueError:  # Python writes no more than 4300 digits
        text = "a number of too many digits"
    return text if len(text) <= 60 else text[:57] + "..."


def plain(value: Any) -> Any:
    """Return what was read as JSON has it: dataclasses as mappings, tuples as lists."""
    if dataclasses.is_dataclass(value):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, list | tuple) else value


def json_schema(kind: Any) -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of a dataclass made of `entry` fields."""
    return {
        "type": "object",
        "additionalProperties": False,
        "required": [name for name, f in fields(kind).items() if f.default is dataclasses.MISSING],
        "properties": {name: described(hints(kind)[name], f.metadata) for name, f in fields(kind).items()},
    }


def described(hint: Any, about: Mapping[str, Any]) -> dict[str, Any]:
    """Return the JSON Schema of one field, with its help as description."""
    unit = f", {about['unit']}" if about["unit"] else ""
    return {"description": about["help"] + unit} | value_schema(hint, about)


def value_schema(hint: Any, about: Mapping[str, Any]) -> dict[str, Any]:
    if is_list(hint):
        return {"type": "array", "minItems": about["items"], "items": value_schema(get_args(hint)[0], about)}
    if dataclasses.is_dataclass(hint):
        return json_schema(hint)
    if is_table(hint):
        names = {"pattern": f"^{KEY.pattern}$"}
        return {
            "type": "object",
            "propertyNames": names,
            "additionalProperties": value_schema(get_args(hint)[1], about),
        }
    if hint in (Any, types.NoneType):
        return {} if hint is Any else {"type": "null"}
    if len(alternatives(hint)) > 1:
        others = {**about, "choices": ()}
        return {"anyOf": [value_schema(kind, about if kind is str else others) for kind in alternatives(hint)]}
    if about["choices"]:
        return {"type": JSON_TYPES[hint], "enum": list(about["choices"])}
    if hint is str:
        return {"type": "string", "pattern": f"^{about['pattern']}$"}
    words = {"minimum": "least", "maximum": "most", "exclusiveMinimum": "above", "exclusiveMaximum": "below"}
    limits = {word: about[name] for word, name in words.items() if math.isfinite(about[name])}
    return {"type": JSON_TYPES[hint], **limits}
