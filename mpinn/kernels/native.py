# cython: boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
"""How one worker learns one batch, compiled: the same mathematics as `reference`, in float32 and sparse.

Most pixels of an image are dark, and a dark pixel's row of first-layer weights is only shrunk by the elastic net.
k shrinks have a closed form, c w - d sgn(w) and 0 where that flips the sign, with c = (1 - a2)^k and
d = a1 (1 - c) / a2. So a row is touched only when its pixel is lit, and remembers (`since`) at which exemplar of
the batch it was last brought up to date; at the end of the batch all rows are. In float32 the small amount
(1 - c) |w| + d is subtracted: multiplying by c, or adding to w what is 1e-8 of it, would lose it to rounding.

This is Cython in pure Python mode. Uncompiled it is of no use: see `kernels.native_problem`.
"""

import cython
import numpy as np
from cython.cimports.libc.math import copysignf, expf, fabsf, tanhf
from cython.cimports.posix.time import CLOCK_MONOTONIC, clock_gettime, timespec

from mpinn.activations import LEAK
from mpinn.network import Network

COMPILED = cython.compiled

IDENTITY = cython.declare(cython.int, 0)
ELU = cython.declare(cython.int, 1)
RELU = cython.declare(cython.int, 2)
LEAKY_RELU = cython.declare(cython.int, 3)
SIGMOID = cython.declare(cython.int, 4)
TANH = cython.declare(cython.int, 5)
SOFTMAX = cython.declare(cython.int, 6)

CODES = {
    "identity": IDENTITY,
    "elu": ELU,
    "relu": RELU,
    "leaky-relu": LEAKY_RELU,
    "sigmoid": SIGMOID,
    "tanh": TANH,
    "softmax": SOFTMAX,
}
leak = cython.declare(cython.float, LEAK)

# Rows of one layer's weights: which, the phi that each is multiplied by, and what it is shrunk by when it is read.
Rows = cython.struct(count=cython.int, index=cython.p_int, phi=cython.p_float, lost=cython.p_float, d=cython.p_float)


def declines(network: Network) -> str:
    """Return why this kernel cannot train the network, or an empty string."""
    unknown = [name for name in network.activations if name not in CODES]
    return f"it does not know the activation {unknown[0]}" if unknown else ""


@cython.cfunc
@cython.inline
@cython.exceptval(check=False)
def seconds() -> cython.double:
    now: timespec
    clock_gettime(CLOCK_MONOTONIC, cython.address(now))
    return now.tv_sec + 1e-9 * now.tv_nsec


@cython.cfunc
@cython.inline
@cython.exceptval(check=False)
def shrunk(w: cython.float, lost: cython.float, d: cython.float) -> cython.float:
    """Return (1 - lost) w - d sgn(w), 0 where the sign would flip; a NaN stays one."""
    size: cython.float = fabsf(w)
    size = size - (lost * size + d)
    return copysignf(0 if size < 0 else size, w)


@cython.cfunc
@cython.exceptval(check=False)
def add_rows(net: cython.p_float, w: cython.p_float, width: cython.int, rows: Rows) -> cython.void:
    """Net = the sum over rows of phi * shrunk(w), w (any, width)."""
    i: cython.int
    j: cython.int
    for j in range(width):
        net[j] = 0
    for i in range(rows.count):
        add_row(net, width, w + rows.index[i] * width, rows.phi[i], rows.lost[i], rows.d[i])


@cython.cfunc
@cython.inline
@cython.exceptval(check=False)
def add_row(
    net: cython.p_float,
    width: cython.int,
    row: cython.p_float,
    phi: cython.float,
    lost: cython.float,
    d: cython.float,
) -> cython.void:
    j: cython.int
    for j in range(width):
        net[j] += phi * shrunk(row[j], lost, d)


@cython.cfunc
@cython.exceptval(check=False)
def update_rows(
    w: cython.p_float, width: cython.int, rows: Rows, eta: cython.float, delta: cython.p_float
) -> cython.void:
    """W = shrunk(w) + eta * phi * delta for the rows, w (any, width)."""
    i: cython.int
    for i in range(rows.count):
        update_row(w + rows.index[i] * width, width, rows.lost[i], rows.d[i], eta * rows.phi[i], delta)


