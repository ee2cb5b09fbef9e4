# cython: boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
"""How the workers' weights become the master's, compiled: the formulas of `mpinn.merging` in one pass over memory.

Columns are processed in blocks whose float64 sums stay in the nearest cache.

This is Cython in pure Python mode. Uncompiled it would import and crawl: see `kernels.kernel.native_problem`.
"""

import cython
from cython.cimports.libc.math import fabsf, trunc
from cython.cimports.mpinn.kernels.machine import BLOCK

from mpinn.merging.block_momentum import GRID

COMPILED = cython.compiled

grid = cython.declare(cython.double, GRID)
step = cython.declare(cython.double, 1 / GRID)

RULES = ("mean", "block-momentum")  # that it knows


def declines(rule: str) -> str:
    """Return why the master cannot be moved by a rule here, or an empty string."""
    return "" if rule in RULES else f"it does not know the merge {rule}"


@cython.cfunc
@cython.exceptval(check=False)
def add_term(
    total: cython.p_double,
    weights: cython.pointer(cython.const[cython.float]),
    n: cython.Py_ssize_t,
    count: cython.double,
    constant: cython.double,
    limit: cython.float,
) -> cython.int:
    """Add one worker's rounded term to n sums; return whether a weight is beyond the limit, or no number.

    count * w is exact in float64, whether or not it is fused with the addition.
    """
    i: cython.Py_ssize_t
    beyond: cython.int = 0
    for i in range(n):
        beyond |= not fabsf(weights[i]) < limit
        total[i] += (weights[i] * count + constant) - constant
    return beyond


@cython.cfunc
@cython.exceptval(check=False)
def move(
    master: cython.p_float,
    velocity: cython.p_float,
    total: cython.p_double,
    n: cython.Py_ssize_t,
    exemplars: cython.double,
    momentum: cython.double,
) -> cython.void:
    """Move n of the master's weights to the mean, or by block momentum where there is a velocity."""
    i: cython.Py_ssize_t
    share: cython.double = 1 / exemplars
    steps: cython.double = grid
    unit: cython.double = step
    mean: cython.double
    moved: cython.double
    if velocity is cython.NULL:
        for i in range(n):
            master[i] = total[i] * share
        return
    for i in range(n):
        mean = total[i] * share
        moved = momentum * velocity[i] + mean - master[i]
        velocity[i] = trunc(moved * steps) * unit
        master[i] = mean + momentum * velocity[i]


@cython.cfunc
@cython.exceptval(check=False)
def add_terms(
    total: cython.p_double,
    vectors: cython.const[cython.float][:, :],
    counts: cython.const[cython.longlong][::1],
    start: cython.Py_ssize_t,
    n: cython.Py_ssize_t,
    constant: cython.double,
    limit: cython.float,
) -> cython.int:
    """Add every worker's rounded terms of n columns from `start` on; return whether a weight is beyond the limit."""
    worker: cython.Py_ssize_t
    beyond: cython.int = 0
    for worker in range(vectors.shape[0]):
        if counts[worker] > 0:
            beyond |= add_term(total, cython.address(vectors[worker, start]), n, counts[worker], constant, limit)
    return beyond


def add_rounded(
    total: cython.double[::1],
    vectors: cython.const[cython.float][:, :],
    counts: cython.const[cython.longlong][::1],
    constant: cython.double,
    limit: cython.float,
):
    """As `merging.mean.add_rounded`, bit for bit."""
    start: cython.Py_ssize_t
    n: cython.Py_ssize_t
    beyond: cython.int = 0
    for start in range(0, total.shape[0], BLOCK):
        n = min(BLOCK, total.shape[0] - start)
        beyond |= add_terms(cython.address(total[start]), vectors, counts, start, n, constant, limit)
    return not beyond


def move_master(
    rule: str,
    weights: cython.float[::1],
    moments: cython.float[:, :],
    total: cython.double[::1],
    exemplars: cython.longlong,
    momentum: cython.double,
):
    """As `merging.rules.move_master`, bit for bit."""
    velocity: cython.p_float = cython.NULL
    if rule == "block-momentum":
        velocity = cython.address(moments[0, 0])
    move(cython.address(weights[0]), velocity, cython.address(total[0]), weights.shape[0], exemplars, momentum)


def merge_workers(
    rule: str,
    weights: cython.float[::1],
    moments: cython.float[:, :],
    vectors: cython.const[cython.float][:, :],
    counts: cython.const[cython.longlong][::1],
    momentum: cython.double,
    constant: cython.double,
    limit: cython.float,
):
    """As `merging.rules.merge_workers`, bit for bit."""
    total: cython.double[BLOCK]
    start: cython.Py_ssize_t
    i: cython.Py_ssize_t
    n: cython.Py_ssize_t
    worker: cython.Py_ssize_t
    exemplars: cython.longlong = 0
    beyond: cython.int = 0
    moving: cython.bint = rule == "block-momentum"
    velocity: cython.p_float = cython.NULL
    for worker in range(counts.shape[0]):
        exemplars += counts[worker]
    for start in range(0, weights.shape[0], BLOCK):
        n = min(BLOCK, weights.shape[0] - start)
        for i in range(n):
            total[i] = 0
        beyond |= add_terms(cython.address(total[0]), vectors, counts, start, n, constant, limit)
        if moving:
            velocity = cython.address(moments[0, start])
        move(cython.address(weights[start]), velocity, cython.address(total[0]), n, exemplars, momentum)
    return not beyond
