"""Evaluation counts answers right, calls the model, and leaves it and the process as they were."""

from __future__ import annotations

import os
import signal
import tempfile
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import pytest
import torch
import torch.nn.functional as F

from lenet_digits import Digits, Evaluation, LeNet5, evaluate, load_mnist, load_model, train
from lenet_digits.training import threads
from lenet_digits.training.evaluation import (
    BINS,
    Reliability,
    calibrated,
    evaluate_quickly,
    wilson,
)
from lenet_digits.training.threads import one_thread


def test_answers_are_counted_in_the_bin_of_their_confidence():
    result = Reliability.measure([0.0, 0.1, 0.99, 1.0], [False, True, True, False])
    assert result.counts == (1, 1, *[0] * (BINS - 3), 2)
    assert result.right == (0, 1, *[0] * (BINS - 3), 1)
    assert result.expected[-1] == pytest.approx(1.99)


def test_the_error_is_the_mean_gap_between_confidence_and_accuracy():
    # In one bin 0.9 is said of four and three are right; in another 0.5 of one that is right.
    result = Reliability.measure([0.9] * 4 + [0.5], [True, True, True, False, True])
    assert result.error == pytest.approx((4 * abs(0.75 - 0.9) + 1 * abs(1 - 0.5)) / 5)


def test_true_probabilities_have_no_error():
    assert Reliability.measure([0.75] * 8, [True] * 6 + [False] * 2).error == pytest.approx(0)


@pytest.mark.parametrize(
    ("right", "count", "low", "high"),
    [(97, 100, 0.9155, 0.9897), (0, 10, 0.0, 0.2775), (10, 10, 0.7225, 1.0)],
)
def test_intervals_are_wilsons(right, count, low, high):
    assert wilson(right, count) == pytest.approx((low, high), abs=5e-5)


# Models


@pytest.fixture(scope="module")
def digits() -> Digits:
    return load_mnist(Path(__file__).parents[1] / "data", download=False)[1]


@pytest.mark.parametrize("measure", [evaluate, evaluate_quickly])
def test_every_digit_is_counted_by_label_and_answer_and_the_model_stays_as_it_was(digits, measure):
    model, twin = load_model().train(), load_model()
    many = digits[torch.arange(5500) % len(digits)]  # more than are read in one go
    with torch.inference_mode():
        logits = twin(many.images[:, None] / 255)
    result = measure(model, many)
    for label in range(10):
        for answer in range(10):
            expected = ((many.labels == label) & (logits.argmax(1) == answer)).sum()
            assert result.confusion[label, answer] == expected
    assert result.errors == int((logits.argmax(1) != many.labels).sum())
    assert result.loss == pytest.approx(float(F.cross_entropy(logits, many.labels)), rel=1e-4)
    assert model.training
    for ours, theirs in zip(model.parameters(), twin.parameters(), strict=True):
        assert torch.equal(ours, theirs)
        assert ours.grad is None
        assert ours.requires_grad


def test_the_figures_of_an_evaluation_derive_from_its_confusion_matrix():
    confusion = torch.zeros(10, 10, dtype=torch.int64)
    confusion[3, 3], confusion[3, 5], confusion[4, 4] = 6, 2, 12
    result = Evaluation(loss=0.5, confusion=confusion)
    assert (result.count, result.errors, result.accuracy) == (20, 2, 0.9)


def test_calibration_divides_the_logits_raises_them_evenly_and_makes_a_copy(digits):
    model, canvases = load_model(), digits.images[:20, None] / 255
    with torch.inference_mode():
        logits, changed = model(canvases), calibrated(model, 1.6, 0.5)(canvases)
        torch.testing.assert_close(changed, logits / 1.6 + 0.5)
        assert torch.equal(model(canvases), logits)


@pytest.mark.parametrize("model", ["file", None, LeNet5])
def test_what_is_not_a_network_is_not_evaluated(model, digits):
    with pytest.raises(TypeError, match="give a LeNet5 object"):
        evaluate(model, digits)


@pytest.mark.parametrize("digits", [None, [], "t10k"])
def test_what_is_not_labelled_digits_is_not_evaluated(digits):
    with pytest.raises(TypeError, match="give a Digits object"):
        evaluate(LeNet5(), digits)


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_damaged_weights_are_not_evaluated(digits, value):
    model = load_model()
    model.output.bias.data.fill_(value)
    with pytest.raises(ValueError, match="not ten finite numbers"):
        evaluate(model, digits)


def test_hooks_subclasses_and_patched_forwards_count(digits):
    class Upside(LeNet5):
        def forward(self, canvases: torch.Tensor) -> torch.Tensor:
            return -super().forward(canvases)

    model = load_model()
    right = evaluate(model, digits)
    assert right.accuracy > 0.9

    subclass = Upside()
    subclass.load_state_dict(model.state_dict())
    assert evaluate(subclass, digits).accuracy < 0.01

    hook = model.register_forward_hook(lambda module, inputs, logits: -logits)
    assert evaluate(model, digits).accuracy < 0.01
    hook.remove()

    inner = model.f6.register_forward_hook(lambda module, inputs, units: -units)
    assert evaluate(model, digits).accuracy < 0.5
    inner.remove()

    forward = model.forward
    model.forward = lambda canvases: -forward(canvases)  # type: ignore[method-assign]
    assert evaluate(model, digits).accuracy < 0.01
    # The twin: what does not call the model would notice none of it.
    assert torch.equal(evaluate_quickly(model, digits).confusion, right.confusion)


