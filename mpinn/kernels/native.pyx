# cython: language_level=3, boundscheck=False, wraparound=False
"""The C of this directory as Python sees it: what is here checks types and passes addresses.

`Native` has the interface of `reference.Reference`, and the functions below it are those of `mpinn.merging.sums`.
"""

import numpy as np

from mpinn.kernels.reference import Learned
from mpinn.merging.term import Term
from mpinn.model.dropout import Drop

from libc.stddef cimport size_t
from libc.stdint cimport int16_t, int32_t, int64_t, uint8_t, uint32_t, uint64_t


cdef extern from "c/kernel.h":
    ctypedef struct kernel:
        pass

    kernel *kernel_new(int layers, const int32_t *units, const int32_t *codes, const int32_t *divisors, int loss,
                       int bias, double alpha, double learning_rate, const double *rates, double a1, double a2,
                       double momentum)
    void kernel_free(kernel *k)
    int kernel_set_dropout(kernel *k, double rate, const double *scale, const double *shift, const double *dropped)
    void kernel_set_epoch(kernel *k, uint64_t seed, uint64_t epoch)
    int kernel_set_rate(kernel *k, double learning_rate, double a1, double a2)
    int kernel_learn(kernel *k, int stepping, const float *weights, const uint8_t *images, const int32_t *labels,
                     const int32_t *exemplars, size_t count, float *learned, double *spent, int64_t *lost,
                     int (*between)(void *) except -1, void *context) except? -1
    void kernel_give(kernel *k, void (*take)(void *, size_t, const float *, size_t) noexcept, void *context)
    void kernel_classify(kernel *k, const float *weights, const uint8_t *images, size_t count, int32_t *classes)
    double kernel_bound(kernel *k, const float *weights, const uint8_t *images, const int32_t *exemplars, size_t count)
    const char *kernel_vectors()
    int kernel_fused()


cdef extern from "c/merge.h":
    ctypedef struct largest:
        uint32_t weight
        uint32_t step

    largest merge_store_int16(int16_t *term, int adds, const float *learned, const float *master, size_t n,
                              float factor, float most)
    largest merge_store_int32(int32_t *term, int adds, const float *learned, const float *master, size_t n,
                              float factor, float most)
    largest merge_store_float32(float *term, const float *learned, size_t n)
    largest merge_store_float64(double *term, int adds, const float *learned, size_t n, double exemplars,
                                double constant)
    void merge_add_int16(int16_t *sum, const int16_t *term, size_t n)
    void merge_add_int32(int32_t *sum, const int32_t *term, size_t n)
    void merge_add_float32(float *sum, const float *term, size_t n)
    void merge_add_float64(double *sum, const double *term, size_t n)
    void merge_pass_on(void *to, const void *from_, size_t bytes)
    void merge_move_int16(float *master, float *velocity, const int16_t *sum, size_t n, double share, double momentum)
    void merge_move_int32(float *master, float *velocity, const int32_t *sum, size_t n, double share, double momentum)
    void merge_move_float32(float *master, float *velocity, const float *sum, size_t n, double share, double momentum)
    void merge_move_float64(float *master, float *velocity, const double *sum, size_t n, double share, double momentum)
    void merge_go_on_int16(float *start, const float *master, const float *velocity, const int16_t *term, size_t n,
                           float share, float ahead)
    void merge_go_on_int32(float *start, const float *master, const float *velocity, const int32_t *term, size_t n,
                           float share, float ahead)


cdef extern from "c/optimizers.h":
    enum:
        MOMENTS
        NUMBERS

    enum optimizer:
        pass

    void optimize(optimizer code, float *weights, float **moments, const float *d, size_t n, float a1, float a2,
                  const float *c)


cdef extern from "c/self_test.h":
    enum:
        CASES

    int run_self_test "self_test"(uint64_t *hashes)
    const char *self_test_name(int number)
    uint64_t self_test_hash(int number)


