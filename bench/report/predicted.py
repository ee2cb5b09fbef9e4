"""How far it would scale: the speedup that is predicted from the host's calibration, with what was measured on it."""

from bench.analysis import results
from bench.analysis.results import Row, Run
from bench.harness.suite import Figure
from bench.prediction import machine, model, simulation
from bench.prediction.machine import Machine
from bench.prediction.model import Cluster, Job
from bench.report import figures
from bench.report.cells import Cell, Hosts, Part, cell, host_label, number
from bench.report.figures import Line
from mpinn.config import Options

MOST_HOSTS = 1024
TABLED = (1, 2, 4, 16, 64, 256, 1024)  # hosts of the table
NOT_CALIBRATED = "python -m bench calibrate measures what a prediction needs; then make the report again."


def predicted(name: str, figure: Figure, hosts: Hosts) -> tuple[str, list[Part]]:
    """Return speedup over ranks, of one host and of as many as 1,024 like it, and measured points."""
    drawn, parts = [], []
    for title, run in hosts:
        host = calibrated(run)
        rows = results.rows(run.records, name, "epoch_seconds")
        base = next((row for row in rows if row.records[0]["ranks"] == 1), None)
        if host is None or base is None:
            parts.append(Part([], [], NOT_CALIBRATED))
            continue
        told = [row for row in rows if row.records[0]["ranks"] <= host.cores]
        clusters = clusters_of(host)
        seconds = [epoch_seconds(host, cluster, base) for cluster in clusters]
        ranks = [float(cluster.size) for cluster in clusters]
        drawn.append(Line(host_label(title, hosts, "predicted"), ranks, [seconds[0] / one for one in seconds]))
        drawn.append(
            Line(
                host_label(title, hosts, "measured"),
                [float(row.records[0]["ranks"]) for row in told],
                [base.spread.median / row.spread.median for row in told],
                marks_only=True,
            )
        )
        parts.append(table(host, clusters, seconds, told, title if len(hosts) > 1 else ""))
    return (figures.lines(drawn, "ranks", "speedup", ideal=True, log=True) if drawn else ""), parts


def calibrated(run: Run) -> Machine | None:
    """Return the machine of a run as it was calibrated, if it was. Raises UsageError."""
    if run.directory is None:
        return run.machine
    path = machine.beside(run.directory)
    return machine.load(path) if path else None


def clusters_of(host: Machine) -> list[Cluster]:
    """Return one host with one rank up to one a core, then more hosts, where the network between them is known."""
    hosts = model.doublings(MOST_HOSTS)[1:] if host.network else []
    alone = [Cluster(1, count, host.cores) for count in model.doublings(host.cores)]
    return alone + [Cluster(count, host.cores, host.cores) for count in hosts]


def epoch_seconds(host: Machine, cluster: Cluster, base: Row) -> float:
    """Return what an epoch of the experiment would take there; base: its point on one rank."""
    first = base.records[0]
    options = first["options"]
    batch = options.get("worker_batch", Options().worker_batch)
    batch = batch if isinstance(batch, int) else 100
    workers = cluster.size if first["workers"] == 1 else first["workers"]  # one a rank
    batch = max(1, min(batch, model.EXEMPLARS // workers))
    job = Job(workers, batch, tuple(options.get("layers") or model.PAPERS), bool(options.get("overlap")))
    return simulation.predict(host, cluster, job).epoch_seconds


def table(host: Machine, clusters: list[Cluster], seconds: list[float], told: list[Row], title: str) -> Part:
    """Return a row for some numbers of hosts and ranks, with what was measured and the error."""
    measured = {row.records[0]["ranks"]: row for row in told}
    rows = []
    for cluster, one in zip(clusters, seconds, strict=True):
        row = measured.get(cluster.size) if cluster.hosts == 1 else None
        if row is None and cluster.hosts not in TABLED:
            continue
        found = [cell(row, row.spread.median), Cell(f"{100 * (one / row.spread.median - 1):+.0f}%")] if row else []
        rows.append(
            [
                *map(Cell, (str(cluster.hosts), str(cluster.size), number(one), f"{seconds[0] / one:.1f}")),
                *(found or [Cell(""), Cell("")]),
            ]
        )
    columns = ["hosts", "ranks", "predicted seconds an epoch", "speedup", "measured", "error"]
    network = host.network
    link = f", over links of {network.link_mbits:,.0f} Mbit/s as they were calibrated" if network else ""
    note = f"Predicted from a calibration of {host.measured}{link}: bench/prediction/model.py says how."
    return Part(columns, rows, f"{title}. {note}" if title else note)
