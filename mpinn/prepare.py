"""What a run needs before its first round, and all that can be wrong with it: places to write, data, settings."""

import dataclasses
import zlib
from pathlib import Path
from typing import Any

from mpinn import checkpoint, config, data, kernels
from mpinn.checkpoint import Snapshot, Store
from mpinn.config import Config
from mpinn.data import Dataset
from mpinn.errors import UsageError
from mpinn.kernels import Kernel
from mpinn.parallel.world import World

ARRAYS = ("train_images", "train_labels", "test_images", "test_labels")


def open_places(asked: Config) -> Store | None:
    """Return the store of snapshots, where one is wanted. Raises UsageError where what is wanted cannot be written."""
    if asked.result:
        checkpoint.check_writable(Path(asked.result).parent, "--result")
        if Path(asked.result).is_dir():
            raise UsageError(f"{asked.result}: is a directory; give --result a file")
    place = asked.checkpoint or (asked.resume if asked.resume and Path(asked.resume).is_dir() else None)
    return Store(Path(place)) if place else None


def read_data(world: World, asked: Config) -> tuple[Dataset, str]:
    """Let rank 0 read the data set and share it, one copy a node; return it and its fingerprint. Raises UsageError."""
    held: list[Dataset] = []

    def read() -> tuple[dict[str, Any], str]:
        held.append(data.load(asked.data, asked.test_data))
        about = {f.name: getattr(held[0], f.name) for f in dataclasses.fields(Dataset) if f.name not in ARRAYS}
        return about, f"{zlib.crc32(held[0].train_labels.data, zlib.crc32(held[0].train_images.data)):08x}"

    about, fingerprint = world.on_root(read)
    about |= {name: world.share(getattr(held[0], name) if held else None) for name in ARRAYS}
    return Dataset(**about), fingerprint


def settle(
    given: dict[str, Any],
    snapshot: Snapshot | None,
    store: Store | None,
    data: Dataset,
    fingerprint: str,
    ranks: int,
) -> Config:
    """Return the whole configuration, a resumed snapshot's settings included, for these data. Raises UsageError."""
    settings = {**given, "checkpoint": str(store.directory) if store else None}
    if snapshot:
        for name, value in snapshot.settings.items():
            asked = given.get(name)
            if asked not in (None, "auto", value):
                raise UsageError(
                    f"{given['resume']}: snapshot of a run {config.spelled(name, value)}, "
                    f"not {config.spelled(name, asked)}; leave that option out, or start without --resume"
                )
        if snapshot.data != fingerprint:
            raise UsageError(f"{given['resume']}: snapshot of a run on other training data; give the same --data")
        settings.update(snapshot.settings)
    return config.resolve(Config(**settings), data.pixels, data.classes, len(data.train_labels), ranks)


def choose_kernel(settings: Config) -> Kernel:
    """Return the kernel that the settings ask for. Raises UsageError."""
    network = checkpoint.network_of(vars(settings))
    step = settings.learning_rate * (settings.learning_rate_scale or 1)
    return kernels.choose(settings.kernel, network, step, settings.l1, settings.l2)
