"""What a run says of its start and its memory, told by this process's own."""

import mmap
import os
import subprocess
import sys
import time

from mpinn.system.processes import age, pss_mib
from mpinn.training.stopwatch import Stopwatch


def test_the_age_of_a_process_is_its_wall_time() -> None:
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        time.sleep(0.5)
        assert 0.4 < age(child.pid) < 30
    finally:
        child.kill()
        child.wait()


def test_memory_that_is_used_is_counted() -> None:
    before = pss_mib()
    with mmap.mmap(-1, 2**25) as held:  # 32 MiB from the system, and not from what Python has kept
        for page in range(0, len(held), mmap.PAGESIZE):
            held[page] = 1
        after = pss_mib()
    assert before is not None and after is not None
    assert 25 < after - before < 40


def test_the_parts_of_the_start_add_up_to_the_age_of_the_first_process() -> None:
    watch = Stopwatch()
    time.sleep(0.1)
    watch.lap("mpi")
    assert list(watch.parts) == ["launcher", "python", "mpi"]
    assert watch.parts["mpi"] >= 0.1
    assert sum(watch.parts.values()) >= age(os.getpid()) - 0.05
