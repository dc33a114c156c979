"""Training: the original recipe, the same weights again after any fault, nothing half-written."""

from __future__ import annotations

import contextlib
import errno
import inspect
import json
import math
import multiprocessing
import os
import platform
import random
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, fields, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import lenet_digits
from lenet_digits import (
    Digits,
    Evaluation,
    LeNet5,
    TrainingError,
    TrainingRun,
    evaluate,
    load_mnist,
    load_model,
    train,
)
from lenet_digits.storage.shipped import WEIGHTS_FILE
from lenet_digits.training import loop as training
from lenet_digits.training.checkpoint import CHECKPOINT_FILE
from lenet_digits.training.evaluation import calibrated
from lenet_digits.training.metrics import METRICS_FILE, EpochRecord, Metrics
from lenet_digits.training.recipes import RECIPES, Recipe

DATA = Path(__file__).parents[1] / "data"
ORIGINAL = Recipe(epochs=3, batch_size=50)
ELABORATE = Recipe(
    epochs=3,
    batch_size=50,
    learning_rate=4e-3,
    weight_decay=1e-2,
    muon=5.0,
    warmup=0.2,
    cosine=True,
    ema=0.9,
    distortion=1.0,
    polish=0.4,
    drawn=0.2,
    nondigits=0.1,
    pieces=0.1,
    slivers=0.1,
)
LIMIT = 300  # digits; with ORIGINAL 6 steps an epoch, 18 in all


@pytest.fixture(scope="module")
def sample() -> tuple[Digits, Digits]:
    return load_mnist(DATA, download=False)


@pytest.fixture(autouse=True)
def small_pools(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "DRAWN_POOL", 120)


def weights_of(run: TrainingRun) -> list[torch.Tensor]:
    return list(run.model.state_dict().values())


