"""Starts the command line as a program that handles Ctrl-C and closed streams."""

from __future__ import annotations

import os
import sys

from lenet_digits.cli import signals


def run() -> int:
    """Run the command in ``sys.argv`` and return its exit code.

    It changes signal handlers and streams of the whole process.
    """
    try:
        signals.listen()
        _open_closed_streams()
        from lenet_digits.cli.entry import main

        return main()
    except KeyboardInterrupt:  # before the command began, or after it ended
        from contextlib import suppress

        with suppress(OSError):
            os.write(2, b"lenet-digits: Interrupted.\n")
        return signals.INTERRUPTED
    finally:
        signals.ignore()  # Python must not be interrupted while it exits


def _open_closed_streams() -> None:
    """Connect closed standard streams to the null device.

    Otherwise the next file that is opened gets the number of the stream, and error messages are
    written into that file.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            null = os.open(os.devnull, os.O_RDWR)  # gets the lowest free number
            if null != number:
                os.dup2(null, number)
                os.close(null)
            os.set_inheritable(number, True)
        if getattr(sys, name) is None:
            mode = "r" if name == "stdin" else "w"
            setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))  # noqa: SIM115
