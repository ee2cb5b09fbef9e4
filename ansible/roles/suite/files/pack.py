"""Pack what the boards need of a checkout into an archive: python pack.py CHECKOUT DIRECTORY.

The same files give the same archive, byte for byte; it is named after the version and its content. Prints JSON:
`version` (such as 0.1.0-1a2b3c4d5e6f) and `archive`, its path.
"""

import gzip
import hashlib
import io
import json
import re
import subprocess
import sys
import tarfile
from pathlib import Path

PACKED = ("pyproject.toml", "setup.py", "README.md", "LICENSE", "mpinn", "bench", "hosts")
LEFT_OUT = re.compile(r"__pycache__|\.(pyc|so)$|^mpinn/kernels/native\.c$|^bench/results/|^mpinn/COMMIT$")


def files(checkout: Path) -> list[str]:
    """Return the files to pack, as paths below the checkout."""
    found = [path for name in PACKED for path in [checkout / name, *(checkout / name).rglob("*")] if path.is_file()]
    names = sorted(path.relative_to(checkout).as_posix() for path in found)
    return [name for name in names if not LEFT_OUT.search(name)]


def commit(checkout: Path) -> str:
    """Return the commit of the checkout, '-dirty' where files differ from it, or nothing."""
    asked = ["git", "-C", str(checkout), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        return subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def main(checkout: Path, directory: Path) -> None:
    contents = {name: (checkout / name).read_bytes() for name in files(checkout)}
    contents["mpinn/COMMIT"] = commit(checkout).encode() + b"\n"
    folders = {folder.as_posix() for name in contents for folder in Path(name).parents[:-1]}
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w") as archive:
        for folder in sorted(folders):
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            archive.addfile(entry)
        for name, content in sorted(contents.items()):
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    number = re.search(rb'__version__ = "(.+)"', contents["mpinn/__init__.py"])[1].decode()
    version = f"{number}-{hashlib.sha256(tar.getvalue()).hexdigest()[:12]}"
    path = directory / f"mpinn-{version}.tar.gz"
    directory.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(tar.getvalue(), mtime=0))
    print(json.dumps({"version": version, "archive": str(path)}))


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve())
