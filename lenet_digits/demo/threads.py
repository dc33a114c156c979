"""Runs the reading of pictures in threads, `MAX_THREADS` at once, whoever asks for it."""

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
    """What `function` makes of a picture. A caller who is cancelled while waiting is forgotten."""
    try:
        limiter = _limiter.get()
    except LookupError:
        limiter = anyio.CapacityLimiter(MAX_THREADS)
        _limiter.set(limiter)
    return await run_sync(function, picture, limiter=limiter)
