"""Worker processes: results in order, bounded memory, and no process left behind."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lenet_digits.cli.workers import AHEAD, CHUNK, WorkerError, map_in_processes

posix = pytest.mark.skipif(sys.platform == "win32", reason="asks POSIX about processes")


def squared(number: int) -> int:
    return number**2


def refusing(number: int) -> int:
    raise ValueError(f"no {number}")


def dying(number: int) -> int:
    if number == 20:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def worker(_: object) -> int:
    return os.getpid()


def threads(_: object) -> tuple[int, str]:
    import cv2

    return cv2.getNumThreads(), os.environ["OMP_NUM_THREADS"]


def test_results_and_errors_are_those_of_map_in_order() -> None:
    assert list(map_in_processes(squared, range(200), jobs=2)) == [n**2 for n in range(200)]
    assert list(map_in_processes(squared, [])) == []
    with pytest.raises(ValueError, match="no 3"):
        list(map_in_processes(refusing, [3], jobs=1))


def test_items_are_taken_a_little_ahead_and_no_more() -> None:
    taken = 0

    def endless() -> Iterator[int]:
        nonlocal taken
        for number in itertools.count():
            taken += 1
            yield number

    results = map_in_processes(squared, endless(), jobs=1)
    for number in range(3 * CHUNK):
        assert next(results) == number**2
        assert taken <= number + (AHEAD + 1) * CHUNK
    results.close()  # type: ignore[attr-defined]


@posix
def test_a_worker_that_is_killed_is_an_error_after_the_results_before_it() -> None:
    results = map_in_processes(dying, range(100), jobs=1)
    assert [next(results) for _ in range(CHUNK)] == list(range(CHUNK))
    with pytest.raises(WorkerError, match="fewer jobs"):
        next(results)


@posix
def test_no_worker_outlives_the_iterator() -> None:
    results = map_in_processes(worker, itertools.count(), jobs=1)
    pid = next(results)
    os.kill(pid, 0)  # it is there
    results.close()  # type: ignore[attr-defined]
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


KILLED = """
import itertools, os, signal
from test_workers import map_in_processes, worker
for pid in map_in_processes(worker, itertools.count(), jobs=2):
    print(pid, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


@posix
def test_no_worker_outlives_a_process_that_is_killed() -> None:
    here = Path(__file__).parent
    process = subprocess.run(  # returns only when all processes that hold its output have ended
        [sys.executable, "-c", KILLED],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(map(str, (here.parent, here)))},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        timeout=300,
    )
    assert process.returncode == -signal.SIGKILL
    assert int(process.stdout)  # a worker was there


def test_a_worker_uses_one_thread() -> None:
    assert set(map_in_processes(threads, [0], jobs=1)) == {(1, "1")}
