"""In a notebook, steps and activations are pictures that a person would look at."""

from __future__ import annotations

import base64
import io
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lenet_digits import Alternative, Line, Reading, activations, canvas_steps, read

EXAMPLE = Path(__file__).parents[2] / "examples" / "3-transparent.png"


def pictures(html: str) -> dict[str, np.ndarray]:
    """The pictures in HTML, by their alternative text."""
    found = re.findall(r'alt="([^"]*)" src="data:image/png;base64,([^"]*)"', html)
    return {
        name: np.asarray(Image.open(io.BytesIO(base64.b64decode(data)))) for name, data in found
    }


def test_steps_show_each_step_as_a_picture() -> None:
    steps = canvas_steps(EXAMPLE)
    shown = pictures(steps._repr_html_())
    assert list(shown) == [name for name, _ in steps.named()]
    assert np.array_equal(shown["Canvas"], np.rint(steps.canvas * 255))


def test_activations_show_each_layer_as_a_picture() -> None:
    seen = activations(EXAMPLE)
    shown = pictures(seen._repr_html_())
    assert list(shown) == ["Canvas", "C1", "S2", "C3", "S4", "C5", "F6"]
    assert shown["F6"].shape == (12, 7, 3)
    assert shown["F6"][:, :, 0].ravel() / 127.5 - 1 == pytest.approx(seen.f6, abs=0.01)
    c1 = shown["C1"][:, :, 0] / 127.5 - 1
    assert c1[:28, :28] == pytest.approx(seen.c1[0], abs=0.01)
    assert c1[29:57, 29:57] == pytest.approx(seen.c1[4], abs=0.01)
    assert f"Output: {seen.output.argmax()}" in seen._repr_html_()


def test_what_a_notebook_shows_is_small() -> None:
    for name in ("3-transparent.png", "2-chalk.png", "numbers/90210-photo.jpg"):
        assert len(canvas_steps(EXAMPLE.parent / name)._repr_html_()) < 60_000
    assert len(activations(EXAMPLE)._repr_html_()) < 30_000


def test_a_reading_shows_its_lines_with_their_confidence() -> None:
    shown = read(EXAMPLE.parent / "numbers" / "page.png")._repr_html_()
    assert shown.count("<tr") == shown.count("</tr>") == 4
    assert "<b>1998</b>" in shown
    assert "no digits" in Reading()._repr_html_()


def test_a_reading_shows_what_else_a_line_may_be() -> None:
    found = {"88": 0.4, "": 0.1, "8<3": 0.1, "83": 0.01}
    others = tuple(Alternative(text, confidence) for text, confidence in found.items())
    shown = Reading((Line("853", (), (), (0, 0, 9, 9), 0.5, others),))._repr_html_()
    assert ">or 88, 8&lt;3<" in shown  # neither "no digits" nor what is unlikely
    assert ">or " not in Reading((Line("853", (), (), (0, 0, 9, 9), 0.5),))._repr_html_()
