"""Starts the command as a program of its own: hears Ctrl-C, opens closed streams, and runs it."""

from __future__ import annotations

import os
import sys

from lenet_digits.cli import signals


def run() -> int:
    """Run the command in ``sys.argv``; returns its exit code. The process is the command's own."""
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
        signals.ignore()  # Python's own last steps are not to be disturbed


def _open_closed_streams() -> None:
    """Connect closed standard streams to the null device.

    Otherwise the next file that is opened takes the stream's number, and complaints are written
    into it.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            null = os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free
            if null != number:
                os.dup2(null, number)
                os.close(null)
            os.set_inheritable(number, True)
        if getattr(sys, name) is None:
            mode = "r" if name == "stdin" else "w"
            setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))  # noqa: SIM115
