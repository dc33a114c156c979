"""Trains LeNet-5 from scratch, epoch by epoch, and can resume a run that was stopped."""

from __future__ import annotations

import hashlib
import json
import math
import platform
import time
from collections.abc import Callable
from contextlib import closing, nullcontext
from copy import deepcopy
from dataclasses import asdict, dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lenet_digits import __version__
from lenet_digits.model import NUM_CLASSES, LeNet5, save_weights
from lenet_digits.storage.files import write_atomically
from lenet_digits.storage.shipped import WEIGHTS_FILE
from lenet_digits.training.augmentation import distort
from lenet_digits.training.checkpoint import (
    METRICS_FILE,
    Checkpoint,
    RunFolder,
    TrainingError,
    writing,
)
from lenet_digits.training.drawing import draw_digits, draw_nondigits
from lenet_digits.training.evaluation import (
    Evaluation,
    as_canvases,
    calibrated,
    evaluate,
    one_thread,
)
from lenet_digits.training.gradients import Backpropagation
from lenet_digits.training.graphs import ReplayedStep
from lenet_digits.training.mnist import Digits, load_mnist
from lenet_digits.training.muon import Muon
from lenet_digits.training.pieces import add_slivers, cut_pieces
from lenet_digits.training.recipes import Recipe, find_recipe, teacher_recipe
from lenet_digits.training.teachers import Teacher, initial_teacher

DRAWN_POOL = 60_000  # digits drawn once per run, of which each epoch shows some
PIECES_POOL = 30_000  # pieces of numbers made once per run, likewise
TEACHER_FOLDER = "teacher-{}"  # within a run's directory: the run of its first, second, ... teacher
NONDIGIT = NUM_CLASSES  # label of a drawn non-digit: a class whose logit is always 0


@dataclass(frozen=True)
class EpochRecord:
    """One finished epoch; the losses are mean cross-entropies in nats."""

    epoch: int  # counted from 1
    train_loss: float  # the training cost, over the digits as the epoch showed them
    test_loss: float
    test_accuracy: float  # in [0, 1]
    learning_rate: float  # at the epoch's end
    seconds: float


@dataclass(frozen=True, eq=False)
class TrainingRun:
    """A finished run: the model, every epoch's record, and the final evaluation."""

    model: LeNet5
    epochs: list[EpochRecord]
    evaluation: Evaluation
    metrics: dict[str, Any]  # what metrics.json holds


