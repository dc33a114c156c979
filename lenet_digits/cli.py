"""The command line: a thin shell over the library's functions, which knows no networks or pictures.

Heavy imports wait inside the commands, so that help and version come at once. An option that is
not given is not passed on: the defaults are those of the functions.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import functools
import inspect
import io
import json
import os
import re
import shlex
import sys
import time
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lenet_digits import __version__

if TYPE_CHECKING:
    from lenet_digits.images import CanvasSteps
    from lenet_digits.model import LeNet5
    from lenet_digits.prediction import Prediction

    Predictions = Generator[tuple[str, Prediction], None, None]

PROGRAM = "lenet-digits"
STDIN = "-"
EXPLAINED = 20  # pictures that --explain draws at most
MANY = 50  # pictures from which on it pays to start a process for each core
FAILED, INTERRUPTED, PIPE_CLOSED = 1, 130, 141  # exit codes; argparse's own is 2, for bad usage


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code. Whatever goes wrong is one line on stderr."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a name the terminal cannot spell must not kill
            stream.reconfigure(errors="backslashreplace")
    words = list(sys.argv[1:] if argv is None else argv)
    options = vars(build_parser().parse_args(words))
    run = options.pop("run")
    try:
        code: int = run(**options)
        sys.stdout.flush()
    except BrokenPipeError:  # the reader, `head` say, has seen enough
        _close_output()
        return PIPE_CLOSED
    except KeyboardInterrupt:
        advice = f" Go on where it stopped: {_resuming(words)}" if words[0] == "train" else ""
        _complain(f"Interrupted.{advice}")
        return INTERRUPTED
    except (ImportError, MemoryError, OSError, RuntimeError, ValueError) as error:
        _complain(_reason(error))
        _close_output()
        return FAILED
    return code


def build_parser() -> argparse.ArgumentParser:
    """The parser of all commands; each leaves its function in ``run``."""
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description="Read handwritten digits with LeNet-5, the network of 1998.",
        epilog=f"More about a command: {PROGRAM} COMMAND --help",
    )
    parser.add_argument("--version", action="version", version=f"{PROGRAM} {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for add in (
        _add_predict, _add_train, _add_evaluate, _add_samples, _add_app, _add_push, _add_push_space,
    ):  # fmt: skip
        add(commands)
    return parser


def _command(commands: Any, name: str, summary: str, epilog: str = "") -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        help=summary,
        description=summary[0].upper() + summary[1:] + ".",
        epilog=epilog,
        argument_default=argparse.SUPPRESS,
    )
    return parser


# predict --------------------------------------------------------------------------------------


def _add_predict(commands: Any) -> None:
    parser = _command(
        commands,
        "predict",
        "read the digits in pictures",
        "Exit code: 0; 1 if any picture could not be read; 2 for bad usage.",
    )
    parser.add_argument(
        "paths",
        metavar="PATH",
        nargs="+",
        help="a picture; a directory, for the pictures in it (not in directories below), sorted by "
        "name; or - for a picture on standard input",
    )
    form = parser.add_mutually_exclusive_group()
    form.add_argument(
        "--json", dest="write", action="store_const", const=_write_json,
        help="an array of objects with all ten probabilities",
    )  # fmt: skip
    form.add_argument(
        "--csv", dest="write", action="store_const", const=_write_csv,
        help="a table with all ten probabilities, for spreadsheets",
    )  # fmt: skip
    parser.add_argument(
        "--explain", metavar="FILE", type=_figure,
        help=f"draw how each picture was read, step by step (at most {EXPLAINED} of them)",
    )  # fmt: skip
    parser.add_argument(
        "--method", choices=("mnist", "center-crop"),
        help="mnist (the default): find the digit and frame it as MNIST framed its own; "
        "center-crop: the plain crop of the original demo",
    )  # fmt: skip
    parser.add_argument(
        "--jobs", metavar="N", type=int,
        help=f"read in N processes (default: one for each core from {MANY} pictures on, else 1)",
    )  # fmt: skip
    _add_weights(parser)
    parser.set_defaults(run=_predict)


def _predict(
    paths: Sequence[str],
    *,
    write: Any = None,
    explain: Path | None = None,
    weights: str | None = None,
    jobs: int | None = None,
    **options: Any,
) -> int:
    if jobs is not None and jobs < 1:
        raise ValueError(f"--jobs is {jobs}; it must be 1 or more.")
    pictures = list(_pictures(paths))
    if STDIN in pictures or (jobs is None and len(pictures) < MANY):
        jobs = 1
    if weights is not None:
        from lenet_digits.checkpoint import load_model  # and with it torch

        options["model"] = load_model(weights)
    explained: list[tuple[str, CanvasSteps, Prediction]] = []
    code = 0

    def predictions() -> Predictions:
        nonlocal code
        for path, outcome in zip(pictures, _watched(outcomes(), len(pictures)), strict=True):
            if isinstance(outcome, Exception):
                _complain(f"{path}: {getattr(outcome, 'strerror', None) or outcome}")
                code = FAILED
            else:
                yield path, outcome

    def outcomes() -> Iterator[Prediction | Exception]:
        here = len(pictures) if jobs == 1 else EXPLAINED if explain else 0
        for number, path in enumerate(pictures[:here]):
            room = explained if explain and number < EXPLAINED else None
            yield _outcome(path, explained=room, **options)
        if here < len(pictures):
            from lenet_digits.workers import map_in_processes

            read = functools.partial(_outcome, **options)
            yield from map_in_processes(read, pictures[here:], jobs=jobs)

    with contextlib.closing(predictions()) as answers:
        (write or _write_table)(answers)
    if explain is not None and explained:
        from lenet_digits.plotting import plot_steps, save_figure

        save_figure(plot_steps(explained), explain)
    return code


def _outcome(
    path: str,
    *,
    model: LeNet5 | None = None,
    explained: list[tuple[str, CanvasSteps, Prediction]] | None = None,
    **options: Any,
) -> Prediction | Exception:
    """The prediction, or why there is none; the steps to it are added to `explained`."""
    from lenet_digits.images import canvas_steps
    from lenet_digits.prediction import predict_steps

    try:
        with _opened(path) as file:
            steps = canvas_steps(file, **options)
    except (OSError, ValueError) as error:
        return error
    prediction = predict_steps(steps, model=model)
    if explained is not None:
        explained.append((_printable(Path(path).name), steps, prediction))
    return prediction


def _watched(outcomes: Iterator[Any], total: int) -> Iterator[Any]:
    """With a progress bar for one who watches standard error while the answers go elsewhere."""
    if total < MANY or not sys.stderr.isatty() or sys.stdout.isatty():
        return outcomes
    from tqdm import tqdm

    watched: Iterator[Any] = iter(tqdm(outcomes, total=total, unit=" pictures", dynamic_ncols=True))
    return watched


def _pictures(paths: Sequence[str]) -> Iterator[str]:
    for path in paths:
        if path != STDIN and os.path.isdir(path):  # noqa: PTH112, Path drops a leading ./
            yield from _pictures_in(path) or [path]  # an empty one is complained of when opened
        else:
            yield path


def _pictures_in(directory: str) -> list[str]:
    from PIL import Image

    from lenet_digits.pictures import FORMATS

    suffixes = {suffix for suffix, name in Image.registered_extensions().items() if name in FORMATS}
    try:
        names = sorted(os.listdir(directory))  # noqa: PTH208
    except OSError:
        return []
    return [
        os.path.join(directory, name)  # noqa: PTH118
        for name in names
        if Path(name).suffix.lower() in suffixes and not name.startswith(".")
    ]


def _opened(path: str) -> Any:
    if path == STDIN:
        return open(0, "rb", closefd=False)
    if os.path.isdir(path):  # noqa: PTH112
        raise ValueError("There are no pictures in this directory, or it cannot be listed.")
    return Path(path).open("rb")


def _write_table(predictions: Predictions) -> None:
    """Digit, confidence and path of each picture; the path last, as its length is not known."""
    from lenet_digits.prediction import percent

    heading = "digit  confidence  picture"
    for path, prediction in predictions:
        if heading:
            print(heading)
            heading = ""
        digit = str(prediction.digit) if prediction.is_digit else "-"
        doubt = "" if prediction.is_digit else f"  (not a digit; if it were: {prediction.digit})"
        sure = percent(prediction.confidence)
        print(f"{digit:>5}  {sure:>10}  {_printable(path)}{doubt}", flush=True)


def _write_json(predictions: Predictions) -> None:
    """One array, an object a line: as good for ``jq`` as for ``grep``."""
    separator = "["
    for path, prediction in predictions:
        print(f"{separator}\n{json.dumps({'path': path} | prediction.to_dict())}", end="")
        separator = ","
    print("[]" if separator == "[" else "\n]")


def _write_csv(predictions: Predictions) -> None:
    # All text is quoted: the separator of another locale, in a name, must not open a cell.
    table = csv.writer(sys.stdout, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\n")
    digits = [f"p{digit}" for digit in range(10)]
    table.writerow(["path", "digit", "confidence", "is_digit", "outlier_score", *digits])
    for path, prediction in predictions:
        *verdict, probabilities = prediction.to_dict().values()
        table.writerow([_cell(path), *verdict, *probabilities])


def _cell(path: str) -> str:
    """A path as text in a spreadsheet: what might pass for a formula is led by a harmless ./."""
    text = _printable(path)
    return text if path == STDIN or re.match(r"[\w./\\]", text) else f".{os.sep}{text}"


# train ----------------------------------------------------------------------------------------


def _add_train(commands: Any) -> None:
    parser = _command(
        commands,
        "train",
        "train the network from scratch",
        "A run can be stopped at any moment and goes on with the same command and --resume.",
    )
    parser.add_argument(
        "--recipe", choices=("original", "quick", "best"),
        help="original (the default): 50 epochs of Adam, as in the project this re-creates; quick: "
        "2 epochs to the same accuracy; best: the one behind the shipped weights",
    )  # fmt: skip
    _add_data(parser)
    parser.add_argument("--epochs", metavar="N", type=int, help="how many (default: the recipe's)")
    parser.add_argument("--seed", metavar="N", type=int, help="of all random choices (default: 0)")
    parser.add_argument("--device", metavar="NAME", help="where to train: cpu (the default), cuda")
    parser.add_argument("--limit", metavar="N", type=int, help="use only the first N digits")
    parser.add_argument(
        "--holdout", metavar="N", type=int,
        help="measure on the last N training digits, put aside, instead of on the test digits",
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

    from lenet_digits.checkpoint import save_weights
    from lenet_digits.hub import WEIGHTS_FILE
    from lenet_digits.mnist import load_mnist
    from lenet_digits.plotting import plot_accuracy, plot_cost, save_figure
    from lenet_digits.training import METRICS_FILE, RECIPES, EpochRecord, train

    defaults = {name: p.default for name, p in inspect.signature(train).parameters.items()}
    recipe, seed = (options.get(name, defaults[name]) for name in ("recipe", "seed"))
    folder = output or Path("runs", f"{recipe}-seed{seed}")
    if device is not None:
        _check_device(device)
    batch_size = RECIPES[recipe].batch_size
    bar: Any = None
    accuracy = "-"

    def on_batch(batch: int, batches: int, loss: float) -> None:
        nonlocal bar
        if bar is None:  # made here, as only now it is known where a resumed run begins
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
    measured = run.metrics["evaluated_on"]
    save_figure(plot_cost(run.epochs), folder / "cost.png")
    save_figure(plot_accuracy(run.epochs, digits=measured), folder / "accuracy.png")
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


def _check_device(name: str) -> None:
    import torch

    try:
        torch.empty(0, device=name)
    except (AssertionError, NotImplementedError, RuntimeError) as error:
        raise ValueError(f"The device {name!r} cannot be used here: {_reason(error)}") from error


def _resuming(words: Sequence[str]) -> str:
    return shlex.join([PROGRAM, *words] + ["--resume"] * ("--resume" not in words))


# evaluate -------------------------------------------------------------------------------------


def _add_evaluate(commands: Any) -> None:
    parser = _command(commands, "evaluate", "measure the network on the 10,000 test digits")
    _add_weights(parser)
    _add_data(parser)
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

    from lenet_digits.calibration import Reliability
    from lenet_digits.checkpoint import load_model
    from lenet_digits.mnist import load_mnist
    from lenet_digits.plotting import (
        plot_confusion,
        plot_mistakes,
        plot_reliability,
        save_figure,
    )
    from lenet_digits.training import as_canvases, evaluate

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


# samples --------------------------------------------------------------------------------------


def _add_samples(commands: Any) -> None:
    parser = _command(commands, "samples", "draw a grid of labelled MNIST digits")
    parser.add_argument("--split", choices=("train", "test"), help="of MNIST (default: train)")
    parser.add_argument("--count", metavar="N", type=int, help="how many (default: 60)")
    parser.add_argument("--seed", metavar="N", type=int, help="of the choice (default: 0)")
    _add_data(parser)
    parser.add_argument("--output", metavar="FILE", type=_figure, help="default: samples.png")
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

    from lenet_digits.mnist import load_mnist
    from lenet_digits.plotting import plot_samples, save_figure

    digits = load_mnist(data)[split == "test"]
    if not 1 <= count <= 1000:
        raise ValueError(f"--count is {count}; it must be from 1 to 1000.")
    chosen = torch.randperm(len(digits), generator=torch.Generator().manual_seed(seed))[:count]
    kind = "training" if split == "train" else split
    title = f"{len(chosen):,} of MNIST's {len(digits):,} {kind} digits"
    save_figure(plot_samples(digits[chosen], title=title), output)
    print(f"Drawn: {output}")
    return 0


# app ------------------------------------------------------------------------------------------


def _add_app(commands: Any) -> None:
    parser = _command(commands, "app", "start the web app: draw or upload a digit in the browser")
    parser.add_argument("--host", help="address to listen on (default: this machine alone)")
    parser.add_argument("--port", type=int, help="port to listen on (default: the first free one)")
    parser.add_argument("--share", action="store_true", help="open a public link for a week")
    _add_weights(parser)
    parser.set_defaults(run=_app)


def _app(**options: Any) -> int:
    from lenet_digits.demo import launch

    launch(**options)
    return 0


# push and push-space --------------------------------------------------------------------------


def _add_push(commands: Any) -> None:
    parser = _command(commands, "push", "check the shipped weights and upload them to the Hub")
    _add_repository(parser)
    parser.add_argument(
        "--data", metavar="DIR",
        help="directory with MNIST/raw/ in it: the stated accuracy is checked on all of its test "
        "digits (default: on the sample that comes with the weights)",
    )  # fmt: skip
    parser.set_defaults(run=_push)


def _push(*, repo: str, private: bool | None = None, data: str | None = None) -> int:
    from lenet_digits.mnist import load_mnist
    from lenet_digits.publishing import push

    digits = None if data is None else load_mnist(data, download=False)[1]
    commit = push(repo, private=private, digits=digits)
    print(f"{_hub()}/{repo} has the weights, at {commit}.")
    return 0


def _add_push_space(commands: Any) -> None:
    parser = _command(commands, "push-space", "upload the app, from a checkout, to a Space")
    _add_repository(parser)
    parser.add_argument(
        "--source", metavar="DIR", help="checkout of this project (default: this directory)"
    )
    parser.add_argument(
        "--hardware", metavar="NAME",
        help="of a Space made here, say zero-a10g (default: the free CPU, which the Hub gives to "
        "subscribers alone)",
    )  # fmt: skip
    parser.set_defaults(run=_push_space)


def _push_space(*, repo: str, **options: Any) -> int:
    from lenet_digits.publishing import push_space

    commit = push_space(repo, **options)
    print(f"{_hub()}/spaces/{repo} has the app, at {commit}.")
    return 0


def _add_repository(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("repo", metavar="OWNER/NAME", help="repository, made if there is none")
    parser.add_argument(
        "--private", action="store_true", help="make it private, if it is made here"
    )


def _hub() -> str:
    return os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")


# Shared ---------------------------------------------------------------------------------------


def _add_weights(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--weights",
        metavar="FILE",
        help="weights to use: .safetensors, .pth, or OWNER/NAME[@REVISION] on the Hub (default: "
        "shipped)",
    )


def _add_data(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--data", metavar="DIR",
        help="directory with MNIST/raw/ in it; what is missing is downloaded there (default: "
        "LENET_DIGITS_DATA, or a cache of yours)",
    )  # fmt: skip


def _figure(name: str) -> Path:
    """The type of options that name a figure: refuses a bad name before any work is done."""
    if Path(name).suffix.lower() not in (".pdf", ".png", ".svg"):
        raise argparse.ArgumentTypeError(f"{name!r} must end in .png, .svg or .pdf")
    return Path(name)


def _complain(message: str) -> None:
    line = f"{PROGRAM}: {_printable(' '.join(message.split()))}"
    if "tqdm" in sys.modules:  # there may be a progress bar to keep clear of
        sys.modules["tqdm"].tqdm.write(line, file=sys.stderr)
    else:
        print(line, file=sys.stderr, flush=True)


def _reason(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error).strip().split("\n")[0] or f"{type(error).__name__}."


def _printable(text: str) -> str:
    """The text with all that could steer a terminal (controls, newlines, bidi marks) escaped."""
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text
    )


def _close_output() -> None:
    """Flush standard output or, if nobody takes it, drop it, so that Python's exit cannot fail."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
