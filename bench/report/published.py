"""Published values: the numbers that the host profiles quote from texts, with their sources; no points of curves."""

from typing import NamedTuple

from mpinn.hosts.library import find, names
from mpinn.hosts.profile import Published


class Value(NamedTuple):
    host: str
    about: Published


def values(metric: str) -> list[Value]:
    """Return the published values of a metric ('epoch_seconds', 'speedup', 'accuracy') of all hosts."""
    profiles = [find(name) for name in names()]
    return [Value(one.title, about) for one in profiles for about in one.published if about.metric == metric]


def said(about: Published) -> str:
    """Return a published value as text: itself, or minimum, median and maximum."""
    if about.value is not None:
        return f"{about.value:g} {about.unit}"
    return f"{about.median:g} {about.unit} ({about.min:g} to {about.max:g})"
