"""What the hosts of a cluster were before anything was deployed."""

import pytest

from tests.deployment.cluster import HOSTS, Control, everything


@pytest.fixture(scope="module")
def untouched(control: Control) -> dict[str, set[str]]:
    """What was on each host before anything was deployed."""
    control.run("status.yml")  # Ansible's first connection leaves a directory of its own
    return {host: everything(host) for host in HOSTS}
