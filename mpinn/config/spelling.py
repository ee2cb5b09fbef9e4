"""How options are typed."""

from typing import Any

from mpinn.config.options import FIELDS, TYPES


def option(name: str) -> str:
    return "--" + name.replace("_", "-")


def flag(name: str) -> str:
    """Return the option that turns a true-or-false setting away from its default, or where it has none, on."""
    return option(f"no_{name}" if FIELDS[name].default else name)


def words(options: dict[str, Any]) -> list[str]:
    """Return options, by name, as the command line of training takes them."""
    found = []
    for name, value in options.items():
        if isinstance(value, bool):
            found += [flag(name) if value or FIELDS[name].default else option(f"no_{name}")] * (
                value != FIELDS[name].default
            )
        else:
            found += [option(name), *map(str, value if isinstance(value, list | tuple) else [value])]
    return found


def spelled(name: str, value: Any) -> str:
    """Return how a value of an option is typed, after 'with' or 'without': 'with --layers 784 10'."""
    if TYPES[name] is bool and FIELDS[name].default is not None:
        return f"{'without' if value == FIELDS[name].default else 'with'} {flag(name)}"
    return f"without {option(name)}" if value is None else f"with {' '.join(words({name: value}))}"
