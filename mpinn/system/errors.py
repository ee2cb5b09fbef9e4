"""What can go wrong, as one line and an exit status.

Whatever is found before the first round (a wrong option, a bad file, a damaged snapshot) is a `UsageError` with
status 2; a failure while running is an `MpinnError` with status 1.
"""

import difflib
from collections.abc import Iterable


class MpinnError(Exception):
    """A failure while running. Its text is one line that says what happened and what to do."""

    status = 1
    everywhere = False  # whether every rank raises it, so that rank 0 can report it for all

    def on_every_rank(self) -> "MpinnError":
        """Return this error, marked as one that every rank raises."""
        self.everywhere = True
        return self


class UsageError(MpinnError):
    """The user asked for something that cannot be done. Raised before training begins."""

    status = 2


def nearest(word: str, known: Iterable[str]) -> str:
    """Return ' (did you mean X?)' for the known word nearest to `word`, or an empty string."""
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.65)
    return f" (did you mean {close[0]!r}?)" if close else ""