def same(one: TrainingRun, other: TrainingRun) -> bool:
    pairs = zip(weights_of(one), weights_of(other), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


# Evaluation


@pytest.fixture
def model() -> LeNet5:
    torch.manual_seed(0)
    return LeNet5()


def test_an_evaluation_counts_every_digit_by_label_and_answer(
    model: LeNet5, sample: tuple[Digits, Digits]
) -> None:
    digits = sample[1]
    with torch.inference_mode():
        logits = model(digits.images[:, None] / 255)
    result = evaluate(model, digits)
    for label in range(10):
        for answer in range(10):
            expected = ((digits.labels == label) & (logits.argmax(1) == answer)).sum()
            assert result.confusion[label, answer] == expected
    assert result.count == 500
    assert result.errors == int((logits.argmax(1) != digits.labels).sum())
    assert result.accuracy == pytest.approx(1 - result.errors / 500)
    assert result.loss == pytest.approx(float(F.cross_entropy(logits, digits.labels)), rel=1e-5)


def test_a_model_that_reads_otherwise_is_evaluated_as_it_reads(
    sample: tuple[Digits, Digits],
) -> None:
    class Sevens(LeNet5):
        def forward(self, canvases: torch.Tensor) -> torch.Tensor:
            return F.one_hot(torch.full((len(canvases),), 7), 10).float()

    assert evaluate(Sevens(), sample[1]).confusion.sum(dim=0).tolist() == [0] * 7 + [500, 0, 0]


def test_an_evaluation_does_not_depend_on_the_digits_order(
    model: LeNet5, sample: tuple[Digits, Digits]
) -> None:
    digits = sample[0]
    shuffled = digits[torch.randperm(1000, generator=torch.Generator().manual_seed(1))]
    one, other = evaluate(model, digits), evaluate(model, shuffled)
    assert torch.equal(one.confusion, other.confusion)
    assert one.loss == pytest.approx(other.loss, rel=1e-6)


def test_evaluations_of_parts_sum_up_to_that_of_the_whole(
    model: LeNet5, sample: tuple[Digits, Digits]
) -> None:
    digits = Digits(*(torch.cat([a, b]) for a, b in zip(*map(unpack, sample), strict=True)))
    whole = evaluate(model, digits)
    parts = [evaluate(model, digits[begin : begin + 370]) for begin in range(0, 1500, 370)]
    assert torch.equal(sum(part.confusion for part in parts), whole.confusion)
    mean = sum(part.loss * part.count for part in parts) / 1500
    assert whole.loss == pytest.approx(mean, rel=1e-6)


def unpack(digits: Digits) -> tuple[torch.Tensor, torch.Tensor]:
    return digits.images, digits.labels


def test_evaluating_leaves_the_model_as_it_was(
    model: LeNet5, sample: tuple[Digits, Digits], capsys: pytest.CaptureFixture[str]
) -> None:
    before = {name: value.clone() for name, value in model.state_dict().items()}
    assert model.training
    evaluate(model, sample[1])
    assert model.training
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert all(p.grad is None and p.requires_grad for p in model.parameters())
    assert capsys.readouterr() == ("", "")


def test_no_digits_are_not_evaluated(model: LeNet5, sample: tuple[Digits, Digits]) -> None:
    with pytest.raises(ValueError, match="There are no digits to evaluate on"):
        evaluate(model, sample[1][:0])


def test_the_figures_of_an_evaluation_derive_from_its_confusion_matrix() -> None:
    confusion = torch.zeros(10, 10, dtype=torch.int64)
    confusion[3, 3], confusion[3, 5], confusion[4, 4] = 6, 2, 12
    result = Evaluation(loss=0.5, confusion=confusion)
    assert (result.count, result.errors, result.accuracy) == (20, 2, 0.9)
    assert result.per_digit[3:5] == [0.75, 1.0]
    assert math.isnan(result.per_digit[0])


# The recipes


def test_the_defaults_are_the_original_recipe() -> None:
    parameters = inspect.signature(train).parameters
    assert parameters["recipe"].default == "original"
    assert parameters["epochs"].default is None
    original = RECIPES["original"]
    assert (original.epochs, original.batch_size, original.learning_rate) == (50, 100, 1e-3)
    assert original.temperature == 1
    extras = set(asdict(original)) - {"epochs", "batch_size", "learning_rate", "temperature"}
    assert not any(asdict(original)[extra] for extra in extras)


def test_the_original_recipe_is_adam_on_cross_entropy(sample: tuple[Digits, Digits]) -> None:
    digits = sample[0][:100]  # one batch an epoch: its order does not matter
    torch.manual_seed(5)
    plain = LeNet5()
    optimizer = torch.optim.Adam(plain.parameters(), lr=1e-3)
    losses = []
    for _ in range(4):
        loss = F.cross_entropy(plain(digits.images[:, None] / 255), digits.labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    run = train(sample, limit=100, epochs=4, seed=5)
    assert [record.train_loss for record in run.epochs] == pytest.approx(losses, rel=1e-4)
    for ours, theirs in zip(run.model.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4)


def test_the_rate_climbs_and_falls_as_the_recipe_says(sample: tuple[Digits, Digits]) -> None:
    recipe = Recipe(epochs=8, batch_size=50, learning_rate=0.01, warmup=0.25, cosine=True)
    rates = [r.learning_rate for r in train(sample, recipe=recipe, limit=100).epochs]
    assert rates[0] < rates[1] == pytest.approx(0.01)
    assert rates[1:] == sorted(rates[1:], reverse=True)
    assert rates[4] == pytest.approx(0.005)
    assert rates[-1] == pytest.approx(0, abs=1e-9)


def test_every_recipe_trains(sample: tuple[Digits, Digits]) -> None:
    for name in RECIPES:
        assert len(train(sample, recipe=name, epochs=1, limit=200).epochs) == 1


def test_the_average_of_the_weights_is_what_counts(sample: tuple[Digits, Digits]) -> None:
    runs = [train(sample, recipe=replace(ORIGINAL, ema=ema), limit=LIMIT) for ema in (0.0, 0.9)]
    assert runs[0].epochs[0].train_loss == runs[1].epochs[0].train_loss
    assert not same(*runs)
    assert not any("n_averaged" in name for name in runs[1].model.state_dict())


def test_calibration_divides_the_logits_and_raises_them_evenly(
    model: LeNet5, sample: tuple[Digits, Digits]
) -> None:
    canvases = sample[1].images[:20, None] / 255
    before = [p.clone() for p in model.parameters()]
    with torch.inference_mode():
        logits, changed = model(canvases), calibrated(model, 1.6, 0.5)(canvases)
    torch.testing.assert_close(changed, logits / 1.6 + 0.5)
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))


