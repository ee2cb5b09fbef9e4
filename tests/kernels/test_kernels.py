"""The reference kernel against the mathematics, and the native kernel against the reference."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpinn import kernels
from mpinn.kernels.native import Native
from mpinn.kernels.reference import Reference, shrink
from mpinn.merging import sums
from mpinn.merging.term import Term
from mpinn.model.activations import ACTIVATIONS
from mpinn.model.losses import LOSSES, MOST, UNIT, Loss, squares
from mpinn.model.network import Network
from mpinn.system.errors import UsageError

HIDDEN = sorted(set(ACTIVATIONS) - {"softmax"})


def exemplars(network: Network, count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return images of which most pixels are dark, labels, and an order in which to learn them."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (count, network.sizes[0]), dtype=np.uint8)
    images[rng.random(images.shape) < 0.7] = 0
    labels = rng.integers(0, network.sizes[-1], count, dtype=np.int32)
    return images, labels, rng.permutation(count).astype(np.int32)


def test_one_exemplar_by_hand() -> None:
    """One weight a layer, no bias: every formula of the definition once."""
    network = Network((1, 1, 2), alpha=0.5, bias=False)
    weights = np.array([-0.8, 0.5, -0.3], np.float32)
    eta, l1, l2 = 0.8, 1e-2, 1e-2
    Reference(network, eta, l1, l2).learn(
        weights, np.array([[200]], np.uint8), np.array([1], np.int32), np.array([0]), weights
    )
    phi0 = 200 / 1
    net = -0.8 * phi0 / 1
    phi1 = 0.5 * (np.exp(net) - 1)
    z = np.array([0.5, -0.3]) * phi1 / 2
    phi2 = np.exp(z) / np.exp(z).sum()
    delta2 = (np.array([0, 1]) - phi2) * phi2 * (1 - phi2)
    delta1 = (0.5 * delta2[0] - 0.3 * delta2[1]) * (phi1 + 0.5)
    pulled = [w - (eta * l2 * w + eta * l1 * np.sign(w)) for w in (-0.8, 0.5, -0.3)]
    expected = [
        pulled[0] + eta * delta1 * phi0,
        pulled[1] + eta * delta2[0] * phi1,
        pulled[2] + eta * delta2[1] * phi1,
    ]
    np.testing.assert_allclose(weights, expected, rtol=1e-6)


def loss_of(network: Network, weights: np.ndarray, image: np.ndarray, label: int) -> float:
    """Return the loss of one exemplar, as its definition has it."""
    (phi,) = network.predict(weights, image)
    target = np.eye(len(phi))[label]
    if network.loss != "cross-entropy":
        return 0.5 * float(((target - phi) ** 2).sum())
    others = np.log(1 - phi[target == 0]).sum() if network.activations[-1] == "sigmoid" else 0.0
    return -float(np.log(phi[label]) + others)


PAIRS = [(loss, output) for loss, about in LOSSES.items() for output in about.outputs]
CASES = [
    (hidden, loss, output) for hidden in HIDDEN for loss, output in PAIRS if (loss, output) != ("quadratic", "softmax")
]


@pytest.mark.parametrize("normalised", [False, True])
@pytest.mark.parametrize("hidden, loss, output", CASES)
def test_gradients_by_finite_differences(hidden: str, loss: str, output: str, normalised: bool) -> None:
    """Every hidden activation with every loss and output, but the paper's, which is no gradient.

    With divisors a layer's share is so many times the gradient as they come to, from the layer above it on.
    """
    network = Network(
        (6, 5, 4, 3), ("identity", hidden, hidden, output), 0.7, loss=loss, layer_normalisation=normalised
    )
    rng = np.random.default_rng(1)
    image, label = rng.integers(0, 3, (1, 6), dtype=np.uint8), np.array([2], np.int32)
    start = rng.uniform(-0.5, 0.5, network.parameters).astype(np.float32)
    steps = 1e-4 * np.eye(network.parameters)
    slope = np.array(
        [loss_of(network, start + step, image, 2) - loss_of(network, start - step, image, 2) for step in steps]
    )
    slope /= 2e-4
    for layer, view in enumerate(network.views(slope), start=1):
        view *= np.prod(network.divisors[layer:])
    for learner in (Reference(network, 1.0, 0, 0), Native(network, 1.0, 0, 0)):
        direction, moved = np.empty_like(start), np.empty_like(start)
        learner.gradient(start, image, label, np.array([0], np.int32), direction)
        learner.learn(start, image, label, np.array([0], np.int32), moved)
        size = np.abs(slope).max()
        np.testing.assert_allclose(direction, -slope, atol=1e-4 * size)
        np.testing.assert_allclose(moved - start, -slope, atol=1e-4 * size)


@pytest.mark.parametrize("kind", [Reference, Native])
@pytest.mark.parametrize("loss, output", PAIRS)
def test_what_learners_say_of_the_loss_is_its_definition(
    loss: str, output: str, kind: type[Reference] | type[Native]
) -> None:
    """Of exemplars at the same weights, and of each before its own step; more classes than are multiplied at once."""
    network = Network((9, 20, 35), ("identity", "elu", output), loss=loss, layer_normalisation=False)
    rng = np.random.default_rng(2)
    images = rng.integers(0, 3, (40, 9), dtype=np.uint8)
    labels, order = rng.integers(0, 35, 40, dtype=np.int32), rng.permutation(40).astype(np.int32)
    weights = rng.uniform(-1, 1, network.parameters).astype(np.float32)
    learner = kind(network, 1e-3, 0, 0)
    found = learner.gradient(weights, images, labels, order, np.empty_like(weights)).loss
    expected = [loss_of(network, weights, images[one : one + 1], int(labels[one])) for one in order]
    assert found * UNIT == pytest.approx(sum(expected), rel=1e-5)
    nothing = np.empty_like(weights)
    assert sum(learner.gradient(weights, images, labels, part, nothing).loss for part in np.split(order, 4)) == found
    moved, lost = weights.copy(), 0.0
    for one in order:
        lost += loss_of(network, moved, images[one : one + 1], int(labels[one]))
        learner.learn(moved, images, labels, np.array([one]), moved)
    assert learner.learn(weights, images, labels, order, weights).loss * UNIT == pytest.approx(lost, rel=1e-4)
    assert lost < sum(expected)


@pytest.mark.parametrize("kind", [Reference, Native])
def test_a_loss_is_finite_and_small_ones_are_told_apart(kind: type[Reference] | type[Native]) -> None:
    def said(output: str, loss: str, weight: float) -> float:
        network = Network((1, 2), ("identity", output), bias=False, layer_normalisation=False, loss=loss)
        weights = np.array([weight, 0], np.float32)
        about = weights, np.ones((1, 1), np.uint8), np.array([1], np.int32), np.array([0], np.int32)
        return kind(network, 0.1, 0, 0).gradient(*about, np.empty_like(weights)).loss * UNIT

    assert said("softmax", "cross-entropy", 100) == pytest.approx(38 * np.log(2))  # as far as the kernel tells from 0
    assert said("softmax", "cross-entropy", -9) == pytest.approx(np.log1p(np.exp(-9)), rel=1e-3)
    assert said("sigmoid", "cross-entropy", 100) == pytest.approx(np.log(2) + 38 * np.log(2))
    assert said("identity", "quadratic", 1e6) == MOST
    assert said("identity", "quadratic", 1.0) == 1.0


@given(st.floats(-1, 1), st.floats(0, 0.5), st.floats(0, 0.5))
def test_shrink_never_changes_a_sign_and_never_grows(w: float, a1: float, a2: float) -> None:
    pulled = float(shrink(np.array([w]), a1, a2)[0])
    assert pulled * w >= 0
    assert abs(pulled) <= abs(w)


def test_shrink_lets_no_nan_vanish() -> None:
    assert np.isnan(shrink(np.array([np.nan]), 0.1, 0.1)[0])


NETWORKS = [
    Network(),
    *(Network((49, 20, 10), ("identity", hidden, "softmax")) for hidden in HIDDEN),
    *(Network((49, 20, 10), (first, "elu", "softmax")) for first in HIDDEN),
    Network((49, 10), ("identity", "softmax")),
    Network((49, 33, 17, 9, 4), ("identity", "elu", "tanh", "leaky-relu", "softmax")),
    Network((49, 20, 10), bias=False),
    Network((49, 20, 10), layer_normalisation=False, alpha=1.0),
    Network((49, 20, 10), loss="cross-entropy"),
    Network((49, 20, 10), loss="quadratic-exact"),
    Network((49, 20, 10), ("identity", "elu", "sigmoid"), loss="cross-entropy"),
    *(Network((49, 20, 10), ("identity", "elu", output)) for output in ("sigmoid", "tanh", "identity")),
]


def step(network: Network) -> float:
    """Return a learning rate at which the network learns: these images are harsher than MNIST, and at too long a step
    the mathematics itself is chaotic, and tells nothing about a kernel.
    """
    if not network.layer_normalisation:
        return 1e-4
    if network.activations[-1] != "softmax":
        return 0.02
    return 0.05 if network.loss == "cross-entropy" else 0.8


@pytest.mark.parametrize("network", NETWORKS, ids=str)
@pytest.mark.parametrize("l1, l2", [(1e-7, 1e-7), (1e-3, 0), (0, 1e-3), (1e-2, 1e-2), (0, 0)])
def test_native_is_within_1e5_of_reference_after_a_worker_batch(network: Network, l1: float, l2: float) -> None:
    eta = step(network)
    images, labels, order = exemplars(network, 100)
    by_reference = network.initial_weights(0)
    by_native = by_reference.copy()
    Reference(network, eta, l1, l2).learn(by_reference, images, labels, order, by_reference)
    Native(network, eta, l1, l2).learn(by_native, images, labels, order, by_native)
    assert np.abs(by_reference - network.initial_weights(0)).max() > 1e-4  # something was learned
    np.testing.assert_allclose(by_native, by_reference, rtol=0, atol=1e-5)


@pytest.mark.parametrize("network", NETWORKS, ids=str)
def test_native_gradients_are_those_of_reference_and_the_mean_of_single_ones(network: Network) -> None:
    images, labels, order = exemplars(network, 100)
    weights = network.initial_weights(0)
    by_reference, by_native, one, mean = (np.zeros_like(weights) for _ in range(4))
    native = Native(network, step(network), 1e-3, 1e-3)
    Reference(network, 0.8, 0, 0).gradient(weights, images, labels, order, by_reference)
    native.gradient(weights, images, labels, order, by_native)
    for exemplar in order:
        native.gradient(weights, images, labels, np.array([exemplar], np.int32), one)
        mean += one / 100
    size = np.abs(by_reference).max()
    assert size > 1e-6
    np.testing.assert_allclose(by_native, by_reference, rtol=0, atol=1e-5 * size)
    np.testing.assert_allclose(mean, by_reference, rtol=0, atol=1e-5 * size)


@pytest.mark.parametrize("momentum", [0.5, 0.9])
@pytest.mark.parametrize("network", NETWORKS, ids=str)
def test_native_momentum_is_the_references(network: Network, momentum: float) -> None:
    """Also of dark pixels, whose rows move on; shrinks are small here, for the native kernel does a row's at once."""
    images, labels, order = exemplars(network, 100)
    by_reference, by_native = network.initial_weights(0), network.initial_weights(0)
    about = (network, step(network) * (1 - momentum) / 4, 1e-6, 1e-5, None, momentum)
    native = Native(*about)
    native.learn(by_native, images, labels, order, np.empty_like(by_native))  # what it remembers is not of this batch
    Reference(*about).learn(by_reference, images, labels, order, by_reference)
    native.learn(by_native, images, labels, order, by_native)
    plain = network.initial_weights(0)
    Reference(*about[:4]).learn(plain, images, labels, order, plain)
    assert np.abs(by_reference - plain).max() > 1e-4
    np.testing.assert_allclose(by_native, by_reference, rtol=0, atol=1e-5)


