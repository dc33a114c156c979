"""Runs the command line as ``python -m lenet_digits``."""

from lenet_digits.cli.entry import main

raise SystemExit(main())
