"""The commands that need MNIST: ``train``, ``evaluate`` and ``samples``."""

from __future__ import annotations

import inspect
import shlex
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lenet_digits.cli.console import PROGRAM, add_command, add_data, add_weights, figure_path


def add_train(commands: Any) -> None:
    """Add the command ``train``."""
    parser = add_command(
        commands,
        "train",
        "train the network from scratch",
        "A run can be stopped at any moment. The same command with --resume continues it.",
    )
    parser.add_argument(
        "--recipe", choices=("original", "quick", "best"),
        help="original (the default): 50 epochs of Adam, as in the project this re-creates; quick: "
        "2 epochs to the same accuracy; best: the one behind the shipped weights",
    )  # fmt: skip
    add_data(parser)
    parser.add_argument(
        "--epochs", metavar="N", type=int, help="number of epochs (default: the recipe's)"
    )
    parser.add_argument(
        "--seed", metavar="N", type=int, help="seed of all random choices (default: 0)"
    )
    parser.add_argument(
        "--device", metavar="NAME", help="device to train on: cpu (the default) or cuda"
    )
    parser.add_argument("--limit", metavar="N", type=int, help="use only the first N digits")
    parser.add_argument(
        "--holdout", metavar="N", type=int,
        help="put the last N training digits aside and measure on them, not on the test digits",
    )  # fmt: skip
    parser.add_argument(
        "--output", metavar="DIR", type=Path,
        help="directory for weights, metrics and curves (default: runs/RECIPE-seedN)",
    )  # fmt: skip
    parser.add_argument(
        "--resume", action="store_true", help="go on from the last finished epoch in that directory"
    )
    parser.add_argument("--pth", action="store_true", help="write the weights as model.pth as well")
    parser.set_defaults(run=_train)


def _train(
    *,
    data: str | None = None,
    device: str | None = None,
    output: Path | None = None,
    pth: bool = False,
    **options: Any,
) -> int:
    from tqdm import tqdm

    from lenet_digits.figures import plot_epochs, save_figure
    from lenet_digits.model import save_weights, usable_device
    from lenet_digits.storage.shipped import WEIGHTS_FILE
    from lenet_digits.training.loop import train
    from lenet_digits.training.metrics import METRICS_FILE, EpochRecord
    from lenet_digits.training.mnist import load_mnist
    from lenet_digits.training.recipes import RECIPES

    defaults = {name: p.default for name, p in inspect.signature(train).parameters.items()}
    recipe, seed = (options.get(name, defaults[name]) for name in ("recipe", "seed"))
    folder = output or Path("runs", f"{recipe}-seed{seed}")
    if device is not None:
        usable_device(device)  # before the data is downloaded
    batch_size = RECIPES[recipe].batch_size
    bar: Any = None
    accuracy = "-"

    def on_batch(batch: int, batches: int, loss: float) -> None:
        nonlocal bar
        if bar is None:  # created here, because only now the start of a resumed run is known
            bar = tqdm(
                desc=recipe, total=batches * batch_size, initial=(batch - 1) * batch_size,
                unit=" digits", unit_scale=True, dynamic_ncols=True, disable=None,
            )  # fmt: skip
        bar.set_postfix_str(f"loss {loss:.4f}, accuracy {accuracy}", refresh=False)
        bar.update(batch_size)

    def on_epoch(record: EpochRecord) -> None:
        nonlocal accuracy
        accuracy = f"{record.test_accuracy:.2%}"
        bar.set_postfix_str(f"loss {record.train_loss:.4f}, accuracy {accuracy}")
        tqdm.write(
            f"epoch {record.epoch}: training cost {record.train_loss:.4f}, accuracy {accuracy}, "
            f"{record.seconds:.1f} s",
            file=sys.stderr,
        )

    try:
        run = train(
            load_mnist(data), device=device, output=folder, on_batch=on_batch, on_epoch=on_epoch,
            **options,
        )  # fmt: skip
    finally:
        if bar is not None:
            bar.close()
    measured = run.metrics.evaluated_on
    cost = [epoch.train_loss for epoch in run.epochs]
    unit = "mean cross-entropy (nats)"
    save_figure(plot_epochs("Training cost", run.epochs, cost, unit=unit), folder / "cost.png")
    shares = [epoch.test_accuracy for epoch in run.epochs]
    save_figure(plot_epochs(f"Accuracy on {measured}", run.epochs, shares), folder / "accuracy.png")
    print(
        f"{run.evaluation.accuracy:.2%} of {measured} read right ({run.evaluation.errors} wrong)."
    )
    print(f"Weights  {folder / WEIGHTS_FILE}")
    if pth:
        save_weights(run.model, folder / "model.pth")
        print(f"         {folder / 'model.pth'}")
    print(f"Metrics  {folder / METRICS_FILE}")
    print(f"Curves   {folder / 'cost.png'}, {folder / 'accuracy.png'}")
    return 0