@pytest.mark.parametrize("ask", ["learn", "gradient"])
@pytest.mark.parametrize("hidden", HIDDEN)
def test_native_drops_what_the_reference_drops(hidden: str, ask: str) -> None:
    """The same units of the same exemplars, in each epoch others."""
    network = Network((49, 20, 30, 10), ("identity", hidden, hidden, "softmax"), dropout=0.3)
    network = replace(network, layer_normalisation=False, initial="lecun", input_divisor=255, loss="cross-entropy")
    images, labels, order = exemplars(network, 60)
    start, found = network.initial_weights(0), []
    for seed, epoch in ((5, 1), (5, 2), (6, 1)):
        by_reference, by_native = np.empty_like(start), np.empty_like(start)
        for learner, stored in (
            (Reference(network, 0.01, 0, 0), by_reference),
            (Native(network, 0.01, 0, 0), by_native),
        ):
            learner.set_epoch(seed, epoch)
            getattr(learner, ask)(start, images, labels, order, stored)
        np.testing.assert_allclose(by_native, by_reference, rtol=0, atol=1e-5)
        found.append(by_native.tobytes())
    assert len(set(found)) == 3
    native = Native(network, 0.01, 0, 0)
    plain = Native(replace(network, dropout=0.0), 0.01, 0, 0)
    assert np.array_equal(native.classify(start, images), plain.classify(start, images))