def test_a_runs_calibration_changes_its_loss_and_no_answer(sample: tuple[Digits, Digits]) -> None:
    recipe = replace(ORIGINAL, epochs=1)
    plain, warm = (
        train(sample, recipe=replace(recipe, temperature=t, evidence=t - 1), limit=LIMIT)
        for t in (1.0, 2.0)
    )
    assert torch.equal(plain.evaluation.confusion, warm.evaluation.confusion)
    assert warm.evaluation.loss > plain.evaluation.loss


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"recipe": "bset"}, "no recipe 'bset'; there are original, quick, best"),
        ({"recipe": None}, "recipe is None; it must be a Recipe, or original or quick or best"),
        ({"recipe": 3}, "recipe is 3; it must be a Recipe"),
        ({"device": "nosuch"}, "device 'nosuch' cannot be used here: "),
        ({"device": "meta"}, "device meta holds no numbers"),
        ({"epochs": 0}, "epochs is 0; it must be 1 or more"),
        ({"limit": 0}, "limit is 0; it must be a whole number of 1 or more"),
        ({"holdout": -1}, "holdout is -1; it must be a whole number from 0 to 999"),
        ({"holdout": 1000}, "holdout is 1000; it must be a whole number from 0 to 999"),
        ({"resume": True}, "output"),
    ],
)
def test_options_out_of_range_are_refused(
    sample: tuple[Digits, Digits], options: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(ValueError, match=complaint):
        train(sample, **options)


# Runs


def test_two_epochs_teach_something(sample: tuple[Digits, Digits]) -> None:
    run = train(sample, recipe=Recipe(epochs=2, batch_size=10, learning_rate=2e-3))
    first, second = run.epochs
    assert second.train_loss < first.train_loss / 2
    assert second.test_accuracy == run.evaluation.accuracy > 0.8
    assert second.test_loss == pytest.approx(run.evaluation.loss)
    assert run.evaluation.count == 500
    assert not run.model.training


def test_the_elaborate_recipe_learns_too(sample: tuple[Digits, Digits]) -> None:
    run = train(sample, recipe=replace(ELABORATE, epochs=4, batch_size=10))
    assert run.evaluation.accuracy > 0.75


def test_epochs_are_reported_as_they_finish(sample: tuple[Digits, Digits], tmp_path: Path) -> None:
    seen: list[EpochRecord] = []

    def on_epoch(record: EpochRecord) -> None:
        seen.append(record)
        assert (tmp_path / "run" / CHECKPOINT_FILE).exists()  # safe before it is announced

    run = train(sample, recipe=ORIGINAL, limit=LIMIT, output=tmp_path / "run", on_epoch=on_epoch)
    assert seen == run.epochs
    assert [record.epoch for record in seen] == [1, 2, 3]
    for record in seen:
        assert 0 <= record.test_accuracy <= 1
        assert record.seconds > 0
        assert record.learning_rate == 1e-3


def test_batches_are_reported_and_counted_over_the_whole_run(
    sample: tuple[Digits, Digits],
) -> None:
    seen: list[tuple[int, int, float]] = []
    run = train(sample, recipe=ORIGINAL, limit=LIMIT - 20, on_batch=lambda *args: seen.append(args))
    assert [batch for batch, _, _ in seen] == list(range(1, 19))
    assert {total for _, total, _ in seen} == {18}
    means = [mean for _, _, mean in seen[5::6]]
    assert means == pytest.approx([record.train_loss for record in run.epochs])


def test_the_same_seed_gives_the_same_weights_and_another_others(
    sample: tuple[Digits, Digits],
) -> None:
    for recipe in (ORIGINAL, ELABORATE):
        recipe = replace(recipe, epochs=1)
        one, again, other = (
            train(sample, recipe=recipe, limit=LIMIT, seed=seed) for seed in (1, 1, 2)
        )
        assert same(one, again)
        assert not same(one, other)


def test_a_limit_takes_the_first_digits(sample: tuple[Digits, Digits]) -> None:
    cut = (sample[0][:100], sample[1])
    assert same(train(sample, limit=100, epochs=1), train(cut, epochs=1))


def test_held_out_digits_are_the_last_and_are_evaluated_on_instead(
    sample: tuple[Digits, Digits],
) -> None:
    run = train(sample, holdout=200, epochs=1)
    by_hand = train((sample[0][:800], sample[0][800:]), epochs=1)
    assert same(run, by_hand)
    assert torch.equal(run.evaluation.confusion, by_hand.evaluation.confusion)
    assert run.metrics.evaluated_on == "200 held-out training digits"


def test_a_limit_leaves_the_held_out_digits_alone(sample: tuple[Digits, Digits]) -> None:
    run = train(sample, holdout=200, limit=100, epochs=1)
    assert same(run, train(sample, limit=100, epochs=1))
    assert run.evaluation.count == 200


RECIPE_FAULTS = [
    ("epochs", [0, 1.5, True, "3", math.nan], "1 or more|a whole number"),
    ("batch_size", [0, 2.5, "3", None], "1 or more|a whole number"),
    ("learning_rate", [-1, 0, math.nan, math.inf, True, "1"], "above 0|a finite number"),
    ("weight_decay", [-1, math.nan, math.inf], "0 or more|a finite number"),
    ("muon", [-1, math.nan, math.inf], "0 or more|a finite number"),
    ("warmup", [-0.1, 1, math.nan], "from 0 to below 1|a finite number"),
    ("cosine", [1, "yes", None], "True or False"),
    ("ema", [-0.1, 1, math.nan], "from 0 to below 1|a finite number"),
    ("distortion", [-1, math.nan, math.inf], "0 or more|a finite number"),
    ("polish", [-0.1, 2, math.nan], "from 0 to 1|a finite number"),
    ("drawn", [-1, math.nan, math.inf], "0 or more|a finite number"),
    ("nondigits", [-1, math.nan, math.inf], "0 or more|a finite number"),
    ("pieces", [-1, math.nan, math.inf], "0 or more|a finite number"),
    ("slivers", [-1, math.nan, math.inf], "0 or more|a finite number"),
    ("temperature", [0, -1, 1e-300, 1e300, math.inf, math.nan], "from 0.01 to 100|a finite"),
    ("evidence", [1e30, -1e30, math.inf, math.nan], "from -100 to 100|a finite number"),
]


@pytest.mark.parametrize(
    ("field", "value", "accepted"),
    [(field, value, accepted) for field, values, accepted in RECIPE_FAULTS for value in values],
)
def test_a_recipe_with_a_field_out_of_range_is_an_error_that_names_it(
    field: str, value: object, accepted: str
) -> None:
    with pytest.raises(ValueError, match=rf"{field} is .*; it must be ({accepted})") as caught:
        Recipe(**{field: value})  # type: ignore[arg-type]
    assert str(caught.value).count("\n") == 0


def test_every_field_of_a_recipe_is_held_to_its_range() -> None:
    assert {field.name for field in fields(Recipe)} == {field for field, _, _ in RECIPE_FAULTS}


@pytest.mark.parametrize("seed", [-1, 2**63, 1.0, True, "0", None])
def test_a_seed_out_of_range_is_an_error_that_names_it(
    sample: tuple[Digits, Digits], seed: Any
) -> None:
    with pytest.raises(ValueError, match=r"seed is .*; it must be a whole number from 0 to"):
        train(sample, seed=seed, epochs=1, limit=10)


def test_the_largest_seed_trains(sample: tuple[Digits, Digits]) -> None:
    recipe = replace(ELABORATE, epochs=1)
    assert train(sample, recipe=recipe, seed=2**63 - 1, limit=50).metrics.seed == 2**63 - 1


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda d: Digits(d.images, d.labels + 3), "labels are from 3 to 12"),
        (lambda d: Digits(d.images, d.labels - 1), "labels are from -1 to 8"),
        (lambda d: Digits(d.images, d.labels[:90]), "labels have the shape"),
        (lambda d: Digits(d.images, d.labels.float()), "labels have the shape"),
        (lambda d: Digits(d.images.float() / 255, d.labels), "images have the shape"),
        (lambda d: Digits(d.images[:, :27], d.labels), "images have the shape"),
    ],
)
def test_digits_out_of_range_are_neither_learned_nor_evaluated_on(
    sample: tuple[Digits, Digits], change: Callable[[Digits], Digits], complaint: str
) -> None:
    wrong = change(sample[0][:100])
    with pytest.raises(ValueError, match=complaint):
        train((wrong, sample[1]), epochs=1)
    with pytest.raises(ValueError, match=complaint):
        evaluate(LeNet5(), wrong)


