"""What can go wrong, as one line and an exit status.

Whoever asked wrongly (an option, a file, a damaged snapshot: all that is found before the first round)
gets a `UsageError` and status 2; what fails while running is an `MpinnError` and status 1.
"""

import difflib
from collections.abc import Iterable

import yaml


class MpinnError(Exception):
    """A failure while running. Its text is one line that says what happened and what to do."""

    status = 1
    everywhere = False  # whether every rank raises it, so that rank 0 can speak for all


class UsageError(MpinnError):
    """Something was asked that cannot be done; found before any training."""

    status = 2


def nearest(word: str, known: Iterable[str]) -> str:
    """Return ' (did you mean X?)' for the known word nearest to `word`, or an empty string."""
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.65)
    return f" (did you mean {close[0]!r}?)" if close else ""


def yaml_problem(error: Exception) -> str:
    """Return what is wrong with a YAML text, and where, without the excerpt that PyYAML draws over several lines."""
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark:
        return f"line {error.problem_mark.line + 1}, column {error.problem_mark.column + 1}: {error.problem}"
    return " ".join(str(error).split())