def train(
    digits: tuple[Digits, Digits] | None = None,
    *,
    recipe: str | Recipe = "original",
    epochs: int | None = None,
    seed: int = 0,
    device: str | torch.device | None = None,
    limit: int | None = None,
    holdout: int = 0,
    output: str | PathLike[str] | None = None,
    resume: bool = False,
    on_batch: Callable[[int, int, float], None] | None = None,
    on_epoch: Callable[[EpochRecord], None] | None = None,
) -> TrainingRun:
    """Train LeNet-5 from scratch, and evaluate it after every epoch.

    The defaults are the original recipe: 50 epochs over MNIST in batches of 100, Adam at 1e-3,
    cross-entropy, accuracy on the test digits after every epoch.

    Args:
        digits: training and test digits; those of `load_mnist` by default.
        recipe: ``"original"``; ``"quick"``, as good on MNIST in a twenty-fifth of the epochs;
            ``"best"``, the one behind the shipped weights; or a `Recipe`.
        epochs: how many, if not the recipe's number.
        seed: of every random choice; same seed, machine and versions give the same weights.
        device: where to train; the CPU by default.
        limit: use only the first so many training digits.
        holdout: put the last so many training digits aside and evaluate on them instead of on the
            test digits: for choosing among recipes.
        output: directory for the checkpoints (its teachers' too), weights and metrics; nothing is
            written without.
        resume: go on from the last finished epoch in ``output``, if there is one. The weights end
            up bit for bit those of an uninterrupted run.
        on_batch: called as (batch, batches, mean training loss of the epoch so far); both count
            the whole run, its teachers' included, with what a resumed one has done before.
        on_epoch: called with each epoch's record, after its checkpoint is safe.

    Raises:
        TrainingError: the loss is no longer finite, the directory holds a run already or cannot be
            written to, or the run to resume is another or damaged.
        DatasetNotFoundError: see `load_mnist`.
        ValueError: an argument is out of range.
    """
    chosen = find_recipe(recipe, epochs)
    training, testing = digits or load_mnist()
    training, testing = _split(training, testing, limit=limit, holdout=holdout)
    shown = _Shown.of(training, chosen, seed)
    share = {"limit": limit, "holdout": holdout}
    place = torch.device(device or "cpu")
    run = _Run(shown, chosen, _initial_network(seed), seed=seed, device=place)
    run.identity |= share
    if resume and output is None:
        raise ValueError("resume needs output: the directory of the run to go on with.")
    folder = RunFolder(Path(output)) if output is not None else None
    if folder is not None:
        folder.open(run.identity, run.restore, resume=resume)
    teachers = [
        _Run(
            shown,
            teacher_recipe(chosen),
            initial_teacher(teacher_seed(seed, number)),
            seed=teacher_seed(seed, number),
            device=place,
        )
        for number in range(1, chosen.teachers + 1)
    ]
    batches = sum(each.recipe.epochs * each.steps_per_epoch for each in [*teachers, run])
    done = 0

    def on_any_batch(batch: int, _: int, loss: float) -> None:
        if on_batch is not None:
            on_batch(done + batch, batches, loss)

    for number, teacher in enumerate(teachers, 1):
        teacher.identity |= share
        teacher_folder = None
        if folder is not None:
            teacher_folder = RunFolder(folder.path / TEACHER_FOLDER.format(number))
            teacher_folder.open(teacher.identity, teacher.restore, resume=resume)
        _finish(teacher, testing, teacher_folder, on_batch and on_any_batch, None)
        done += teacher.recipe.epochs * teacher.steps_per_epoch
        assert isinstance(teacher.result, Teacher)
        run.teachers.append(teacher.result)
    with closing(run):
        _finish(run, testing, folder, on_batch and on_any_batch, on_epoch)
    assert isinstance(run.result, LeNet5)
    model = calibrated(run.result.cpu(), chosen.temperature, chosen.evidence)
    evaluation = evaluate(model, testing)
    metrics = run.identity | {
        "evaluated_on": f"{holdout:,} held-out training digits" if holdout else "the test digits",
        "accuracy": evaluation.accuracy,
        "loss": evaluation.loss,
        "confusion": evaluation.confusion.tolist(),
        "epochs": [asdict(record) for record in run.records],
        "versions": {
            "lenet_digits": __version__,
            "torch": torch.__version__,
            "python": platform.python_version(),
            "machine": f"{platform.system()} {platform.machine()}",
            "device": str(run.device),
            "threads": torch.get_num_threads(),
        },
    }
    if folder is not None:
        with writing(folder.path):
            metrics["sha256"] = save_weights(model, folder.path / WEIGHTS_FILE)
            write_atomically(folder.path / METRICS_FILE, json.dumps(metrics, indent=2).encode())
    return TrainingRun(model, run.records, evaluation, metrics)


def _finish(
    run: _Run,
    testing: Digits,
    folder: RunFolder | None,
    on_batch: Callable[[int, int, float], None] | None,
    on_epoch: Callable[[EpochRecord], None] | None,
) -> None:
    """Train through the epochs that are left; see `train`."""
    while len(run.records) < run.recipe.epochs:
        began = time.perf_counter()
        train_loss = run.epoch(on_batch)
        result = run.evaluate(testing)
        if not (math.isfinite(train_loss) and math.isfinite(result.loss)):
            raise TrainingError(
                f"The loss is {train_loss + result.loss} in epoch {len(run.records) + 1}: the "
                f"learning rate {run.recipe.learning_rate} is too high for this recipe. The last "
                "finished epoch's checkpoint is untouched."
            )
        run.records.append(
            EpochRecord(
                epoch=len(run.records) + 1,
                train_loss=train_loss,
                test_loss=result.loss,
                test_accuracy=result.accuracy,
                learning_rate=run.rate(),
                seconds=time.perf_counter() - began,
            )
        )
        if folder is not None:
            folder.save(run.checkpoint())
        if on_epoch is not None:
            on_epoch(run.records[-1])