@cython.cfunc
@cython.inline
@cython.exceptval(check=False)
def update_row(
    row: cython.p_float,
    width: cython.int,
    lost: cython.float,
    d: cython.float,
    step: cython.float,
    delta: cython.p_float,
) -> cython.void:
    j: cython.int
    for j in range(width):
        row[j] = shrunk(row[j], lost, d) + step * delta[j]


@cython.cfunc
@cython.inline
@cython.exceptval(check=False)
def dot(a: cython.p_float, b: cython.p_float, n: cython.int) -> cython.float:
    """Return the scalar product, as four sums that do not wait for one another."""
    s0: cython.float = 0
    s1: cython.float = 0
    s2: cython.float = 0
    s3: cython.float = 0
    j: cython.int = 0
    while j + 4 <= n:
        s0 += a[j] * b[j]
        s1 += a[j + 1] * b[j + 1]
        s2 += a[j + 2] * b[j + 2]
        s3 += a[j + 3] * b[j + 3]
        j += 4
    while j < n:
        s0 += a[j] * b[j]
        j += 1
    return (s0 + s1) + (s2 + s3)


@cython.cfunc
@cython.exceptval(check=False)
def activate(code: cython.int, x: cython.p_float, n: cython.int, alpha: cython.float) -> cython.void:
    """X = phi(x), in place."""
    j: cython.int
    top: cython.float
    total: cython.float
    if code == ELU:
        for j in range(n):
            if not x[j] > 0:
                x[j] = alpha * (expf(x[j]) - 1)
    elif code == RELU:
        for j in range(n):
            x[j] = 0 if x[j] < 0 else x[j]
    elif code == LEAKY_RELU:
        for j in range(n):
            x[j] = leak * x[j] if x[j] < 0 else x[j]
    elif code == SIGMOID:
        for j in range(n):
            x[j] = 1 / (1 + expf(-x[j]))
    elif code == TANH:
        for j in range(n):
            x[j] = tanhf(x[j])
    elif code == SOFTMAX:
        top = x[0]
        for j in range(1, n):
            top = x[j] if x[j] > top else top
        total = 0
        for j in range(n):
            x[j] = expf(x[j] - top)
            total += x[j]
        for j in range(n):
            x[j] /= total


@cython.cfunc
@cython.inline
@cython.exceptval(check=False)
def derivative(code: cython.int, phi: cython.float, alpha: cython.float) -> cython.float:
    """Return d phi / d x; every activation here tells it from phi alone, since phi > 0 where x > 0 and only there."""
    if code == ELU:
        return 1 if phi > 0 else phi + alpha
    if code == RELU:
        return 1 if phi > 0 else 0
    if code == LEAKY_RELU:
        return 1 if phi > 0 else leak
    if code == SIGMOID:
        return phi * (1 - phi)
    if code == TANH:
        return 1 - phi * phi
    return 1


