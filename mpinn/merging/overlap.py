"""Where workers go on from while the merge of the round before is still under way (--overlap).

Workers do not wait for a merge: round k + 1 is learned while the terms of round k travel, from the master as it was
before them. What a worker does know of round k is its own step: it keeps that, and the merge corrects it a round later.
This is local SGD with a delayed average. For the plain mean it is CoCoD-SGD (Shen et al., IJCAI 2019,
arXiv:1906.12043), and akin to it are Overlap Local-SGD (Wang, Liang and Joshi, ICASSP 2020, arXiv:2002.09539) and DaSGD
(Zhou et al. 2020, arXiv:2006.00441).

Under block momentum the master moves further than the mean, by mu V, which is all but known in advance: V changes
slowly. A worker goes ahead by half of that. With all of it the master would swing where a worker batch takes away 0.7
of a worker's error or more, with half from 1.0 on (mu = 0.75; tests/merging/test_overlap.py).

At some rounds no merge is left under way, and the master alone is the state of the run: every `SETTLE` rounds of an
epoch, and at its end. A run is saved, resumed and done again from there.
"""

import numpy as np

from mpinn.merging.formats import Merger
from mpinn.merging.master import Master

AHEAD = 0.5  # of the move by momentum
LEAST_AHEAD = 2.0**-24  # below, it is none: with V, whose least is 2^-40, it makes no denormal number
SETTLE = 64  # rounds


def go_on(merger: Merger, start: np.ndarray, master: Master, term: np.ndarray, share: float) -> None:
    """Write to `start`, (parameters,) float32: the master + AHEAD mu V + the worker's own step, `share` times its term.

    master: as it was before the round that is under way; term (parameters,) whole numbers.
    """
    ahead = AHEAD * master.momentum
    merger.go_on(start, master.weights, master.moments, term, share, ahead if ahead > LEAST_AHEAD else 0.0)


def settles(done: int, rounds: int) -> bool:
    """Return whether no merge is left under way after `done` rounds of an epoch of `rounds`."""
    return done % SETTLE == 0 or done == rounds