@torch.no_grad()
def _follow(average: nn.Module, model: nn.Module, decay: float) -> None:
    """Moves the average's weights towards the model's."""
    for mine, its in zip(average.parameters(), model.parameters(), strict=True):
        mine.lerp_(its, 1 - decay)


def teacher_seed(seed: int, number: int) -> int:
    """The seed of a run's first, second, ... teacher; for small seeds, no other run's teacher's."""
    return ((seed + 1) * 1000 + number) % 2**63


def _initial_network(seed: int) -> LeNet5:
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # not that of a caller's GPU
        return LeNet5()


def _split(
    training: Digits, testing: Digits, *, limit: int | None, holdout: int
) -> tuple[Digits, Digits]:
    if not 0 <= holdout < len(training):
        raise ValueError(f"holdout is {holdout}; it must be from 0 to {len(training) - 1}.")
    if holdout:
        training, testing = training[:-holdout], training[-holdout:]
    if limit is not None:
        if limit < 1:
            raise ValueError(f"limit is {limit}; it must be 1 or more.")
        training = training[:limit]
    return training, testing


class _Run:
    """All the state of a run, in memory and in its checkpoint."""

    def __init__(
        self,
        shown: _Shown,
        recipe: Recipe,
        network: LeNet5 | Teacher,
        *,
        seed: int,
        device: torch.device,
    ) -> None:
        self.recipe, self.device = recipe, device
        self.identity: dict[str, Any] = {
            "recipe": asdict(recipe),
            "seed": seed,
            "data_sha256": shown.data_sha256,
        }
        self.records: list[EpochRecord] = []
        self.step = 0
        self.own, self.pools = shown.own, shown.pools
        self.images = shown.digits.images.to(device)
        self.labels = shown.digits.labels.to(device)
        self.teachers: list[Teacher] = []  # whose answers it learns, instead of labels
        self.steps_per_epoch = math.ceil(
            len(self.order(torch.Generator(device))) / recipe.batch_size
        )
        self.generator = torch.Generator(device).manual_seed(seed)
        self.model = network.to(device)
        self.background = recipe.nondigits > 0 or recipe.pieces > 0 or recipe.teachers > 0
        self.backpropagation: Backpropagation | None = None  # autograd's, for all else
        if device.type == "cpu" and isinstance(self.model, LeNet5):
            self.backpropagation = Backpropagation(self.model, background=self.background)
        self.average = deepcopy(self.model) if recipe.ema else None
        matrices = [
            weight
            for name, weight in self.model.named_parameters()
            if recipe.muon and weight.ndim > 1 and name != "output.weight"
        ]
        rest = [w for w in self.model.parameters() if not any(w is m for m in matrices)]
        decay = recipe.weight_decay
        on_gpu = device.type == "cuda"
        self.optimizers: dict[str, torch.optim.Optimizer] = {
            "adamw": torch.optim.AdamW(
                rest, lr=self.no_rate(), weight_decay=decay, fused=True, capturable=on_gpu
            )
        }
        if matrices:
            self.optimizers["muon"] = Muon(
                matrices, lr=self.no_rate(), weight_decay=decay / recipe.muon
            )
        self.replayed = ReplayedStep(self.move) if on_gpu else None

    @property
    def result(self) -> nn.Module:
        """The network that counts: the average where there is one."""
        return self.average if self.average is not None else self.model

    def evaluate(self, digits: Digits) -> Evaluation:
        """How the network does that counts, calibrated."""
        if isinstance(self.result, LeNet5):
            recipe = self.recipe
            return evaluate(calibrated(self.result, recipe.temperature, recipe.evidence), digits)
        return evaluate(self.result.eval(), digits)

    def close(self) -> None:
        """Ends the threads that it has begun."""
        if self.backpropagation is not None:
            self.backpropagation.close()

    def rate(self) -> float:
        """The learning rate of the step to come."""
        recipe, total = self.recipe, self.recipe.epochs * self.steps_per_epoch
        warm = recipe.warmup * total
        if self.step < warm:
            return recipe.learning_rate * (self.step + 1) / warm
        if not recipe.cosine:
            return recipe.learning_rate
        return (
            recipe.learning_rate * (1 + math.cos(math.pi * (self.step - warm) / (total - warm))) / 2
        )

    def no_rate(self) -> float | Tensor:
        """A learning rate of 0; on a GPU where a replayed step finds it."""
        return torch.zeros((), device=self.device) if self.device.type == "cuda" else 0.0

    def learn(self, canvases: Tensor, labels: Tensor) -> Tensor | float:
        """Takes one step; returns the batch's mean cross-entropy before it."""
        for name, optimizer in self.optimizers.items():
            rate = self.rate() * (self.recipe.muon if name == "muon" else 1.0)
            for group in optimizer.param_groups:
                if isinstance(group["lr"], Tensor):
                    group["lr"].fill_(rate)
                else:
                    group["lr"] = rate
        if self.replayed is not None and len(canvases) == self.recipe.batch_size:
            cost = self.replayed(canvases, labels)
        else:
            cost = self.move(canvases, labels)
        self.step += 1
        return cost

    def move(self, canvases: Tensor, labels: Tensor) -> Tensor | float:
        """`learn` at the rates that the optimisers have."""
        with one_thread() if self.backpropagation is not None else nullcontext():
            cost = self.cost(canvases, labels)
            for optimizer in self.optimizers.values():
                optimizer.step()
            if self.average is not None:
                _follow(self.average, self.model, self.recipe.ema if self.step else 0.0)
        return cost

    def cost(self, canvases: Tensor, labels: Tensor) -> Tensor | float:
        """The mean cross-entropy over a batch; the weights get its gradient.

        Where there are non-digits, theirs is a logit of constant 0 beside the ten: so the network
        learns how much evidence, log-sum-exp of its logits, makes a digit at all, without a
        parameter more (an implicit background class).
        """
        if self.backpropagation is not None:
            return self.backpropagation(canvases, labels)
        logits = F.pad(self.model(canvases), (0, 1 if self.background else 0))
        loss = F.cross_entropy(logits, labels)
        self.model.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.detach()

    def order(self, generator: torch.Generator) -> Tensor:
        """Which images an epoch shows, in which order: all of the digits, some of the drawn."""
        picks = [torch.arange(self.own, device=self.device)]
        begin = self.own
        for pool, share in self.pools:
            shown = torch.randperm(pool, generator=generator, device=self.device)
            picks.append(begin + shown[: round(share * self.own)])
            begin += pool
        images = torch.cat(picks)
        return images[torch.randperm(len(images), generator=generator, device=self.device)]

    def epoch(self, on_batch: Callable[[int, int, float], None] | None) -> float:
        """Train through one epoch; returns the mean training loss."""
        recipe = self.recipe
        polishing = len(self.records) >= recipe.epochs * (1 - recipe.polish)
        strength = recipe.distortion * (0.5 if polishing else 1.0)
        self.model.train()
        total = torch.zeros((), dtype=torch.float64, device=self.device)
        seen = 0
        # Distorting many batches at once costs half of what it costs batch by batch.
        chunks = torch.split(self.order(self.generator), recipe.batch_size * 16)
        for number, chunk in enumerate(chunks, len(self.records)):
            with one_thread():
                canvases = as_canvases(self.images[chunk])
            if strength:
                canvases = distort(canvases, generator=self.generator, strength=strength)
            labels = self.labels[chunk]
            if self.teachers:
                # One teacher at a time: over the epochs the gradient is that of their mean answer.
                teacher = self.teachers[number % len(self.teachers)]
                labels = teacher.answers(canvases, softening=recipe.softening).clone()
            for x, y in zip(
                torch.split(canvases, recipe.batch_size),
                torch.split(labels, recipe.batch_size),
                strict=True,
            ):
                total += len(x) * self.learn(x, y)
                seen += len(x)
                if on_batch is not None:
                    total_steps = recipe.epochs * self.steps_per_epoch
                    on_batch(self.step, total_steps, float(total) / seen)
        return float(total) / seen

    def checkpoint(self) -> Checkpoint:
        """All it takes to go on: weights, the optimisers' state, the random generator's."""
        tensors = {f"model.{name}": value for name, value in self.model.state_dict().items()}
        if self.average is not None:
            tensors |= {
                f"average.{name}": value for name, value in self.average.state_dict().items()
            }
        for kind, optimizer in self.optimizers.items():
            for index, state in optimizer.state_dict()["state"].items():
                tensors |= {f"{kind}.{index}.{name}": value for name, value in state.items()}
        tensors["generator"] = self.generator.get_state()
        return Checkpoint(
            identity=self.identity,
            epochs=[asdict(record) for record in self.records],
            tensors={name: value.detach().cpu().contiguous() for name, value in tensors.items()},
        )

    def restore(self, checkpoint: Checkpoint) -> None:
        """Go back to where the checkpoint was made."""

        def part(prefix: str) -> dict[str, Tensor]:
            return {
                name.removeprefix(prefix): tensor
                for name, tensor in checkpoint.tensors.items()
                if name.startswith(prefix)
            }

        self.model.load_state_dict(part("model."))
        if self.average is not None:
            self.average.load_state_dict(part("average."))
        for kind, optimizer in self.optimizers.items():
            whole = optimizer.state_dict()
            for name, tensor in part(f"{kind}.").items():
                index, key = name.split(".")
                whole["state"].setdefault(int(index), {})[key] = tensor
            optimizer.load_state_dict(whole)
        self.generator.set_state(checkpoint.tensors["generator"])
        self.records = [EpochRecord(**record) for record in checkpoint.epochs]
        self.step = len(self.records) * self.steps_per_epoch


