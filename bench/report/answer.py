"""The answer that a report opens with: does it work, how fast is it, and how far may one trust that?"""

from collections import Counter
from collections.abc import Sequence
from statistics import median
from typing import Any

from bench.analysis import results
from bench.analysis.results import Row, Run, Scaled
from bench.harness.records import DEGRADED, INVALID
from bench.report.cells import label, number
from mpinn.system.words import counted

METERS = {"rapl": "of the processor, without memory and power supply", "ina": "of the board, by its sensors"}


def title(run: Run) -> str:
    """Return what a page on one run is called: its suite, the machine, the date."""
    return f"{run.plan['suite']['title']}: {run.plan['profile']['title']}{', ' + date(run) if date(run) else ''}"


def date(run: Run) -> str:
    """Return the day of the last session, or an empty string."""
    return run.sessions[-1]["started"][:10] if run.sessions else ""


def sentences(run: Run, merit: dict[str, Any] | None) -> list[str]:
    """Return the answer; merit: seconds to the target, where it was reached (`page.merit`)."""
    said = [works(run), speed(run)]
    if merit:
        said.append(f"{merit['seconds']} s of training to {merit['target']}% on the test set ({merit['how']}).")
    return [one for one in [*said, trust(run)] if one]


def works(run: Run) -> str:
    """Say whether what was measured is right."""
    wrong = sum(record["verdict"] == INVALID for record in run.records)
    count = counted(len(run.records), "result")
    if not run.records:
        return "Nothing was measured yet."
    if wrong:
        return f"It does not work as it should: {wrong} of {count} {'is' if wrong == 1 else 'are'} wrong (INVALID)."
    return f"It works: {'the one result is' if len(run.records) == 1 else f'all {count} are'} right."


def speed(run: Run) -> str:
    """Say how fast the first experiment was that has a speedup, else the first metric of one."""
    for experiment, about in run.plan["suite"]["experiments"].items():
        figures = [figure for figure in about.get("figures", []) if figure["kind"] == "speedup"]
        x = (figures[0].get("x") if figures else None) or "ranks"
        best = with_a_core_each(run, results.scaling(run.records, experiment, "epoch_seconds", x) if figures else [])
        if best:
            seconds, ranks = best.row.spread.median, counted(best.row.records[0]["ranks"], "rank")
            return (
                f"On {ranks} an epoch takes {seconds:.3g} s, {best.speedup.value:.2f} times as fast as on one: "
                f"efficiency {best.efficiency:.0%}.{wanders(best)}{energy(run, best.row)}"
            )
    for experiment, about in run.plan["suite"]["experiments"].items():
        for metric in [name for figure in about.get("figures", []) for name in figure.get("y", [])]:
            rows = results.rows(run.records, experiment, metric)
            if rows:
                row = most_ranks(run, rows) or rows[0]
                point = row.point.partition("/")[2]
                where = f" ({point})" if point else ""
                return f"{about['title']}{where}: {label(metric)} {number(row.spread.median)}."
    return ""


def wanders(point: Scaled) -> str:
    """Say so where repeats differ too much for its speedup to be taken at its word."""
    return " It is unstable: repeats differ by more than a tenth." if point.speedup.unstable else ""


def energy(run: Run, row: Row) -> str:
    """Say what an epoch costs, and what was measured of it; nothing where that is not known."""
    joules, rates = row.values("epoch_joules"), row.values("exemplars_per_joule")
    if not len(joules) or not len(rates):
        return ""
    meters = {host.get("meter") for record in row.records for host in record["hosts"]}
    stated = run.plan.get("watts")
    how = (
        f"at {stated:g} W, as stated" if stated else " and ".join(METERS[one] for one in sorted(meters & METERS.keys()))
    )
    return f" It takes {number(median(joules))} J ({how}): {number(median(rates))} exemplars a joule."


def with_a_core_each(run: Run, curve: Sequence[Scaled]) -> Scaled | None:
    """Return the point with most ranks of those that have a core each, if it has more than one."""
    row = most_ranks(run, [one.row for one in curve])
    return next((one for one in curve if one.row is row), None)


def most_ranks(run: Run, rows: Sequence[Row]) -> Row | None:
    """Return the first row with most ranks of those that have a core each, if it has more than one."""
    found = [row for row in rows if 1 < row.records[0]["ranks"] <= results.cores(run)]
    return max(found, key=lambda row: row.records[0]["ranks"], default=None)


def trust(run: Run) -> str:
    """Say what is to be held against the figures."""
    disturbed = Counter(record["verdict"] for record in run.records)[DEGRADED]
    short = sum(not record["official"] for record in run.records)
    were = "was" if disturbed == 1 else "were"
    doubts = [f"{disturbed} of {len(run.records)} results {were} disturbed (DEGRADED)"] if disturbed else []
    doubts += [f"{short} {'is' if short == 1 else 'are'} too short to be official"] if short else []
    if doubts:
        return f"But {' and '.join(doubts)}."
    return "Nothing disturbed them, and all are long enough to be official." if run.records else ""