def test_gradients_with_dropout_by_finite_differences() -> None:
    network = Network((6, 8, 7, 3), ("identity", "selu", "tanh", "softmax"), loss="cross-entropy", dropout=0.4)
    network = replace(network, layer_normalisation=False)
    rng = np.random.default_rng(1)
    image, label = rng.integers(0, 3, (1, 6), dtype=np.uint8), np.array([2], np.int32)
    start = rng.uniform(-0.5, 0.5, network.parameters).astype(np.float32)
    reference, native = Reference(network, 1.0, 0, 0), Native(network, 1.0, 0, 0)

    def loss(weights: np.ndarray) -> float:
        return -float(np.log(reference.forward(network.views(weights), image[0], 0).given[-1][2]))

    for learner in (reference, native):
        learner.set_epoch(3, 4)
    steps = 1e-5 * np.eye(network.parameters)
    slope = np.array([(loss(start + step) - loss(start - step)) / 2e-5 for step in steps])
    for learner in (reference, native):
        direction = np.empty_like(start)
        learner.gradient(start, image, label, np.array([0], np.int32), direction)
        np.testing.assert_allclose(direction, -slope, atol=1e-5)
    assert 0 < np.count_nonzero(slope == 0) < network.parameters


def test_momentum_by_hand() -> None:
    """Two exemplars, the second dark: its row goes on as it was, and less so."""
    network = Network((2, 1, 2), ("identity", "identity", "softmax"), bias=False)
    images, labels = np.array([[100, 0], [0, 100]], np.uint8), np.array([1, 0], np.int32)
    for kind in (Reference, Native):
        start, once, twice = network.initial_weights(1), *(np.empty(4, np.float32) for _ in range(2))
        learner = kind(network, 0.1, 0, 0, None, 0.5)
        learner.learn(start, images, labels, np.array([0], np.int32), once)
        learner.learn(start, images, labels, np.array([0, 1], np.int32), twice)
        moved = once[0] - start[0]
        assert abs(moved) > 1e-6 and twice[0] - once[0] == pytest.approx(0.5 * moved, rel=1e-2)