def test_labels_of_another_whole_type_are_learned(sample: tuple[Digits, Digits]) -> None:
    digits = sample[0][:100]
    small = Digits(digits.images, digits.labels.to(torch.uint8))
    assert same(train((digits, sample[1]), epochs=1), train((small, sample[1]), epochs=1))


def test_the_flag_of_the_model_says_whether_it_saw_nondigits(
    sample: tuple[Digits, Digits], tmp_path: Path
) -> None:
    with_them = replace(ELABORATE, epochs=1)
    for recipe in (with_them, replace(with_them, nondigits=0.0)):
        output = tmp_path / str(recipe.nondigits)
        run = train(sample, recipe=recipe, limit=50, output=output)
        assert run.model.sees_nondigits is (recipe.nondigits > 0)
        assert load_model(output / WEIGHTS_FILE).sees_nondigits is (recipe.nondigits > 0)


def test_training_leaves_the_callers_process_as_it_was(sample: tuple[Digits, Digits]) -> None:
    def state() -> tuple[object, ...]:
        return (
            torch.get_rng_state().tolist(),
            random.getstate(),
            str(np.random.get_state()),
            torch.get_num_threads(),
            torch.is_grad_enabled(),
            torch.get_default_dtype(),
            torch.are_deterministic_algorithms_enabled(),
            signal.getsignal(signal.SIGINT),
            Path.cwd(),
        )

    torch.manual_seed(99)
    before = state()
    train(sample, recipe=ELABORATE, limit=LIMIT)
    assert state() == before


def test_the_data_given_stays_as_it_is(sample: tuple[Digits, Digits]) -> None:
    before = [digits.images.clone() for digits in sample]
    train(sample, recipe=replace(ELABORATE, epochs=1), limit=LIMIT)
    assert all(torch.equal(a, b.images) for a, b in zip(before, sample, strict=True))


