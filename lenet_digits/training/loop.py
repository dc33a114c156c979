"""Trains LeNet-5 from scratch, epoch by epoch, and can resume a run that was stopped."""

from __future__ import annotations

import hashlib
import math
import platform
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from lenet_digits import __version__
from lenet_digits.model import NUM_CLASSES, LeNet5, save_weights, usable_device
from lenet_digits.storage.shipped import WEIGHTS_FILE
from lenet_digits.training.augmentation import distort
from lenet_digits.training.checkpoint import Checkpoint, RunFolder, TrainingError, writing
from lenet_digits.training.drawing import draw_digits, draw_nondigits
from lenet_digits.training.evaluation import (
    Evaluation,
    as_canvases,
    calibrated,
    evaluate,
    evaluate_quickly,
)
from lenet_digits.training.gradients import Backpropagation
from lenet_digits.training.metrics import METRICS_FILE, EpochRecord, Metrics, evaluated_on
from lenet_digits.training.mnist import Digits, load_mnist
from lenet_digits.training.muon import Muon
from lenet_digits.training.pieces import add_slivers, cut_pieces
from lenet_digits.training.recipes import Recipe, check_whole, find_recipe
from lenet_digits.training.threads import one_thread

DRAWN_POOL = 60_000  # digits drawn once per run, of which each epoch shows some; pieces are half
NONDIGIT = NUM_CLASSES  # label of a drawn non-digit: a class whose logit is always 0


@dataclass(frozen=True, eq=False)
class TrainingRun:
    """A finished run: the model, every epoch's record, the final evaluation, and all figures."""

    model: LeNet5
    epochs: list[EpochRecord]
    evaluation: Evaluation
    metrics: Metrics  # what metrics.json holds


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
        seed: of every random choice, from 0 to 2**63 - 1; same seed, machine and versions give
            the same weights.
        device: where to train; the CPU by default.
        limit: use only the first so many training digits.
        holdout: put the last so many training digits aside and evaluate on them instead of on the
            test digits: for choosing among recipes.
        output: directory for the checkpoint, weights and metrics; nothing is written without.
        resume: go on from the last finished epoch in ``output``, if there is one. The weights end
            up bit for bit those of an uninterrupted run.
        on_batch: called as (batch, batches, mean training loss of the epoch so far); both count
            the whole run, with what a resumed one has done before.
        on_epoch: called with each epoch's record, after its checkpoint is safe.

    Raises:
        TrainingError: the loss is no longer finite, the directory holds a run already or cannot be
            written to, or the run to resume is another or damaged.
        DatasetNotFoundError: see `load_mnist`.
        ValueError: an argument is out of range, or torch cannot use the device here.
    """
    chosen = find_recipe(recipe, epochs)
    place = usable_device(device)
    if place.type == "meta":
        raise ValueError("The device meta holds no numbers: train on another one.")
    check_whole("seed", seed, 0, 2**63 - 1)
    training, testing = (each.checked() for each in digits or load_mnist())
    training, testing = _split(training, testing, limit=limit, holdout=holdout)
    run = _Run(training, chosen, seed=seed, device=place)
    run.identity |= {"limit": limit, "holdout": holdout}
    if resume and output is None:
        raise ValueError("resume needs output: the directory of the run to go on with.")
    folder = RunFolder(Path(output)) if output is not None else None
    if folder is not None:
        folder.open(run.identity, run.restore, resume=resume)
    with closing(run):
        while len(run.records) < chosen.epochs:
            began = time.perf_counter()
            train_loss = run.epoch(on_batch)
            result = evaluate_quickly(run.result, testing)
            if not (math.isfinite(train_loss) and math.isfinite(result.loss)):
                raise TrainingError(
                    f"The loss is {train_loss + result.loss} in epoch {len(run.records) + 1}: the "
                    f"learning rate {chosen.learning_rate} is too high for this recipe. The last "
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
    model = calibrated(run.result.cpu(), chosen.temperature, chosen.evidence)
    model.sees_nondigits = chosen.nondigits > 0
    evaluation = evaluate(model, testing)
    metrics = Metrics(
        recipe=chosen,
        seed=seed,
        data_sha256=run.identity["data_sha256"],
        limit=limit,
        holdout=holdout,
        evaluated_on=evaluated_on(holdout),
        accuracy=evaluation.accuracy,
        loss=evaluation.loss,
        confusion=tuple(map(tuple, evaluation.confusion.tolist())),
        epochs=tuple(run.records),
        versions={
            "lenet_digits": __version__,
            "torch": torch.__version__,
            "python": platform.python_version(),
            "machine": f"{platform.system()} {platform.machine()}",
            "device": str(run.device),
            "threads": torch.get_num_threads(),
        },
    )
    if folder is not None:
        with writing(folder.path):
            sha256 = save_weights(model, folder.path / WEIGHTS_FILE)
            metrics = replace(metrics, sha256=sha256)
            metrics.write(folder.path / METRICS_FILE)
    return TrainingRun(model, run.records, evaluation, metrics)


def _split(
    training: Digits, testing: Digits, *, limit: int | None, holdout: int
) -> tuple[Digits, Digits]:
    check_whole("holdout", holdout, 0, len(training) - 1)
    if holdout:
        training, testing = training[:-holdout], training[-holdout:]
    if limit is not None:
        if type(limit) is not int or limit < 1:
            raise ValueError(f"limit is {limit}; it must be a whole number of 1 or more.")
        training = training[:limit]
    return training, testing


class _Run:
    """All the state of a run, in memory and in its checkpoint."""

    def __init__(self, digits: Digits, recipe: Recipe, *, seed: int, device: torch.device) -> None:
        self.recipe, self.device = recipe, device
        data = hashlib.sha256()
        for tensor in (digits.images, digits.labels):
            data.update(tensor.contiguous().numpy().data)
        self.identity: dict[str, Any] = {
            "recipe": asdict(recipe),
            "seed": seed,
            "data_sha256": data.hexdigest(),
        }
        self.records: list[EpochRecord] = []
        self.step = 0
        self.own = len(digits)
        digits, self.drawn = _with_drawn(digits, recipe, seed)
        self.images = digits.images.to(device)
        self.labels = digits.labels.to(device)
        self.steps_per_epoch = math.ceil(
            len(self.order(torch.Generator(device))) / recipe.batch_size
        )
        self.generator = torch.Generator(device).manual_seed(seed)
        self.model = _initial_network(seed).to(device)
        self.backpropagation: Backpropagation | None = None  # autograd's, on a GPU
        if device.type == "cpu":
            self.backpropagation = Backpropagation(self.model, background=recipe.has_background)
        self.average: AveragedModel | None = None
        if recipe.ema:
            average = get_ema_multi_avg_fn(recipe.ema)  # type: ignore[no-untyped-call]
            self.average = AveragedModel(self.model, multi_avg_fn=average)
        matrices = [
            weight
            for name, weight in self.model.named_parameters()
            if recipe.muon and weight.ndim > 1 and name != "output.weight"
        ]
        rest = [w for w in self.model.parameters() if not any(w is m for m in matrices)]
        decay = recipe.weight_decay
        self.optimizers: dict[str, torch.optim.Optimizer] = {
            "adamw": torch.optim.AdamW(rest, lr=0.0, weight_decay=decay, fused=True)
        }
        if matrices:
            self.optimizers["muon"] = Muon(matrices, lr=0.0, weight_decay=decay / recipe.muon)

    @property
    def result(self) -> LeNet5:
        """The network that counts: the average where there is one."""
        network = self.average.module if self.average is not None else self.model
        assert isinstance(network, LeNet5)
        return network

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

    def learn(self, canvases: Tensor, labels: Tensor) -> Tensor | float:
        """Takes one step; returns the batch's mean cross-entropy before it."""
        with one_thread():
            cost = self.cost(canvases, labels)
            for name, optimizer in self.optimizers.items():
                rate = self.rate() * (self.recipe.muon if name == "muon" else 1.0)
                for group in optimizer.param_groups:
                    group["lr"] = rate
                optimizer.step()
            if self.average is not None:
                self.average.update_parameters(self.model)
        self.step += 1
        return cost

    def cost(self, canvases: Tensor, labels: Tensor) -> Tensor | float:
        """The mean cross-entropy over a batch; the weights get its gradient.

        Where there are non-digits, theirs is a logit of constant 0 beside the ten: so the network
        learns how much evidence, log-sum-exp of its logits, makes a digit at all, without a
        parameter more (an implicit background class).
        """
        if self.backpropagation is not None:
            return self.backpropagation(canvases, labels)
        logits = F.pad(self.model(canvases), (0, 1 if self.recipe.has_background else 0))
        loss = F.cross_entropy(logits, labels)
        self.model.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.detach()

    def order(self, generator: torch.Generator) -> Tensor:
        """Which images an epoch shows, in which order: all of the digits, some of the drawn."""
        picks = [torch.arange(self.own, device=self.device)]
        begin = self.own
        for pool, share in self.drawn:
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
        for chunk in torch.split(self.order(self.generator), recipe.batch_size * 16):
            with one_thread():
                canvases = as_canvases(self.images[chunk])
            if strength:
                canvases = distort(canvases, generator=self.generator, strength=strength)
            labels = self.labels[chunk]
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