@pytest.mark.parametrize("kind", [Reference, Native])
def test_rates_of_layers_multiply_what_a_layer_learns(kind: type) -> None:
    network = Network((49, 20, 10))
    images, labels, order = exemplars(network, 1)
    start, plain, rated = network.initial_weights(0), *(np.empty(network.parameters, np.float32) for _ in range(2))
    for ask in ("learn", "gradient"):
        getattr(kind(network, 0.1, 0, 0), ask)(start, images, labels, order, plain)
        getattr(kind(network, 0.1, 0, 0, (0.5, 3.0)), ask)(start, images, labels, order, rated)
        begun = start if ask == "learn" else 0 * start
        for layer, rate in enumerate((0.5, 3.0)):
            moved, expected = network.views(rated - begun)[layer], rate * network.views(plain - begun)[layer]
            np.testing.assert_allclose(moved, expected, rtol=1e-3, atol=1e-7)


@pytest.mark.parametrize("kind", [Reference, Native])
@pytest.mark.parametrize(
    "dtype, about",
    [
        (np.int16, {"factor": 3000.0, "most": 2047}),
        (np.int16, {"factor": 1e9, "most": 100}),
        (np.int32, {"factor": 1e6, "most": 2**21}),
        (np.float32, {}),
        (np.float64, {"factor": 30.0, "constant": 1.5 * 2.0**20}),
    ],
)
@pytest.mark.parametrize("hidden", [(), (20,), (2100, 7), (138, 17)])
@pytest.mark.parametrize("l2", [1e-4, 0.5])
def test_a_term_is_that_of_what_would_have_been_learned(
    kind: type, dtype: type, about: dict, hidden: tuple[int, ...], l2: float
) -> None:
    """Of layers narrower and wider than a part of it, and of a batch in which the kernel starts afresh."""
    network = Network((45, *hidden, 10), ("identity", *["elu"] * len(hidden), "softmax"))
    images, labels, order = exemplars(network, 30)
    start, whole = network.initial_weights(0), np.empty(network.parameters, np.float32)
    for ask, begun in (("learn", start), ("gradient", None)):
        learner = kind(network, 0.8, 1e-4, l2)
        expected, term = (Term(np.empty(network.parameters, dtype), begun, **about) for _ in range(2))
        getattr(learner, ask)(start, images, labels, order, whole)
        sums.write(expected, whole)
        getattr(learner, ask)(start, images, labels, order, term)
        assert np.array_equal(term.array, expected.array) and term.found == expected.found and expected.array.any()


