"""Reads pictures in threads, at most `MAX_THREADS` at a time for all callers together."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import anyio
from anyio.lowlevel import RunVar
from anyio.to_thread import run_sync

MAX_THREADS = 4  # pictures decoded at once: a large one takes up to 250 MB of memory

Input = TypeVar("Input")
Answer = TypeVar("Answer")

_limiter: RunVar[anyio.CapacityLimiter] = RunVar("limiter")  # of each event loop


async def in_a_thread(function: Callable[[Input], Answer], picture: Input) -> Answer:
    """Calls a function in a thread. A caller who is cancelled while waiting gives up the turn."""
    try:
        limiter = _limiter.get()
    except LookupError:
        limiter = anyio.CapacityLimiter(MAX_THREADS)
        _limiter.set(limiter)
    return await run_sync(function, picture, limiter=limiter)
