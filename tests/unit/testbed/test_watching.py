"""What a process holds, and whether that grows."""

import math
import os
import subprocess
import threading
from pathlib import Path

import pytest

from caios_testbed.cluster.waiting import eventually
from caios_testbed.flatness import Change
from caios_testbed.watching import Watched, gauges_of, held, tcp_states, watching

PID = os.getpid()
TABLE = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 11 1
   1: 0100007F:1F90 0100007F:9C40 01 00000000:00000000 00:00000000 00000000     0        0 12 1
   2: 0100007F:1F90 0100007F:9C41 01 00000000:00000000 00:00000000 00000000     0        0 13 1
   3: 0100007F:1F90 0100007F:9C42 08 00000000:00000000 00:00000000 00000000     0        0 14 1
"""


def test_connections_are_counted_by_state_and_only_those_of_the_process() -> None:
    assert tcp_states(TABLE, {"11", "12", "14"}) == {"listen": 1, "established": 1, "close-wait": 1}


def test_a_descriptor_more_is_seen(tmp_path: Path) -> None:
    before = held(PID)
    with (tmp_path / "open").open("w"):
        during = held(PID)

    assert during["descriptors"] == before["descriptors"] + 1
    assert before["rss"] > 1e6


def test_a_thread_more_is_seen() -> None:
    before, over = held(PID), threading.Event()
    thread = threading.Thread(target=over.wait)
    thread.start()
    during = held(PID)
    over.set()
    thread.join()

    assert during["threads"] == before["threads"] + 1


def test_a_process_is_sampled_over_time_with_its_gauges() -> None:
    process = Watched(PID, lambda: {"tasks": 7.0})

    with watching([process], period_seconds=0.001):
        assert eventually(lambda: len(process.samples) >= 3, 10)

    assert process.series("tasks")[:3] == [7.0, 7.0, 7.0]
    assert {"rss", "threads", "descriptors", "tasks"} <= set(process.names)
    assert process.trouble == []


def test_a_process_that_is_gone_is_noted_and_ends_nothing() -> None:
    done = subprocess.Popen(["true"])
    done.wait()
    gone, here = Watched(done.pid), Watched(PID)

    with watching([gone, here], period_seconds=0.001):
        assert eventually(lambda: bool(here.samples) and bool(gone.trouble), 10)

    assert gone.trouble[0] == f"ProcessLookupError: process {done.pid} is gone"


def test_metrics_without_labels_are_read_by_name() -> None:
    text = '# TYPE tasks gauge\ntasks 5.0\n# TYPE other gauge\nother{a="b"} 2.0\n'

    assert gauges_of(text, ["tasks", "other"]) == {"tasks": 5.0}


def noise(number: int) -> float:
    """Return a number between -8 and 8 that looks like chance, the same each time."""
    return 8 * math.sin(37 * number)


def test_noise_and_peaks_are_flat() -> None:
    values = [100 + noise(number) for number in range(400)]
    values[-60:-30] = [500.0] * 30

    assert Change.of(values).flat(within=0.1)


def test_growth_during_the_warm_up_is_flat() -> None:
    assert Change.of([*range(50), *([100.0] * 150)]).flat(within=0.1)


def test_slow_growth_is_seen_through_noise() -> None:
    values = [100 + 0.1 * number + noise(number) for number in range(400)]

    assert not Change.of(values).flat(within=0.1)


def test_shrinking_is_flat() -> None:
    assert Change.of([200.0 - number for number in range(100)]).flat()


@pytest.mark.parametrize(("last", "flat"), [(5.0, True), (6.0, False)])
def test_small_numbers_have_slack(last: float, flat: bool) -> None:
    assert Change.of([4.0] * 50 + [last] * 50).flat(within=0.1, slack=1) is flat


def test_a_number_that_comes_out_of_nothing_is_growth() -> None:
    assert not Change.of([0.0] * 50 + [9.0] * 50).flat(within=0.1)


def test_too_few_samples_are_refused() -> None:
    with pytest.raises(ValueError, match="10 samples are too few: 20 are needed"):
        Change.of([1.0] * 10)
