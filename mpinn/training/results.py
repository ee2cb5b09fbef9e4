"""The result: what was run, where, and what came of it. docs/result.md explains every field."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mpinn.config import Settings
from mpinn.datasets import Dataset
from mpinn.merging.worker_batch import MergeCost
from mpinn.model.network import weights_sha256
from mpinn.parallel import phases
from mpinn.parallel.phases import Efficiency
from mpinn.parallel.schedule import Schedule
from mpinn.system.locks import Lock
from mpinn.training.goals import target_of
from mpinn.training.state import RunState

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Facts:
    """What a result says of a run and its ranks that training does not change."""

    job: str  # twelve hexadecimal digits; the same when it is started again, another when a run is resumed
    environment: dict[str, Any]
    data: Dataset
    exchange: str
    merge_cost: MergeCost | None  # where it was measured
    resumed_from: str | None  # id of a snapshot
    start: dict[str, float]  # seconds of each part of the start


def lock_of(path: Path, job: str) -> Lock:
    """Return the lock of a result file."""
    return Lock(path.parent / f".{path.name}.lock", str(path), job)


def result(
    settings: Settings, facts: Facts, state: RunState, assignment: list[range], memory: dict[str, Any] | None
) -> dict[str, Any]:
    """Return the result as docs/result.md describes it; state.seconds is the wall time up to now."""
    data, cost = facts.data, facts.merge_cost
    found = efficiency_of(facts, state)
    schedule = Schedule(len(data.train_labels), settings.workers, settings.worker_batch)
    return {
        "schema_version": SCHEMA_VERSION,
        "job": facts.job,
        "status": state.status,
        "error": state.error,
        "config": dataclasses.asdict(settings),
        "environment": facts.environment,
        "data": {
            "name": data.name,
            "train": len(data.train_labels),
            "test": len(data.test_labels),
            "image_shape": list(data.image_shape),
            "classes": data.classes,
            "class_names": list(data.class_names) or None,
            "notes": list(data.notes),
            "fingerprint": data.fingerprint,
        },
        "parameters": len(state.master.weights),
        "rounds_per_epoch": schedule.rounds,
        "workers_of_ranks": [len(workers) for workers in assignment],
        "exchange": facts.exchange,
        "price": cost and cost._asdict(),
        "resumed_from": facts.resumed_from,
        "epochs": state.epochs,
        "start": facts.start,
        "memory": memory,
        "stopped_at": {"epoch": state.epoch, "round": state.round},
        "efficiency": found and found._asdict(),
        "target": target_of(settings, state.epochs),
        "divergences": state.divergences,
        "failures": state.failures,
        "weights_sha256": weights_sha256(state.master.weights),
        "total_seconds": state.seconds,
    }


def efficiency_of(facts: Facts, state: RunState) -> Efficiency | None:
    """Return the efficiencies of a run; None where ranks share cores: there learning is seconds without a core, too."""
    stretches = [*state.epochs, *([state.partial] if state.partial else [])]
    return None if facts.environment.get("oversubscribed", True) else phases.efficiency(stretches)