def test_without_an_output_nothing_is_written(
    sample: tuple[Digits, Digits], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    train(sample, epochs=1, limit=100)
    assert list(tmp_path.iterdir()) == []


def test_mnist_is_loaded_where_no_digits_are_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LENET_DIGITS_DATA", str(DATA))
    assert train(epochs=1, limit=100).evaluation.count == 500


# What a run writes


def test_a_run_writes_its_weights_and_its_story(
    sample: tuple[Digits, Digits], tmp_path: Path
) -> None:
    folder = tmp_path / "runs" / "first"
    run = train(sample, recipe=ELABORATE, limit=LIMIT, seed=7, output=folder)
    assert {path.name for path in folder.iterdir()} == {CHECKPOINT_FILE, WEIGHTS_FILE, METRICS_FILE}
    loaded = load_model(folder / WEIGHTS_FILE)
    for ours, theirs in zip(loaded.parameters(), run.model.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    story = json.loads((folder / METRICS_FILE).read_text("utf-8"))
    assert Metrics.read(folder / METRICS_FILE) == run.metrics
    assert story["recipe"] == asdict(ELABORATE)
    assert story["seed"] == 7
    assert story["limit"] == LIMIT
    assert story["evaluated_on"] == "the test digits"
    assert story["accuracy"] == run.evaluation.accuracy
    assert story["loss"] == run.evaluation.loss
    assert story["confusion"] == run.evaluation.confusion.tolist()
    assert story["epochs"] == [asdict(record) for record in run.epochs]
    assert story["versions"]["lenet_digits"] == lenet_digits.__version__
    assert story["versions"]["torch"] == torch.__version__
    assert story["versions"]["python"] == platform.python_version()
    assert len(story["data_sha256"]) == len(story["sha256"]) == 64


def test_a_run_does_not_overwrite_another(sample: tuple[Digits, Digits], tmp_path: Path) -> None:
    train(sample, epochs=1, limit=100, output=tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(TrainingError, match="holds a run already"):
        train(sample, epochs=1, limit=100, seed=1, output=tmp_path)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize("resume", [False, True])
@pytest.mark.parametrize("name", [WEIGHTS_FILE, METRICS_FILE])
def test_a_run_does_not_overwrite_weights_that_it_did_not_make(
    sample: tuple[Digits, Digits], tmp_path: Path, name: str, resume: bool
) -> None:
    (tmp_path / name).write_bytes(b"precious")
    with pytest.raises(TrainingError, match="Name another directory"):
        train(sample, epochs=1, limit=100, output=tmp_path, resume=resume)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_bytes() == b"precious"


def test_a_run_whose_loss_is_no_number_stops(sample: tuple[Digits, Digits], tmp_path: Path) -> None:
    recipe = replace(ORIGINAL, learning_rate=1e38)
    with pytest.raises(TrainingError, match=r"loss is (nan|inf) in epoch 1.*is too high"):
        train(sample, recipe=recipe, limit=LIMIT, output=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_run_whose_last_step_spoils_the_weights_stops(
    sample: tuple[Digits, Digits], tmp_path: Path
) -> None:
    recipe = replace(ORIGINAL, learning_rate=1e38)
    with pytest.raises(TrainingError, match=r"loss is (nan|inf) in epoch 1"):
        train(
            sample, recipe=recipe, limit=50, output=tmp_path
        )  # one step: the cost is still finite
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_explodes_later_keeps_what_was_good(
    sample: tuple[Digits, Digits], tmp_path: Path
) -> None:
    def explode(batch: int, batches: int, mean: float) -> None:
        if batch == 8:
            monkey.setattr(F, "cross_entropy", lambda *a, **o: real(*a, **o) * math.nan)

    real = F.cross_entropy
    with pytest.MonkeyPatch.context() as monkey, pytest.raises(TrainingError, match="in epoch 2"):
        train(sample, recipe=ORIGINAL, limit=LIMIT, output=tmp_path, on_batch=explode)
    resumed = train(sample, recipe=ORIGINAL, limit=LIMIT, output=tmp_path, resume=True)
    assert same(resumed, train(sample, recipe=ORIGINAL, limit=LIMIT))


# Resuming


class StopError(Exception):
    """Ends a run from a callback."""


def interrupted(sample: tuple[Digits, Digits], folder: Path, after: int, **options: Any) -> None:
    """A run that ends right after an epoch's checkpoint."""

    def stop(record: EpochRecord) -> None:
        if record.epoch == after:
            raise StopError

    with pytest.raises(StopError):
        train(sample, limit=LIMIT, output=folder, on_epoch=stop, **options)


@pytest.mark.parametrize("recipe", [ORIGINAL, ELABORATE], ids=["original", "elaborate"])
@pytest.mark.parametrize("after", [1, 2, 3])
def test_a_resumed_run_ends_as_an_uninterrupted_one(
    sample: tuple[Digits, Digits], tmp_path: Path, recipe: Recipe, after: int
) -> None:
    whole = train(sample, recipe=recipe, limit=LIMIT, output=tmp_path / "whole")
    interrupted(sample, tmp_path / "run", after, recipe=recipe)
    seen: list[int] = []
    resumed = train(
        sample,
        recipe=recipe,
        limit=LIMIT,
        output=tmp_path / "run",
        resume=True,
        on_epoch=lambda record: seen.append(record.epoch),
    )
    assert seen == list(range(after + 1, 4))
    assert same(whole, resumed)
    assert resumed.metrics.sha256 == whole.metrics.sha256
    for ours, theirs in zip(resumed.epochs, whole.epochs, strict=True):
        assert replace(ours, seconds=0.0) == replace(theirs, seconds=0.0)


@pytest.mark.parametrize("recipe", [ORIGINAL, ELABORATE], ids=["original", "elaborate"])
def test_a_run_by_autograd_as_on_a_gpu_goes_the_same_way(
    sample: tuple[Digits, Digits], monkeypatch: pytest.MonkeyPatch, recipe: Recipe
) -> None:
    ours = train(sample, recipe=recipe, limit=LIMIT)
    monkeypatch.setattr(training, "Backpropagation", lambda *_, **__: None)
    theirs = train(sample, recipe=recipe, limit=LIMIT)
    for one, other in zip(ours.epochs, theirs.epochs, strict=True):
        assert one.train_loss == pytest.approx(other.train_loss, rel=1e-3)
        assert one.test_loss == pytest.approx(other.test_loss, rel=1e-2)
    assert ours.evaluation.accuracy == pytest.approx(theirs.evaluation.accuracy, abs=0.01)


def test_clocks_set_back_change_nothing_but_the_seconds(
    sample: tuple[Digits, Digits], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = train(sample, recipe=ELABORATE, limit=LIMIT, output=tmp_path / "whole")
    interrupted(sample, tmp_path / "run", 2, recipe=ELABORATE)
    for name in ("time", "perf_counter", "monotonic"):  # a day back, and running backwards
        clock, start = getattr(time, name), getattr(time, name)()
        monkeypatch.setattr(time, name, lambda c=clock, s=start: s - 86_400 - (c() - s))
    for path in (tmp_path / "run").iterdir():
        os.utime(path, (2e9, 2e9))  # written in 2033
    resumed = train(sample, recipe=ELABORATE, limit=LIMIT, output=tmp_path / "run", resume=True)
    assert resumed.epochs[-1].seconds < 0
    assert resumed.metrics.sha256 == whole.metrics.sha256


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="asks Linux what is mapped")
def test_a_resumed_run_does_not_keep_its_checkpoint_mapped(
    sample: tuple[Digits, Digits], tmp_path: Path
) -> None:
    """Windows replaces no file that is mapped into memory, and each epoch replaces this one."""
    interrupted(sample, tmp_path, 1, recipe=ORIGINAL)
    maps: list[str] = []
    train(
        sample, recipe=ORIGINAL, limit=LIMIT, output=tmp_path, resume=True,
        on_epoch=lambda _: maps.append(Path("/proc/self/maps").read_text("utf-8")),
    )  # fmt: skip
    assert maps
    assert not [lines for lines in maps if str(tmp_path) in lines]


def test_ctrl_c_loses_no_finished_epoch(sample: tuple[Digits, Digits], tmp_path: Path) -> None:
    def press(batch: int, batches: int, mean: float) -> None:
        if batch == 10:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(sample, recipe=ORIGINAL, limit=LIMIT, output=tmp_path, on_batch=press)
    resumed = train(sample, recipe=ORIGINAL, limit=LIMIT, output=tmp_path, resume=True)
    assert same(resumed, train(sample, recipe=ORIGINAL, limit=LIMIT))


def test_resuming_where_nothing_is_begins(sample: tuple[Digits, Digits], tmp_path: Path) -> None:
    run = train(sample, epochs=1, limit=100, output=tmp_path, resume=True)
    assert len(run.epochs) == 1


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"seed": 1}, "another seed"),
        ({"recipe": replace(ORIGINAL, batch_size=60)}, "another recipe"),
        ({"epochs": 4}, "another recipe"),
        ({"limit": 200}, "another data_sha256 and limit"),
        ({"holdout": 10}, "another holdout"),
    ],
)
def test_a_run_is_not_resumed_as_another(
    sample: tuple[Digits, Digits], tmp_path: Path, options: dict[str, Any], named: str
) -> None:
    interrupted(sample, tmp_path, 1, recipe=ORIGINAL)
    before = (tmp_path / CHECKPOINT_FILE).read_bytes()
    arguments = {"recipe": ORIGINAL, "limit": LIMIT} | options
    with pytest.raises(TrainingError, match=f"{named} than this one") as caught:
        train(sample, output=tmp_path, resume=True, **arguments)
    assert "\n" not in str(caught.value)
    assert (tmp_path / CHECKPOINT_FILE).read_bytes() == before


