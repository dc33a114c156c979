"""Requests to stop, such as Ctrl-C: heard once, never lost, and kept while processes start."""

from __future__ import annotations

import _thread
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

INTERRUPTED = 130  # exit code after Ctrl-C: 128 + SIGINT
REQUESTS = ("SIGINT", "SIGTERM", "SIGHUP")  # those that this platform has

_received = 0  # the signal that asked to stop
_held = False  # whether to keep it for later


def listen() -> None:
    """Turn requests to stop into exceptions, so that nothing half-written stays behind.

    Ctrl-C is KeyboardInterrupt, and the others are SystemExit. A request that this process was
    started to ignore, as by `nohup`, stays ignored.
    """
    for number in _numbers():
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, _receive)
    sys.unraisablehook = _hear_again


def ignore() -> None:
    """Ignore all requests to stop from now on."""
    for number in _numbers():
        signal.signal(number, signal.SIG_IGN)


def check() -> None:
    """Stop if a request came that another library has swallowed, as imports of NumPy may."""
    if _received and not _held:
        _stop()


@contextmanager
def held() -> Iterator[None]:
    """Keep a request that comes meanwhile for the end of the block."""
    global _held
    _held = True
    try:
        yield
    finally:
        _held = False
    check()


def _numbers() -> list[signal.Signals]:
    return [getattr(signal, name) for name in REQUESTS if hasattr(signal, name)]


def _receive(number: int, _: Any) -> None:
    global _received
    if _received:  # it is being obeyed already
        return
    _received = number
    if not _held:
        _stop()


def _stop() -> NoReturn:
    if _received == signal.SIGINT:
        raise KeyboardInterrupt
    raise SystemExit(128 + _received)


def _hear_again(lost: sys.UnraisableHookArgs) -> None:
    """Ask to stop again where Python had to drop the exception, as in a finaliser."""
    global _received
    if _received and lost.exc_type in (KeyboardInterrupt, SystemExit):
        number, _received = _received, 0
        _thread.interrupt_main(signal.Signals(number))
    else:
        sys.__unraisablehook__(lost)