def _initial_network(seed: int) -> LeNet5:
    """The network with torch's usual random weights, without its process-wide generator."""
    generator = torch.Generator().manual_seed(seed)
    with torch.device("meta"):  # draws no numbers
        model = LeNet5()
    model.to_empty(device="cpu")
    with torch.no_grad():
        for layer in (model.c1, model.c3, model.c5, model.f6, model.output):
            bound = 1 / math.sqrt(layer.weight[0].numel())
            nn.init.kaiming_uniform_(layer.weight, a=math.sqrt(5), generator=generator)
            if layer.bias is not None:  # it never is; type checkers ask
                nn.init.uniform_(layer.bias, -bound, bound, generator=generator)
    return model


def _with_drawn(
    digits: Digits, recipe: Recipe, seed: int
) -> tuple[Digits, list[tuple[int, float]]]:
    """The digits with the pools of drawn ones appended, and each pool's size and share."""
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
    own = digits.images.numpy()
    if recipe.pieces:
        pieces = cut_pieces(own, digits.labels.numpy(), DRAWN_POOL // 2, rng=rng)
        add(pieces, torch.full((len(pieces),), NONDIGIT), recipe.pieces)
    if recipe.slivers:
        some = rng.choice(len(own), min(DRAWN_POOL // 2, len(own)), replace=False)
        add(add_slivers(own[some], rng=rng), digits.labels[some], recipe.slivers)
    return Digits(torch.cat(images), torch.cat(labels)), pools
