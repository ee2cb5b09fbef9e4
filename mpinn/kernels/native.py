# cython: boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
"""How one worker learns one batch, compiled: the same mathematics as `reference`, in float32 and sparse.

**Lazy elastic net.** Most pixels of an image are dark, and the first-layer weights of a dark pixel are only shrunk. So
a row of weights is touched when its pixel is lit; the shrinks that it has missed are then done at once, or at the end
of the batch. (Delayed elastic net updates: Lipton and Elkan 2015, arXiv:1505.06449.)

The weights are held as w = s_t u, s_t = (1 - a2)^t after t exemplars of the batch, as in Bottou's SvmSGD. One shrink,
(1 - a2) w - a1 sgn(w) and 0 where that flips the sign, leaves u - (a1 / s_t+1) sgn(u), so many in a row subtract the
sum of their thresholds. One running sum serves all rows, like the cumulative penalty of Tsuruoka et al. 2009 (ACL):
a row keeps its value at the row's last shrink (`base`), and owes the difference. (There a weight keeps what it really
paid.)

float32 cannot represent 1 - 8e-8, so nothing is multiplied by that: s_t scales the net input and the step, where its
rounding does not matter, and at the end u - (1 - s) u is stored.

**Layout.** The kernel works on a copy of its own. Rows are padded with zeros to the width of a vector register. The
first layer has a row for each pixel, (inputs, units); the later ones are transposed, (units, inputs), so that their
rows are long. Rows are processed in tiles of columns: the sums of a tile stay in registers while the rows pass.

This is Cython in pure Python mode. Uncompiled it would import and crawl: see `kernels.kernel.native_problem`.
"""

import cython
import numpy as np
from cython.cimports.libc.math import tanhf
from cython.cimports.libc.stdint import uint64_t
from cython.cimports.libc.string import memcpy
from cython.cimports.mpinn.kernels.machine import NARROW, WIDE, WIDEST, prefetch
from cython.cimports.posix.time import CLOCK_MONOTONIC, clock_gettime, timespec

from mpinn.model.activations import LEAK
from mpinn.model.network import Network

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
LOSSES = ("quadratic", "cross-entropy")
leak = cython.declare(cython.float, LEAK)
Power = cython.union(value=cython.float, bits=cython.int)

# Rows of weights: which, the phi (or delta) that each is multiplied by, and the threshold that it owes.
Rows = cython.struct(count=cython.int, index=cython.p_int, factor=cython.p_float, owed=cython.p_float)

SAMPLED = cython.declare(cython.int, 8)  # the clock is read at every 8th exemplar: it takes as long as some rows
ALIGNMENT = 64  # bytes: a cache line

# Which of 8 pixels are lit, as a mask -> their numbers, and how many.
LIT_OF_EIGHT = np.array(
    [[i for i in range(8) if mask >> i & 1] + [0] * (8 - mask.bit_count()) for mask in range(256)], np.uint8
)
COUNT_OF_EIGHT = np.array([mask.bit_count() for mask in range(256)], np.intc)


def declines(network: Network) -> str:
    """Return why this kernel cannot train the network, or an empty string."""
    for name in network.activations:
        if name not in CODES:
            return f"it does not know the activation {name}"
    return "" if network.loss in LOSSES else f"it does not know the loss {network.loss}"


