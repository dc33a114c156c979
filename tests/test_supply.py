"""The packages that CI installs: locked, hashed, with known licences, as pyproject.toml asks."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
LOCK = ROOT / ".ci" / "requirements.lock"
LICENCES = ROOT / ".ci" / "licences.md"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
LOCKED_FOR = {"python_version": "3.11", "python_full_version": "3.11.0", "sys_platform": "linux"}

pytestmark = pytest.mark.skipif(not LOCK.exists(), reason="the lock is only in a checkout")


def pins() -> dict[str, tuple[str, str]]:
    """The version of every package in the lock, and the text after it."""
    text = LOCK.read_text("utf-8")
    found = re.findall(r"^([a-z0-9.-]+)==(\S+)(.*(?:\n +.*)*)", text, re.MULTILINE)
    return {name: (version, rest) for name, version, rest in found}


def test_the_locked_versions_are_those_that_the_project_asks_for() -> None:
    locked = pins()
    for line in [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["test"]]:
        wanted = Requirement(line)
        if wanted.marker and not wanted.marker.evaluate(LOCKED_FOR):
            continue
        version, _ = locked.get(canonicalize_name(wanted.name), ("0", ""))
        assert wanted.specifier.contains(version), (
            f"{LOCK.name} has {wanted.name} {version}, the project wants {line}: "
            "run the command at the lock's head"
        )


def test_every_locked_package_is_hashed() -> None:
    locked = pins()
    assert locked
    assert [n for n, (_, rest) in locked.items() if "--hash=sha256:" not in rest] == []


def test_the_licence_of_everything_needed_is_listed() -> None:
    rows = re.findall(r"^\| (\S+) \| (.+) \|$", LICENCES.read_text("utf-8"), re.MULTILINE)
    listed = {canonicalize_name(name) for name, _ in rows[2:]}  # below heading and rule
    needed = {canonicalize_name(Requirement(line).name) for line in PROJECT["dependencies"]}
    assert needed <= listed <= pins().keys()
