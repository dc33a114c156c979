"""Runs the command line as ``python -m lenet_digits``."""

from lenet_digits.cli.start import run

if __name__ == "__main__":
    raise SystemExit(run())