# Numbers are those of enum activation and enum loss in c/functions.h, and of enum optimizer in c/optimizers.h.
ACTIVATIONS = {
    "identity": 0, "elu": 1, "relu": 2, "leaky-relu": 3, "sigmoid": 4, "tanh": 5, "softmax": 6,
    "selu": 7, "gelu": 8
}
LOSSES = {"quadratic": 0, "cross-entropy": 1, "quadratic-exact": 2}

VECTORS = kernel_vectors().decode()
FUSED = bool(kernel_fused())

OPTIMIZERS = {
    "sgd": 0, "momentum": 1, "nesterov": 2, "adagrad": 3, "rmsprop": 4, "adam": 5, "nadam": 6, "rprop": 7
}
RULES = {"mean": -2, "block-momentum": -1, **OPTIMIZERS}


def declines(network, rule):
    """Return why this kernel cannot train the network or move the master, or an empty string."""
    for name in network.activations:
        if name not in ACTIVATIONS:
            return f"it does not know the activation {name}"
    if network.loss not in LOSSES:
        return f"it does not know the loss {network.loss}"
    return "" if rule in RULES else f"it does not know the merge {rule}"


def self_test():
    """Return the names of the cases of c/self_test.c that give other bits than the definition's; there should be none."""
    cdef uint64_t hashes[CASES]
    if run_self_test(hashes):
        raise MemoryError
    return [self_test_name(i).decode() for i in range(CASES) if hashes[i] != self_test_hash(i)]


ctypedef int (*calling)(void *) except -1


cdef int call(void *function) except -1:
    (<object>function)()
    return 0


cdef struct taking:
    void *term
    bint adds
    const float *start
    double factor, constant
    float most
    largest found


ctypedef void (*taker)(void *, size_t, const float *, size_t) noexcept


cdef void note(taking *to, largest found) noexcept:
    to.found.weight = max(to.found.weight, found.weight)
    to.found.step = max(to.found.step, found.step)


cdef void take_int16(void *context, size_t first, const float *learned, size_t n) noexcept:
    cdef taking *to = <taking *>context
    cdef const float *start = to.start + first if to.start else NULL
    note(to, merge_store_int16(<int16_t *>to.term + first, to.adds, learned, start, n, <float>to.factor, to.most))


cdef void take_int32(void *context, size_t first, const float *learned, size_t n) noexcept:
    cdef taking *to = <taking *>context
    cdef const float *start = to.start + first if to.start else NULL
    note(to, merge_store_int32(<int32_t *>to.term + first, to.adds, learned, start, n, <float>to.factor, to.most))


cdef void take_float32(void *context, size_t first, const float *learned, size_t n) noexcept:
    cdef taking *to = <taking *>context
    note(to, merge_store_float32(<float *>to.term + first, learned, n))


cdef void take_float64(void *context, size_t first, const float *learned, size_t n) noexcept:
    cdef taking *to = <taking *>context
    note(to, merge_store_float64(<double *>to.term + first, to.adds, learned, n, to.factor, to.constant))


cdef taker as_taken(term, taking *to) except NULL:
    """Return what writes a part of a term, `mpinn.merging.term.Term`, and fill in where it does so."""
    cdef int16_t[::1] small
    cdef int32_t[::1] large
    cdef float[::1] single
    cdef double[::1] double_
    cdef const float[::1] start
    to.factor, to.constant, to.most, to.adds = term.factor, term.constant, term.most, term.adds
    to.found.weight = to.found.step = 0
    to.start = NULL
    if term.start is not None:
        start = term.start
        to.start = &start[0]
    if term.array.dtype == np.int16:
        small = term.array
        to.term = &small[0]
        return take_int16
    if term.array.dtype == np.int32:
        large = term.array
        to.term = &large[0]
        return take_int32
    if term.array.dtype == np.float32:
        single = term.array
        to.term = &single[0]
        return take_float32
    double_ = term.array
    to.term = &double_[0]
    return take_float64


def write(term, const float[::1] learned):
    cdef taking to
    cdef taker take = as_taken(term, &to)
    take(&to, 0, &learned[0], learned.shape[0])
    term.found = to.found.weight, to.found.step