def padded(count):
    """Return a number of floats, or an array of such numbers, rounded up to whole vectors."""
    return -(-count // NARROW) * NARROW


def aligned(count: int) -> np.ndarray:
    """Return float32 zeros that begin at a cache line."""
    spare = np.zeros(count + ALIGNMENT // 4, np.float32)
    skip = -spare.ctypes.data % ALIGNMENT // 4
    return spare[skip : skip + count]


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
def fetch_ahead(image: cython.pointer(cython.const[cython.uchar]), pixels: cython.int) -> cython.void:
    """Ask for the image of the next exemplar: in the epoch's random order no processor foresees it."""
    i: cython.int
    for i in range(0, pixels, 64):
        prefetch(image + i)


@cython.cfunc
@cython.inline
@cython.exceptval(check=False)
def shrinkage(u: cython.float, d: cython.float) -> cython.float:
    """Return what a shrink by d takes off u: d sgn(u), or u where that would flip its sign; a NaN stays one."""
    cut: cython.float = -d if u < -d else u
    return d if cut > d else cut


@cython.cfunc
@cython.inline
@cython.exceptval(check=False)
def add_tile(
    total: cython.p_float, w: cython.p_float, stride: cython.int, width: cython.int, rows: Rows, shrinking: cython.bint
) -> cython.void:
    i: cython.int
    j: cython.int
    row: cython.p_float
    factor: cython.float
    owed: cython.float
    sums: cython.float[WIDEST]
    for j in range(width):
        sums[j] = 0
    for i in range(rows.count):
        row = w + cython.cast(cython.Py_ssize_t, rows.index[i]) * stride
        factor = rows.factor[i]
        owed = rows.owed[i]
        for j in range(width):
            sums[j] += factor * (row[j] - shrinkage(row[j], owed) if shrinking else row[j])
    for j in range(width):
        total[j] += sums[j]


@cython.cfunc
@cython.exceptval(check=False)
def add_rows(total: cython.p_float, w: cython.p_float, stride: cython.int, rows: Rows) -> cython.void:
    """Total += the sum over rows of factor * w; total (stride,), w (any, stride)."""
    j: cython.int = 0
    while j + WIDEST <= stride:
        add_tile(total + j, w + j, stride, WIDEST, rows, False)
        j += WIDEST
    while j + WIDE <= stride:
        add_tile(total + j, w + j, stride, WIDE, rows, False)
        j += WIDE
    while j < stride:
        add_tile(total + j, w + j, stride, NARROW, rows, False)
        j += NARROW


@cython.cfunc
@cython.exceptval(check=False)
def add_shrunk_rows(total: cython.p_float, w: cython.p_float, stride: cython.int, rows: Rows) -> cython.void:
    """Total += the sum over rows of factor * (w, shrunk by owed)."""
    j: cython.int = 0
    while j + WIDEST <= stride:
        add_tile(total + j, w + j, stride, WIDEST, rows, True)
        j += WIDEST
    while j + WIDE <= stride:
        add_tile(total + j, w + j, stride, WIDE, rows, True)
        j += WIDE
    while j < stride:
        add_tile(total + j, w + j, stride, NARROW, rows, True)
        j += NARROW


@cython.cfunc
@cython.inline
@cython.exceptval(check=False)
def update_tile(
    w: cython.p_float,
    stride: cython.int,
    width: cython.int,
    rows: Rows,
    own: cython.float,
    step: cython.float,
    along: cython.p_float,
    shrinking: cython.bint,
) -> cython.void:
    i: cython.int
    j: cython.int
    row: cython.p_float
    factor: cython.float
    owed: cython.float
    steps: cython.float[WIDEST]
    for j in range(width):
        steps[j] = step * along[j]
    for i in range(rows.count):
        row = w + cython.cast(cython.Py_ssize_t, rows.index[i]) * stride
        factor = rows.factor[i]
        owed = rows.owed[i] + own
        for j in range(width):
            row[j] = (row[j] - shrinkage(row[j], owed) if shrinking else row[j]) + factor * steps[j]


@cython.cfunc
@cython.exceptval(check=False)
def update_rows(
    w: cython.p_float, stride: cython.int, rows: Rows, step: cython.float, along: cython.p_float
) -> cython.void:
    """W += step * factor * along for the rows; along (stride,), w (any, stride)."""
    j: cython.int = 0
    while j + WIDEST <= stride:
        update_tile(w + j, stride, WIDEST, rows, 0, step, along + j, False)
        j += WIDEST
    while j + WIDE <= stride:
        update_tile(w + j, stride, WIDE, rows, 0, step, along + j, False)
        j += WIDE
    while j < stride:
        update_tile(w + j, stride, NARROW, rows, 0, step, along + j, False)
        j += NARROW


@cython.cfunc
@cython.exceptval(check=False)
def update_shrunk_rows(
    w: cython.p_float, stride: cython.int, rows: Rows, own: cython.float, step: cython.float, along: cython.p_float
) -> cython.void:
    """W = (w, shrunk by owed + own) + step * factor * along for the rows."""
    j: cython.int = 0
    while j + WIDEST <= stride:
        update_tile(w + j, stride, WIDEST, rows, own, step, along + j, True)
        j += WIDEST
    while j + WIDE <= stride:
        update_tile(w + j, stride, WIDE, rows, own, step, along + j, True)
        j += WIDE
    while j < stride:
        update_tile(w + j, stride, NARROW, rows, own, step, along + j, True)
        j += NARROW


@cython.cfunc
@cython.exceptval(check=False)
def multiply_rows(
    net: cython.p_float, w: cython.p_float, stride: cython.int, count: cython.int, phi: cython.p_float
) -> cython.void:
    """Net = each row's scalar product with phi, as 8 sums that do not wait for one another; w (count, stride)."""
    i: cython.int
    j: cython.Py_ssize_t  # an int might wrap around, as far as the compiler knows, and the loop is not vectorised
    k: cython.Py_ssize_t
    sums: cython.float[8]
    for i in range(count):
        for j in range(8):
            sums[j] = 0
        for k in range(0, stride, 8):
            for j in range(8):
                sums[j] += w[k + j] * phi[k + j]
        net[i] = ((sums[0] + sums[4]) + (sums[2] + sums[6])) + ((sums[1] + sums[5]) + (sums[3] + sums[7]))
        w += stride


@cython.cfunc
@cython.inline
@cython.exceptval(check=False)
def exponential(x: cython.float) -> cython.float:
    """Return e^x: 2^n e^r with |r| <= log(2) / 2, within 2 units in the last place; Cephes' polynomial for expf.

    In arithmetic that compilers vectorise. Beyond -87 and 88 it stays what it is there; a NaN stays one.
    """
    per_log2: cython.float = 1.44269504
    log2_high: cython.float = 0.693359375
    log2_low: cython.float = -2.12194440e-4
    one: cython.float = 1
    c0: cython.float = 5.0000001201e-1
    c1: cython.float = 1.6666665459e-1
    c2: cython.float = 4.1665795894e-2
    c3: cython.float = 8.3334519073e-3
    c4: cython.float = 1.3981999507e-3
    c5: cython.float = 1.9875691500e-4
    whole: cython.float = 12582912  # 1.5 * 2^23: adding it rounds to a whole number
    x = -87 if x < -87 else x
    x = 88 if x > 88 else x
    n: cython.float = (x * per_log2 + whole) - whole
    r: cython.float = (x - n * log2_high) - n * log2_low
    p: cython.float = ((((c5 * r + c4) * r + c3) * r + c2) * r + c1) * r + c0
    power: Power
    power.bits = (cython.cast(cython.int, n) + 127) << 23
    return (p * r * r + r + one) * power.value


@cython.cfunc
@cython.exceptval(check=False)
def activate(
    code: cython.int, x: cython.p_float, n: cython.int, scale: cython.float, alpha: cython.float
) -> cython.void:
    """X = phi(scale x), in place."""
    j: cython.int
    top: cython.float
    total: cython.float
    below: cython.float
    for j in range(n):
        x[j] *= scale
    one: cython.float = 1  # a literal would be double
    if code == ELU:
        for j in range(n):
            below = alpha * (exponential(x[j]) - one)
            x[j] = x[j] if x[j] > 0 else below
    elif code == RELU:
        for j in range(n):
            x[j] = 0 if x[j] < 0 else x[j]
    elif code == LEAKY_RELU:
        for j in range(n):
            x[j] = leak * x[j] if x[j] < 0 else x[j]
    elif code == SIGMOID:
        for j in range(n):
            x[j] = one / (one + exponential(-x[j]))
    elif code == TANH:
        for j in range(n):
            x[j] = tanhf(x[j])
    elif code == SOFTMAX:
        top = x[0]
        for j in range(1, n):
            top = x[j] if x[j] > top else top
        total = 0
        for j in range(n):
            x[j] = exponential(x[j] - top)
            total += x[j]
        for j in range(n):
            x[j] /= total


@cython.cfunc
@cython.inline
@cython.exceptval(check=False)
def derivative(code: cython.int, phi: cython.float, alpha: cython.float) -> cython.float:
    """Return d phi / d x; for every activation here it follows from phi alone: phi > 0 where x > 0, and only there."""
    one: cython.float = 1
    if code == ELU:
        return 1 if phi > 0 else phi + alpha
    if code == RELU:
        return 1 if phi > 0 else 0
    if code == LEAKY_RELU:
        return 1 if phi > 0 else leak
    if code == SIGMOID:
        return phi * (one - phi)
    if code == TANH:
        return one - phi * phi
    return 1


@cython.cfunc
@cython.exceptval(check=False)
def differentiate(
    code: cython.int,
    delta: cython.p_float,
    phi: cython.p_float,
    n: cython.int,
    scale: cython.float,
    alpha: cython.float,
) -> cython.void:
    """Delta = scale * delta * d phi / d x, in place."""
    j: cython.int
    for j in range(n):
        delta[j] = scale * delta[j] * derivative(code, phi[j], alpha)


@cython.cclass
class Native:
    """Per-exemplar stochastic gradient descent with elastic net regularisation, as `reference.Reference`."""

    layers: cython.int  # of units, input and output included
    bias: cython.int
    quadratic: cython.int
    dense: cython.int  # whether a dark pixel counts too
    eta: cython.float
    alpha: cython.float
    a1: cython.double
    a2: cython.double
    units: cython.int[::1]  # (layers,)
    codes: cython.int[::1]  # (layers,) activations
    scale: cython.float[::1]  # (layers,) one over the divisor
    first_unit: cython.int[::1]  # (layers + 1,) where a layer's values begin in phi and delta, and where they end
    first_row: cython.Py_ssize_t[::1]  # (layers,) where the weights INTO a layer begin in w
    stride: cython.int[::1]  # (layers,) length of a row of them in w, a multiple of 8
    w: cython.float[::1]  # the weights u, in this kernel's layout
    phi: cython.float[::1]  # every layer's values, each followed by its bias unit's 1 and zeros
    delta: cython.float[::1]
    table: cython.float[::1]  # (256,) the input layer's phi of each grey level
    lit_of_eight: cython.uchar[:, ::1]  # (256, 8)
    count_of_eight: cython.int[::1]  # (256,)
    lit: cython.int[::1]  # first-layer rows that this exemplar touches,
    lit_phi: cython.float[::1]  # the phi of each,
    owed: cython.float[::1]  # the thresholds that each owes now
    base: cython.float[::1]  # first-layer row -> the sum of thresholds that it has had
    every: cython.int[::1]  # all rows of any later layer
    nothing: cython.float[::1]  # what each of them owes
    span: cython.int  # exemplars of a batch over which s may fall: to a half
    shrink: cython.float[::1]  # (span + 1,) s after t exemplars,
    lost: cython.float[::1]  # 1 - s,
    thresholds: cython.float[::1]  # the sum of a1 / s
    step: cython.float[::1]  # and the learning rate / s that the next exemplar sees

    def __init__(self, network: Network, learning_rate: float, l1: float, l2: float):
        sizes = np.array(network.sizes, np.intc)
        slots = padded(sizes + 1)
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
        self.first_unit = np.concatenate([[0], np.cumsum(slots)]).astype(np.intc)
        self.stride = np.array([0, padded(sizes[1]), *slots[1 : len(slots) - 1]], np.intc)
        rows = np.array([0, sizes[0] + 1, *sizes[2:]])
        self.first_row = np.cumsum(rows * self.stride) - rows * self.stride
        self.w = aligned(np.dot(rows, self.stride))
        self.phi = aligned(slots.sum())
        self.delta = aligned(slots.sum())
        self.table = network.input_table().astype(np.float32)
        self.dense = self.table[0] != 0
        self.lit_of_eight = LIT_OF_EIGHT
        self.count_of_eight = COUNT_OF_EIGHT
        self.lit = np.zeros(slots[0] + 8, np.intc)
        self.lit_phi = np.zeros(slots[0], np.float32)
        self.owed = np.zeros(slots[0], np.float32)
        self.base = np.zeros(slots[0], np.float32)
        self.every = np.arange(slots.max(), dtype=np.intc)
        self.nothing = np.zeros(slots.max(), np.float32)
        self.prepare_shrinks(1)

    def prepare_shrinks(self, most):
        """Tabulate the shrinks of batches of up to `most` exemplars."""
        halved = np.log(2) / -np.log1p(-self.a2) if self.a2 else np.inf
        self.span = int(max(1, min(most, halved)))
        log = np.arange(self.span + 1) * np.log1p(-self.a2)
        self.shrink = np.exp(log).astype(np.float32)
        self.lost = -np.expm1(log).astype(np.float32)
        self.step = (self.eta * np.exp(-log - np.log1p(-self.a2))).astype(np.float32)
        self.thresholds = np.cumsum(self.a1 * np.exp(-log) * (np.arange(self.span + 1) > 0)).astype(np.float32)

    @cython.cfunc
    @cython.exceptval(check=False)
    def load_weights(self, weights: cython.pointer(cython.const[cython.float])) -> cython.void:
        """Copy weights from the network's order."""
        layer: cython.int
        i: cython.int
        j: cython.int
        columns: cython.int = self.units[1]
        stride: cython.int = self.stride[1]
        to: cython.p_float = cython.address(self.w[0])
        for i in range(self.units[0] + self.bias):
            memcpy(to + i * stride, weights + i * columns, columns * cython.sizeof(cython.float))
            for j in range(columns, stride):
                to[i * stride + j] = 0
            self.base[i] = 0
        for layer in range(2, self.layers):
            weights = weights + (self.units[layer - 2] + self.bias) * self.units[layer - 1]
            to = cython.address(self.w[self.first_row[layer]])
            columns = self.units[layer]
            for i in range(self.units[layer - 1] + self.bias):
                for j in range(columns):
                    to[j * self.stride[layer] + i] = weights[i * columns + j]
            for i in range(self.units[layer - 1] + self.bias, self.stride[layer]):
                for j in range(columns):
                    to[j * self.stride[layer] + i] = 0

    @cython.cfunc
    @cython.exceptval(check=False)
    def store_weights(self, weights: cython.p_float, t: cython.int) -> cython.void:
        """Write weights in the network's order, with all shrinks of the first t exemplars."""
        layer: cython.int
        i: cython.int
        j: cython.int
        columns: cython.int = self.units[1]
        stride: cython.int = self.stride[1]
        lost: cython.float = self.lost[t]
        d: cython.float
        u: cython.float
        row: cython.p_float
        to: cython.p_float
        for i in range(self.units[0] + self.bias):
            row = cython.address(self.w[0]) + i * stride
            to = weights + i * columns
            d = self.thresholds[t] - self.base[i]
            for j in range(columns):
                u = row[j] - shrinkage(row[j], d)
                to[j] = u - lost * u
        for layer in range(2, self.layers):
            weights = weights + (self.units[layer - 2] + self.bias) * self.units[layer - 1]
            row = cython.address(self.w[self.first_row[layer]])
            columns = self.units[layer]
            for i in range(self.units[layer - 1] + self.bias):
                for j in range(columns):
                    u = row[j * self.stride[layer] + i]
                    weights[i * columns + j] = u - lost * u

    @cython.cfunc
    @cython.exceptval(check=False)
    def active_rows(self, image: cython.pointer(cython.const[cython.uchar]), t: cython.int) -> Rows:
        """Return the first-layer rows that an image touches, the bias unit's last, with what each owes at exemplar t.

        From now on each row counts as paid, exemplar t's own threshold included.
        """
        lit: cython.p_int = cython.address(self.lit[0])
        pixels: cython.int = self.units[0]
        n: cython.Py_ssize_t = 0
        i: cython.int = 0
        j: cython.Py_ssize_t
        found: cython.int[8]
        word: uint64_t
        low: uint64_t = 0x7F7F7F7F7F7F7F7F
        which: cython.p_uchar = cython.address(self.lit_of_eight[0, 0])
        counts: cython.p_int = cython.address(self.count_of_eight[0])
        if self.dense:
            n = i = pixels
            for j in range(pixels):
                lit[j] = j
        while i + 8 <= pixels:
            memcpy(cython.address(word), image + i, 8)
            word = (((word & low) + low) | word) & ~low  # the top bit of every byte that is not 0
            word = ((word >> 7) * cython.cast(uint64_t, 0x0102040810204080)) >> 56
            for j in range(8):
                found[j] = i + which[8 * word + j]
            for j in range(8):
                lit[n + j] = found[j]
            n += counts[word]
            i += 8
        while i < pixels:
            lit[n] = i
            n += image[i] != 0
            i += 1
        row: cython.int
        phi: cython.p_float = cython.address(self.lit_phi[0])
        owed: cython.p_float = cython.address(self.owed[0])
        base: cython.p_float = cython.address(self.base[0])
        table: cython.p_float = cython.address(self.table[0])
        before: cython.float = self.thresholds[t]
        after: cython.float = self.thresholds[t + 1]
        for j in range(n):
            row = lit[j]
            phi[j] = table[image[row]]
            owed[j] = before - base[row]
            base[row] = after
        if self.bias:
            lit[n] = pixels
            phi[n] = 1
            owed[n] = before - base[pixels]
            base[pixels] = after
            n += 1
        rows: Rows
        rows.count = n
        rows.index = lit
        rows.factor = phi
        rows.owed = owed
        return rows

    @cython.cfunc
    @cython.exceptval(check=False)
    def all_rows(self, layer: cython.int) -> Rows:
        """Return all rows of the weights into a later layer, each multiplied by that unit's delta; they owe nothing."""
        rows: Rows
        rows.count = self.units[layer]
        rows.index = cython.address(self.every[0])
        rows.factor = cython.address(self.delta[self.first_unit[layer]])
        rows.owed = cython.address(self.nothing[0])
        return rows

    @cython.cfunc
    @cython.exceptval(check=False)
    def think(self, lit: Rows, t: cython.int) -> cython.void:
        """Forward, at exemplar t of the batch: every layer's phi."""
        layer: cython.int
        j: cython.int
        below: cython.p_float
        net: cython.p_float = cython.address(self.phi[self.first_unit[1]])
        for j in range(self.stride[1]):
            net[j] = 0
        if t == 0 or self.a1 == 0:
            add_rows(net, cython.address(self.w[0]), self.stride[1], lit)
        else:
            add_shrunk_rows(net, cython.address(self.w[0]), self.stride[1], lit)
        self.finish(1, net, t)
        for layer in range(2, self.layers):
            below = net
            net = cython.address(self.phi[self.first_unit[layer]])
            multiply_rows(
                net, cython.address(self.w[self.first_row[layer]]), self.stride[layer], self.units[layer], below
            )
            self.finish(layer, net, t)

    @cython.cfunc
    @cython.exceptval(check=False)
    def finish(self, layer: cython.int, net: cython.p_float, t: cython.int) -> cython.void:
        """Turn a layer's sums into its phi, with its bias unit's 1 and zeros behind."""
        j: cython.int
        n: cython.int = self.units[layer]
        activate(self.codes[layer], net, n, self.shrink[t] * self.scale[layer], self.alpha)
        for j in range(n, self.first_unit[layer + 1] - self.first_unit[layer]):
            net[j] = 0
        net[n] = self.bias

    @cython.cfunc
    @cython.exceptval(check=False)
    def train(self, lit: Rows, t: cython.int, label: cython.int) -> cython.void:
        """Backward and update. A layer's weights give the delta of the layer below before they change."""
        layer: cython.int = self.layers - 1
        j: cython.int
        error: cython.float
        own: cython.float = self.thresholds[t + 1] - self.thresholds[t]
        w: cython.p_float
        phi: cython.p_float = cython.address(self.phi[self.first_unit[layer]])
        delta: cython.p_float = cython.address(self.delta[self.first_unit[layer]])
        rows: Rows
        for j in range(self.units[layer]):
            error = (j == label) - phi[j]
            delta[j] = error * (phi[j] - phi[j] * phi[j]) if self.quadratic else error
        while layer > 1:
            w = cython.address(self.w[self.first_row[layer]])
            rows = self.all_rows(layer)
            phi = cython.address(self.phi[self.first_unit[layer - 1]])
            delta = cython.address(self.delta[self.first_unit[layer - 1]])
            for j in range(self.stride[layer]):
                delta[j] = 0
            add_rows(delta, w, self.stride[layer], rows)
            update_shrunk_rows(w, self.stride[layer], rows, own, self.step[t], phi)
            differentiate(self.codes[layer - 1], delta, phi, self.units[layer - 1], self.shrink[t], self.alpha)
            for j in range(self.units[layer - 1], self.stride[layer]):
                delta[j] = 0
            layer -= 1
        update_shrunk_rows(cython.address(self.w[0]), self.stride[1], lit, own, self.step[t], delta)

    def learn(
        self,
        weights: cython.const[cython.float][::1],
        images: cython.const[cython.uchar][:, ::1],
        labels: cython.const[cython.int][::1],
        exemplars: cython.const[cython.int][::1],
        learned: cython.float[::1],
    ):
        """As `Reference.learn`; `think` and `train` share the time as they do at every 8th exemplar."""
        total: cython.int = exemplars.shape[0]
        done: cython.int = 0
        span: cython.int
        t: cython.int
        sampled: cython.int
        lit: Rows
        start: cython.double = 0
        thought: cython.double = 0
        think: cython.double = 0
        train: cython.double = 0
        began: cython.double = seconds()
        if total > self.span:
            self.prepare_shrinks(total)
        self.load_weights(cython.address(weights[0]))
        while done < total:
            span = min(self.span, total - done)
            for t in range(span):
                sampled = (done + t) % SAMPLED == 0
                if sampled:
                    start = seconds()
                lit = self.active_rows(cython.address(images[exemplars[done + t], 0]), t)
                if done + t + 1 < total:
                    fetch_ahead(cython.address(images[exemplars[done + t + 1], 0]), self.units[0])
                self.think(lit, t)
                if sampled:
                    thought = seconds()
                    think += thought - start
                self.train(lit, t, labels[exemplars[done + t]])
                if sampled:
                    train += seconds() - thought
            self.store_weights(cython.address(learned[0]), span)
            done += span
            if done < total:
                self.load_weights(cython.address(learned[0]))
        spent: cython.double = seconds() - began
        think = spent * think / (think + train) if total else 0
        return think, spent - think

    def bound(
        self,
        weights: cython.const[cython.float][::1],
        images: cython.const[cython.uchar][:, ::1],
        exemplars: cython.const[cython.int][::1],
    ):
        """Return the seconds of the least that learning these exemplars can take: for each, read the first-layer rows
        that it lights and add them up, then read them again, add something to them and write them.
        """
        t: cython.int
        j: cython.int
        lit: Rows
        start: cython.double
        spent: cython.double = 0
        stride: cython.int = self.stride[1]
        w: cython.p_float = cython.address(self.w[0])
        net: cython.p_float = cython.address(self.phi[self.first_unit[1]])
        self.load_weights(cython.address(weights[0]))
        for t in range(exemplars.shape[0]):
            lit = self.active_rows(cython.address(images[exemplars[t], 0]), 0)
            for j in range(stride):
                net[j] = 0
            start = seconds()
            add_rows(net, w, stride, lit)
            update_rows(w, stride, lit, 1e-9, net)
            spent += seconds() - start
        return spent

    def classify(self, weights: cython.const[cython.float][::1], images: cython.const[cython.uchar][:, ::1]):
        """As `Reference.classify`."""
        classes = np.empty(images.shape[0], np.intc)
        chosen: cython.int[::1] = classes
        e: cython.Py_ssize_t
        i: cython.int
        best: cython.int
        phi: cython.p_float = cython.address(self.phi[self.first_unit[self.layers - 1]])
        self.load_weights(cython.address(weights[0]))
        for e in range(images.shape[0]):
            self.think(self.active_rows(cython.address(images[e, 0]), 0), 0)
            best = 0
            for i in range(1, self.units[self.layers - 1]):
                if phi[i] > phi[best]:
                    best = i
            chosen[e] = best
        return classes
