"""A picture in, a prediction out: any kind of picture, in any thread or process."""

from __future__ import annotations

import dataclasses
import io
import itertools
import json
import math
import pickle
import random
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from golden import as_photo
from PIL import Image

from lenet_digits import (
    Digits,
    LeNet5,
    NoInkError,
    Prediction,
    UnreadableImageError,
    canvas_steps,
    load_mnist,
    load_model,
    predict,
    predict_many,
    predict_steps,
    preprocess,
)
from lenet_digits.reading import prediction
from lenet_digits.reading.network import Network
from lenet_digits.reading.prediction import ANSWER

DATA = Path(__file__).parents[1] / "data"


@pytest.fixture(scope="module")
def digits() -> Digits:
    return load_mnist(DATA, download=False)[1]


@pytest.fixture(scope="module")
def photos(digits: Digits) -> list[np.ndarray]:
    """Photos of a 7, a 2, a 1, a 0 and eight more."""
    return [as_photo(image) for image in digits.images[:12].numpy()]


def encoded(photo: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(photo).save(buffer, "PNG")
    return buffer.getvalue()


def always(digit: int) -> LeNet5:
    """A network that answers the same digit to everything."""
    model = load_model()
    with torch.no_grad():
        model.output.weight.zero_()
        model.output.bias.zero_()
        model.output.bias[digit] = 4.0
    return model


# What goes in


@pytest.mark.parametrize(
    "kind",
    [
        "str",
        "Path",
        "bytes",
        "bytes in memory",
        "open file",
        "Pillow",
        "array",
        "read-only array",
        "array channels first",
        "tensor",
        "tensor batch of one",
        "tensor that requires a gradient",
    ],
)
def test_every_kind_of_picture_gets_the_same_answer(
    photos: list[np.ndarray], tmp_path: Path, kind: str
) -> None:
    photo = photos[0]
    path = tmp_path / "seven.png"
    path.write_bytes(encoded(photo))
    locked = photo.copy()
    locked.flags.writeable = False
    tensor = torch.from_numpy(photo.copy()).permute(2, 0, 1)
    with path.open("rb") as file:
        image: Any = {
            "str": str(path),
            "Path": path,
            "bytes": encoded(photo),
            "bytes in memory": io.BytesIO(encoded(photo)),
            "open file": file,
            "Pillow": Image.fromarray(photo),
            "array": photo,
            "read-only array": locked,
            "array channels first": photo.transpose(2, 0, 1),
            "tensor": tensor,
            "tensor batch of one": tensor[None],
            "tensor that requires a gradient": (tensor / 255).requires_grad_(),
        }[kind]
        answer = predict(image)
    expected = predict(path)
    assert answer.digit == 7
    assert answer.probabilities == pytest.approx(expected.probabilities, abs=1e-6)


def test_preprocessing_gives_what_the_network_takes(photos: list[np.ndarray]) -> None:
    canvas = preprocess(photos[0])
    assert canvas.shape == (1, 1, 28, 28)
    assert canvas.dtype == torch.float32
    assert 0 <= float(canvas.min()) < float(canvas.max()) <= 1
    logits = load_model()(canvas)
    assert int(logits.argmax()) == 7


def test_the_method_is_passed_on(photos: list[np.ndarray]) -> None:
    by_hand = load_model()(preprocess(photos[0], method="center-crop"))
    answer = predict(photos[0], method="center-crop")
    assert answer.probabilities != predict(photos[0]).probabilities
    assert answer.digit == int(by_hand.argmax())
    many = next(predict_many([photos[0]], method="center-crop"))
    assert many.probabilities == pytest.approx(answer.probabilities, abs=1e-6)


def test_a_model_of_the_callers_answers(photos: list[np.ndarray]) -> None:
    three = always(3)
    assert predict(photos[0], model=three).digit == 3
    assert [p.digit for p in predict_many(photos[:2], model=three)] == [3, 3]
    assert predict_steps(canvas_steps(photos[0]), model=three).digit == 3
    assert predict(photos[0]).digit == 7


def test_steps_already_made_get_the_same_answer(photos: list[np.ndarray]) -> None:
    assert predict_steps(canvas_steps(photos[1])) == predict(photos[1])


# What comes out


def a_prediction(**changes: Any) -> Prediction:
    return dataclasses.replace(Prediction((0.05,) * 4 + (0.55,) + (0.05,) * 5, 0.25), **changes)


def test_a_prediction_is_ten_probabilities_and_the_evidence(photos: list[np.ndarray]) -> None:
    for answer in predict_many(photos):
        assert len(answer.probabilities) == 10
        assert all(isinstance(p, float) and 0 <= p <= 1 for p in answer.probabilities)
        assert math.fsum(answer.probabilities) == pytest.approx(1, abs=1e-9)
        assert isinstance(answer.digit, int)
        assert answer.confidence == max(answer.probabilities) == answer.probabilities[answer.digit]
        assert answer.outlier_score >= 0
        assert math.isfinite(answer.outlier_score)
        assert answer.is_digit == (answer.outlier_score <= 1)


def test_a_prediction_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        a_prediction().outlier_score = 2.0  # type: ignore[misc]
    with pytest.raises(AttributeError):
        a_prediction().digit = 2  # type: ignore[misc]


def test_equal_predictions_are_equal_and_travel_between_processes() -> None:
    assert a_prediction() == a_prediction()
    assert a_prediction() != a_prediction(outlier_score=0.5)
    assert len({a_prediction(), a_prediction()}) == 1
    assert pickle.loads(pickle.dumps(a_prediction())) == a_prediction()


@pytest.mark.parametrize(("score", "is_digit"), [(0.0, True), (1.0, True), (1.0001, False)])
def test_above_one_it_is_not_a_digit(score: float, is_digit: bool) -> None:
    assert a_prediction(outlier_score=score).is_digit is is_digit


@pytest.mark.parametrize(
    ("share", "words"),
    [(1, "> 99.9 %"), (0.9994, "> 99.9 %"), (0.992, "99.2 %"), (0.5, "50.0 %"), (0, "< 0.1 %")],
)
def test_no_percentage_claims_certainty(share: float, words: str) -> None:
    assert prediction.percent(share) == words


def test_a_prediction_goes_into_json_and_back() -> None:
    written = json.loads(json.dumps(a_prediction().to_dict(), allow_nan=False))
    assert list(written) == ["digit", "confidence", "is_digit", "outlier_score", "probabilities"]
    assert Prediction(tuple(written["probabilities"]), written["outlier_score"]) == a_prediction()
    assert (written["digit"], written["confidence"], written["is_digit"]) == (4, 0.55, True)
    unknown = a_prediction(outlier_score=None)
    assert unknown.is_digit is None
    written = json.loads(json.dumps(unknown.to_dict(), allow_nan=False))
    assert written["is_digit"] is written["outlier_score"] is None


def test_a_notebook_shows_ten_bars_and_the_verdict() -> None:
    page = a_prediction()._repr_html_()
    assert page.count("<tr") == page.count("</tr>") == 10
    assert "<b>4 at 55.0 %</b>" in page
    assert page.count("55.00%") == page.count(ANSWER) == 1  # the answer's bar
    refused = a_prediction(outlier_score=2.0)._repr_html_()
    assert "does not look like a digit" in refused
    assert ANSWER not in refused
    assert "if it is a digit: unknown" in a_prediction(outlier_score=None)._repr_html_()


@pytest.mark.parametrize("own", [False, True])
def test_logits_of_any_size_give_finite_probabilities(
    photos: list[np.ndarray], monkeypatch: pytest.MonkeyPatch, own: bool
) -> None:
    model = always(3)
    with torch.no_grad():
        model.output.bias.fill_(-1e4)
        model.output.bias[3] = -1e3
    weights = {name: value.numpy() for name, value in model.state_dict().items()}
    model.sees_nondigits = True
    network = Network(weights, sees_nondigits=True)
    monkeypatch.setattr(prediction, "shipped_network", lambda: network)
    with np.errstate(all="raise"):  # whatever the caller has set
        answer = predict(photos[0], model=model if own else None)
    assert (answer.digit, answer.confidence, answer.is_digit) == (3, 1.0, False)


# Many


def test_many_pictures_get_the_answers_that_each_gets_alone(photos: list[np.ndarray]) -> None:
    alone = [predict(photo) for photo in photos]
    for size in (1, 5, 256):
        together = list(predict_many(photos, batch_size=size))
        assert len(together) == len(alone)
        for one, other in zip(together, alone, strict=True):
            assert one.probabilities == pytest.approx(other.probabilities, abs=1e-5)
            assert one.outlier_score == pytest.approx(other.outlier_score, rel=1e-3, abs=1e-6)


def test_no_pictures_get_no_answers() -> None:
    assert list(predict_many([])) == []


def test_pictures_are_taken_a_batch_at_a_time(photos: list[np.ndarray]) -> None:
    taken = 0

    def endless() -> Iterator[np.ndarray]:
        nonlocal taken
        for photo in itertools.cycle(photos):
            taken += 1
            yield photo

    answers = predict_many(endless(), batch_size=4)
    assert taken == 0
    for expected in (4, 4, 4, 4, 8):
        next(answers)
        assert taken == expected


@pytest.mark.parametrize("size", [1, 2, 3, 4, 256])
def test_an_error_comes_at_its_picture_and_after_the_answers_before_it(
    photos: list[np.ndarray], size: int
) -> None:
    answers = predict_many([*photos[:3], b"junk", photos[3]], batch_size=size)
    assert [next(answers).digit for _ in range(3)] == [7, 2, 1]
    with pytest.raises(UnreadableImageError):
        next(answers)


@pytest.mark.parametrize("images", [7, None])
def test_what_is_not_several_pictures_is_a_sentence(images: Any) -> None:
    with pytest.raises(TypeError, match="predict_many takes several pictures"):
        predict_many(images)


@pytest.mark.parametrize("size", [0, -1, 1.5, None])
def test_a_batch_holds_one_picture_or_more(photos: list[np.ndarray], size: Any) -> None:
    with pytest.raises(ValueError, match=f"batch_size is {size}"):
        list(predict_many(photos, batch_size=size))


def test_test_digits_are_read_and_taken_for_digits(digits: Digits) -> None:
    some = digits[:200]
    for images in (some.images, 255 - some.images):
        answers = list(predict_many(images.numpy()))
        right = sum(a.digit == label for a, label in zip(answers, some.labels, strict=True))
        assert right >= 196
        assert sum(answer.is_digit for answer in answers) >= 194


# Threads and processes


@pytest.fixture
def fresh() -> Iterator[None]:
    """Whatever read the shipped weights before, the test reads them anew."""
    prediction.shipped_network.cache_clear()
    yield
    prediction.shipped_network.cache_clear()


@pytest.mark.usefixtures("fresh")
@pytest.mark.parametrize("own", [False, True], ids=["shipped weights", "a model of the caller's"])
def test_sixteen_threads_that_begin_together_get_right_answers(
    photos: list[np.ndarray], own: bool
) -> None:
    photos = photos[:4]
    model = load_model()
    expected = [predict(photo, model=model) for photo in photos]
    together = threading.Barrier(16)

    def work(start: int) -> list[Prediction]:
        together.wait(30)
        order = [(start + i) % len(photos) for i in range(len(photos))]
        answers = {i: predict(photos[i], model=model if own else None) for i in order}
        return [answers[i] for i in range(len(photos))]

    with ThreadPoolExecutor(16) as pool:
        for answers in pool.map(work, range(16)):
            for one, other in zip(answers, expected, strict=True):
                assert one.probabilities == pytest.approx(other.probabilities, abs=1e-6)


@pytest.mark.usefixtures("fresh")
def test_predicting_leaves_the_callers_process_as_it_was(photos: list[np.ndarray]) -> None:
    def state() -> tuple[object, ...]:
        return (
            torch.get_rng_state().tolist(),
            random.getstate(),
            str(np.random.get_state()),
            torch.get_num_threads(),
            torch.is_grad_enabled(),
            torch.is_inference_mode_enabled(),
            np.geterr(),
        )

    before = state()
    predict(photos[0])
    answers = predict_many(photos, batch_size=2)
    next(answers)  # a generator at rest, too
    assert state() == before


@pytest.mark.usefixtures("fresh")
def test_the_shipped_weights_are_read_once(photos: list[np.ndarray]) -> None:
    predict(photos[0])
    network = prediction.shipped_network()
    list(predict_many(photos))
    assert prediction.shipped_network() is network


PROCESSES = """
import os, sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
import numpy as np
from lenet_digits import predict, predict_many
photos = list(np.load(sys.argv[1]))
expected = [answer.digit for answer in predict_many(photos * 30)][:len(photos)]  # threads at work
if hasattr(os, "fork"):
    child = os.fork()
    if not child:
        alone = [predict(photo).digit for photo in photos]
        many = [answer.digit for answer in predict_many(photos * 30)][:len(photos)]
        os._exit(0 if alone == many == expected else 1)
    assert os.waitpid(child, 0)[1] == 0, "a forked process answers otherwise"
with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
    assert [answer.digit for answer in pool.map(predict, photos)] == expected
print(*expected)
"""


def test_forked_and_spawned_processes_get_right_answers(
    photos: list[np.ndarray], tmp_path: Path
) -> None:
    photo_file = tmp_path / "photos.npy"
    np.save(photo_file, np.stack(photos[:3]))
    process = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", PROCESSES, str(photo_file)],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert process.stderr == ""
    assert process.stdout.split() == ["7", "2", "1"]


@pytest.mark.parametrize(
    "one",
    [
        "x.png",
        b"\x89PNG",
        bytearray(b"\x89PNG"),
        Path("x.png"),
        Image.new("L", (9, 9)),
        io.BytesIO(),
    ],
    ids=lambda one: type(one).__name__,
)
def test_one_picture_is_not_taken_for_many(one: Any) -> None:
    with pytest.raises(TypeError, match="takes several pictures") as caught:
        predict_many(one)
    assert "\n" not in str(caught.value)


def test_errors_may_come_in_the_place_of_their_pictures(photos: list[np.ndarray]) -> None:
    blank = np.full((40, 40), 255, np.uint8)
    pictures = [b"junk", photos[0], blank, blank, photos[1], b"junk"]
    for size in (1, 2, 256):
        answers = list(predict_many(pictures, on_error="return", batch_size=size))
        kinds = [UnreadableImageError, Prediction, NoInkError, NoInkError, Prediction]
        assert [type(answer) for answer in answers] == [*kinds, UnreadableImageError]
        for place, photo in ((1, photos[0]), (4, photos[1])):
            shares = predict(photo).probabilities
            assert answers[place].probabilities == pytest.approx(shares, abs=1e-6)


def test_only_errors_of_pictures_come_in_their_places(photos: list[np.ndarray]) -> None:
    def broken() -> Iterator[np.ndarray]:
        yield photos[0]
        raise RuntimeError("of the caller's")

    answers = predict_many(broken(), on_error="return")
    assert isinstance(next(answers), Prediction)
    with pytest.raises(RuntimeError, match="of the caller's"):
        next(answers)
    with pytest.raises(ValueError, match="on_error is 'skip'"):
        predict_many([], on_error="skip")  # type: ignore[call-overload]


# Models


def pruned(model: LeNet5) -> LeNet5:
    from torch.nn.utils import prune

    prune.l1_unstructured(model.f6, "weight", 0.3)  # type: ignore[no-untyped-call]
    return model


def weight_normed(model: LeNet5) -> LeNet5:
    torch.nn.utils.parametrizations.weight_norm(model.f6)
    return model


@pytest.mark.parametrize(
    "change",
    [LeNet5.half, LeNet5.bfloat16, LeNet5.double, pruned, weight_normed],
    ids=lambda change: change.__name__,
)
def test_models_that_were_changed_answer(photos: list[np.ndarray], change: Any) -> None:
    answer = predict(photos[0], model=change(load_model()))
    assert answer.digit == predict(photos[0]).digit
    assert answer.is_digit is True
    assert type(answer.confidence) is float


def test_a_model_answers_within_autocast(photos: list[np.ndarray]) -> None:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert predict(photos[0], model=load_model()).digit == predict(photos[0]).digit


@pytest.mark.filterwarnings("ignore:.*(quantiz|deprecated)")
def test_a_quantised_model_answers(photos: list[np.ndarray]) -> None:
    quantize = torch.ao.quantization.quantize_dynamic
    model = quantize(load_model(), {torch.nn.Linear}, dtype=torch.qint8)
    assert predict(photos[0], model=model).digit == predict(photos[0]).digit


@pytest.mark.parametrize(
    ("make", "error", "sentence"),
    [
        (torch.nn.DataParallel, TypeError, "DataParallel cannot read pictures: give a LeNet5"),
        (lambda model: LeNet5, TypeError, "LeNet5 cannot read pictures: give a LeNet5 object"),
        (lambda model: "weights.pth", TypeError, "str cannot read pictures"),
        (lambda model: model.to("meta"), ValueError, "is on the device meta"),
        (lambda model: damaged(model, math.nan), ValueError, "not ten finite numbers"),
        (lambda model: damaged(model, math.inf), ValueError, "not ten finite numbers"),
    ],
)
def test_what_cannot_answer_is_one_sentence(
    photos: list[np.ndarray], make: Any, error: type[Exception], sentence: str
) -> None:
    with pytest.raises(error, match=sentence) as caught:
        predict(photos[0], model=make(load_model()))
    assert "\n" not in str(caught.value)


def damaged(model: LeNet5, value: float) -> LeNet5:
    with torch.no_grad():
        model.output.weight[3, 3] = value
    return model
