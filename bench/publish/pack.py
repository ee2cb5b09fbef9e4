"""`bench pack DIR`: one small file of a result that others can verify, with nothing personal in it."""

import argparse
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench.analysis import results
from bench.harness import records
from bench.prediction import machine
from bench.publish import packed
from bench.publish.packed import SESSION, SUFFIX, Pack
from bench.report import answer
from mpinn.system import untrusted
from mpinn.system.errors import UsageError
from mpinn.system.words import counted


def add_parser(commands: Any) -> None:
    parser = commands.add_parser(
        "pack",
        help="make one file of a result, to publish",
        description="Pack a result directory into one file: records, plan, environment, hashes of weights, a "
        "calibration; without host and user names, paths and addresses. What is left out is listed first.",
    )
    parser.add_argument("directory", type=Path, metavar="DIR", help="result directory of `bench run`")
    parser.add_argument("--out", type=Path, metavar="FILE", help=f"default: SUITE-PROCESSOR-DATE{SUFFIX} here")
    parser.add_argument("--price", type=price, metavar='"45 EUR"', help="of the machine, for the gallery's table")
    parser.add_argument("--dry-run", action="store_true", help="list what would be left out, and stop")
    parser.set_defaults(command=command)


def price(text: str) -> str:
    """Return an amount and a currency. Raises argparse.ArgumentTypeError."""
    if not re.fullmatch(packed.PRICE, text):
        raise argparse.ArgumentTypeError(f'expected an amount and a currency such as "45 EUR", got {text!r}')
    return text


def command(asked: argparse.Namespace) -> int:
    """Write the pack; return the exit status. Raises UsageError, MpinnError."""
    run = results.open_run(asked.directory)
    if not run.plan or not run.sessions:
        raise UsageError(f"{asked.directory}: plan.json or environment.json is missing; restore it")
    raw = all_records(asked.directory)
    check(asked.directory, raw)
    for what, names in left_out(asked.directory, run.sessions, raw):
        print(f"left out: {what}: {', '.join(names)}")
    if asked.dry_run:
        return 0
    pack = made(asked.directory, run, raw, asked.price)
    out = asked.out or Path(name_of(run))
    size = packed.save(out, pack)
    print(f"{out}: {counted(len(raw), 'record')}, {size / 1e3:.0f} kB; next: python -m bench verify {out}")
    return 0


def all_records(directory: Path) -> list[dict[str, Any]]:
    """Return every record as it was written, those that were measured again included; `open_run` has checked them."""
    content = untrusted.content(directory / records.FILE, records.LONGEST)
    return [untrusted.json_value(line) for line in content[: records.whole(content)].splitlines()]


def check(directory: Path, raw: list[dict[str, Any]]) -> None:
    """Raise UsageError where others could not check the records."""
    own = {record["point"] for record in raw if {"data", "test_data"} & record["options"].keys()}
    if own:
        raise UsageError(f"{directory}: {sorted(own)[0]} learned data of your own, which nobody else has; pack MNIST's")
    lost = [record["point"] for record in raw if record["result"] and not (directory / record["result"]).exists()]
    if lost:
        raise UsageError(f"{directory}: the result of {lost[0]} is not there; restore runs/, or measure again")


def made(directory: Path, run: results.Run, raw: list[dict[str, Any]], price: str | None) -> Pack:
    """Return the pack of a result directory, of a machine with that price."""
    plan = untrusted.json_file(directory / "plan.json")
    hosts = len((plan.get("hostfile") or "").split("\n")) - 1 if plan.get("hostfile") else 1
    calibration = machine.beside(directory)
    standing = {id(record) for record in records.latest(raw)}  # no figure is of others: measured again
    return Pack(
        schema_version=packed.SCHEMA_VERSION,
        title=answer.title(run),
        plan={"suite": plan["suite"], "profile": plan["profile"], "hosts": hosts, "watts": plan.get("watts")},
        sessions=tuple({name: one[name] for name in SESSION if name in one} for one in run.sessions),
        records=tuple({**records.public(record), "chain": record.get("chain")} for record in raw),
        runs=tuple(packed.left(directory, record) if id(record) in standing else {} for record in raw),
        calibration=untrusted.json_file(calibration) if calibration else None,
        price=price,
    )


def left_out(
    directory: Path, sessions: list[dict[str, Any]], raw: list[dict[str, Any]]
) -> Iterator[tuple[str, list[str]]]:
    """Yield what is personal in a result directory, and how often or which: none of it is packed."""
    hosts = {host["host"] for record in raw for host in record["hosts"]} | {one["host"] for one in sessions}
    hosts |= {node["host"] for record in raw for node in record["environment"].get("nodes", [])}
    yield "names of hosts", sorted(hosts)
    yield "command lines and files", [counted(len(raw), "record")]
    reasons = sum(bool(record["reasons"]) for record in raw)
    if reasons:
        yield "reasons of verdicts, which may name hosts and files", [counted(reasons, "record")]
    plan = untrusted.json_file(directory / "plan.json")
    if plan.get("hostfile"):
        yield "the hostfile, with addresses", [counted(len(plan["hostfile"].splitlines()), "line")]


def name_of(run: results.Run) -> str:
    """Return the name of a pack's file."""
    words = f"{run.plan['suite']['name']}-{run.plan['profile']['title']}-{answer.date(run)}".lower()
    return re.sub(r"[^a-z0-9]+", "-", words).strip("-") + SUFFIX
