"""`python -m mpinn.hosts`: list, show, detect and apply host profiles, and write hostfiles."""

import argparse
import json
import socket
import sys
from pathlib import Path

from mpinn.hosts import library
from mpinn.hosts.apply import activate_file, carry_out, overruled, parameter_files, plan
from mpinn.hosts.hostfile import FORMATS, from_profiles
from mpinn.hosts.launcher import find_launcher
from mpinn.hosts.profile import Profile, dump, schema
from mpinn.hosts.sheet import listing, sheet
from mpinn.system.command_line import Parser, run_command
from mpinn.system.files import home
from mpinn.system.terminal import show

WHICH = "a profile that ships, a YAML file, or 'detected' for this machine"


def parser() -> argparse.ArgumentParser:
    """Return the command line of `python -m mpinn.hosts`."""
    parser = Parser(
        prog="python -m mpinn.hosts",
        description="Host profiles: what a machine is and how MPI should be run on it.",
        epilog="Exit status: 0 done; 1 failed; 2 wrong usage.",
        allow_abbrev=False,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND", parser_class=Parser)

    def command(name: str, help: str, example: str) -> argparse.ArgumentParser:
        epilog = f"Example: python -m mpinn.hosts {example}"
        return commands.add_parser(name, help=help, description=help + ".", epilog=epilog, allow_abbrev=False)

    command("list", "list the profiles that ship", "list")
    shown = command("show", "print a profile as a sheet to read", "show banana-pi-m3")
    shown.add_argument("name", metavar="NAME", help=WHICH)
    command("detect", "print a profile of this machine as YAML", "detect > my-machine.yml")
    apply = command("apply", "make a bare mpirun obey a profile, through MPI's own parameter files", "apply detected")
    apply.add_argument("name", metavar="NAME", nargs="?", help=WHICH)
    apply.add_argument("--interface", type=interface, metavar="NAME", help="talk to other hosts over this one alone")
    apply.add_argument(
        "--activate", action="store_true", help="write variables into this environment's bin/activate instead"
    )
    apply.add_argument("--undo", action="store_true", help="take out what apply wrote; needs no NAME")
    apply.add_argument("--dry-run", action="store_true", help="print what would change and change nothing")
    hosts = command(
        "hostfile",
        "print a hostfile with slots from profiles",
        "hostfile raspberry-pi-5=10.0.0.11 orange-pi-5=node2 > hosts.txt",
    )
    hosts.add_argument("hosts", metavar="NAME=ADDRESS", nargs="+", help="a profile and a host name or IPv4 address")
    hosts.add_argument("--mpi", choices=tuple(FORMATS), default="openmpi", help="for which MPI (default: openmpi)")
    command("schema", "print the JSON Schema of a profile, for editors", "schema > profile.schema.json")
    return parser


def interface(name: str) -> str:
    """Return the name of a network interface of this host. Raises ArgumentTypeError."""
    there = sorted(found for _, found in socket.if_nameindex())
    if name not in there:
        raise argparse.ArgumentTypeError(f"no interface {name!r} here: there are {', '.join(there)}")
    return name


def apply(profile: Profile | None, interface: str | None, activate: bool, dry_run: bool) -> None:
    """Apply a profile, or undo what was applied if it is None, and say what was done to each file."""
    launcher = find_launcher()
    print(f"{launcher}:")
    if launcher.vendor == "mpich":
        print("  needs no parameter file: it takes more ranks than cores as it is")
        return
    prefix = Path(sys.prefix)
    files = activate_file(prefix) if activate else parameter_files(launcher, prefix, home())
    for change in plan(files, profile, interface):
        if change.needed and dry_run:
            print(change.diff(), end="")
            continue
        if change.needed:
            carry_out(change)
        print(f"  {change.path}: {change.verb}")
    for parameter in overruled(files, home(), profile, interface) if profile and not activate else []:
        warn(f"{parameter} goes before what was applied: take it out, or set it to what you want")


def detect() -> None:
    """Print this machine's profile, and say what is missing in it."""
    profile = library.find(library.DETECTED)
    print(dump(profile), end="")
    if offline := profile.machine.offline:
        warn(
            f"CPUs {offline} are offline and not in this profile (heat may have switched them off): to have them, "
            "write 1 to /sys/devices/system/cpu/cpuN/online and detect again"
        )


def warn(text: str) -> None:
    print(f"mpinn: warning: {text}", file=sys.stderr)


def main() -> None:
    asked = parser().parse_args()
    match asked.command:
        case "list":
            show(listing(map(library.find, library.names())))
        case "show":
            print(sheet(library.find(asked.name)))
        case "detect":
            detect()
        case "apply":
            if (asked.name is None) != asked.undo:
                parser().error("apply: give a NAME, or --undo without one")
            profile = None if asked.undo else library.find(asked.name)
            apply(profile, asked.interface, asked.activate, asked.dry_run)
        case "hostfile":
            print(from_profiles(asked.hosts, asked.mpi), end="")
        case "schema":
            print(json.dumps(schema(), indent=2))


if __name__ == "__main__":
    run_command(main)