def test_a_run_is_not_resumed_with_other_digits(
    sample: tuple[Digits, Digits], tmp_path: Path
) -> None:
    interrupted(sample, tmp_path, 1, recipe=ORIGINAL)
    others = (Digits(sample[0].images.flip(0), sample[0].labels.flip(0)), sample[1])
    with pytest.raises(TrainingError, match="another data_sha256"):
        train(others, recipe=ORIGINAL, limit=LIMIT, output=tmp_path, resume=True)


@pytest.mark.parametrize(
    "damage",
    [
        lambda whole: b"",
        lambda whole: whole[:7],
        lambda whole: whole[:3000],
        lambda whole: whole[:-1],
        lambda whole: b"{}" * 500,
        lambda whole: bytes([*whole[:-5], whole[-5] ^ 4, *whole[-4:]]),
        lambda whole: whole[:100_000] + bytes([whole[100_000] ^ 64]) + whole[100_001:],
        lambda whole: whole.replace(b'\\"epoch\\": 1', b'\\"epoch\\": 2'),
        lambda whole: whole.replace(b"test_loss", b"best_loss"),
        lambda whole: whole.replace(b"adamw.3.", b"adamw.x."),
    ],
)
def test_a_damaged_checkpoint_is_refused_in_one_sentence(
    sample: tuple[Digits, Digits], tmp_path: Path, damage: Callable[[bytes], bytes]
) -> None:
    interrupted(sample, tmp_path, 1, recipe=ELABORATE)
    path = tmp_path / CHECKPOINT_FILE
    whole = path.read_bytes()
    path.write_bytes(damage(whole))
    assert path.read_bytes() != whole
    with pytest.raises(TrainingError, match=r"is damaged \(.*cannot be resumed") as caught:
        train(sample, recipe=ELABORATE, limit=LIMIT, output=tmp_path, resume=True)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / WEIGHTS_FILE).exists()


