"""Turns requests to stop, such as Ctrl-C, into exceptions at moments when they do no harm.

It is loaded before anything else can handle Ctrl-C, so it imports almost nothing.
"""

from __future__ import annotations

import _thread
import os
import signal
import sys
import time

TYPE_CHECKING = False  # type checkers know this name; importing `typing` would take milliseconds
if TYPE_CHECKING:
    from types import FrameType
    from typing import NoReturn

INTERRUPTED = 130  # exit code after Ctrl-C: 128 + SIGINT
REQUESTS = ("SIGINT", "SIGTERM", "SIGHUP")  # Windows lacks the last one
IMPORTING = "<frozen importlib._bootstrap>"  # the file name of Python's import code
PAUSE = 0.02  # seconds until a request that came during an import is repeated
PATIENCE = 0.5  # most seconds that a request waits for an import: NumPy takes 0.1, Gradio up to 10

_received = 0  # the signal of the request, or 0
_waiting_since = 0.0  # time.monotonic() of the first request during an import, in seconds
_held = False  # whether the request must wait for the end of a `Held` block


def listen() -> None:
    """Turn requests to stop into exceptions, so that no half-written file is left.

    Ctrl-C raises KeyboardInterrupt; the others raise SystemExit. A signal that this process ignored
    from its start, for example because of `nohup`, is still ignored.
    """
    for number in _numbers():
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, _receive)
    sys.unraisablehook = _hear_again


def ignore() -> None:
    """Ignore all further requests to stop."""
    for number in _numbers():
        signal.signal(number, signal.SIG_IGN)


def check() -> None:
    """Raise the exception again if a request came and a library swallowed its exception."""
    if _received and not _held:
        _stop()


class Held:
    """A block that no request interrupts: the request is raised at the end of the block."""

    def __enter__(self) -> None:
        """Begin to hold requests."""
        global _held
        _held = True

    def __exit__(self, *_: object) -> None:
        """Raise the request, if one came."""
        global _held
        _held = False
        check()


def _numbers() -> list[signal.Signals]:
    return [getattr(signal, name) for name in REQUESTS if hasattr(signal, name)]


def _receive(number: int, frame: FrameType | None) -> None:
    global _received, _waiting_since
    if _received:  # its exception was raised already
        return
    # An exception during an import may leave Python's import lock locked for ever, and NumPy turns
    # it into an ImportError of many lines.
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
        os.kill(os.getpid(), number)  # wakes the main thread even if it waits
    else:
        _thread.interrupt_main(signal.Signals(number))


def _stop() -> NoReturn:
    if _received == signal.SIGINT:
        raise KeyboardInterrupt
    raise SystemExit(128 + _received)


def _hear_again(lost: sys.UnraisableHookArgs) -> None:
    """Repeat the request if Python dropped its exception, as it does in a finaliser."""
    global _received
    if _received and lost.exc_type in (KeyboardInterrupt, SystemExit):
        number, _received = _received, 0
        _thread.start_new_thread(_ask_again, (number,))
    else:
        sys.__unraisablehook__(lost)
