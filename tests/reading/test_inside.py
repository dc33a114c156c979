"""`activations` shows what the network computes, and `occlusion` finds the ink that counts."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from lenet_digits import LeNet5, NoInkError, activations, canvas_steps, load_model, occlusion
from lenet_digits.reading.canvas import to_canvas

EXAMPLES = Path(__file__).parents[2] / "examples"
SHAPES = {
    "c1": (6, 28, 28),
    "s2": (6, 14, 14),
    "c3": (16, 10, 10),
    "s4": (16, 5, 5),
    "c5": (120,),
    "f6": (84,),
    "output": (10,),
}


def hooked(model: LeNet5, canvas: np.ndarray) -> dict[str, np.ndarray]:
    """What torch's forward hooks see."""
    seen: dict[str, np.ndarray] = {}
    for name, layer in model.named_children():
        layer.register_forward_hook(lambda _, __, out, n=name: seen.update({n: out[0].numpy()}))
    with torch.inference_mode():
        model(torch.from_numpy(canvas)[None, None])
    return seen


def test_another_threads_canvas_is_not_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    model = load_model()
    mine, other = (to_canvas(EXAMPLES / name) for name in ("7-photo.jpg", "9-tiny.png"))
    wanted = model.activations(mine)
    logits = model.logits

    def logits_beside_another_thread(canvases: np.ndarray) -> np.ndarray:
        answer = logits(canvases)
        thread = threading.Thread(target=logits, args=(other[None],))
        thread.start()
        thread.join()
        return answer

    monkeypatch.setattr(model, "logits", logits_beside_another_thread)
    found = model.activations(mine)
    assert all(np.array_equal(found[name], layer) for name, layer in wanted.items())


@pytest.mark.parametrize("name", ["7-photo.jpg", "3-transparent.png", "9-tiny.png"])
@pytest.mark.parametrize("own", [False, True], ids=["shipped", "a model of the caller's"])
def test_activations_are_what_hooks_see(name: str, own: bool) -> None:
    steps = canvas_steps(EXAMPLES / name)
    found = activations(steps, model=load_model() if own else None)
    expected = hooked(load_model(), steps.canvas)
    assert np.array_equal(found.canvas, steps.canvas)
    for layer, shape in SHAPES.items():
        values = getattr(found, layer)
        assert values.shape == shape
        assert values.dtype == np.float32
        np.testing.assert_allclose(values, expected[layer], atol=1e-5)


def test_a_model_of_another_type_of_numbers_gives_float32() -> None:
    steps = canvas_steps(EXAMPLES / "7-photo.jpg")
    found = activations(steps, model=load_model().to(torch.bfloat16))
    assert all(getattr(found, layer).dtype == np.float32 for layer in SHAPES)
    np.testing.assert_allclose(found.f6, activations(steps).f6, atol=0.1)


def test_a_model_of_the_callers_keeps_no_hook() -> None:
    model = load_model()
    activations(EXAMPLES / "7-photo.jpg", model=model)
    assert not any(layer._forward_hooks for layer in model.children())


def test_a_picture_will_do_as_well_as_its_steps() -> None:
    path = EXAMPLES / "5-scan.jpg"
    assert np.array_equal(activations(path).f6, activations(canvas_steps(path)).f6)


def seven_with_a_bar(bar: bool) -> Image.Image:
    page = Image.new("L", (280, 280), 255)
    draw = ImageDraw.Draw(page)
    draw.line([(80, 60), (200, 60), (120, 230)], fill=0, width=18, joint="curve")
    if bar:
        draw.line([(100, 145), (200, 145)], fill=0, width=18)
    return page


def test_ink_that_speaks_for_the_answer_is_above_zero_and_paper_is_zero() -> None:
    steps = canvas_steps(seven_with_a_bar(bar=False))
    shares = occlusion(steps)
    assert shares.shape == (28, 28)
    assert shares.dtype == np.float32
    assert (shares[steps.canvas == 0] == 0).all()
    assert shares.sum() > 0
    rows = np.flatnonzero(steps.canvas.any(axis=1))
    top = shares[: rows[0] + 4].sum()  # without its top bar a 7 is a slash
    assert top > shares.sum() / 4


def test_taking_away_the_ink_that_mattered_most_costs_more_than_taking_away_the_rest() -> None:
    """The definition, held to the network: ranked by `occlusion`, ink is worth what it says."""
    for path in ("3-transparent.png", "8-lying-on-its-side.jpg", "5-scan.jpg"):
        steps = canvas_steps(EXAMPLES / path)
        shares, canvas = occlusion(steps), steps.canvas
        digit = int(activations(steps).output.argmax())
        ranked = np.argsort(shares[canvas > 0.5])
        places = np.argwhere(canvas > 0.5)
        quarter = len(ranked) // 4

        def without(chosen: np.ndarray, canvas: np.ndarray, digit: int) -> float:
            less = canvas.copy()
            less[tuple(chosen.T)] = 0
            output = load_model().logits(less[None])[0]
            return float(output[digit] - np.delete(output, digit).max())

        most = without(places[ranked[-quarter:]], canvas, digit)
        least = without(places[ranked[:quarter]], canvas, digit)
        assert most < least, path


def test_one_digit_against_another_turns_its_sign() -> None:
    path = EXAMPLES / "3-transparent.png"
    for_three = occlusion(path, digit=3, against=8)
    np.testing.assert_allclose(occlusion(path, digit=8, against=3), -for_three, atol=1e-4)
    assert np.array_equal(occlusion(path, digit=3), occlusion(path))


@pytest.mark.parametrize(
    ("options", "name"),
    [({"digit": 10}, "digit"), ({"digit": -1}, "digit"), ({"against": "x"}, "against")],
)
def test_what_is_not_a_digit_is_refused_by_name(options: dict[str, int], name: str) -> None:
    with pytest.raises(ValueError, match=f"^{name} is "):
        occlusion(EXAMPLES / "3-transparent.png", **options)


def test_a_digit_is_not_compared_with_itself() -> None:
    with pytest.raises(ValueError, match="two different digits"):
        occlusion(EXAMPLES / "3-transparent.png", against=3)


def test_a_blank_picture_has_no_inside() -> None:
    with pytest.raises(NoInkError):
        activations(Image.new("L", (50, 50), 255))