def test_a_checkpoint_runs_no_code(sample: tuple[Digits, Digits], tmp_path: Path) -> None:
    torch.save({"model": os.system}, tmp_path / CHECKPOINT_FILE)
    with pytest.raises(TrainingError, match="is damaged"):
        train(sample, epochs=1, limit=100, output=tmp_path, resume=True)


# Faults of the disk


@pytest.mark.parametrize("write", [1, 2, 3, 4, 5])  # three checkpoints, weights, metrics
def test_a_full_disk_stops_the_run_and_spoils_nothing(
    sample: tuple[Digits, Digits], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: int
) -> None:
    writes = 0
    real = os.fsync

    def full(handle: int) -> None:
        nonlocal writes
        writes += 1
        if writes == write:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(handle)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(TrainingError, match="No space left on device"):
        train(sample, recipe=ORIGINAL, limit=LIMIT, output=tmp_path)
    names = [[], [CHECKPOINT_FILE], [CHECKPOINT_FILE], [CHECKPOINT_FILE]]
    names.append([CHECKPOINT_FILE, WEIGHTS_FILE])
    assert sorted(path.name for path in tmp_path.iterdir()) == names[write - 1]
    resumed = train(sample, recipe=ORIGINAL, limit=LIMIT, output=tmp_path, resume=True)
    assert same(resumed, train(sample, recipe=ORIGINAL, limit=LIMIT))


