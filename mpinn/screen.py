"""What rank 0 prints: a head, a row an epoch with a live bar within it where there is a terminal, a closing line."""

import os
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

from mpinn import law
from mpinn.config import Config
from mpinn.data import Dataset
from mpinn.results import PHASES
from mpinn.startup import launchers

if TYPE_CHECKING:
    from mpinn.bar import Bar

ROW = "{:>5}  {:>8}  {:>8}  {:>8}  {:>11}  {:>5}  {:>5}  {:>5}  {:>5}"
REFRESH = 0.1  # seconds between two states of the bar
MANY_WORKERS = 4  # from here on the plain mean learns clearly slower than block momentum
THROUGH = {"shared-memory": "memory that ranks share", "allreduce": "Allreduce"}


def terminal() -> str | None:
    """Return the terminal that our standard output ends up on, or None.

    Under mpirun a rank's own standard output tells nothing (Open MPI makes it a pseudo-terminal, MPICH a pipe):
    the launcher's is what a person sees, if the launcher runs on this host.
    """
    shown = os.path.realpath("/proc/self/fd/1")
    for pid in launchers():
        shown = os.path.realpath(f"/proc/{pid}/fd/1")
    return shown if shown.startswith(("/dev/pts/", "/dev/tty")) else None


def head(
    settings: Config, dataset: Dataset, rounds: int, parameters: int, exchange: str, environment: dict[str, Any]
) -> dict[str, str]:
    """Return what the screen says before training; `environment` as in the result file."""
    merge = settings.merge
    if settings.block_momentum is not None:
        scale = settings.learning_rate_scale or 1
        merge += f" {settings.block_momentum:.4g}, learning rate {settings.learning_rate:g}"
        merge += f" x {scale:.4g}" if scale != 1 else ""
    mpi, note = environment["mpi"], environment["kernel_note"]
    shape = " x ".join(map(str, dataset.image_shape))
    return {
        "network": f"{'-'.join(map(str, settings.layers or ()))}, {' / '.join(settings.activations or ())}, "
        f"{parameters:,} weights",
        "data": f"{dataset.name}: {len(dataset.train_labels):,} training and {len(dataset.test_labels):,} test "
        f"exemplars of {shape}, {dataset.classes} classes",
        "workers": f"{settings.workers} on {counted(environment['ranks'], 'rank')}, "
        f"worker batch {settings.worker_batch}, {counted(rounds, 'round')} an epoch",
        "merge": f"{merge}, through {THROUGH[exchange]}",
        "ranks": "; ".join(map(where, environment["nodes"]))
        + (", oversubscribed" if environment["oversubscribed"] else ", not oversubscribed"),
        "MPI": f"{mpi['vendor']} {mpi['version']}, waiting: {environment['wait_policy']}",
        "kernel": environment["kernel_id"] + (f" (not native: {note})" if note else ""),
    }


def counted(number: int, thing: str) -> str:
    """Return '1 rank', '2 ranks'."""
    return f"{number:,} {thing}" + ("" if number == 1 else "s")


def where(node: dict[str, Any]) -> str:
    """Return which ranks are on a host, and on which of its cores."""
    bound = all(len(cores) < len(node["cores"]) for cores in node["cores_of_ranks"])
    cores = f"cores {span(node['cores'])}" + (", each rank bound to its own" if bound else "")
    return f"{span(node['ranks'])} on {node['host']} ({node['processor']}, {cores})"


def span(numbers: list[int]) -> str:
    """Return '0-7' for 0 to 7 without a gap, else the numbers themselves."""
    if len(numbers) > 1 and numbers == list(range(numbers[0], numbers[-1] + 1)):
        return f"{numbers[0]}-{numbers[-1]}"
    return ",".join(map(str, numbers))


def hints(settings: Config) -> list[str]:
    """Return lines of advice."""
    found = [hint(settings)]
    if settings.resume and not settings.checkpoint:
        found.append("hint: --resume names a file, so no snapshot will be written; --checkpoint DIR writes some")
    return list(filter(None, found))


def hint(settings: Config) -> str:
    """Return a line of advice on the merge, or an empty string."""
    workers, batch, momentum = settings.workers or 1, int(settings.worker_batch), settings.block_momentum
    if settings.merge == "mean" and workers >= MANY_WORKERS:
        return f"hint: under the plain mean {workers} workers learn slowly; try --merge block-momentum"
    if momentum is None:
        return ""
    most = law.most_worker_batch(workers)
    remembered = workers * batch / (1 - momentum)
    if batch > most:
        return (
            f"hint: {workers} workers with a worker batch of more than {most} learn more slowly than one, or diverge; "
            f"try --worker-batch {most}, or auto"
        )
    if remembered > 1.01 * law.MEMORY:
        return (
            f"hint: block momentum {momentum:g} remembers {remembered:,.0f} exemplars; beyond {law.MEMORY:,} it may "
            "diverge: leave out --block-momentum and --learning-rate-scale"
        )
    return ""


class Screen:
    """Prints for rank 0, or for nobody (`quiet`)."""

    def __init__(self, quiet: bool) -> None:
        self.quiet = quiet
        self.bar: Bar | None = None
        self.drawn = 0.0

    def say(self, text: str = "") -> None:
        if not self.quiet:
            print(text, flush=True)

    def head(self, about: dict[str, str], advice: list[str], nothing_left: str) -> None:
        """Print what is about to run, lines of advice, and the columns' names, or why nothing is left to do."""
        width = max(map(len, about))
        for name, text in about.items():
            self.say(f"{name:{width}}  {text}")
        for line in advice:
            self.say(line)
        self.say()
        self.say(nothing_left or ROW.format("epoch", "train %", "test %", "seconds", "exemplars/s", *PHASES))

    def start_epoch(self, epoch: int, rounds: int) -> None:
        """Show a bar for the epoch, where there is a terminal and rich is installed."""
        where = None if self.quiet else terminal()
        if where is None:
            return
        try:
            from mpinn.bar import Bar
        except ImportError:
            return
        try:
            with Path(where).open() as tty:
                width = os.get_terminal_size(tty.fileno()).columns
        except OSError:
            width = 80
        self.bar = Bar(epoch, rounds, width or 80)

    def show_round(self, done: int) -> None:
        """Move the bar, at most ten times a second."""
        if self.bar and monotonic() - self.drawn > REFRESH:
            self.drawn = monotonic()
            self.bar.move(done)

    def end_epoch(self) -> None:
        """Take the bar away."""
        if self.bar:
            self.bar.remove()
            self.bar = None

    def close(self, text: str, signalled: bool) -> None:
        """Print the last line; after a signal on the terminal itself: Open MPI's launcher forwards nothing any more."""
        where = terminal() if signalled and not self.quiet else None
        try:
            if where:
                Path(where).write_text(text + "\n")
                return
        except OSError:
            pass
        self.say(text)

    def row(self, epoch: dict[str, Any], exemplars: int) -> None:
        """Print the row of an epoch, as it stands in the result, that learned so many exemplars."""
        means = [epoch["phases"][name]["mean"] for name in PHASES]
        shares = [f"{100 * mean / max(sum(means), 1e-9):.0f}%" for mean in means]
        accuracies = ["-" if a is None else f"{a:.2f}" for a in (epoch["train_accuracy"], epoch["test_accuracy"])]
        seconds = epoch["train_seconds"]
        self.say(ROW.format(epoch["epoch"], *accuracies, f"{seconds:.2f}", f"{exemplars / seconds:,.0f}", *shares))