cdef class Native:
    """Per-exemplar stochastic gradient descent with elastic net regularisation, and gradients."""

    cdef kernel *k
    cdef double l1, l2

    def __cinit__(self, network, double learning_rate, double l1, double l2, layer_rates=None,
                  double momentum=0.0):
        cdef const int32_t[::1] units = np.array(network.sizes, np.int32)
        cdef const int32_t[::1] codes = np.array([ACTIVATIONS[name] for name in network.activations], np.int32)
        cdef const int32_t[::1] divisors = np.array(network.divisors, np.int32)
        cdef const double[::1] rates = np.array(layer_rates or [1.0] * len(network.shapes), np.float64)
        self.l1, self.l2 = l1, l2
        self.k = kernel_new(
            <int>len(units), &units[0], &codes[0], &divisors[0], LOSSES[network.loss], network.bias, network.alpha,
            learning_rate, &rates[0], learning_rate * l1, learning_rate * l2, momentum
        )
        if self.k is NULL:
            raise MemoryError
        cdef const double[:, ::1] drops = np.array([Drop.of(name, network.dropout) for name in network.activations]).T.copy()
        if network.dropout and kernel_set_dropout(self.k, network.dropout, &drops[0, 0], &drops[1, 0], &drops[2, 0]):
            raise MemoryError

    def __dealloc__(self):
        kernel_free(self.k)

    def set_epoch(self, uint64_t seed, uint64_t epoch):
        """As `Reference.set_epoch`."""
        kernel_set_epoch(self.k, seed, epoch)

    def set_rate(self, double learning_rate):
        """As `Reference.set_rate`."""
        if kernel_set_rate(self.k, learning_rate, learning_rate * self.l1, learning_rate * self.l2):
            raise MemoryError

    def learn(self, const float[::1] weights, const uint8_t[:, ::1] images, const int32_t[::1] labels,
              const int32_t[::1] exemplars, learned, between=None):
        """As `Reference.learn`; `think` and `train` share the time as they do at every 8th exemplar."""
        if len(exemplars) == 0:
            learned[:] = weights
            return Learned(0.0, 0.0, 0)
        return self.go_through(1, weights, images, labels, exemplars, learned, between)

    def gradient(self, const float[::1] weights, const uint8_t[:, ::1] images, const int32_t[::1] labels,
                 const int32_t[::1] exemplars, direction, between=None):
        """As `Reference.gradient`."""
        return self.go_through(0, weights, images, labels, exemplars, direction, between)

    cdef go_through(self, int stepping, const float[::1] weights, const uint8_t[:, ::1] images,
                    const int32_t[::1] labels, const int32_t[::1] exemplars, stored, between):
        cdef double spent[2]
        cdef int64_t lost
        cdef float[::1] array
        cdef float *learned = NULL
        if not isinstance(stored, Term):
            array = stored
            learned = &array[0]
        cdef calling function = NULL
        if between is not None:
            function = call
        if kernel_learn(self.k, stepping, &weights[0], &images[0, 0], &labels[0], &exemplars[0], exemplars.shape[0],
                        learned, spent, &lost, function, <void *>between):
            raise MemoryError
        if learned is NULL:
            self.give(stored)
        return Learned(spent[0], spent[1], lost)

    cdef give(self, term):
        """Write a term of what was learned, part by part, while it is in the nearest cache."""
        cdef taking to
        cdef taker take = as_taken(term, &to)
        kernel_give(self.k, take, &to)
        term.found = to.found.weight, to.found.step

    def bound(self, const float[::1] weights, const uint8_t[:, ::1] images, const int32_t[::1] exemplars):
        """Return the seconds of the least that learning these exemplars can take: see c/kernel.h."""
        return kernel_bound(self.k, &weights[0], &images[0, 0], &exemplars[0], exemplars.shape[0])

    def classify(self, const float[::1] weights, const uint8_t[:, ::1] images):
        """As `Reference.classify`."""
        cdef int32_t[::1] classes = np.empty(len(images), np.int32)
        if len(images):
            kernel_classify(self.k, &weights[0], &images[0, 0], images.shape[0], &classes[0])
        return np.asarray(classes)


