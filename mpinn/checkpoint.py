"""`python -m mpinn.checkpoint show|export`: turn a snapshot into something a person can read."""

import io
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import yaml

from mpinn.model.network import weights_sha256
from mpinn.system import files
from mpinn.system.command_line import Parser, run_command
from mpinn.system.errors import UsageError
from mpinn.training.snapshots import HISTORY, Snapshot, load


def describe(snapshot: Snapshot) -> dict[str, Any]:
    """Return all of a snapshot but its weights."""
    state = snapshot.state
    return {
        "id": snapshot.id,
        "epochs_done": state.epoch - 1,
        "rounds_done": state.round,
        "goes_on_with": f"epoch {state.epoch}, round {state.round + 1}",
        "parameters": len(state.master.weights),
        "weights_sha256": weights_sha256(state.master.weights),
        "block_momentum": snapshot.settings["merge"] == "block-momentum",
        "kernel_id": snapshot.kernel_id,
        "numerics": snapshot.numerics,
        "data": snapshot.data,
        "settings": snapshot.settings,
        "history": {name: getattr(state, name) for name in HISTORY},
    }


def export_json(snapshot: Snapshot, out: TextIO) -> None:
    """Write the snapshot as JSON: `describe`, and the weights as a list of (inputs + bias, outputs) arrays."""
    layers = [view.tolist() for view in snapshot.network.views(snapshot.state.master.weights)]
    json.dump({**describe(snapshot), "weights": layers}, out, allow_nan=False)
    out.write("\n")


def export_csv(snapshot: Snapshot, out: TextIO) -> None:
    """Write one line a weight: layer (from 1), input (from 0, the bias unit last), output, weight."""
    out.write("layer,input,output,weight\n")
    for layer, view in enumerate(snapshot.network.views(snapshot.state.master.weights), start=1):
        for (row, column), weight in np.ndenumerate(view):
            out.write(f"{layer},{row},{column},{weight!s}\n")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = Parser(prog="python -m mpinn.checkpoint", description="Make a snapshot readable.")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="show|export")
    shown = verbs.add_parser("show", help="print what a snapshot holds, but for its weights, as YAML")
    exported = verbs.add_parser("export", help="write a snapshot with its weights as text, for a person to read")
    for verb in (shown, exported):
        verb.add_argument("snapshot", type=Path, help="a file, or a directory: then its newest good snapshot")
    exported.add_argument("--format", choices=("json", "csv"), default="json", help="default: json")
    exported.add_argument(
        "--out", type=Path, metavar="FILE", help="default: standard output, unless that is a terminal"
    )
    asked = parser.parse_args(arguments)
    if asked.verb == "export" and asked.out is None and sys.stdout.isatty():
        raise UsageError("export: a number a weight is too much for a terminal; give --out FILE, or pipe it on")
    snapshot = load(asked.snapshot)
    if asked.verb == "show":
        yaml.safe_dump(describe(snapshot), sys.stdout, sort_keys=False, default_flow_style=None)
        return
    text = io.StringIO()
    (export_json if asked.format == "json" else export_csv)(snapshot, text)
    if asked.out:
        files.write(asked.out, text.getvalue().encode())
    else:
        sys.stdout.write(text.getvalue())


if __name__ == "__main__":
    run_command(main)
