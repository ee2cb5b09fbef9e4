"""What rank 0 prints: a head, a row an epoch with a live bar within it where there is a terminal, a closing line."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from time import monotonic
from typing import Any

from mpinn.config import Settings
from mpinn.merging import law
from mpinn.merging.optimizers import OPTIMIZERS
from mpinn.model.network import weights_sha256
from mpinn.parallel.phases import PHASES, Efficiency, RoundMerged
from mpinn.parallel.schedule import Schedule
from mpinn.system import terminal
from mpinn.system.words import counted
from mpinn.training import goals
from mpinn.training.events import (
    EpochBegan,
    EpochEnded,
    Event,
    RankLost,
    RoundsEnded,
    RunBegan,
    RunEnded,
    RunFailed,
    Saved,
    WentBack,
)
from mpinn.training.results import Facts
from mpinn.training.state import RunState

ROW = "{:>5}  {:>8}  {:>8}  {:>8}  {:>8}  {:>11}" + len(PHASES) * "  {:>5}"
REFRESH = 0.1  # seconds between two states of the bar
MANY_WORKERS = 4  # from here on the plain mean learns clearly slower than block momentum


def head(settings: Settings, facts: Facts, medium: str) -> dict[str, str]:
    """Return what the screen says before training; medium: what ranks merge through."""
    data, environment = facts.data, facts.environment
    mpi, note = environment["mpi"], environment["kernel_note"]
    rounds = Schedule(len(data.train_labels), settings.workers, settings.worker_batch).rounds
    cost = facts.merge_cost
    return {
        "network": f"{'-'.join(map(str, settings.layers))}, {' / '.join(settings.activations)}, "
        f"{settings.network.parameters:,} weights",
        "data": f"{data.name}: {len(data.train_labels):,} training and {len(data.test_labels):,} test "
        f"exemplars of {' x '.join(map(str, data.image_shape))}, {data.classes} classes",
        "workers": f"{settings.workers} on {learning_ranks(environment)}, "
        f"worker batch {settings.worker_batch}, {counted(rounds, 'round')} an epoch"
        + (f" (a merge takes as long as {cost.merge / cost.exemplar:.1f} exemplars)" if cost else ""),
        "merge": f"{merge_of(settings)}, through {medium}"
        + (", while the next round is learned" if settings.overlap else ""),
        "ranks": "; ".join(map(where, environment["nodes"]))
        + (", oversubscribed" if environment["oversubscribed"] else ", not oversubscribed"),
        "MPI": f"{mpi['vendor']} {mpi['version']}, waiting: {environment['wait_policy']}",
        "kernel": environment["kernel_id"] + (f" ({note})" if note else ""),
    }


def merge_of(settings: Settings) -> str:
    """Return what is merged, and what moves the master."""
    found = "gradients" if settings.gradients else settings.merge
    if settings.block_momentum is not None:
        scale = settings.learning_rate_scale or 1
        found += f" {settings.block_momentum:.4g}, learning rate {settings.learning_rate:g}"
        found += f" x {scale:.4g}" if scale != 1 else ""
    if settings.optimizer:
        having = ", ".join(f"{name} {getattr(settings, name):g}" for name in OPTIMIZERS[settings.optimizer].hyper)
        found += f", {settings.optimizer} {settings.master_rate:g}" + (f" ({having})" if having else "")
    if settings.schedule != "constant":
        over = settings.schedule_epochs or settings.decay_epochs
        found += f", {settings.schedule}" + (f" {settings.decay:g}" if settings.decay else "")
        found += f" over {counted(over, 'epoch')}" if over else ""
    return found + (f", warm-up over {settings.warm_up:,} exemplars" if settings.warm_up else "")


def learning_ranks(environment: dict[str, Any]) -> str:
    """Return how many ranks learn, and of how many where others rest."""
    learning, resting = environment["ranks"], environment["resting_ranks"]
    return f"{learning} learning ranks of {learning + resting}" if resting else counted(learning, "rank")


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


def hints(settings: Settings, notes: Sequence[str]) -> list[str]:
    """Return lines of advice; notes: on the data set."""
    found = [*(f"note: {note}" for note in notes), merge_hint(settings)]
    if settings.resume and not settings.checkpoint:
        found.append("hint: --resume names a file, so no snapshot will be written; --checkpoint DIR writes some")
    return list(filter(None, found))


def merge_hint(settings: Settings) -> str:
    """Return a line of advice on the merge, or an empty string."""
    workers, batch, momentum = settings.workers, settings.worker_batch, settings.block_momentum
    if settings.rule == "mean" and workers >= MANY_WORKERS:
        return f"hint: under the plain mean {workers} workers learn slowly; try --merge block-momentum"
    if momentum is None:
        return ""
    limits = law.of(settings.overlap)
    most = limits.most_worker_batch(workers)
    remembered = workers * batch / (1 - momentum)
    if batch > most:
        return (
            f"hint: {workers} workers with a worker batch of more than {most} learn more slowly than one, or diverge; "
            f"try --worker-batch {most}, or auto"
        )
    if remembered > 1.01 * limits.memory:
        return (
            f"hint: block momentum {momentum:g} remembers {remembered:,.0f} exemplars; beyond "
            f"{limits.memory:,} it may diverge: leave out --block-momentum and --learning-rate-scale"
        )
    return ""


class Screen:
    """The observer that prints."""

    def __init__(
        self,
        settings: Settings,
        head: dict[str, str],
        notes: Sequence[str],
        start: dict[str, float],
        silent: Callable[[], bool],
    ) -> None:
        """notes: on the data set; start: the result's, read at the end.

        silent: whether to print nothing, as on every rank but rank 0, which may change when ranks are lost.
        """
        self.settings, self.head, self.notes, self.start, self.silent = settings, head, notes, start, silent
        self.bar: terminal.Bar | None = None
        self.drawn = 0.0  # when the bar was, by time.monotonic
        self.saved: Path | None = None  # the last snapshot
        self.dead = ""  # what shows it, after the last epoch

    def __call__(self, event: Event) -> None:
        match event:
            case RoundMerged(round=done):
                self.move_bar(done)
            case EpochBegan(epoch, rounds):
                self.draw_bar(epoch, rounds)
            case RoundsEnded() | RunFailed():
                self.remove_bar()
            case EpochEnded(row=row, exemplars=exemplars, dead=dead):
                self.say(row_of(row, exemplars))
                before, self.dead = self.dead, dead
                if self.dead and not before:
                    self.say(f"training is dead: {self.dead}; {goals.cure(self.settings)}")
            case Saved(path):
                self.saved = path
            case WentBack(why=why):
                self.remove_bar()
                self.say(why)
            case RankLost(rank, host, ranks, state):
                left = f"{counted(ranks, 'rank')} {'goes' if ranks == 1 else 'go'} on"
                self.say(f"rank {rank} on {host} was lost; {left} from epoch {state.epoch}, round {state.round}")
            case RunBegan(nothing_left=nothing_left):
                self.open(nothing_left)
            case RunEnded(state, seconds, signalled, efficiency):
                told = closing_line(self.settings, state, self.start, seconds, self.saved, efficiency)
                self.close(told, signalled)

    def say(self, text: str = "") -> None:
        if not self.silent():
            print(text, flush=True)

    def open(self, nothing_left: str) -> None:
        """Print what is about to run, lines of advice, and the columns' names, or why nothing is left to do."""
        width = max(map(len, self.head), default=0)
        for name, text in self.head.items():
            self.say(f"{name:{width}}  {text}")
        for line in hints(self.settings, self.notes):
            self.say(line)
        self.say()
        self.say(nothing_left or ROW.format("epoch", "train %", "test %", "loss", "seconds", "exemplars/s", *PHASES))

    def draw_bar(self, epoch: int, rounds: int) -> None:
        """Show a bar for the epoch, where there is a terminal and rich is installed."""
        where = None if self.silent() else terminal.seen_by_a_person()
        if where:
            try:
                self.bar = terminal.Bar(f"epoch {epoch}", rounds, sys.stdout, terminal.width_of(where))
            except ImportError:
                return

    def move_bar(self, done: int) -> None:
        """Show so many rounds as done, at most ten times a second."""
        if self.bar and monotonic() - self.drawn > REFRESH:
            self.drawn = monotonic()
            self.bar.move(done)

    def remove_bar(self) -> None:
        if self.bar:
            self.bar.remove()
            self.bar = None

    def close(self, text: str, signalled: bool) -> None:
        """Print the last line; after a signal on the terminal itself: Open MPI's launcher forwards nothing any more."""
        where = terminal.seen_by_a_person() if signalled and not self.silent() else None
        try:
            if where:
                Path(where).write_text(text + "\n")
                return
        except OSError:
            pass
        self.say(text)