@dataclass(frozen=True, eq=False)
class _Shown:
    """What a run shows: its training digits and, after them, pools of drawn and made ones."""

    digits: Digits
    own: int  # how many of them are the training digits
    pools: list[tuple[int, float]]  # each pool's size, and how many an epoch shows, by `own`
    data_sha256: str  # of the training digits

    @classmethod
    def of(cls, digits: Digits, recipe: Recipe, seed: int) -> _Shown:
        data = hashlib.sha256()
        for tensor in (digits.images, digits.labels):
            data.update(tensor.contiguous().numpy().data)
        images, labels, pools = [digits.images], [digits.labels], []

        def add(canvases: np.ndarray, answers: Tensor, share: float) -> None:
            images.append(torch.from_numpy(canvases))
            labels.append(answers)
            pools.append((len(canvases), share))

        rng = np.random.default_rng(seed)
        if recipe.drawn:
            drawn, says = draw_digits(DRAWN_POOL, rng=rng)
            add(drawn, torch.from_numpy(says).long(), recipe.drawn)
        if recipe.nondigits:
            nondigits = draw_nondigits(DRAWN_POOL, rng=rng)
            add(nondigits, torch.full((DRAWN_POOL,), NONDIGIT), recipe.nondigits)
        rng = np.random.default_rng((seed, 1))
        own = digits.images.numpy()
        if recipe.pieces:
            pieces = cut_pieces(own, digits.labels.numpy(), PIECES_POOL, rng=rng)
            add(pieces, torch.full((PIECES_POOL,), NONDIGIT), recipe.pieces)
        if recipe.slivers:
            some = rng.choice(len(own), min(PIECES_POOL, len(own)), replace=False)
            add(add_slivers(own[some], rng=rng), digits.labels[some], recipe.slivers)
        whole = Digits(torch.cat(images), torch.cat(labels))
        return cls(whole, len(digits), pools, data.hexdigest())