ctypedef fused whole:
    int16_t
    int32_t

ctypedef fused number:
    int16_t
    int32_t
    float
    double

cdef enum:
    BLOCK = 1024  # weights that are added up, or moved, while they are in the nearest cache
    OF_RULE = NUMBERS + 3  # numbers that a rule has at most: `merging.rules.optimize`


cdef void add_block(number *total, number[:, :] terms, const int64_t[::1] counts, size_t start, size_t n) noexcept:
    cdef Py_ssize_t worker
    for worker in range(terms.shape[0]):
        if counts[worker] > 0:
            if number is int16_t:
                merge_add_int16(total, &terms[worker, start], n)
            elif number is int32_t:
                merge_add_int32(total, &terms[worker, start], n)
            elif number is float:
                merge_add_float32(total, &terms[worker, start], n)
            else:
                merge_add_float64(total, &terms[worker, start], n)


cdef void optimize_block(int code, float *weights, float **moments, number *total, size_t n, double share,
                         const double *numbers, const float *c) noexcept:
    cdef float direction[BLOCK]
    cdef size_t i
    cdef double master = numbers[0]
    for i in range(n):
        direction[i] = <float>(share * total[i] - weights[i]) if master else <float>(share * total[i])
    optimize(<optimizer>code, weights, moments, direction, n, c[1], c[2], c + 3)


cdef void move_block(int code, float *weights, float **moments, number *total, size_t n, double share,
                     const double *numbers, const float *c) noexcept:
    cdef float *velocity = moments[0]
    cdef double momentum = numbers[0] if code == -1 else 0.0
    if code >= 0:
        optimize_block(code, weights, moments, total, n, share, numbers, c)
    elif number is int16_t:
        merge_move_int16(weights, velocity, total, n, share, momentum)
    elif number is int32_t:
        merge_move_int32(weights, velocity, total, n, share, momentum)
    elif number is float:
        merge_move_float32(weights, velocity, total, n, share, momentum)
    else:
        merge_move_float64(weights, velocity, total, n, share, momentum)


cdef void rows_from(float **rows, float[:, :] moments, size_t start) noexcept:
    """Write where the moments begin, of the weights from `start` on; NULL where there is none."""
    cdef Py_ssize_t i
    for i in range(MOMENTS):
        rows[i] = &moments[i, start] if i < moments.shape[0] else NULL


cdef void as_floats(float *c, const double[::1] numbers) noexcept:
    cdef Py_ssize_t i
    for i in range(OF_RULE):
        c[i] = <float>numbers[i] if i < numbers.shape[0] else 0.0


def add(number[::1] total, number[:, :] terms, const int64_t[::1] counts):
    cdef Py_ssize_t start, n
    for start in range(0, total.shape[0], BLOCK):
        n = min(BLOCK, total.shape[0] - start)
        add_block(&total[start], terms, counts, start, n)


def move(rule, float[::1] weights, float[:, :] moments, number[::1] total, double share, const double[::1] numbers):
    cdef float c[OF_RULE]
    cdef float *rows[MOMENTS]
    cdef Py_ssize_t start, n
    cdef int code = RULES[rule]
    cdef const double *given = &numbers[0] if numbers.shape[0] else NULL
    as_floats(c, numbers)
    for start in range(0, weights.shape[0], BLOCK):
        n = min(BLOCK, weights.shape[0] - start)
        rows_from(rows, moments, start)
        move_block(code, &weights[start], rows, &total[start], n, share, given, c)


def pass_on(number[::1] to, const number[::1] values):
    if to.shape[0]:
        merge_pass_on(&to[0], &values[0], to.shape[0] * sizeof(number))


def go_on(float[::1] start, const float[::1] weights, float[:, :] moments, whole[::1] term, float share, float ahead):
    cdef float *velocity = &moments[0, 0] if moments.shape[0] else NULL
    if whole is int16_t:
        merge_go_on_int16(&start[0], &weights[0], velocity, &term[0], start.shape[0], share, ahead)
    else:
        merge_go_on_int32(&start[0], &weights[0], velocity, &term[0], start.shape[0], share, ahead)