def row_of(epoch: dict[str, Any], exemplars: int) -> str:
    """Return the row of an epoch, as it stands in the result, that learned so many exemplars."""
    means = [epoch["phases"][name]["mean"] for name in PHASES]
    shares = [f"{100 * mean / max(sum(means), 1e-9):.0f}%" for mean in means]
    accuracies = ["-" if a is None else f"{a:.2f}" for a in (epoch["train_accuracy"], epoch["test_accuracy"])]
    seconds = epoch["train_seconds"]
    loss = "-" if epoch["loss"] is None else f"{epoch['loss']:.4f}"
    return ROW.format(epoch["epoch"], *accuracies, loss, f"{seconds:.2f}", f"{exemplars / seconds:,.0f}", *shares)


def closing_line(
    settings: Settings,
    state: RunState,
    start: dict[str, float],
    seconds: float,
    saved: Path | None,
    efficiency: Efficiency | None,
) -> str:
    """Return what came of the run, and where it is written down; start: the result's; saved: the last snapshot."""
    epochs = counted(len(state.epochs), "epoch")
    target = f"target of {settings.target_accuracy or 0:g}% ({settings.target_set} set)"
    match state.status:
        case "completed":
            reached = epochs
        case "target":
            reached = f"{target} reached after {epochs}"
        case "target-missed":
            best = max((row[f"{settings.target_set}_accuracy"] or 0.0 for row in state.epochs), default=0.0)
            reached = f"{target} missed: at most {best:.2f}% in {epochs}"
        case "dead":
            reached = f"dead after {epochs}"
        case _:
            reached = f"{state.status} at epoch {state.epoch}, round {state.round}"
    written = [f"result in {settings.result}"] if settings.result else []
    written += [f"snapshot in {saved}"] if saved else []
    written += [f"trace in {settings.trace}"] if settings.trace else []
    parts = [
        f"{reached}, {spent(state, start, seconds)}",
        *([efficiency_of(efficiency)] if efficiency else []),
        f"weights {weights_sha256(state.master.weights)[:12]}",
        *written,
    ]
    return "\n" + "; ".join(parts)


def efficiency_of(found: Efficiency) -> str:
    """Return efficiencies in words; transfer by what takes it."""
    return (
        f"parallel efficiency {found.parallel:.2f}: balance {found.balance:.2f}, "
        f"serialisation {found.serialisation:.2f}, merge {found.transfer:.2f}"
    )


def spent(state: RunState, start: dict[str, float], seconds: float) -> str:
    """Return the seconds of the run, and what they went to; start: the result's, of which a run counts the end."""
    stretches = [*state.epochs, *([state.partial] if state.partial else [])]
    parts = {
        "rounds": sum(stretch["train_seconds"] for stretch in stretches),
        "evaluation": sum(row["evaluate_seconds"] for row in state.epochs),
        "start": start["data"] + start["prepare"],
    }
    parts["other"] = max(0.0, seconds - sum(parts.values()))
    return f"{seconds:.1f} s ({', '.join(f'{name} {part:.1f}' for name, part in parts.items())})"
