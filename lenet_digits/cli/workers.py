"""Calls a function for many items on all cores, with results in order and bounded memory.

The workers are processes that are spawned, not forked, so they inherit no lock. The current folder
is never on their path, so no file in it can replace a module of Python.
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

CHUNK = 16  # items that a worker gets at once
AHEAD = 4  # chunks per worker that are submitted in advance, so that no worker waits
ONE_THREAD = (  # settings of the libraries under NumPy, of OpenCV and of torch
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "OPENCV_FOR_THREADS_NUM",
)
SAFE_PATH = "PYTHONSAFEPATH"  # with it, Python does not import modules from the current folder
MAX_JOBS = 61  # most processes that Windows can wait for

_function: Callable[[Any], Any]  # in a worker: called with each item


class WorkerError(RuntimeError):
    """A worker process ended without an answer."""


def cores() -> int:
    """The number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def map_in_processes(
    function: Callable[[T], R], items: Iterable[T], *, jobs: int | None = None
) -> Iterator[R]:
    """``map(function, items)`` in several processes, with results in order.

    At most `AHEAD` times `CHUNK` items per worker are taken in advance. Only the caller's process
    receives Ctrl-C. The workers end at once when the iterator is closed or the caller's process is
    killed. If Python ignores its environment (``python -E``), this process does all the work,
    because it could not keep the current folder off the workers' path.

    Args:
        function: it, its argument and its result must be possible to pickle. Each worker gets it
            once.
        items: the arguments, one for each call.
        jobs: the number of processes; by default, one for each core.

    Raises what the function raises, and:
        WorkerError: a worker was killed, or did not have enough memory.
    """
    if sys.flags.ignore_environment and not sys.flags.safe_path:
        yield from map(function, items)
        return
    jobs = min(jobs or cores(), MAX_JOBS)
    rest = iter(items)
    context = get_context("spawn")
    # A worker ends when `leash` does, which is when `hand` is closed or this process dies.
    leash, hand = context.Pipe(duplex=False)
    with _starting():  # the pool also starts a process that tracks its locks
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
            "A worker process was killed, perhaps because memory ran out. Try fewer jobs."
        ) from None
    finally:
        hand.close()
        pool.shutdown(cancel_futures=True)
        leash.close()


def _begin(function: Callable[[Any], Any], leash: Connection) -> None:
    """Make this process a worker: one thread, no Ctrl-C, and an end with its caller."""
    global _function
    _function = function
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ.update(dict.fromkeys(ONE_THREAD, "1"))
    if "torch" in sys.modules:  # it was loaded with the function
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

    They inherit two settings. SIGINT is blocked, so that they never receive Ctrl-C; the caller
    receives it after this block. PYTHONSAFEPATH keeps the current folder off their path, where
    ``python -c``, which starts them, would put it.
    """
    before = os.environ.get(SAFE_PATH)
    with signals.Held():
        os.environ[SAFE_PATH] = "1"
        blocked = hasattr(signal, "pthread_sigmask")  # on Windows, `_begin` ignores SIGINT
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
