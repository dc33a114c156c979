"""The parts that all commands share: options, exit codes, and messages to the terminal."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from math import inf
from pathlib import Path
from typing import Any, TextIO

PROGRAM = "lenet-digits"
FAILED, PIPE_CLOSED = 1, 141  # exit codes; argparse exits with 2 for bad usage


def add_command(
    commands: Any, name: str, summary: str, epilog: str = ""
) -> argparse.ArgumentParser:
    """Add a command. Its parser leaves out options that the user did not give."""
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        help=summary,
        description=summary[0].upper() + summary[1:] + ".",
        epilog=epilog,
        argument_default=argparse.SUPPRESS,
    )
    return parser


def add_weights(parser: argparse.ArgumentParser) -> None:
    """Add the option that names the weights."""
    parser.add_argument(
        "--weights",
        metavar="FILE",
        help="weights: a .safetensors or .pth file, or OWNER/NAME[@REVISION] on the Hub (default: "
        "the shipped weights)",
    )


def add_data(parser: argparse.ArgumentParser) -> None:
    """Add the option that names the directory with MNIST."""
    parser.add_argument(
        "--data", metavar="DIR",
        help="directory with MNIST/raw/ in it; missing files are downloaded to it (default: "
        "LENET_DIGITS_DATA, or your cache directory)",
    )  # fmt: skip


def path_ending(*suffixes: str) -> Callable[[str], Path]:
    """The type of options that name a file with one of these suffixes, such as ``.png``."""

    def parsed(name: str) -> Path:
        if Path(name).suffix.lower() not in suffixes:
            raise argparse.ArgumentTypeError(f"{name!r} must end in {' or '.join(suffixes)}")
        return Path(name)

    return parsed


figure_path = path_ending(".png", ".svg", ".pdf")


def number_in(kind: type[int | float], lowest: int, highest: float = inf) -> Callable[[str], float]:
    """The type of options that take an ``int`` or a ``float`` from ``lowest`` to ``highest``."""
    wanted = f"{lowest} or more" if highest == inf else f"from {lowest} to {highest}"

    def parsed(text: str) -> float:
        try:
            value = kind(text)
        except ValueError:
            whole = "whole " if kind is int else ""
            raise argparse.ArgumentTypeError(f"{text!r} is not a {whole}number") from None
        if not lowest <= value <= highest:  # not a number is refused, too
            raise argparse.ArgumentTypeError(f"must be {wanted}, not {text}")
        return value

    return parsed


def complain(message: str) -> None:
    """Write one line to standard error, above a progress bar if there is one.

    If that fails, for example on a full disk, the work goes on without messages.
    """
    line = f"{PROGRAM}: {printable(' '.join(message.split()))}"
    if sys.stderr is None:
        return
    try:
        if tqdm := sys.modules.get("tqdm"):  # there may be a progress bar
            tqdm.tqdm.write(line, file=sys.stderr)
            sys.stderr.flush()
        else:
            print(line, file=sys.stderr, flush=True)
    except OSError:
        _drop(sys.stderr)


def reason(error: BaseException) -> str:
    """The reason for an error, as one line."""
    if isinstance(error, ModuleNotFoundError):  # as in the light installation
        return (
            f"This needs {error.name}, which is not installed. Install everything: "
            "pip install lenet-digits"
        )
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error).strip().split("\n")[0] or f"{type(error).__name__}."


def printable(text: str) -> str:
    """The text with escapes for control characters, newlines and bidi marks."""
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text
    )


def close_output() -> None:
    """Flush standard output. If nobody reads it any more, drop the rest so that Python can exit."""
    try:
        sys.stdout.flush()
    except OSError:
        _drop(sys.stdout)


def _drop(stream: TextIO) -> None:
    """Send what the stream still contains, and everything after it, to the null device."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, stream.fileno())
    os.close(null)