@cython.cclass
class Native:
    """Per-exemplar stochastic gradient descent with elastic net regularisation, as `reference.Reference`."""

    layers: cython.int  # of units, input and output included
    bias: cython.int
    quadratic: cython.int
    eta: cython.float
    alpha: cython.float
    a1: cython.double
    a2: cython.double
    units: cython.int[::1]  # (layers,)
    codes: cython.int[::1]  # (layers,) activations
    scale: cython.float[::1]  # (layers,) one over the divisor
    first_unit: cython.int[::1]  # (layers,) where a layer's values begin in phi and delta
    first_weight: cython.longlong[::1]  # (layers,) where the weights INTO a layer begin
    phi: cython.float[::1]  # every layer's values, each followed by its bias unit's 1
    delta: cython.float[::1]
    table: cython.float[::1]  # (256,) the input layer's phi of each grey level
    lit: cython.int[::1]  # first-layer rows that this exemplar touches
    lit_phi: cython.float[::1]  # the phi of each,
    lit_lost: cython.float[::1]  # and its share of
    lit_d: cython.float[::1]  # the shrinks that it is owed
    since: cython.int[::1]  # first-layer row -> exemplars of the batch whose shrinks it has had
    every: cython.int[::1]  # all rows of any later layer,
    lost_by: cython.float[:, ::1]  # shrunk k = 0 or 1 times: (2, rows),
    d_by: cython.float[:, ::1]
    lost: cython.float[::1]  # k -> 1 - c of k shrinks
    d: cython.float[::1]  # k -> d of k shrinks

    def __init__(self, network: Network, learning_rate: float, l1: float, l2: float):
        sizes = np.array(network.sizes, np.intc)
        slots = sizes + 1
        self.layers = len(sizes)
        self.bias = network.bias
        self.quadratic = network.loss == "quadratic"
        self.eta = learning_rate
        self.alpha = network.alpha
        self.a1 = learning_rate * l1
        self.a2 = learning_rate * l2
        self.units = sizes
        self.codes = np.array([CODES[name] for name in network.activations], np.intc)
        self.scale = (1 / np.array(network.divisors)).astype(np.float32)
        self.first_unit = (np.cumsum(slots) - slots).astype(np.intc)
        ends = np.cumsum([rows * columns for rows, columns in network.shapes])
        self.first_weight = np.array([0, 0, *ends], np.longlong)
        self.phi = np.ones(slots.sum(), np.float32)
        self.delta = np.zeros(slots.sum(), np.float32)
        self.table = network.input_table().astype(np.float32)
        self.lit = np.zeros(slots[0], np.intc)
        self.lit_phi = np.zeros(slots[0], np.float32)
        self.lit_lost = np.zeros(slots[0], np.float32)
        self.lit_d = np.zeros(slots[0], np.float32)
        self.since = np.zeros(slots[0], np.intc)
        self.prepare_shrinks(1)
        self.every = np.arange(slots.max(), dtype=np.intc)
        self.lost_by = np.repeat(np.asarray(self.lost)[:, None], slots.max(), axis=1)
        self.d_by = np.repeat(np.asarray(self.d)[:, None], slots.max(), axis=1)

    def prepare_shrinks(self, most):
        """Tabulate the closed form of 0 to `most` shrinks."""
        k = np.arange(most + 1)
        lost = -np.expm1(k * np.log1p(-self.a2))
        self.lost = lost.astype(np.float32)
        self.d = (self.a1 * (lost / self.a2 if self.a2 else k)).astype(np.float32)

    @cython.cfunc
    @cython.exceptval(check=False)
    def lit_rows(self, image: cython.pointer(cython.const[cython.uchar])) -> Rows:
        """Return the rows of the first layer that this image touches, the bias unit's last."""
        rows: Rows
        n: cython.int = 0
        i: cython.int
        x: cython.float
        for i in range(self.units[0]):
            x = self.table[image[i]]
            self.lit[n] = i
            self.lit_phi[n] = x
            n += x != 0
        if self.bias:
            self.lit[n] = self.units[0]
            self.lit_phi[n] = 1
            n += 1
        rows.count = n
        rows.index = cython.address(self.lit[0])
        rows.phi = cython.address(self.lit_phi[0])
        rows.lost = cython.address(self.lit_lost[0])
        rows.d = cython.address(self.lit_d[0])
        return rows

    @cython.cfunc
    @cython.exceptval(check=False)
    def owe(self, rows: Rows, t: cython.int) -> cython.void:
        """Set what each lit row is shrunk by, to have had the shrinks of the batch's first t exemplars."""
        i: cython.int
        k: cython.int
        for i in range(rows.count):
            k = t - self.since[rows.index[i]]
            rows.lost[i] = self.lost[k]
            rows.d[i] = self.d[k]

    @cython.cfunc
    @cython.exceptval(check=False)
    def all_rows(self, layer: cython.int, shrinks: cython.int) -> Rows:
        """Return all rows of the weights out of a layer, shrunk 0 or 1 times."""
        rows: Rows
        rows.count = self.units[layer] + self.bias
        rows.index = cython.address(self.every[0])
        rows.phi = cython.address(self.phi[self.first_unit[layer]])
        rows.lost = cython.address(self.lost_by[shrinks, 0])
        rows.d = cython.address(self.d_by[shrinks, 0])
        return rows

    @cython.cfunc
    @cython.exceptval(check=False)
    def think(self, w: cython.p_float, lit: Rows, t: cython.int) -> cython.void:
        """Forward: every layer's phi, at exemplar t of the batch."""
        layer: cython.int
        i: cython.int
        net: cython.p_float
        self.owe(lit, t)
        for layer in range(1, self.layers):
            net = cython.address(self.phi[self.first_unit[layer]])
            rows: Rows = lit if layer == 1 else self.all_rows(layer - 1, 0)
            add_rows(net, w + self.first_weight[layer], self.units[layer], rows)
            for i in range(self.units[layer]):
                net[i] *= self.scale[layer]
            activate(self.codes[layer], net, self.units[layer], self.alpha)

    @cython.cfunc
    @cython.exceptval(check=False)
    def train(self, w: cython.p_float, lit: Rows, t: cython.int, label: cython.int) -> cython.void:
        """Backward and update. A layer's weights give the delta of the layer below before they change."""
        layer: cython.int = self.layers - 1
        i: cython.int
        n: cython.int = self.units[layer]
        error: cython.float
        phi: cython.p_float = cython.address(self.phi[self.first_unit[layer]])
        delta: cython.p_float = cython.address(self.delta[self.first_unit[layer]])
        below: cython.p_float
        into: cython.p_float
        for i in range(n):
            error = (i == label) - phi[i]
            delta[i] = error * phi[i] * (1 - phi[i]) if self.quadratic else error
        while layer > 1:
            n = self.units[layer]
            into = w + self.first_weight[layer]
            phi = cython.address(self.phi[self.first_unit[layer - 1]])
            below = cython.address(self.delta[self.first_unit[layer - 1]])
            for i in range(self.units[layer - 1]):
                below[i] = dot(into + i * n, delta, n) * derivative(self.codes[layer - 1], phi[i], self.alpha)
            update_rows(into, n, self.all_rows(layer - 1, 1), self.eta, delta)
            delta = below
            layer -= 1
        self.owe(lit, t + 1)
        update_rows(w, self.units[1], lit, self.eta, delta)
        for i in range(lit.count):
            self.since[lit.index[i]] = t + 1

    @cython.cfunc
    @cython.exceptval(check=False)
    def bring_up_to_date(self, w: cython.p_float, t: cython.int) -> cython.void:
        """Give every first-layer row the shrinks that it has not had."""
        i: cython.int
        j: cython.int
        n: cython.int = self.units[1]
        row: cython.p_float
        lost: cython.float
        d: cython.float
        for i in range(self.units[0] + self.bias):
            if self.since[i] < t:
                lost = self.lost[t - self.since[i]]
                d = self.d[t - self.since[i]]
                row = w + i * n
                for j in range(n):
                    row[j] = shrunk(row[j], lost, d)
            self.since[i] = 0

    def learn(
        self,
        weights: cython.float[::1],
        images: cython.const[cython.uchar][:, ::1],
        labels: cython.const[cython.int][::1],
        exemplars: cython.const[cython.int][::1],
    ):
        """As `Reference.learn`."""
        w: cython.p_float = cython.address(weights[0])
        count: cython.int = exemplars.shape[0]
        t: cython.int
        lit: Rows
        start: cython.double
        thought: cython.double
        think: cython.double = 0
        train: cython.double = 0
        if count >= self.lost.shape[0]:
            self.prepare_shrinks(count)
        start = seconds()
        for t in range(count):
            lit = self.lit_rows(cython.address(images[exemplars[t], 0]))
            self.think(w, lit, t)
            thought = seconds()
            think += thought - start
            self.train(w, lit, t, labels[exemplars[t]])
            start = seconds()
            train += start - thought
        self.bring_up_to_date(w, count)
        train += seconds() - start
        return think, train

    def classify(self, weights: cython.float[::1], images: cython.const[cython.uchar][:, ::1]):
        """As `Reference.classify`."""
        w: cython.p_float = cython.address(weights[0])
        classes = np.empty(images.shape[0], np.intc)
        chosen: cython.int[::1] = classes
        e: cython.Py_ssize_t
        i: cython.int
        best: cython.int
        phi: cython.p_float = cython.address(self.phi[self.first_unit[self.layers - 1]])
        for e in range(images.shape[0]):
            self.think(w, self.lit_rows(cython.address(images[e, 0])), 0)
            best = 0
            for i in range(1, self.units[self.layers - 1]):
                if phi[i] > phi[best]:
                    best = i
            chosen[e] = best
        return classes


def add_rounded(
    total: cython.double[::1],
    weights: cython.const[cython.float][::1],
    count: cython.int,
    constant: cython.double,
    limit: cython.float,
):
    """As `merge.add_rounded`, in one pass and bit for bit the same: count * w is exact in float64, fused or not."""
    i: cython.Py_ssize_t
    beyond: cython.int = 0
    for i in range(weights.shape[0]):
        beyond |= not fabsf(weights[i]) < limit
        total[i] += (cython.cast(cython.double, weights[i]) * count + constant) - constant
    return not beyond
