"""Profiles by name: those that ship, a file of one's own, and this machine's."""

import sysconfig
from pathlib import Path

from mpinn.hosts.detect import detect
from mpinn.hosts.profile import Profile, load
from mpinn.system.errors import MpinnError, UsageError, nearest

DETECTED = "detected"


def directory() -> Path:
    """Return the directory of the profiles that ship: `hosts` in a checkout, else `share/mpinn/hosts`.

    Raises UsageError where neither is there.
    """
    installed = [sysconfig.get_path("data"), sysconfig.get_path("data", sysconfig.get_preferred_scheme("user"))]
    places = [Path(__file__).parents[2] / "hosts", *(Path(data) / "share/mpinn/hosts" for data in installed)]
    for place in places:
        if place.is_dir():
            return place
    raise UsageError(f"no host profiles in {' or '.join(map(str, places))}: install mpinn again")


def names() -> list[str]:
    """Return the names of the profiles that ship, in alphabetical order."""
    return sorted(path.stem for path in directory().glob("*.yml"))


def fits(profile: Profile) -> bool | None:
    """Return whether this machine has a profile's architecture, cores and threads; None where nothing tells."""
    try:
        here = detect().machine
    except MpinnError:
        return None
    machine = profile.machine
    return (machine.architecture, machine.cores, machine.threads) == (here.architecture, here.cores, here.threads)


def find(name: str) -> Profile:
    """Return a profile by the name of one that ships, the path of a YAML file, or `detected`: this machine's.

    Raises UsageError.
    """
    if name == DETECTED:
        return detect()
    if "/" in name or name.endswith((".yml", ".yaml")):
        return load(Path(name))
    if name not in names():
        raise UsageError(
            f"no host profile {name!r}{nearest(name, names())}: there are {', '.join(names())}, "
            f"{DETECTED} (this machine) and files (./NAME.yml)"
        )
    return load(directory() / f"{name}.yml")
