"""SimGrid, which simulates messages, beside the formulas that the model has for them."""

import json
import subprocess
from typing import Any

import pytest

from bench.prediction import model, predict
from bench.prediction.model import Links
from tests.bench.test_prediction import HOST

SIZE = 144_000  # bytes


def seconds(*hosts: int, switch: float = 1e18) -> list[float]:
    """Return what SimGrid has for an Allreduce over links of 8 ns a byte and 50 us a message."""
    asked: dict[str, Any] = {"sizes": [[one, SIZE] for one in hosts], "message": 50e-6, "link": 125e6, "switch": switch}
    command = ["/usr/bin/python3", str(predict.SIMGRID)]
    ran = subprocess.run(command, input=json.dumps(asked), capture_output=True, text=True, check=True)
    return json.loads(ran.stdout.splitlines()[-1])


def test_a_switch_with_room_for_all_is_as_the_formula_says() -> None:
    hosts = (2, 4, 8, 64, 256)
    formula = [1e-6 * model.by_formula(Links(50, 0.008, 0.0), one, SIZE) for one in hosts]
    assert seconds(*hosts) == pytest.approx(formula, rel=1e-3)


def test_hosts_that_are_no_power_of_two_send_in_a_ring() -> None:
    assert seconds(3, 6) == pytest.approx([4 * (50e-6 + SIZE / 3 * 8e-9), 10 * (50e-6 + SIZE / 6 * 8e-9)], rel=1e-3)


def test_a_small_switch_is_shared() -> None:
    every_byte = [2 * (hosts - 1) * SIZE / 10e6 for hosts in (4, 16)]  # of all hosts, through 10 MB/s
    assert seconds(4, 16, switch=10e6) == pytest.approx(every_byte, rel=0.05)


def test_predict_takes_what_simgrid_says() -> None:
    planned = [(model.Cluster(hosts, 4, 4), model.Job(256, 10)) for hosts in (1, 2, 16)]
    free = predict.simulated(HOST, planned, 1e12)
    assert free == pytest.approx(
        {
            hosts: model.by_formula(model.links(HOST, planned[0][0]), hosts, planned[0][1].merge_bytes)
            for hosts in (2, 16)
        },
        rel=1e-2,
    )
    slow = predict.predicted(HOST, planned, predict.simulated(HOST, planned, 100.0))
    fast = predict.predicted(HOST, planned, {})
    assert slow[0].found == fast[0].found and slow[2].found.epoch_seconds > 2 * fast[2].found.epoch_seconds
