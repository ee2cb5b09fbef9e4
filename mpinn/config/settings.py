"""What a run works with: options of which nothing that the run needs is left open."""

from dataclasses import dataclass
from typing import Any

from mpinn.config.options import WEIGHTS, Options
from mpinn.merging.optimizers import OPTIMIZERS, Hyper
from mpinn.merging.rates import Plan
from mpinn.model.network import Network


@dataclass(frozen=True, kw_only=True)
class Settings(Options):
    """What a run works with: options of which nothing that the run needs is left open."""

    workers: int
    worker_batch: int
    learning_rate: float
    layer_normalisation: bool
    initial: str
    layers: tuple[int, ...]
    activations: tuple[str, ...]
    merge_format: str

    @property
    def network(self) -> Network:
        return network_of(vars(self))

    @property
    def step(self) -> float:
        """The learning rate with which a worker steps."""
        return self.learning_rate * (self.learning_rate_scale or 1.0)

    @property
    def gradients(self) -> bool:
        """Whether workers take gradients, instead of steps."""
        return self.merge == "gradient"

    @property
    def rule(self) -> str:
        """What moves the master, of `merging.rules`."""
        return rule_of(self.merge, self.optimizer)

    @property
    def master_rate(self) -> float:
        """The rate of the optimizer that moves the master."""
        return self.learning_rate if self.gradients else self.merge_rate or 0.0

    @property
    def hyper(self) -> Hyper:
        """The settings of the optimizer; 0 those that it has not."""
        return Hyper(self.momentum or 0.0, self.beta1 or 0.0, self.beta2 or 0.0, self.epsilon or 0.0)

    @property
    def compares_losses(self) -> bool:
        """Whether the optimizer asks, after rounds of all exemplars, whether the loss has risen."""
        return self.gradients and OPTIMIZERS[self.rule].compares

    @property
    def plan(self) -> Plan:
        """The schedule of the learning rate."""
        return Plan(self.schedule, self.schedule_epochs, self.decay, self.decay_epochs)

    @property
    def determines_weights(self) -> dict[str, Any]:
        """The settings on which the trained weights depend, by name."""
        return {name: getattr(self, name) for name in WEIGHTS}


def rule_of(merge: str, optimizer: str | None) -> str:
    """Return what moves the master, of `merging.rules`, under resolved settings."""
    return merge if merge == "block-momentum" else optimizer or "mean"


def network_of(settings: dict[str, Any]) -> Network:
    """Return the network that resolved settings, by name, describe."""
    return Network(
        tuple(settings["layers"]),
        tuple(settings["activations"]),
        settings["alpha"],
        settings["bias"],
        settings["layer_normalisation"],
        settings["loss"],
        settings["initial"],
        settings["input_divisor"],
        settings["dropout"],
    )


def as_settings(result_config: dict[str, Any]) -> Settings:
    """Return the settings that the `config` of a result file holds."""
    given: dict[str, Any] = {key: tuple(v) if isinstance(v, list) else v for key, v in result_config.items()}
    return Settings(**({"initial": "uniform"} | given))  # there was no other
