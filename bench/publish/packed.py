"""A pack: what of a result directory others need to check it, as one gzipped JSON file."""

# ruff: noqa: RUF009 (entry returns a dataclasses.field)

import gzip
import json
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bench.harness import result_file, stored
from bench.harness.result_file import Training
from bench.harness.stored import TEXT
from bench.harness.suite import NAME
from bench.prediction import machine
from bench.prediction.machine import Machine
from mpinn.datasets import bounded
from mpinn.hosts.profile import known
from mpinn.system import files, untrusted
from mpinn.system.errors import UsageError
from mpinn.system.schema import entry, plain, read, shown

SCHEMA_VERSION = 1
SUFFIX = ".mpinn.json.gz"
PRICE = r"\d{1,9}(\.\d\d)? [A-Z]{3}"
RUN = ("epochs", "rounds_per_epoch", "start", "total_seconds", "memory", "data", "config")  # of a training run's result
FILES = ("data", "test_data", "result", "trace", "checkpoint", "resume")  # settings that name files
SESSION = ("started", "processor", "architecture", "system", "memory_mib", "mpinn", "commit", "python", "mpi", "unfit")


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a pack's plan has beside that of a result directory."""

    OPEN = True
    hosts: int = entry("that took part", least=1, most=2**20)


@dataclass(frozen=True, kw_only=True)
class Pack:
    """What the file says, before its parts are looked at by the schemas of a result directory."""

    schema_version: int = entry("of packs", least=1, most=SCHEMA_VERSION)
    title: str = entry("what was measured where", pattern=TEXT)
    plan: dict[str, Any] = entry("suite, profile, hosts and watts")
    sessions: tuple[dict[str, Any], ...] = entry("of bench run", items=1)
    records: tuple[dict[str, Any], ...] = entry("all, in the order in which they were measured", items=1)
    runs: tuple[dict[str, Any], ...] = entry("what each of the records' training left; {} of others", items=1)
    calibration: dict[str, Any] | None = entry("of the machine", default=None)
    price: str | None = entry("of the machine", pattern=PRICE, default=None)


def save(path: Path, pack: Pack) -> int:
    """Write a pack; return its bytes. Raises MpinnError."""
    text = json.dumps(vars(pack), separators=(",", ":"), allow_nan=False)
    content = gzip.compress(text.encode(), mtime=0)
    files.write(path, content)
    return len(content)


def load(path: Path) -> Pack:
    """Return a pack whose parts are what they should be, whoever made it. Raises UsageError that names file and key."""
    with bounded.opened(path) as (file, limit):
        text = bounded.unzipped(file).read(min(limit, untrusted.LONGEST_JSON) + 1)
    try:
        pack = read(Pack, untrusted.json_value(text))
        if pack.calibration is not None:
            calibrated(pack.calibration)
        plan = read(Plan, pack.plan)
        told = stored.plan(pack.plan)
        if not re.fullmatch(NAME, told["suite"]["name"]):
            raise UsageError(f"plan.suite.name: expected a-z, 0-9 and hyphens, got {shown(told['suite']['name'])}")
        sessions = stored.sessions([{"host": "", **one} for one in pack.sessions])
        if len(pack.records) != len(pack.runs):
            raise UsageError(f"runs: expected {len(pack.records)}, one a record, got {len(pack.runs)}")
        for number, (record, run) in enumerate(zip(pack.records, pack.runs, strict=True)):
            try:
                stored.record(whole(record))
                if run:
                    plain(read(Training, {"status": "", "environment": record["environment"], **run}))
            except UsageError as error:
                raise UsageError(f"records[{number}]: {error}") from None
        about = {"suite": told["suite"], "profile": known(told["profile"]), "hosts": plan.hosts, "watts": told["watts"]}
        return replace(pack, plan=about, sessions=tuple(sessions))
    except (UsageError, ValueError) as error:
        raise UsageError(f"{path}: no pack of bench: {error}") from None


def calibrated(content: dict[str, Any]) -> Machine:
    """Return the machine of a pack's calibration. Raises UsageError."""
    try:
        return machine.parse(content)
    except UsageError as error:
        raise UsageError(f"calibration: {error}") from None


def whole(record: dict[str, Any]) -> dict[str, Any]:
    """Return a public record with what a record has beside."""
    if not isinstance(record.get("hosts"), list) or not all(isinstance(host, dict) for host in record["hosts"]):
        raise UsageError("hosts: expected a list of mappings")
    hosts = [{**host, "host": f"host {number}"} for number, host in enumerate(record["hosts"], start=1)]
    environment = {"nodes": [], **record["environment"]} if isinstance(record.get("environment"), dict) else None
    return {**record, "hosts": hosts, "environment": environment, "reasons": [], "command": ""}


def training(run: dict[str, Any], record: dict[str, Any]) -> dict[str, Any]:
    """Return what a packed run is to `measure.of_training`: a result. Raises UsageError."""
    found: dict[str, Any] = plain(read(Training, {"status": "", "environment": record["environment"], **run}))
    return {**run, **found, "environment": record["environment"], "config": run["config"]}


def left(directory: Path, record: dict[str, Any]) -> dict[str, Any]:
    """Return what a record's training left, as far as it is packed; {} where it is no training or is not there."""
    if record["program"] != "train" or not record["result"]:
        return {}
    found = result_file.load(directory / record["result"])
    config = {name: value for name, value in found["config"].items() if name not in FILES}
    return {name: found[name] for name in RUN if name in found} | {"config": config}
