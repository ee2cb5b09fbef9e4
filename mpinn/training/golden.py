"""Golden runs: what training comes to, epoch by epoch, on every machine (docs/numerics.md).

They are kept in golden.json, a run a line, under a key of all that weights depend on. `make golden` writes it.
"""

import functools
import hashlib
import json
from pathlib import Path
from typing import Any, NamedTuple

from mpinn.config import FIELDS
from mpinn.kernels.kernel import NUMERICS

PATH = Path(__file__).with_name("golden.json")

# What `python -m mpinn.verify` runs: name -> options. Each is there for what no other one takes.
RUNS: dict[str, dict[str, Any]] = {
    "one worker": {"workers": 1, "epochs": 2},
    "eight workers": {"workers": 8, "epochs": 2},
    "sixteen": {"workers": 16, "merge": "block-momentum", "epochs": 5},
    "short batches": {"workers": 64, "worker_batch": 10, "merge": "block-momentum", "epochs": 1},
    "wide sums": {"workers": 150, "worker_batch": 10, "merge": "block-momentum", "epochs": 1},
    "overlap": {"workers": 16, "worker_batch": 50, "merge": "block-momentum", "overlap": True, "epochs": 1},
    "float64": {"workers": 16, "merge": "block-momentum", "merge_format": "float64", "epochs": 1},
    "relu": {
        "workers": 4,
        "layers": (784, 64, 32, 10),
        "activations": ("identity", "relu", "leaky-relu", "softmax"),
        "layer_normalisation": True,
        "loss": "cross-entropy",
        "learning_rate": 0.2,
        "epochs": 1,
    },
    "dense": {
        "workers": 4,
        "layers": (784, 30, 10),
        "activations": ("sigmoid", "tanh", "softmax"),
        "bias": False,
        "learning_rate": 0.8,
        "l1": 0.0,
        "epochs": 1,
    },
    "gradients": {
        "workers": 16,
        "worker_batch": 4,
        "merge": "gradient",
        "optimizer": "nadam",
        "loss": "cross-entropy",
        "schedule": "one-cycle",
        "schedule_epochs": 2,
        "warm_up": 1000,
        "epochs": 2,
    },
    "momentum": {
        "workers": 4,
        "layers": (784, 64, 32, 10),
        "activations": ("identity", "selu", "gelu", "sigmoid"),
        "loss": "cross-entropy",
        "worker_momentum": 0.5,
        "dropout": 0.1,
        "epochs": 1,
    },
    "not normalised": {
        "workers": 4,
        "layers": (784, 30, 20, 10),
        "activations": ("identity", "sigmoid", "tanh", "softmax"),
        "layer_normalisation": False,
        "initial": "uniform",
        "input_divisor": 1,
        "learning_rate": 0.05,
        "l2": 1e-4,
        "epochs": 1,
    },
}


class Epoch(NamedTuple):
    """What a run is after an epoch."""

    weights_sha256: str
    train_accuracy: float  # percent
    test_accuracy: float


def key(determines_weights: dict[str, Any], data: str) -> str:
    """Return the key of a run: `Settings.determines_weights`, and the fingerprint of its training set.

    What is left at its default is not in it: so a later option changes no key.
    """
    said = {name: value for name, value in determines_weights.items() if value != FIELDS[name].default}
    text = json.dumps([said, data], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@functools.cache
def kept() -> dict[str, list[Epoch]]:
    """Return all golden runs by key; none where they are of other numerics."""
    found = json.loads(PATH.read_text())
    if found["numerics"] != NUMERICS:
        return {}
    return {one["key"]: [Epoch(*row) for row in one["epochs"]] for one in found["runs"]}


def find(determines_weights: dict[str, Any], data: str) -> list[Epoch]:
    """Return the epochs of a golden run, from the first on; none where there is no such run."""
    return kept().get(key(determines_weights, data), [])
