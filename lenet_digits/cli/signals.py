"""Hears requests to stop, such as Ctrl-C, and raises them where they do no harm.

This module is loaded before anything else is ready for Ctrl-C, so it imports next to nothing.
"""

from __future__ import annotations

import _thread
import os
import signal
import sys
import time

TYPE_CHECKING = False  # type checkers know the name; importing it from `typing` takes milliseconds
if TYPE_CHECKING:
    from types import FrameType
    from typing import NoReturn

INTERRUPTED = 130  # exit code after Ctrl-C: 128 + SIGINT
REQUESTS = ("SIGINT", "SIGTERM", "SIGHUP")  # those that this platform has
IMPORTING = "<frozen importlib._bootstrap>"  # the file name of Python's own import code
PAUSE = 0.02  # seconds until a request that comes at a bad moment is made again
PATIENCE = 0.5  # seconds that a request waits for an import: NumPy takes 0.1, Gradio up to 10

_received = 0  # the signal that asked to stop
_waiting_since = 0.0  # when the first request came amid an import, in seconds of time.monotonic
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
    """Stop if a request came whose exception was swallowed by a library."""
    if _received and not _held:
        _stop()


class Held:
    """Keeps a request that comes within its block for the end of the block."""

    def __enter__(self) -> None:
        """Begin to keep it."""
        global _held
        _held = True

    def __exit__(self, *_: object) -> None:
        """Obey it, if one came."""
        global _held
        _held = False
        check()


def _numbers() -> list[signal.Signals]:
    return [getattr(signal, name) for name in REQUESTS if hasattr(signal, name)]


def _receive(number: int, frame: FrameType | None) -> None:
    global _received, _waiting_since
    if _received:  # it is being obeyed already
        return
    # An exception within an import may leave Python's import lock locked for ever, and NumPy turns
    # it into an ImportError with a page of advice.
    if _is_importing(frame):
        _waiting_since = _waiting_since or time.monotonic()
        if time.monotonic() - _waiting_since < PATIENCE:
            _thread.start_new_thread(_ask_again, (number,))
            return
    _received = number
    if not _held:
        _stop()


def _is_importing(frame: FrameType | None) -> bool:
    while frame is not None and frame.f_code.co_filename != IMPORTING:
        frame = frame.f_back
    return frame is not None


def _ask_again(number: int) -> None:
    time.sleep(PAUSE)
    if os.name == "posix":
        os.kill(os.getpid(), number)  # wakes the main thread even where it waits
    else:
        _thread.interrupt_main(signal.Signals(number))


def _stop() -> NoReturn:
    if _received == signal.SIGINT:
        raise KeyboardInterrupt
    raise SystemExit(128 + _received)


def _hear_again(lost: sys.UnraisableHookArgs) -> None:
    """Ask to stop again where Python had to drop the exception, as in a finaliser."""
    global _received
    if _received and lost.exc_type in (KeyboardInterrupt, SystemExit):
        number, _received = _received, 0
        _thread.start_new_thread(_ask_again, (number,))
    else:
        sys.__unraisablehook__(lost)