def resuming(words: Sequence[str]) -> str:
    """The command line that continues a run which these words started."""
    return shlex.join([PROGRAM, *words] + ["--resume"] * ("--resume" not in words))


def add_evaluate(commands: Any) -> None:
    """Add the command ``evaluate``."""
    parser = add_command(commands, "evaluate", "measure the network on the 10,000 test digits")
    add_weights(parser)
    add_data(parser)
    parser.add_argument(
        "--output", metavar="DIR", type=Path,
        help="directory for the confusion matrix, the page of mistakes and the reliability "
        "diagram (default: runs/evaluation)",
    )  # fmt: skip
    parser.set_defaults(run=_evaluate)


def _evaluate(
    *, weights: str | None = None, data: str | None = None, output: Path = Path("runs/evaluation")
) -> int:
    import torch

    from lenet_digits.figures import plot_confusion, plot_mistakes, plot_reliability, save_figure
    from lenet_digits.model import load_model
    from lenet_digits.training.evaluation import Reliability, as_canvases, evaluate
    from lenet_digits.training.mnist import load_mnist

    model = load_model(weights)
    _, digits = load_mnist(data)
    began = time.perf_counter()
    result = evaluate(model, digits)
    seconds = time.perf_counter() - began
    print(
        f"{result.accuracy:.2%} of {result.count:,} test digits read right ({result.errors} wrong),"
        f" mean cross-entropy {result.loss:.4f}, in {seconds:.1f} s.\n"
    )
    print("digit  right     of  accuracy  read as another")
    for digit, counts in enumerate(result.confusion.tolist()):
        others = sorted(((n, d) for d, n in enumerate(counts) if n and d != digit), reverse=True)
        print(
            f"{digit:>5}  {counts[digit]:>5,}  {sum(counts):>5,}  "
            f"{counts[digit] / max(1, sum(counts)):>8.2%}  "
            + ", ".join(f"{other} ({count})" for count, other in others)
        )
    with torch.inference_mode():
        answers = torch.cat([model(as_canvases(part)) for part in torch.split(digits.images, 1000)])
    save_figure(plot_confusion(result), output / "confusion.png")
    confidence, said = answers.softmax(dim=1).max(dim=1)
    reliability = Reliability.measure(confidence.tolist(), (said == digits.labels).tolist())
    save_figure(plot_mistakes(digits, said), output / "mistakes.png")
    save_figure(plot_reliability({"The test digits": reliability}), output / "reliability.png")
    names = ("confusion.png", "mistakes.png", "reliability.png")
    print(f"\nDrawn: {', '.join(str(output / name) for name in names)}")
    return 0


def add_samples(commands: Any) -> None:
    """Add the command ``samples``."""
    parser = add_command(commands, "samples", "draw a grid of labelled MNIST digits")
    parser.add_argument("--split", choices=("train", "test"), help="part of MNIST (default: train)")
    parser.add_argument("--count", metavar="N", type=int, help="number of digits (default: 60)")
    parser.add_argument(
        "--seed", metavar="N", type=int, help="seed of the random choice (default: 0)"
    )
    add_data(parser)
    parser.add_argument("--output", metavar="FILE", type=figure_path, help="default: samples.png")
    parser.set_defaults(run=_samples)


def _samples(
    *,
    split: str = "train",
    count: int = 60,
    seed: int = 0,
    data: str | None = None,
    output: Path = Path("samples.png"),
) -> int:
    import torch

    from lenet_digits.figures import plot_samples, save_figure
    from lenet_digits.training.mnist import load_mnist

    digits = load_mnist(data)[split == "test"]
    if not 1 <= count <= 1000:
        raise ValueError(f"--count is {count}; it must be from 1 to 1000.")
    chosen = torch.randperm(len(digits), generator=torch.Generator().manual_seed(seed))[:count]
    kind = "training" if split == "train" else split
    title = f"{len(chosen):,} of MNIST's {len(digits):,} {kind} digits"
    save_figure(plot_samples(digits[chosen], title=title), output)
    print(f"Drawn: {output}")
    return 0