def test_a_gradient_that_is_broken_off_leaves_nothing_behind() -> None:
    network = Network((49, 20, 10))
    images, labels, order = exemplars(network, 60)
    weights, native = network.initial_weights(0), Native(network, 0.8, 0, 0)
    whole, again = np.empty_like(weights), np.empty_like(weights)
    native.gradient(weights, images, labels, order, whole)
    with pytest.raises(ZeroDivisionError):
        native.gradient(weights, images, labels, order, again, lambda: 1 / 0)
    native.gradient(weights, images, labels, order, again)
    assert np.array_equal(whole, again)


@pytest.mark.parametrize("kind", [Reference, Native])
def test_another_rate_is_that_of_a_learner_made_with_it(kind: type) -> None:
    network = Network((49, 20, 10))
    images, labels, order = exemplars(network, 40)
    changed, made = kind(network, 0.8, 1e-3, 1e-3), kind(network, 0.3, 1e-3, 1e-3)
    by_changed, by_made = network.initial_weights(0), network.initial_weights(0)
    changed.learn(np.zeros_like(by_made), images, labels, order, np.empty_like(by_made))
    changed.set_rate(0.3)
    for learner, weights in ((changed, by_changed), (made, by_made)):
        learner.learn(weights, images, labels, order, weights)
    assert np.array_equal(by_changed, by_made)


@settings(max_examples=50)
@given(
    sizes=st.builds(
        lambda pixels, rest: [pixels, *rest], st.integers(30, 60), st.lists(st.integers(1, 40), min_size=1, max_size=4)
    ),
    hidden=st.sampled_from(HIDDEN),
    bias=st.booleans(),
    count=st.integers(1, 40),
    seed=st.integers(0, 2**32 - 1),
)
def test_native_equals_reference_for_any_shape(
    sizes: list[int], hidden: str, bias: bool, count: int, seed: int
) -> None:
    network = Network(tuple(sizes), ("identity", *[hidden] * (len(sizes) - 2), "softmax"), bias=bias)
    images, labels, order = exemplars(network, count, seed)
    by_reference = network.initial_weights(seed)
    by_native = by_reference.copy()
    Reference(network, 0.1, 1e-4, 1e-4).learn(by_reference, images, labels, order, by_reference)
    Native(network, 0.1, 1e-4, 1e-4).learn(by_native, images, labels, order, by_native)
    np.testing.assert_allclose(by_native, by_reference, rtol=0, atol=1e-5 * len(sizes))  # float32 errs in every layer