def test_an_output_that_is_a_file_or_vanishes_is_a_sentence(
    sample: tuple[Digits, Digits], tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(TrainingError, match="cannot be written"):
        train(sample, epochs=1, limit=100, output=tmp_path / "file")

    def vanish(batch: int, batches: int, mean: float) -> None:
        with contextlib.suppress(FileNotFoundError):
            (tmp_path / "gone").rmdir()

    with pytest.raises(TrainingError, match="cannot be written"):
        train(sample, epochs=1, limit=100, output=tmp_path / "gone", on_batch=vanish)


def test_what_a_killed_run_left_half_written_is_removed_and_nothing_else(
    sample: tuple[Digits, Digits], tmp_path: Path
) -> None:
    strangers = [".checkpoint.safetensors.backup", ".notes", "a.checkpoint.safetensors.0123abcd"]
    for name in strangers:
        (tmp_path / name).write_text("")
    for resume in (False, True):
        for name in (CHECKPOINT_FILE, WEIGHTS_FILE, METRICS_FILE):
            (tmp_path / f".{name}.0123abcd").write_bytes(b"half")
        train(sample, epochs=1, limit=100, output=tmp_path, resume=resume)
        left = {path.name for path in tmp_path.iterdir()}
        assert left == {*strangers, CHECKPOINT_FILE, WEIGHTS_FILE, METRICS_FILE}


def test_two_runs_in_one_directory_do_not_mix(
    sample: tuple[Digits, Digits], tmp_path: Path
) -> None:
    def meddle(record: EpochRecord) -> None:
        if record.epoch == 1:
            (tmp_path / "run" / CHECKPOINT_FILE).unlink()
            train(sample, recipe=ORIGINAL, limit=LIMIT, seed=1, output=tmp_path / "run")

    with pytest.raises(TrainingError, match="Another run has written"):
        train(sample, recipe=ORIGINAL, limit=LIMIT, output=tmp_path / "run", on_epoch=meddle)
    alone = train(sample, recipe=ORIGINAL, limit=LIMIT, seed=1)
    for ours, theirs in zip(
        load_model(tmp_path / "run" / WEIGHTS_FILE).parameters(),
        alone.model.parameters(),
        strict=True,
    ):
        assert torch.equal(ours, theirs)


# Killed for real: every run below is a process of its own that ends by SIGKILL.

METHOD = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
processes = multiprocessing.get_context(METHOD)
if METHOD == "forkserver":
    processes.set_forkserver_preload(["pytest", "torchvision.datasets", "lenet_digits.training"])
needs_sigkill = pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL")


def train_until(
    folder: str, recipe: Recipe, event: str, count: int, announce: Connection | None = None
) -> None:
    """Train in this process, and kill it at an event's count-th time; resume what is there."""
    training.DRAWN_POOL = 120
    seen = 0

    def reached(this: str) -> None:
        nonlocal seen
        if this == event:
            seen += 1
            if seen == count:
                os.kill(os.getpid(), signal.SIGKILL)

    fsync, move = os.fsync, Path.replace

    def slow_write(handle: int) -> None:
        reached("written")
        fsync(handle)
        reached("synced")

    def slow_move(self: Path, target: Path) -> Path:
        moved = move(self, target)
        reached("moved")
        return moved

    os.fsync, Path.replace = slow_write, slow_move  # type: ignore[assignment,method-assign]

    def on_epoch(record: EpochRecord) -> None:
        reached("epoch")
        if announce is not None:
            announce.send(record.epoch)

    train(
        load_mnist(DATA, download=False),
        recipe=recipe,
        limit=LIMIT,
        output=folder,
        resume=True,
        on_batch=lambda *args: reached("batch"),
        on_epoch=on_epoch,
    )


def run_apart(folder: Path, recipe: Recipe, event: str = "never", count: int = 1) -> int | None:
    process = processes.Process(target=train_until, args=(str(folder), recipe, event, count))
    process.start()
    process.join()
    return process.exitcode


def assert_what_is_there_is_whole(folder: Path) -> None:
    for path in folder.iterdir():
        if path.name == METRICS_FILE:
            json.loads(path.read_bytes())
        elif path.name == WEIGHTS_FILE:
            load_model(path)
        elif path.name != CHECKPOINT_FILE:  # that is for the resumed run to judge
            assert path.name.startswith(".")


@pytest.fixture(scope="module", params=[ORIGINAL, ELABORATE], ids=["original", "elaborate"])
def uninterrupted(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Recipe, bytes]:
    folder = tmp_path_factory.mktemp("uninterrupted")
    assert run_apart(folder, request.param) == 0
    return request.param, (folder / WEIGHTS_FILE).read_bytes()


@needs_sigkill
@pytest.mark.parametrize(
    ("event", "count"),
    [
        ("batch", 2),  # before there is any checkpoint
        ("batch", 10),  # in the middle of the second epoch
        ("written", 1),  # the first checkpoint written, but not under its name
        ("synced", 2),  # the second checkpoint on the disk, but not under its name
        ("moved", 2),  # right after the second checkpoint
        ("epoch", 3),  # after the last epoch, before the weights
        ("written", 4),  # within the weights
        ("moved", 4),  # weights without metrics
        ("written", 5),  # within the metrics
    ],
)
def test_a_killed_run_goes_on_to_the_same_weights(
    uninterrupted: tuple[Recipe, bytes], tmp_path: Path, event: str, count: int
) -> None:
    recipe, expected = uninterrupted
    assert run_apart(tmp_path, recipe, event, count) == -signal.SIGKILL
    assert_what_is_there_is_whole(tmp_path)
    assert run_apart(tmp_path, recipe) == 0
    assert (tmp_path / WEIGHTS_FILE).read_bytes() == expected
    assert json.loads((tmp_path / METRICS_FILE).read_bytes())["epochs"][-1]["epoch"] == 3


@needs_sigkill
def test_a_run_killed_from_outside_time_and_again_ends_with_the_same_weights(
    uninterrupted: tuple[Recipe, bytes], tmp_path: Path
) -> None:
    recipe, expected = uninterrupted
    for _ in range(2):
        ours, theirs = processes.Pipe()
        with ours, theirs:
            process = processes.Process(
                target=train_until, args=(str(tmp_path), recipe, "never", 1, theirs)
            )
            process.start()
            ours.recv()  # an epoch is done: kill it somewhere in the next
            process.kill()
            process.join()
            assert process.exitcode == -signal.SIGKILL
        assert_what_is_there_is_whole(tmp_path)
    assert run_apart(tmp_path, recipe) == 0
    assert (tmp_path / WEIGHTS_FILE).read_bytes() == expected
