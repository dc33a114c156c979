"""The commands for the web app and the Hub: ``app``, ``site``, ``push`` and ``push-space``."""

from __future__ import annotations

import argparse
import os
import shlex
from typing import Any

from lenet_digits.cli.console import add_command, add_weights, number_in


def add_app(commands: Any) -> None:
    """Add the command ``app``."""
    parser = add_command(
        commands, "app", "start the web app: draw or upload a digit in the browser"
    )
    parser.add_argument(
        "--host",
        help="address to listen on (default: 127.0.0.1, for this machine only; 0.0.0.0 also allows "
        "other devices in the network)",
    )
    parser.add_argument(
        "--port", metavar="N", type=number_in(int, 1, 65535),
        help="port to listen on (default: the first free one from 7860 on)",
    )  # fmt: skip
    parser.add_argument("--share", action="store_true", help="open a public link for a week")
    add_weights(parser)
    parser.set_defaults(run=_app)


def _app(**options: Any) -> int:
    from lenet_digits.demo.address import check_environment

    check_environment()
    from lenet_digits.demo.server import launch

    launch(**options)
    return 0


def add_site(commands: Any) -> None:
    """Add the command ``site``."""
    parser = add_command(
        commands, "site", "write the web app as a static site, which reads in the visitor's browser"
    )
    parser.add_argument("folder", metavar="OUT", help="folder of the site; made if it is not there")
    parser.add_argument(
        "--self-hosted", metavar="DIR",
        help="directory with the files of Pyodide (Python for browsers), which become part of the "
        "site (default: visitors get them from Pyodide's own server)",
    )  # fmt: skip
    parser.set_defaults(run=_site)


def _site(*, folder: str, **options: Any) -> int:
    from lenet_digits.demo.site import write_site

    write_site(folder, **options)
    print(f"{folder} has the site. To see it: python -m http.server -d {shlex.quote(folder)}")
    return 0


def add_push(commands: Any) -> None:
    """Add the command ``push``."""
    parser = add_command(commands, "push", "check the shipped weights and upload them to the Hub")
    _add_repository(parser)
    parser.add_argument(
        "--data", metavar="DIR",
        help="directory with MNIST/raw/ in it: the stated accuracy is checked on all of its test "
        "digits (default: on the sample that comes with the weights)",
    )  # fmt: skip
    parser.set_defaults(run=_push)


def _push(*, repo: str, private: bool | None = None, data: str | None = None) -> int:
    from lenet_digits.publishing import push
    from lenet_digits.training.mnist import load_mnist

    digits = None if data is None else load_mnist(data, download=False)[1]
    commit = push(repo, private=private, digits=digits)
    print(f"{_hub()}/{repo} has the weights, at {commit}.")
    return 0


def add_push_space(commands: Any) -> None:
    """Add the command ``push-space``."""
    parser = add_command(commands, "push-space", "upload the app to a Space")
    _add_repository(parser)
    parser.add_argument(
        "--source", metavar="DIR", help="checkout of this project (default: this directory)"
    )
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument(
        "--hardware", metavar="NAME",
        help="hardware for a new Space, for example zero-a10g (default: the free CPU, which the "
        "Hub gives only to subscribers)",
    )  # fmt: skip
    kind.add_argument(
        "--static", action="store_true",
        help="upload the static site instead (see the command site): free and private, because it "
        "reads in the visitor's browser; no checkout is needed",
    )  # fmt: skip
    parser.set_defaults(run=_push_space)


def _push_space(*, repo: str, static: bool = False, **options: Any) -> int:
    from lenet_digits.publishing import PublishingError, push_space, push_static_space

    if static and "source" in options:
        raise PublishingError("A static site is made without a checkout: leave out --source.")
    commit = (push_static_space if static else push_space)(repo, **options)
    print(f"{_hub()}/spaces/{repo} has the app, at {commit}.")
    return 0


def _add_repository(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "repo", metavar="OWNER/NAME", help="repository; created if it does not exist"
    )
    parser.add_argument(
        "--private", action="store_true", help="make it private, if it is created here"
    )


def _hub() -> str:
    return os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")