def test_a_dark_row_is_shrunk_as_often_as_the_batch_is_long() -> None:
    network, l1, l2 = Network((2, 20, 2)), 1e-3, 1e-2
    images = np.zeros((50, 2), np.uint8)
    images[:, 1] = 9
    weights = network.initial_weights(3)
    expected = network.views(weights.astype(np.float64))[0][0].copy()
    for _ in range(50):
        expected = shrink(expected, 0.8 * l1, 0.8 * l2)
    Native(network, 0.8, l1, l2).learn(weights, images, np.zeros(50, np.int32), np.arange(50, dtype=np.int32), weights)
    np.testing.assert_allclose(network.views(weights)[0][0], expected, rtol=1e-5)
    assert 0 < np.count_nonzero(expected) < 20  # some weights were pulled to nought, some were not


def test_small_shrinks_are_not_lost_to_rounding() -> None:
    """At the paper's lambdas one shrink is less than float32 can say of 1 - a2; thousands of them must add up."""
    network = Network((2, 1, 2), activations=("identity", "identity", "softmax"))
    weights = np.full(network.parameters, 0.9, np.float32)
    order = np.zeros(100, np.int32)
    native = Native(network, 0.8, 1e-7, 1e-7)
    for _ in range(100):
        native.learn(weights, np.zeros((1, 2), np.uint8), np.zeros(1, np.int32), order, weights)
    lost = 10_000 * 0.8e-7 * (0.9 + 1)
    assert 0.9 - weights[0] == pytest.approx(lost, rel=0.05)


@pytest.mark.parametrize("l1, l2", [(0, 0.5), (0.01, 0.5), (1e-3, 1.2)])
def test_a_batch_long_enough_to_shrink_everything_away(l1: float, l2: float) -> None:
    """(1 - a2)^t leaves the range of float32 within the batch: the kernel must start afresh on the way."""
    network = Network((49, 20, 10))
    images, labels, order = exemplars(network, 400)
    by_reference, by_native = network.initial_weights(0), network.initial_weights(0)
    Reference(network, 0.8, l1, l2).learn(by_reference, images, labels, order, by_reference)
    Native(network, 0.8, l1, l2).learn(by_native, images, labels, order, by_native)
    np.testing.assert_allclose(by_native, by_reference, rtol=0, atol=1e-5)


@pytest.mark.parametrize("hidden", [*((units,) for units in range(1, 122, 8)), (104,), (300, 100), (250, 7, 130)])
def test_tiles_of_every_width(hidden: tuple[int, ...]) -> None:
    network = Network((49, *hidden, 10))
    network = replace(network, activations=("identity", *["elu"] * len(hidden), "softmax"))
    images, labels, order = exemplars(network, 30)
    by_reference, by_native = network.initial_weights(1), network.initial_weights(1)
    Reference(network, 0.3, 1e-4, 1e-4).learn(by_reference, images, labels, order, by_reference)
    Native(network, 0.3, 1e-4, 1e-4).learn(by_native, images, labels, order, by_native)
    np.testing.assert_allclose(by_native, by_reference, rtol=0, atol=1e-5)


def test_nothing_is_left_over_from_weights_that_were_no_numbers() -> None:
    network = Network((49, 20, 10))
    images, labels, order = exemplars(network, 30)
    native = Native(network, 0.8, 1e-4, 1e-4)
    expected, after = network.initial_weights(0), network.initial_weights(0)
    Native(network, 0.8, 1e-4, 1e-4).learn(expected, images, labels, order, expected)
    spoilt = np.full_like(after, np.nan)
    native.learn(spoilt, images, labels, order, spoilt)
    native.learn(after, images, labels, order, after)
    assert np.array_equal(after, expected)


def test_the_bound_takes_time_and_changes_nothing() -> None:
    network = Network()
    images, _, order = exemplars(network, 300)
    native = Native(network, 0.8, 1e-7, 1e-7)
    weights = network.initial_weights(0)
    assert native.bound(weights, images, order) > 0
    assert np.array_equal(weights, network.initial_weights(0))


