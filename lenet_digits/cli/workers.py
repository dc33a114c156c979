"""Calls a function for many items on all cores: results in order, memory bounded.

The workers are processes that start afresh on every platform: they inherit no lock, and never have
the current folder on their path, so that a file in it cannot pass for a module of Python's.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from itertools import islice
from multiprocessing import get_context
from typing import TYPE_CHECKING, Any, TypeVar

from lenet_digits.cli import signals

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

T = TypeVar("T")
R = TypeVar("R")

CHUNK = 16  # items that a worker takes at once
AHEAD = 4  # chunks for each worker that are under way, so that it need not wait for its next
ONE_THREAD = (  # the settings of NumPy's libraries, of OpenCV and of torch
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "OPENCV_FOR_THREADS_NUM",
)
SAFE_PATH = "PYTHONSAFEPATH"  # a Python that starts with it does not look for modules in the folder
MAX_JOBS = 61  # as many processes as Windows can wait for

_function: Callable[[Any], Any]  # in a worker: what to do with an item


class WorkerError(RuntimeError):
    """A worker process that ended without an answer."""


def cores() -> int:
    """How many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def map_in_processes(
    function: Callable[[T], R], items: Iterable[T], *, jobs: int | None = None
) -> Iterator[R]:
    """``map(function, items)`` by several processes; the results come in order.

    No more than some dozens of items a worker are taken in advance. Ctrl-C reaches the caller
    alone. When the iterator is closed, or the caller's process is killed, the workers end at once.
    Where Python ignores its environment (``python -E``), this process does the work alone: it could
    not keep the current folder off the workers' path.

    Args:
        function: what can be pickled, as what it takes and returns; each worker gets it once.
        items: what it is called with.
        jobs: how many processes; by default, one for each core.

    Raises what the function raises, and:
        WorkerError: a worker was killed, or its memory did not suffice.
    """
    if sys.flags.ignore_environment and not sys.flags.safe_path:
        yield from map(function, items)
        return
    jobs = min(jobs or cores(), MAX_JOBS)
    rest = iter(items)
    context = get_context("spawn")
    leash, hand = context.Pipe(duplex=False)  # when the hand lets go, or dies, the leash tells
    with _starting():  # the pool's locks have a process that looks after them
        pool = ProcessPoolExecutor(jobs, context, initializer=_begin, initargs=(function, leash))
    under_way: deque[Future[list[R]]] = deque()
    try:
        while True:
            while len(under_way) < AHEAD * jobs and (chunk := list(islice(rest, CHUNK))):
                with _starting():
                    under_way.append(pool.submit(_work, chunk))
            if not under_way:
                pool.shutdown()
                return
            yield from under_way.popleft().result()
    except BrokenProcessPool:
        raise WorkerError(
            "A worker process was ended from outside, perhaps for lack of memory. Try fewer jobs."
        ) from None
    finally:
        hand.close()
        pool.shutdown(cancel_futures=True)
        leash.close()


def _begin(function: Callable[[Any], Any], leash: Connection) -> None:
    """Make this process a worker: one thread for arithmetic, no interrupts, and on a leash."""
    global _function
    _function = function
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ.update(dict.fromkeys(ONE_THREAD, "1"))
    if "torch" in sys.modules:  # it came with the function
        sys.modules["torch"].set_num_threads(1)
    threading.Thread(target=_end_with, args=(leash,), daemon=True).start()


def _end_with(leash: Connection) -> None:
    leash.poll(None)
    os._exit(1)


def _work(chunk: list[Any]) -> list[Any]:
    return [_function(item) for item in chunk]


@contextmanager
def _starting() -> Iterator[None]:
    """Start processes safely.

    They inherit two things. SIGINT is blocked, so that they never hear of Ctrl-C; the caller hears
    of it afterwards. PYTHONSAFEPATH keeps the current folder off their path: they are started as
    ``python -c``, which would put it first.
    """
    before = os.environ.get(SAFE_PATH)
    with signals.Held():
        os.environ[SAFE_PATH] = "1"
        blocked = hasattr(signal, "pthread_sigmask")  # not on Windows: `_begin` does what it can
        if blocked:
            mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            yield
        finally:
            if before is None:
                del os.environ[SAFE_PATH]
            else:
                os.environ[SAFE_PATH] = before
            if blocked:
                signal.pthread_sigmask(signal.SIG_SETMASK, mask)