@pytest.mark.parametrize("change", [LeNet5.half, LeNet5.bfloat16, LeNet5.double])
def test_models_of_other_types_are_evaluated(digits, change):
    assert evaluate(change(load_model()), digits).accuracy > 0.9


def test_models_with_other_weights_are_evaluated(digits):
    model = load_model()
    torch.nn.utils.parametrizations.weight_norm(model.f6)
    assert evaluate(model, digits).accuracy > 0.9
    assert evaluate(torch.nn.DataParallel(load_model()), digits).accuracy > 0.9


def test_a_model_that_cannot_answer_is_one_sentence(digits):
    with pytest.raises(ValueError, match="on the device meta"):
        evaluate(load_model().to("meta"), digits)
    with pytest.raises(ValueError, match=r"answers of shape .* LeNet-5 gives ten logits"):
        evaluate(torch.nn.Sequential(load_model(), torch.nn.Linear(10, 5)), digits)
    for nothing in (digits[:0], Digits(digits.images[:0], torch.tensor([]))):
        with pytest.raises(ValueError, match="no digits to evaluate on"):
            evaluate(load_model(), nothing)


# The process


def state() -> tuple[object, ...]:
    """What a process has one of: the calls of a library leave it as it was."""
    fresh: list[int] = []  # a thread that begins now
    thread = threading.Thread(target=lambda: fresh.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    return (
        torch.get_num_threads(),
        fresh,
        torch.get_rng_state().tolist(),
        cv2.getNumThreads(),
        dict(os.environ),
        [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)],
        list(warnings.filters),
        tempfile.gettempdir(),
        tempfile.tempdir,
        Path.cwd(),
    )


@pytest.fixture
def two_threads() -> Iterator[None]:
    """Torch with two threads, that a change to one of them would show."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def overlap(call: Callable[[Callable[[], None]], None]) -> None:
    """Runs a call twice, so that the second begins within the first and ends after it.

    The call is given a function that it calls at a point within itself.
    """
    second_is_within, first_is_over = threading.Event(), threading.Event()
    failures: list[BaseException] = []

    def within_first() -> None:
        if not others:
            others.append(threading.Thread(target=run, args=(within_second,)))
            others[0].start()
            assert second_is_within.wait(60)

    def within_second() -> None:
        second_is_within.set()
        assert first_is_over.wait(60)

    def run(within: Callable[[], None]) -> None:
        try:
            call(within)
        except BaseException as error:
            failures.append(error)
            second_is_within.set()

    others: list[threading.Thread] = []
    first = threading.Thread(target=run, args=(within_first,))
    first.start()
    first.join()
    first_is_over.set()
    others[0].join()
    assert not failures


def evaluating(digits: Digits, within: Callable[[], None]) -> None:
    model = load_model()
    model.register_forward_hook(lambda *_: within())
    evaluate(model, digits[:50])


def training(digits: Digits, within: Callable[[], None]) -> None:
    train((digits[:100], digits[:50]), epochs=1, seed=7, on_batch=lambda *_: within())


def training_within_a_step(digits: Digits, within: Callable[[], None]) -> None:
    """The other call begins where torch works in one thread."""
    with one_thread():
        within()
    train((digits[:100], digits[:50]), epochs=1)


@pytest.mark.usefixtures("two_threads")
@pytest.mark.parametrize("call", [evaluating, training, training_within_a_step])
def test_calls_that_overlap_leave_the_process_as_it_was(digits, call):
    evaluate(load_model(), digits[:50])
    before = state()
    overlap(lambda within: call(digits, within))
    assert state() == before


@contextmanager
def process_wide() -> Iterator[None]:
    """What would be wrong: to change the number of threads of the process, and put it back."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.usefixtures("two_threads")
def test_a_change_to_the_process_would_be_noticed():
    def call(within: Callable[[], None]) -> None:
        with process_wide():
            within()

    before = state()
    overlap(call)
    assert state() != before


def test_without_openmp_torch_keeps_its_threads(monkeypatch):
    monkeypatch.setattr(torch._C, "__file__", __file__)  # not a library
    monkeypatch.setattr(threads, "_openmp", threads._openmp.__wrapped__)
    before = torch.get_num_threads()
    with one_thread():
        assert torch.get_num_threads() == before
    assert torch.get_num_threads() == before


@pytest.mark.usefixtures("two_threads")
def test_torch_works_in_one_thread_here_and_in_all_elsewhere():
    seen: list[int] = []
    with one_thread():
        here = torch.get_num_threads()
        thread = threading.Thread(target=lambda: seen.append(torch.get_num_threads()))
        thread.start()
        thread.join()
    assert seen == [2]
    assert torch.get_num_threads() == 2
    if "OpenMP" in torch.__config__.parallel_info():
        assert here == 1


def test_runs_that_overlap_train_the_same_weights_as_alone(digits):
    """Neither run draws from the generator of the process, which the other would disturb."""
    alone = train((digits[:100], digits[:50]), epochs=1, seed=7)
    runs = []

    def call(within: Callable[[], None]) -> None:
        run = train((digits[:100], digits[:50]), epochs=1, seed=7, on_batch=lambda *_: within())
        runs.append(run)

    overlap(call)
    for run in runs:
        for one, other in zip(run.model.parameters(), alone.model.parameters(), strict=True):
            assert torch.equal(one, other)
