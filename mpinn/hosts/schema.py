"""Plain dataclasses as a schema: what a YAML mapping may hold, checked key by key, and the same as JSON Schema.

A field's type says what it holds: text, a number, a choice, a list or a further mapping. Its metadata, given by
`entry`, says the rest. A field whose default is None or an empty list may be left out.
"""

import dataclasses
import math
import re
import types
from collections.abc import Sequence
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from mpinn.errors import UsageError, nearest

T = TypeVar("T")

KINDS = {str: ("text", "string"), int: ("a whole number", "integer"), float: ("a number", "number")}
KINDS |= {bool: ("true or false", "boolean")}


def entry(
    help: str,
    *,
    unit: str = "",
    least: float = -math.inf,
    most: float = math.inf,
    choices: Sequence[Any] = (),
    pattern: str = r".*\S.*",
    default: Any = dataclasses.MISSING,
) -> Any:
    """Describe a field: bounds are inclusive, `pattern` is what the whole of a text must match."""
    about = dict(help=help, unit=unit, least=least, most=most, choices=tuple(choices), pattern=pattern)
    return dataclasses.field(default=default, metadata=about)


def read(kind: type[T], content: Any, where: str = "") -> T:
    """Return `content`, a mapping found at the dotted key `where`, as a `kind`. Raises UsageError naming the key."""
    if not isinstance(content, dict):
        raise UsageError(f"{at(where)}expected a mapping ('key: value' lines), got {shown(content)}")
    fields = {f.name: f for f in dataclasses.fields(kind)}  # type: ignore[arg-type]
    for key in content:
        if key not in fields:
            raise UsageError(f"{at(where)}unknown key {shown(key)}{nearest(str(key), fields)}")
    hints = get_type_hints(kind)
    values = {}
    for name, field in fields.items():
        dotted = f"{where}.{name}" if where else name
        if name in content:
            values[name] = read_value(hints[name], field.metadata, content[name], dotted)
        elif field.default is dataclasses.MISSING:
            raise UsageError(f"{dotted}: missing; expected {wanted(hints[name], field.metadata)}")
    return kind(**values)


def at(where: str) -> str:
    return f"{where}: " if where else ""


def read_value(hint: Any, about: Any, value: Any, where: str) -> Any:
    """Return one value in the type that `hint` names. Raises UsageError."""
    hint = required(hint)
    if get_origin(hint) is tuple:
        if not isinstance(value, list) or not value:
            raise UsageError(f"{where}: expected {wanted(hint, about)}, got {shown(value)}")
        item = get_args(hint)[0]
        return tuple(read_value(item, about, one, f"{where}[{index}]") for index, one in enumerate(value))
    if dataclasses.is_dataclass(hint):
        return read(hint, value, where)  # type: ignore[arg-type]
    if hint is float and type(value) is int:
        value = float(value)
    if type(value) is not hint or not allowed(about, value):
        close = nearest(value, map(str, about["choices"])) if isinstance(value, str) else ""
        raise UsageError(f"{where}: expected {wanted(hint, about)}, got {shown(value)}{close}")
    return value


def allowed(about: Any, value: Any) -> bool:
    """Return whether a value of the right type is one that its field takes."""
    if about["choices"]:
        return value in about["choices"]
    if isinstance(value, str):
        return re.fullmatch(about["pattern"], value) is not None
    return bool(about["least"] <= value <= about["most"])


def required(hint: Any) -> Any:
    """Return the type of a field without its `| None`."""
    return get_args(hint)[0] if isinstance(hint, types.UnionType) else hint


def wanted(hint: Any, about: Any) -> str:
    """Return in words what a field holds."""
    hint = required(hint)
    if get_origin(hint) is tuple:
        return f"a list of at least one: {wanted(get_args(hint)[0], about)}"
    if dataclasses.is_dataclass(hint):
        return f"a mapping of {', '.join(f.name for f in dataclasses.fields(hint))}"
    if about["choices"]:
        return " or ".join(str(choice) for choice in about["choices"])
    unit = f", {about['unit']}" if about["unit"] else ""
    words = f"{KINDS[hint][0]} ({about['help']}{unit})"
    if about["least"] > -math.inf:
        words += f", at least {about['least']:g}"
    if about["most"] < math.inf:
        words += f", at most {about['most']:g}"
    return words


def shown(value: Any) -> str:
    """Return a value for an error message, cut to a readable length."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def json_schema(kind: Any) -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of a dataclass made of `entry` fields."""
    hints = get_type_hints(kind)
    fields = dataclasses.fields(kind)
    return {
        "type": "object",
        "additionalProperties": False,
        "required": [f.name for f in fields if f.default is dataclasses.MISSING],
        "properties": {f.name: described(hints[f.name], f.metadata) for f in fields},
    }


def described(hint: Any, about: Any) -> dict[str, Any]:
    """Return the JSON Schema of one field, with its help as description."""
    unit = f", {about['unit']}" if about["unit"] else ""
    return {"description": about["help"] + unit} | value_schema(required(hint), about)


def value_schema(hint: Any, about: Any) -> dict[str, Any]:
    if get_origin(hint) is tuple:
        return {"type": "array", "minItems": 1, "items": value_schema(get_args(hint)[0], about)}
    if dataclasses.is_dataclass(hint):
        return json_schema(hint)
    schema: dict[str, Any] = {"type": KINDS[hint][1]}
    if about["choices"]:
        return schema | {"enum": list(about["choices"])}
    if hint is str:
        return schema | {"pattern": f"^{about['pattern']}$"}
    if about["least"] > -math.inf:
        schema["minimum"] = about["least"]
    if about["most"] < math.inf:
        schema["maximum"] = about["most"]
    return schema
