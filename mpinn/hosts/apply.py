"""Applying a profile: Open MPI's own parameter files say what the profile says, so that a bare `mpirun` obeys it.

Or the `activate` of a Python environment says it, as variables: for an MPI that other programs use as well.

Each file gets one marked block at its end; whatever else is in it stays as it is, byte for byte.
"""

import difflib
import re
from dataclasses import dataclass
from pathlib import Path

from mpinn.hosts.launcher import Launcher
from mpinn.hosts.profile import Profile
from mpinn.system.errors import MpinnError, UsageError
from mpinn.system.files import replace

# The newline before the block belongs to it; a file that begins with the block was made for it.
BLOCK = re.compile(rb"(?:\A|\n)# >>> mpinn \(profile [^\n]*\) >>>\n(?:(?!# >>> mpinn )[^\n]*\n)*?# <<< mpinn <<<\n")


@dataclass(frozen=True)
class Change:
    """What a parameter file holds and what it is to hold; None where there is no file."""

    path: Path
    before: bytes | None
    after: bytes | None

    @property
    def needed(self) -> bool:
        return self.before != self.after

    @property
    def verb(self) -> str:
        """What doing it means, in one word: a file is removed if it was made for the setting alone."""
        if not self.needed:
            return "unchanged"
        if self.after is None:
            return "removed"
        return "written" if BLOCK.search(self.after) else "restored"

    def diff(self) -> str:
        """Return the change as a unified diff."""
        before, after = ((side or b"").decode(errors="replace").splitlines() for side in (self.before, self.after))
        lines = difflib.unified_diff(before, after, str(self.path), str(self.path), lineterm="")
        return "".join(f"{line}\n" for line in lines)


def parameters(profile: Profile, interface: str | None = None) -> dict[str, list[str]]:
    """Return the lines that a profile asks for in each kind of parameter file: `openmpi` and `prte`.

    With an `interface` ranks and launcher talk to other hosts over that network interface alone.

    Open MPI 4 reads all from `openmpi`; Open MPI 5 reads the wait policy there and the rest from `prte`. Neither
    minds the other's lines. Where ranks may share cores Open MPI 5 takes no binding from a file, whatever it says.
    """
    mpi = profile.mpi
    shared = mpi.oversubscribe.allowed
    return {
        "openmpi": [
            f"mpi_yield_when_idle = {int(mpi.wait_policy == 'yield')}",
            f"rmaps_base_oversubscribe = {int(shared)}",
            f"rmaps_base_mapping_policy = {mpi.map_by}",
            f"hwloc_base_binding_policy = {mpi.bind_to}",
            *([f"btl_tcp_if_include = {interface}", f"oob_tcp_if_include = {interface}"] if interface else []),
        ],
        "prte": [
            f"rmaps_default_mapping_policy = {mpi.map_by}{':oversubscribe' if shared else ''}",
            f"hwloc_default_binding_policy = {mpi.bind_to}",
            *([f"prte_if_include = {interface}"] if interface else []),
        ],
    }


def exports(profile: Profile, interface: str | None = None) -> list[str]:
    """Return the same for a shell: Open MPI takes what it reads in a parameter file from its environment, too."""
    prefixes = {"openmpi": "OMPI_MCA", "prte": "PRTE_MCA"}
    lines = parameters(profile, interface)
    return [f"export {prefixes[kind]}_{line.replace(' = ', '=')}" for kind in prefixes for line in lines[kind]]


def activate_file(prefix: Path) -> dict[str, Path]:
    """Return the `activate` of the Python environment at `prefix`, by its kind. Raises UsageError: there is none."""
    path = prefix / "bin/activate"
    if not path.exists():
        raise UsageError(
            f"--activate: {prefix} is no environment with a bin/activate; make one, or leave --activate out"
        )
    return {"activate": path}


def parameter_files(launcher: Launcher, prefix: Path, home: Path) -> dict[str, Path]:
    """Return where an Open MPI reads the two kinds of parameter file.

    One that lies in the Python environment at `prefix` has them in the environment's etc; for one that belongs to
    the system the user's own, below `home`, are used.
    """
    own = launcher.path.parent.parent / "etc"
    if own.is_relative_to(prefix) and (own / "openmpi-mca-params.conf").exists():
        return {"openmpi": own / "openmpi-mca-params.conf", "prte": own / "prte-mca-params.conf"}
    return user_files(home)


def user_files(home: Path) -> dict[str, Path]:
    """Return the user's own parameter files, which go before an environment's."""
    return {"openmpi": home / ".openmpi/mca-params.conf", "prte": home / ".prte/mca-params.conf"}


def overruled(files: dict[str, Path], home: Path, profile: Profile, interface: str | None = None) -> list[str]:
    """Return the parameters of a profile that the user's own files set as well, and so decide, each with its file."""
    found = []
    for kind, lines in parameters(profile, interface).items():
        path, names = user_files(home)[kind], {line.partition(" = ")[0] for line in lines}
        if path != files[kind]:
            own = (content(path) or b"").decode(errors="replace").splitlines()
            found += [f"{name} in {path}" for name in (line.partition("=")[0].strip() for line in own) if name in names]
    return found


def plan(files: dict[str, Path], profile: Profile | None, interface: str | None = None) -> list[Change]:
    """Return the change of each file that applies a profile, or that undoes it where there is None.

    Raises MpinnError where a file cannot be read.
    """
    lines = {**parameters(profile, interface), "activate": exports(profile, interface)} if profile else {}
    changes = []
    for kind, path in files.items():
        path = path.resolve()
        before = content(path)
        without = removed(before)
        after = added(without, profile.name, lines[kind]) if profile else without
        changes.append(Change(path, before, after))
    return changes


def content(path: Path) -> bytes | None:
    """Return what is in a file, or None if there is none. Raises MpinnError."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise MpinnError(f"{path}: cannot be read: {error.strerror}") from None


def removed(before: bytes | None) -> bytes | None:
    """Return a file's content without the block, or None where the file was made for it."""
    if before is None:
        return None
    after = BLOCK.sub(b"", before)
    return None if not after and BLOCK.match(before) and not before.startswith(b"\n") else after


def added(before: bytes | None, name: str, lines: list[str]) -> bytes:
    """Return a file's content with the block of a profile at its end."""
    block = "\n".join([f"# >>> mpinn (profile {name}) >>>", *lines, "# <<< mpinn <<<", ""]).encode()
    return block if before is None else before + b"\n" + block


def carry_out(change: Change) -> None:
    """Write or remove a file at once and for good: a crash leaves the old content or the new. Raises MpinnError."""
    path = change.path
    try:
        if change.after is None:
            path.unlink()
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            replace(path, change.after)
    except OSError as error:
        raise MpinnError(f"{path}: cannot be written: {error.strerror}; check who owns it and the disk") from None
