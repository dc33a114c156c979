"""Teachers: what they answer, how LeNet-5 learns from them, and what a stopped run finds again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from lenet_digits import Digits, LeNet5, TrainingError, load_mnist, train
from lenet_digits.training import loop
from lenet_digits.training.checkpoint import CHECKPOINT_FILE
from lenet_digits.training.gradients import Backpropagation
from lenet_digits.training.loop import TEACHER_FOLDER
from lenet_digits.training.recipes import Recipe, teacher_recipe
from lenet_digits.training.teachers import PART, initial_teacher

DATA = Path(__file__).parents[1] / "data"
TAUGHT = Recipe(
    epochs=2,
    batch_size=50,
    nondigits=0.1,
    pieces=0.1,
    slivers=0.1,
    teachers=2,
    teacher_epochs=1,
    softening=4.0,
    temperature=0.5,
)
LIMIT = 128


@pytest.fixture(scope="module")
def sample() -> tuple[Digits, Digits]:
    training, testing = load_mnist(DATA, download=False)
    return training, testing[:100]


@pytest.fixture(autouse=True)
def small_pools(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "DRAWN_POOL", 60)
    monkeypatch.setattr(loop, "PIECES_POOL", 60)


def same(one: torch.nn.Module, other: torch.nn.Module) -> bool:
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def test_a_teacher_answers_with_the_probabilities_of_ten_digits_and_of_none() -> None:
    teacher = initial_teacher(1)
    canvases = torch.rand(PART + 3, 1, 28, 28)
    answers = teacher.answers(canvases, softening=1.0)
    assert answers.shape == (PART + 3, 11)
    torch.testing.assert_close(answers.sum(dim=1), torch.ones(PART + 3))
    with torch.inference_mode():
        logits = teacher(canvases)
    torch.testing.assert_close((answers / answers[:, 10:]).log()[:, :10], logits, atol=1e-3, rtol=0)
    softer = teacher.answers(canvases, softening=4.0)
    assert (softer.amax(dim=1) < answers.amax(dim=1)).all()


def test_only_the_seed_decides_a_teachers_first_weights() -> None:
    before = torch.get_rng_state()
    one, again, other = initial_teacher(1), initial_teacher(1), initial_teacher(2)
    assert same(one, again)
    assert not same(one, other)
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("background", [False, True])
def test_gradients_from_probabilities_equal_those_of_autograd(background: bool) -> None:
    torch.manual_seed(0)
    model = LeNet5()
    canvases = torch.rand(70, 1, 28, 28)
    targets = torch.rand(70, 11 if background else 10).softmax(dim=1)
    loss = F.cross_entropy(F.pad(model(canvases), (0, 1 if background else 0)), targets)
    loss.backward()
    expected = [weight.grad.clone() for weight in model.parameters()]
    step = Backpropagation(model, background=background)
    assert step(canvases, targets) == pytest.approx(loss.item(), rel=1e-5)
    step.close()
    for weight, gradient in zip(model.parameters(), expected, strict=True):
        torch.testing.assert_close(weight.grad, gradient, rtol=1e-3, atol=1e-6)


def test_what_the_teachers_say_is_what_lenet_5_learns(
    sample: tuple[Digits, Digits], monkeypatch: pytest.MonkeyPatch
) -> None:
    def always_seven(_: Any, canvases: torch.Tensor, *, softening: float) -> torch.Tensor:
        return F.one_hot(torch.full((len(canvases),), 7), 11).float()

    monkeypatch.setattr("lenet_digits.training.teachers.Teacher.answers", always_seven)
    run = train(sample, recipe=replace(TAUGHT, epochs=6, learning_rate=5e-3), limit=LIMIT)
    answered = run.evaluation.confusion.sum(dim=0)
    assert answered[7] == 100


def test_teachers_are_trained_first_and_kept_and_found_again(
    sample: tuple[Digits, Digits], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[tuple[int, int]] = []
    whole = train(
        sample,
        recipe=TAUGHT,
        limit=LIMIT,
        output=tmp_path / "whole",
        on_batch=lambda batch, batches, _: steps.append((batch, batches)),
    )
    assert [batch for batch, _ in steps] == list(range(1, steps[-1][1] + 1))
    assert len({batches for _, batches in steps}) == 1
    for number in (1, 2):
        assert (tmp_path / "whole" / TEACHER_FOLDER.format(number) / CHECKPOINT_FILE).exists()

    # Stopped in the second teacher's epoch, and resumed: the first teacher is not trained again.
    first = -(-round(LIMIT * 1.3) // 128)

    def stop(batch: int, batches: int, mean: float) -> None:
        if batch == first + 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(sample, recipe=TAUGHT, limit=LIMIT, output=tmp_path / "stopped", on_batch=stop)
    begun: list[int] = []
    resumed = train(
        sample,
        recipe=TAUGHT,
        limit=LIMIT,
        output=tmp_path / "stopped",
        resume=True,
        on_batch=lambda batch, _, __: begun.append(batch),
    )
    assert begun[0] == first + 1
    assert same(whole.model, resumed.model)


def test_teachers_of_another_run_are_refused(sample: tuple[Digits, Digits], tmp_path: Path) -> None:
    train(sample, recipe=TAUGHT, limit=LIMIT, output=tmp_path)
    (tmp_path / CHECKPOINT_FILE).unlink()
    for name in ("model.safetensors", "metrics.json"):
        (tmp_path / name).unlink()
    with pytest.raises(TrainingError, match="another seed"):
        train(sample, recipe=TAUGHT, limit=LIMIT, output=tmp_path, seed=1, resume=True)
    with pytest.raises(TrainingError, match="holds a run already"):
        train(sample, recipe=TAUGHT, limit=LIMIT, output=tmp_path)


def test_a_teachers_schedule_is_its_own_and_what_it_sees_the_recipes() -> None:
    recipe = replace(TAUGHT, distortion=0.7, epochs=99)
    teachers = teacher_recipe(recipe)
    assert (teachers.epochs, teachers.teachers, teachers.temperature) == (1, 0, 1.0)
    for name in ("distortion", "nondigits", "pieces", "slivers", "drawn"):
        assert getattr(teachers, name) == getattr(recipe, name)


def test_probabilities_per_epoch_are_judged_at_the_final_temperature(
    sample: tuple[Digits, Digits],
) -> None:
    warm = train(sample, recipe=replace(TAUGHT, temperature=1.0), limit=LIMIT)
    cold = train(sample, recipe=TAUGHT, limit=LIMIT)
    assert same_up_to(cold.model, warm.model, 0.5)
    assert cold.epochs[-1].test_loss == pytest.approx(cold.evaluation.loss, rel=1e-4)
    assert cold.epochs[-1].test_loss != pytest.approx(warm.epochs[-1].test_loss, rel=1e-4)


def same_up_to(one: LeNet5, other: LeNet5, temperature: float) -> bool:
    return np.allclose(
        one.output.weight.detach() * temperature, other.output.weight.detach(), rtol=1e-5
    )


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_steps_replayed_on_a_gpu_move_the_weights_as_steps_taken_there_do(
    sample: tuple[Digits, Digits], monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = Recipe(epochs=2, batch_size=50, muon=2.5, ema=0.9, cosine=True, weight_decay=0.01)
    replayed = train(sample, recipe=recipe, device="cuda", limit=520)
    monkeypatch.setattr(loop, "ReplayedStep", lambda step: step)
    taken = train(sample, recipe=recipe, device="cuda", limit=520)
    for one, other in zip(replayed.model.parameters(), taken.model.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)
