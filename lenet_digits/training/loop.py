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
from lenet_digits.model import NUM_CLASSES, LeNet5, empty_network, save_weights, usable_device
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

# Pictures drawn once for a run; an epoch shows some of them. As many as MNIST's training digits.
DRAWN_POOL = 60_000
NONDIGIT = NUM_CLASSES  # label of what is not one digit: an eleventh class, whose logit is always 0
CHUNK = 16  # batches distorted at once: that takes half the time of batch by batch
OnBatch = Callable[[int, int, float], None]


@dataclass(frozen=True, eq=False)
class TrainingRun:
    """A finished run: the model, the record of each epoch, the final evaluation and all figures."""

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
            ``"best"``, the recipe of the shipped weights; or a `Recipe`.
        epochs: the number of epochs, if not the recipe's.
        seed: starts every random choice, from 0 to 2**63 - 1. The same seed, machine and versions
            give the same weights.
        device: where to train; the CPU by default.
        limit: train on this many digits only, the first ones.
        holdout: put this many training digits aside, the last ones, and evaluate on them instead
            of on the test digits. Use it to choose among recipes.
        output: directory for the checkpoint, weights and metrics. Without it, nothing is written.
        resume: continue the run in ``output`` after its last finished epoch, if there is one. The
            weights become bit for bit those of a run that was not interrupted.
        on_batch: called after each batch as (batch, batches, mean training loss of the epoch so
            far). Both numbers count from the start of the run, also when it was resumed.
        on_epoch: called with each epoch's record, after its checkpoint is written.

    Raises:
        TrainingError: the loss is not finite any more; the directory cannot be written or already
            holds a run; or the run to resume is another one or is damaged.
        DatasetNotFoundError: see `load_mnist`.
        ValueError: an argument is out of range, or torch cannot use the device here.
    """
    recipe = find_recipe(recipe, epochs)
    device = usable_device(device)
    if device.type == "meta":
        raise ValueError("The device meta holds no numbers: train on another one.")
    check_whole("seed", seed, 0, 2**63 - 1)
    training, testing = (each.checked() for each in digits or load_mnist())
    training, testing = _split(training, testing, limit=limit, holdout=holdout)
    run = _Run(training, recipe, seed=seed, device=device)
    run.identity |= {"limit": limit, "holdout": holdout}
    if resume and output is None:
        raise ValueError("resume needs output: the directory of the run to continue.")
    folder = RunFolder(Path(output)) if output is not None else None
    if folder is not None:
        folder.open(run.identity, run.restore, resume=resume)
    with closing(run):
        while len(run.records) < recipe.epochs:
            record = run.epoch(testing, on_batch)
            if folder is not None:
                folder.save(run.checkpoint())
            if on_epoch is not None:
                on_epoch(record)
    model = calibrated(run.network.cpu(), recipe.temperature, recipe.evidence)
    model.sees_nondigits = recipe.nondigits > 0
    evaluation = evaluate(model, testing)
    metrics = Metrics(
        recipe=recipe,
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
    """The state of a run: it trains epoch by epoch, and goes to a checkpoint and back."""

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
        self.digit_count = len(digits)
        digits, self.pools = _with_pools(digits, recipe, seed)
        self.images = digits.images.to(device)
        self.labels = digits.labels.to(device)
        shown = len(self._order(torch.Generator(device)))  # pictures in an epoch
        self.steps_per_epoch = math.ceil(shown / recipe.batch_size)
        self.generator = torch.Generator(device).manual_seed(seed)
        self.model = _initial_network(seed).to(device)
        self.optimizers = _optimizers(self.model, recipe)
        self.backpropagation: Backpropagation | None = None  # on a GPU: autograd's
        if device.type == "cpu":
            self.backpropagation = Backpropagation(self.model, background=recipe.has_background)
        self.average: AveragedModel | None = None
        if recipe.ema:
            average = get_ema_multi_avg_fn(recipe.ema)  # type: ignore[no-untyped-call]
            self.average = AveragedModel(self.model, multi_avg_fn=average)

    @property
    def network(self) -> LeNet5:
        """The network to evaluate and to keep: the moving average, if the recipe has one."""
        network = self.average.module if self.average is not None else self.model
        assert isinstance(network, LeNet5)
        return network

    def close(self) -> None:
        """End the threads of this run."""
        if self.backpropagation is not None:
            self.backpropagation.close()

    def epoch(self, testing: Digits, on_batch: OnBatch | None) -> EpochRecord:
        """Train for one epoch and evaluate. Raises TrainingError if a loss is not finite."""
        began = time.perf_counter()
        train_loss = self._train_loss(on_batch)
        result = evaluate_quickly(self.network, testing)
        number = len(self.records) + 1
        if not (math.isfinite(train_loss) and math.isfinite(result.loss)):
            raise TrainingError(
                f"The loss is {train_loss + result.loss} in epoch {number}: the learning rate "
                f"{self.recipe.learning_rate} is too high for this recipe. The checkpoint of the "
                "last finished epoch is untouched."
            )
        self.records.append(
            EpochRecord(
                epoch=number,
                train_loss=train_loss,
                test_loss=result.loss,
                test_accuracy=result.accuracy,
                learning_rate=self._learning_rate(),
                seconds=time.perf_counter() - began,
            )
        )
        return self.records[-1]

    def _train_loss(self, on_batch: OnBatch | None) -> float:
        """Train on all batches of an epoch; returns their mean loss."""
        recipe = self.recipe
        polishing = len(self.records) >= recipe.epochs * (1 - recipe.polish)
        strength = recipe.distortion * (0.5 if polishing else 1.0)
        self.model.train()
        total = torch.zeros((), dtype=torch.float64, device=self.device)
        seen = 0
        for chunk in torch.split(self._order(self.generator), recipe.batch_size * CHUNK):
            with one_thread():
                canvases = as_canvases(self.images[chunk])
            if strength:
                canvases = distort(canvases, generator=self.generator, strength=strength)
            for indices, batch in zip(
                torch.split(chunk, recipe.batch_size),
                torch.split(canvases, recipe.batch_size),
                strict=True,
            ):
                total += len(batch) * self._take_step(batch, self.labels[indices])
                seen += len(batch)
                if on_batch is not None:
                    total_steps = recipe.epochs * self.steps_per_epoch
                    on_batch(self.step, total_steps, float(total) / seen)
        return float(total) / seen

    def _order(self, generator: torch.Generator) -> Tensor:
        """The indices of an epoch's images in random order: all digits, and some of each pool."""
        parts = [torch.arange(self.digit_count, device=self.device)]
        begin = self.digit_count
        for size, share in self.pools:
            shown = torch.randperm(size, generator=generator, device=self.device)
            parts.append(begin + shown[: round(share * self.digit_count)])
            begin += size
        indices = torch.cat(parts)
        return indices[torch.randperm(len(indices), generator=generator, device=self.device)]

    def _take_step(self, canvases: Tensor, labels: Tensor) -> Tensor | float:
        """Train on one batch; returns its mean loss before the step."""
        with one_thread():
            loss = self._loss(canvases, labels)
            for name, optimizer in self.optimizers.items():
                rate = self._learning_rate() * (self.recipe.muon if name == "muon" else 1.0)
                for group in optimizer.param_groups:
                    group["lr"] = rate
                optimizer.step()
            if self.average is not None:
                self.average.update_parameters(self.model)
        self.step += 1
        return loss

    def _loss(self, canvases: Tensor, labels: Tensor) -> Tensor | float:
        """The mean cross-entropy of a batch, in nats; the weights get its gradients.

        Non-digits have an eleventh logit, which is always 0. So the network learns how much
        evidence makes a digit, the log-sum-exp of its ten logits, without one more parameter (an
        implicit background class).
        """
        if self.backpropagation is not None:
            return self.backpropagation(canvases, labels)
        logits = F.pad(self.model(canvases), (0, 1 if self.recipe.has_background else 0))
        loss = F.cross_entropy(logits, labels)
        self.model.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.detach()

    def _learning_rate(self) -> float:
        """The learning rate of the next step: it climbs, then stays or falls along a cosine."""
        recipe, total = self.recipe, self.recipe.epochs * self.steps_per_epoch
        warm = recipe.warmup * total
        if self.step < warm:
            return recipe.learning_rate * (self.step + 1) / warm
        if not recipe.cosine:
            return recipe.learning_rate
        progress = (self.step - warm) / (total - warm)
        return recipe.learning_rate * (1 + math.cos(math.pi * progress)) / 2

    def checkpoint(self) -> Checkpoint:
        """All that a run needs to continue: the state of its parts, as tensors by name."""
        tensors = {f"model.{name}": value for name, value in self.model.state_dict().items()}
        if self.average is not None:
            average = self.average.state_dict()
            tensors |= {f"average.{name}": value for name, value in average.items()}
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
        """Take the state that the checkpoint holds."""

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
    """A network with random weights as torch draws them, but not from the process's generator.

    They are even in +-1 / sqrt(inputs of a unit): what `torch.nn.Conv2d` and `Linear` do.
    """
    generator = torch.Generator().manual_seed(seed)
    model = empty_network().to_empty(device="cpu")
    for layer in (model.c1, model.c3, model.c5, model.f6, model.output):
        bound = 1 / math.sqrt(layer.weight[0].numel())
        for weight in layer.parameters():
            nn.init.uniform_(weight, -bound, bound, generator=generator)
    return model


