"""``python -m lenet_digits``: the command line, for where its script is not on the path."""

from lenet_digits.cli import main

raise SystemExit(main())