def test_a_batch_in_two_calls_is_the_batch_in_one() -> None:
    network = Network((49, 20, 10))
    images, labels, order = exemplars(network, 60)
    whole, parts = network.initial_weights(0), network.initial_weights(0)
    native = Native(network, 0.8, 0, 0)
    native.learn(whole, images, labels, order, whole)
    native.learn(parts, images, labels, order[:25], parts)
    native.learn(parts, images, labels, order[25:], parts)
    assert np.array_equal(whole, parts)


@pytest.mark.parametrize("network", NETWORKS, ids=str)
def test_native_classifies_as_reference(network: Network) -> None:
    images, _, _ = exemplars(network, 200)
    weights = 10 * network.initial_weights(0)
    sure = np.ptp(np.sort(network.predict(weights, images))[:, -2:], axis=1) > 1e-4
    by_native = Native(network, 0.8, 0, 0).classify(weights, images)
    assert np.array_equal(by_native[sure], Reference(network, 0.8, 0, 0).classify(weights, images)[sure])


def test_nan_and_infinity_do_not_vanish() -> None:
    network = Network((49, 20, 10))
    images, labels, order = exemplars(network, 10)
    for value in (np.nan, np.inf):
        weights = network.initial_weights(0)
        weights[0] = value
        Native(network, 0.8, 1e-3, 1e-3).learn(weights, images, labels, order, weights)
        assert not np.isfinite(weights).all()


def test_choose_takes_native_and_says_what_it_is() -> None:
    kernel = kernels.choose("auto", Network(), 0.8, 0, 0)
    assert kernel.name == "native" and kernel.id.startswith("native-") and kernel.note == ""
    assert kernels.choose("reference", Network(), 0.8, 0, 0).id.startswith("reference-numpy")


def test_a_loss_that_native_does_not_know_is_declined_visibly(monkeypatch: pytest.MonkeyPatch) -> None:
    """It must not train as another: the reference kernel does, and follows the table."""
    monkeypatch.setitem(LOSSES, "twice", Loss(squares, lambda target, phi, slope: 2 * (target - phi), ("softmax",)))
    network = replace(Network((49, 20, 10)), loss="twice")
    kernel = kernels.choose("auto", network, 0.01, 0, 0)
    assert kernel.name == "reference" and "the loss twice" in kernel.note
    with pytest.raises(UsageError, match="the loss twice"):
        kernels.choose("native", network, 0.01, 0, 0)
    images, labels, order = exemplars(network, 20)
    by_table, by_step = network.initial_weights(0), network.initial_weights(0)
    kernel.learner.learn(by_table, images, labels, order, by_table)
    once = replace(network, loss="cross-entropy")
    Reference(once, 0.02, 0, 0).learn(by_step, images, labels, order, by_step)
    np.testing.assert_allclose(by_table, by_step, rtol=0, atol=1e-6)


def test_an_activation_that_native_does_not_know_is_declined_visibly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ACTIVATIONS, "square", ACTIVATIONS["identity"])
    network = replace(Network(), activations=("identity", "square", "softmax"))
    kernel = kernels.choose("auto", network, 0.8, 0, 0)
    assert kernel.name == "reference" and "square" in kernel.note
    with pytest.raises(UsageError, match="square"):
        kernels.choose("native", network, 0.8, 0, 0)


@pytest.mark.parametrize("kernel", [Native, Reference])
@pytest.mark.parametrize("count, least", [(1, 1), (20, 1), (100, 4)])
def test_something_may_be_done_between_exemplars_and_changes_nothing(kernel: type, count: int, least: int) -> None:
    network = Network((30, 8, 3))
    images, labels, order = exemplars(network, count)
    learner, start = kernel(network, 0.8, 1e-4, 1e-4), network.initial_weights(0)
    alone, beside = np.empty_like(start), np.full_like(start, 7)
    learner.learn(start, images, labels, order, alone)
    calls: list[None] = []

    def interrupt() -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        learner.learn(start, images, labels, order, beside, interrupt)
    assert (beside == 7).all()
    learner.learn(start, images, labels, order, beside, lambda: calls.append(None))
    assert len(calls) >= least and np.array_equal(alone, beside)
