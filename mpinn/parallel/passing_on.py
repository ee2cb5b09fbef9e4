"""Whether a rank writes what others will read where they read it, or passes it on past the caches.

A core that writes to a line that another holds in its cache has to take it from there. Between cores that share a cache
that costs little, and to write in place is fastest. Between those that do not (of two sockets, or of two parts of one,
or of a virtual machine whose cores move) it takes long: 130 of the 250 microseconds of a round of two ranks with a
worker each and worker batches of 10, on a virtual machine with two cores of an AMD EPYC. Then what is written goes to
memory instead, and lines that others hold are just dropped. Which way is faster is found by trying both now and then;
the bits are the same.
"""

from time import perf_counter

PERIOD = 64  # rounds from one trial to the next
TRIAL = 2  # rounds that each way is tried: the first finds the lines where the other way has left them
WORTH = 1.25  # times the writer has to be faster: others then read from memory


class PassingOn:
    """Which way the next round is written."""

    def __init__(self) -> None:
        self.past = False
        self.round = 0  # of the period
        self.begun = 0.0
        self.spent = [0.0, 0.0]  # seconds of the last round in place, and past the caches

    def begin(self) -> None:
        """Begin to write what others will read."""
        self.begun = perf_counter()

    def end(self) -> None:
        """It is written. A round may begin and end several times."""
        if self.round < 2 * TRIAL:
            self.spent[self.past] += perf_counter() - self.begun

    def next_round(self) -> bool:
        """Return whether the next round is written past the caches."""
        self.round = (self.round + 1) % PERIOD
        if self.round < 2 * TRIAL:
            self.past = self.round >= TRIAL
            self.spent[self.past] = 0.0
        elif self.round == 2 * TRIAL:
            self.past = self.spent[False] > WORTH * self.spent[True]
        return self.past