def _optimizers(model: LeNet5, recipe: Recipe) -> dict[str, torch.optim.Optimizer]:
    """AdamW; or, if the recipe says so, Muon for the matrices and AdamW for the other weights."""
    matrices: list[Tensor] = []
    others: list[Tensor] = []
    for name, weight in model.named_parameters():
        of_muon = recipe.muon and weight.ndim > 1 and name != "output.weight"
        (matrices if of_muon else others).append(weight)
    decay = recipe.weight_decay
    optimizers: dict[str, torch.optim.Optimizer] = {
        "adamw": torch.optim.AdamW(others, lr=0.0, weight_decay=decay, fused=True)
    }
    if matrices:
        optimizers["muon"] = Muon(matrices, lr=0.0, weight_decay=decay / recipe.muon)
    return optimizers


def _with_pools(
    digits: Digits, recipe: Recipe, seed: int
) -> tuple[Digits, list[tuple[int, float]]]:
    """The digits, followed by the recipe's pools of drawn pictures; and each pool's size and share.

    The share is the part of a pool that an epoch shows, by the number of digits.
    """
    images, labels, pools = [digits.images], [digits.labels], []

    def add(canvases: np.ndarray, answers: Tensor | None, share: float) -> None:
        images.append(torch.from_numpy(canvases))
        labels.append(torch.full((len(canvases),), NONDIGIT) if answers is None else answers)
        pools.append((len(canvases), share))

    rng = np.random.default_rng(seed)
    own = digits.images.numpy()
    if recipe.drawn:
        drawn, answers = draw_digits(DRAWN_POOL, rng=rng)
        add(drawn, torch.from_numpy(answers), recipe.drawn)
    if recipe.nondigits:
        add(draw_nondigits(DRAWN_POOL, rng=rng), None, recipe.nondigits)
    if recipe.pieces:
        pieces = cut_pieces(own, digits.labels.numpy(), DRAWN_POOL // 2, rng=rng)
        add(pieces, None, recipe.pieces)
    if recipe.slivers:
        some = rng.choice(len(own), min(DRAWN_POOL // 2, len(own)), replace=False)
        add(add_slivers(own[some], rng=rng), digits.labels[some], recipe.slivers)
    return Digits(torch.cat(images), torch.cat(labels)), pools
