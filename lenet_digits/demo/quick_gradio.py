"""Imports Gradio in about half of the time that it takes by itself."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def _no_stub_files() -> Iterator[None]:
    """Keeps Gradio from updating the type stubs of its components, as it does at each import.

    It generates all stubs anew, which takes 1.5 seconds, to write those that differ. A component
    whose source file cannot be found is left out.
    """
    getfile = inspect.getfile

    def getfile_of_others(thing: Any) -> str:
        if type(thing).__name__ == "ComponentMeta":
            raise OSError
        return getfile(thing)

    inspect.getfile = getfile_of_others  # type: ignore[assignment]
    try:
        yield
    finally:
        inspect.getfile = getfile


with _no_stub_files():
    import gradio as gr

__all__ = ["gr"]
