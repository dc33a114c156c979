"""Figures show what they are given, and reach the disk whole or not at all."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import matplotlib
import numpy as np
import pytest
import torch
from PIL import Image

from lenet_digits import LeNet5, activations, load_model, occlusion, read
from lenet_digits import figures as plotting
from lenet_digits.reading.canvas import canvas_steps
from lenet_digits.reading.prediction import Prediction
from lenet_digits.training.evaluation import Evaluation, Reliability
from lenet_digits.training.metrics import EpochRecord
from lenet_digits.training.mnist import Digits

ROOT = Path(__file__).parents[1]
SEVEN = Prediction((0.0,) * 7 + (0.75, 0.25, 0.0), outlier_score=0.2)
NO_DIGIT = Prediction(SEVEN.probabilities, outlier_score=3.0)
EPOCHS = [EpochRecord(n, 1 / n, 1 / n, 1 - 0.1 / n, 1e-3, 1.0) for n in range(1, 6)]


def digits(count):
    torch.manual_seed(0)
    images = torch.randint(0, 256, (count, 28, 28), dtype=torch.uint8)
    return Digits(images, torch.arange(count) % 10)


def curve():
    return plotting.plot_epochs("Cost", EPOCHS, [1.0, 0.5, 0.3, 0.2, 0.1], unit="nats")


def texts(figure):
    return [text.get_text() for axes in figure.axes for text in axes.texts]


@pytest.mark.parametrize(("unit", "last"), [("nats", "0.9800"), ("", "98.00%")])
def test_a_curve_goes_through_every_epoch_and_names_the_last_value(unit, last):
    values = [epoch.test_accuracy for epoch in EPOCHS]
    figure = plotting.plot_epochs("Accuracy", EPOCHS, values, unit=unit)
    x, y = figure.axes[0].lines[0].get_data()
    assert list(x) == [1, 2, 3, 4, 5]
    assert list(y) == pytest.approx(values)
    assert texts(figure) == [last]
    assert figure.axes[0].get_title(loc="left") == "Accuracy"


def test_every_sample_is_shown_under_its_label():
    figure = plotting.plot_samples(digits(23), title="Samples")
    assert texts(figure) == [str(n % 10) for n in range(23)]
    page = figure.axes[0].images[0].get_array()
    shown = {
        page[y : y + 28, x : x + 28].tobytes() for y in (10, 50, 90) for x in range(3, 340, 34)
    }
    assert {image.numpy().tobytes() for image in digits(23).images} <= shown


def test_only_mistakes_are_on_the_page_of_mistakes():
    given = digits(30)
    answers = given.labels.clone()
    answers[[3, 17]] = 9
    figure = plotting.plot_mistakes(given, answers)
    assert texts(figure) == ["3 → 9", "7 → 9"]
    assert figure.axes[0].get_title(loc="left").startswith("2 of 30 digits read wrong")


def test_a_page_of_mistakes_may_be_empty_and_is_never_endless():
    given = digits(400)
    assert texts(plotting.plot_mistakes(given, given.labels)) == []
    figure = plotting.plot_mistakes(given, (given.labels + 1) % 10)
    assert len(texts(figure)) == plotting.MISTAKES_SHOWN
    assert figure.axes[0].get_title(loc="left").endswith("the first 150")


def test_the_confusion_matrix_shows_every_count():
    confusion = torch.arange(100).view(10, 10)
    figure = plotting.plot_confusion(Evaluation(loss=0.1, confusion=confusion))
    assert texts(figure) == ["·", *(f"{n:,}" for n in range(1, 100))]
    assert "495 of 4,950" in figure.axes[0].get_title(loc="left")


def test_reliability_diagrams_stand_side_by_side_with_their_errors(tmp_path):
    sure = Reliability.measure([0.95] * 9 + [0.7, 0.5], [True] * 9 + [False, True])
    figure = plotting.plot_reliability({"Ours": sure, "Theirs": sure})
    titles = [axes.get_title(loc="left") for axes in figure.axes[::2]]
    assert titles == [f"{name}: ECE {sure.error:.4f}" for name in ("Ours", "Theirs")]
    points = [line.get_xydata() for line in figure.axes[0].lines if line.get_marker() == "o"]
    assert np.allclose(np.concatenate(points), [(0.5, 1), (0.7, 0), (0.95, 1)])
    assert "81.8%" in texts(figure)  # 9 of the 11 are in the last bin
    plotting.save_figure(figure, tmp_path / "reliability.png")


def test_the_steps_of_each_picture_are_a_row_of_their_own(tmp_path):
    picture = np.full((60, 80, 3), 255, np.uint8)
    picture[10:50, 38:42] = 0
    steps = canvas_steps(picture)
    rows = [("first.png", steps, SEVEN), ("a very long name " * 9 + "$x", steps, NO_DIGIT)]
    figure = plotting.plot_steps(rows)
    assert len(figure.axes) == 2 * (len(steps.named()) + 3)
    names = [axes.get_xlabel() for axes in figure.axes if axes.get_xlabel()]
    assert names[0] == "first.png"
    assert len(names[1]) == 26
    last = figure.axes[len(figure.axes) // 2 - 1]
    assert [bar.get_height() for bar in last.patches] == list(SEVEN.probabilities)
    assert [axes.get_title(loc="left") for axes in (last, figure.axes[-1])] == [
        "7 at 75.0 %", "not a digit (closest: 7 at 75.0 %)",
    ]  # fmt: skip
    plotting.save_figure(figure, tmp_path / "steps.png")


@pytest.mark.parametrize("suffix", plotting.FORMATS)
def test_a_figure_is_saved_in_the_format_of_its_name_with_directories_made(tmp_path, suffix):
    path = tmp_path / "new" / f"cost.{suffix}"
    plotting.save_figure(curve(), path)
    start = path.read_bytes()[:5]
    assert start in (b"%PDF-", b"\x89PNG\r", b"<?xml")
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_a_saved_figure_is_sharp_at_the_width_of_a_readme(tmp_path):
    plotting.save_figure(curve(), tmp_path / "cost.png")
    with Image.open(tmp_path / "cost.png") as image:
        assert image.width >= 1000


def test_a_name_without_a_known_format_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(ValueError, match="does not end in"):
        plotting.save_figure(curve(), tmp_path / "cost.doc")
    assert not list(tmp_path.iterdir())


def test_the_users_own_settings_of_matplotlib_stay_as_they_are():
    before = [matplotlib.rcParams[key] for key in plotting.STYLE]
    curve()
    assert [matplotlib.rcParams[key] for key in plotting.STYLE] == before


def test_plotting_leaves_pyplot_and_its_list_of_open_figures_alone():
    # In a process of its own: Gradio imports pyplot, and may have been imported here before.
    script = (
        "import sys\n"
        "import numpy as np\n"
        "from lenet_digits.figures import plot_occlusion\n"
        "plot_occlusion(np.ones((28, 28)), np.ones((28, 28)))\n"
        "assert 'matplotlib.figure' in sys.modules\n"
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


# Inside the network


def three():
    return canvas_steps(Path(__file__).parent.parent / "examples" / "3-transparent.png")


def test_every_map_of_every_layer_is_drawn_with_its_own_values():
    seen = activations(three())
    figure = plotting.plot_activations(seen)
    drawn = {axes.get_label(): axes.images[0].get_array() for axes in figure.axes if axes.images}
    for layer, count in {"canvas": 1, "c1": 6, "s2": 6, "c3": 16, "s4": 16}.items():
        maps = np.asarray(getattr(seen, layer)).reshape(count, *getattr(seen, layer).shape[-2:])
        for index, values in enumerate(maps):
            assert np.array_equal(drawn[f"{layer} {index}"], values)
    assert drawn["f6 0"].shape == (12, 7)  # as in the paper
    assert np.array_equal(drawn["f6 0"].ravel(), seen.f6)
    bars = figure.axes[-1].patches
    assert [bar.get_width() for bar in bars].index(max(bar.get_width() for bar in bars)) == 3


def test_nothing_of_the_activations_is_drawn_outside_the_figure_or_over_another():
    figure = plotting.plot_activations(activations(three()))
    boxes = [axes.get_position() for axes in figure.axes]
    assert all(0 <= box.x0 < box.x1 <= 1 and 0 <= box.y0 < box.y1 <= 1 for box in boxes)
    for index, one in enumerate(boxes):
        assert not any(one.overlaps(other) for other in boxes[index + 1 :])


def test_the_ink_that_mattered_is_drawn_with_its_evidence_and_paper_is_not():
    steps = three()
    evidence = occlusion(steps, against=8)
    figure = plotting.plot_occlusion(steps.canvas, evidence, title="3 or 8")
    shown = figure.axes[1].images[-1].get_array()
    assert np.array_equal(shown.mask, steps.canvas < 0.1)
    assert np.array_equal(shown.data, evidence)


def test_all_kernels_of_c1_and_c3_are_drawn():
    model = load_model()
    figure = plotting.plot_kernels(model)
    drawn = [axes.images[0].get_array() for axes in figure.axes]
    assert len(drawn) == 6 + 6 * 16
    kernels = [*model.c1.weight[:, 0], *model.c3.weight.flatten(0, 1)]
    for kernel in kernels:
        assert any(np.array_equal(image, kernel.detach().numpy()) for image in drawn)


def test_an_explanation_shows_the_inside_of_the_network_that_read():
    steps, model = three(), LeNet5().eval()
    figure = plotting.plot_steps([("3", steps, SEVEN)], model=model)
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert titles[-3:-1] == ["C1", "Ink that mattered"]
    page = figure.axes[-3].images[0].get_array()
    first = activations(steps, model=model).c1[0]
    np.testing.assert_allclose(page[1:29, 1:29], first, atol=1e-6)


def test_a_reading_is_drawn_over_its_picture_with_every_digit_and_mark(tmp_path):
    names = ("page.png", "24-12-98-date.png", "853-touching.png")
    pages = []
    for name in names:
        picture = np.asarray(Image.open(ROOT / "examples" / "numbers" / name).convert("RGB"))
        pages.append((name, picture, read(Image.fromarray(picture))))
    figure = plotting.plot_reading(pages)
    for axes, (name, picture, reading) in zip(figure.axes, pages, strict=True):
        assert axes.get_title("left") == name
        assert axes.get_xlim() == (-0.5, picture.shape[1] - 0.5)
        corners = {tuple(patch.get_bbox().extents + 0.5) for patch in axes.patches}
        words = [text.get_text() for text in axes.texts]
        for line in reading.lines:
            assert any(word.startswith(line.text) for word in words)
            for part in (line, *line.digits, *line.marks):
                assert part.box in corners
        strokes = [tuple((np.array(each.get_xydata()) + 0.5).ravel()) for each in axes.lines]
        assert strokes == [cut.ends for line in reading.lines for cut in line.cuts]
        digits = [str(digit.digit) for line in reading.lines for digit in line.digits]
        assert [word for word in words if len(word) == 1] == digits
    assert axes.lines  # the digits of the last one touch
    plotting.save_figure(figure, tmp_path / "reading.png")
    with Image.open(tmp_path / "reading.png") as written:
        assert written.width > 1000
