"""Parses the command line, runs the command, and reports an error in one line.

Commands import large packages only when they run, so that help and version appear at once. Options
that the user does not give are not passed on, so the defaults are those of the functions.
"""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Sequence

from lenet_digits import __version__
from lenet_digits.cli import signals
from lenet_digits.cli.console import FAILED, PIPE_CLOSED, PROGRAM, close_output, complain, reason
from lenet_digits.cli.experiments import add_evaluate, add_samples, add_train, resuming
from lenet_digits.cli.predicting import add_predict
from lenet_digits.cli.reading import add_read
from lenet_digits.cli.serving import add_app, add_push, add_push_space, add_site
from lenet_digits.cli.signals import INTERRUPTED


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code. An error is one line on standard error."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal may lack a character
            stream.reconfigure(errors="backslashreplace")
    words = list(sys.argv[1:] if argv is None else argv)
    options = vars(build_parser().parse_args(words))
    run = options.pop("run")
    try:
        try:
            code: int = run(**options)
            sys.stdout.flush()
        except Exception:
            signals.check()  # an import may have turned Ctrl-C into another error
            raise
    except BrokenPipeError:  # the reader has ended, for example `head`
        close_output()
        return PIPE_CLOSED
    except KeyboardInterrupt:
        advice = f" To continue: {resuming(words)}" if words[0] == "train" else ""
        complain(f"Interrupted.{advice}")
        close_output()
        return INTERRUPTED
    except (ImportError, MemoryError, OSError, RuntimeError, ValueError) as error:
        complain(reason(error))
        close_output()
        return FAILED
    return code


def build_parser() -> argparse.ArgumentParser:
    """The parser of all commands. Its result has the function of the command in ``run``."""
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description="Read handwritten digits with LeNet-5, the network of 1998.",
        epilog=f"More about a command: {PROGRAM} COMMAND --help",
    )
    parser.add_argument("--version", action="version", version=f"{PROGRAM} {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for add in (
        add_predict, add_read, add_train, add_evaluate, add_samples, add_app, add_site,
        add_push, add_push_space,
    ):  # fmt: skip
        add(commands)
    return parser
