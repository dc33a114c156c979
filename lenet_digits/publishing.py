"""Writes the model card, checks the weights, and sends weights and app to the Hub.

The folder of weights is the repository on the Hub: ``model.safetensors``; ``config.json``;
``metrics.json``, which training wrote; ``sample.png``, some test digits to check the weights with;
``README.md``, the model card made from the metrics; ``onnx/model.onnx``, made from the weights; and
figures, if any. The installed package has all of it but the ONNX file.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
import textwrap
from collections.abc import Sequence
from dataclasses import asdict, replace
from os import PathLike
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from lenet_digits.model import CONFIG, CONFIG_FILE, NUM_CLASSES, LeNet5, tensors_of
from lenet_digits.onnx_file import ONNX_FILE, OPSET, onnx_of
from lenet_digits.reading.framing import IMAGE_SIZE
from lenet_digits.storage.files import write_atomically
from lenet_digits.storage.hub import upload
from lenet_digits.storage.shipped import (
    REPO,
    REVISION,
    SHIPPED_SHA256,
    WEIGHTS_FILE,
    weights_directory,
)
from lenet_digits.training.evaluation import evaluate, wilson
from lenet_digits.training.metrics import METRICS_FILE, Metrics, MetricsError, Sample, Share
from lenet_digits.training.mnist import Digits
from lenet_digits.training.recipes import RECIPES

CARD_FILE = "README.md"
SAMPLE_FILE = "sample.png"
RELIABILITY_FILE, MISTAKES_FILE = "reliability.png", "mistakes.png"
REQUIRED_FILES = (CARD_FILE, CONFIG_FILE, METRICS_FILE, WEIGHTS_FILE, SAMPLE_FILE, ONNX_FILE)
# What a Space is made of: it installs requirements.txt and finds the package beside app.py.
SPACE_FILES = ("README.md", "app.py", "requirements.txt")
SPACE_FOLDERS = ("lenet_digits", "weights", "examples")
LEFT_BEHIND = ("__pycache__", "*.pyc", "*.pyi", ".*", "onnx")
# The README.md of a static Space: its settings.
STATIC_SPACE = f"""---
title: lenet-digits
emoji: ✍️
colorFrom: green
colorTo: gray
sdk: static
app_file: index.html
short_description: LeNet-5 of 1998 reads digits, all in your browser
license: apache-2.0
models:
  - {REPO}
datasets:
  - ylecun/mnist
tags:
  - mnist
  - lenet
  - handwriting
  - image-classification
---

The page of [lenet-digits](https://github.com/lenet-digits/lenet-digits) without a server: the
visitor's browser reads the pictures itself, and sends them to nobody. `lenet-digits site` makes it.
"""
# Share of digits whose answer may differ from machine to machine: those the network is torn about.
TORN = 2e-4


class PublishingError(ValueError):
    """Weights that do not agree with what is said of them, or an app that is not all there."""


def read_sample(path: str | PathLike[str]) -> Digits:
    """The digits on a sheet: ten rows, one for each digit 0 to 9, of 28 x 28 pixels each."""
    with Image.open(path) as picture:
        sheet = np.array(picture.convert("L"))  # (280, 28 * columns) uint8
    columns = sheet.shape[1] // IMAGE_SIZE
    if sheet.shape != (NUM_CLASSES * IMAGE_SIZE, columns * IMAGE_SIZE) or not columns:
        raise PublishingError(f"{path} is not a sheet of ten rows of {IMAGE_SIZE}-pixel digits.")
    tiles = sheet.reshape(NUM_CLASSES, IMAGE_SIZE, columns, IMAGE_SIZE).swapaxes(1, 2)
    images = torch.from_numpy(tiles.reshape(-1, IMAGE_SIZE, IMAGE_SIZE).copy())
    return Digits(images, torch.arange(NUM_CLASSES).repeat_interleave(columns))


def write_sample(digits: Digits, path: str | PathLike[str], *, columns: int = 20) -> None:
    """Write the sheet `read_sample` reads: the first ``columns`` of each digit."""
    rows = [
        torch.cat(list(digits.images[digits.labels == digit][:columns]), dim=1)
        for digit in range(NUM_CLASSES)
    ]
    Image.fromarray(torch.cat(rows).numpy()).save(path, optimize=True)


def prepare(folder: str | PathLike[str] | None = None) -> None:
    """Make a folder of weights, metrics and sample ready to publish: say in it what is so.

    Writes the weights' hash and their errors on the sample into ``metrics.json``, and
    ``config.json``, the ONNX file and the model card. The shipped weights' folder by default.
    """
    home = Path(folder) if folder is not None else weights_directory()
    metrics = _read_metrics(home)
    model = LeNet5.from_pretrained(home)
    _write_onnx(model, home)
    result = evaluate(model, read_sample(home / SAMPLE_FILE))
    metrics = replace(
        metrics,
        sha256=hashlib.sha256((home / WEIGHTS_FILE).read_bytes()).hexdigest(),
        sample=Sample(count=result.count, errors=result.errors),
    )
    metrics.write(home / METRICS_FILE)
    write_atomically(home / CONFIG_FILE, (json.dumps(CONFIG, indent=2) + "\n").encode())
    write_atomically(home / CARD_FILE, model_card(metrics, figures=_figures(home)).encode())


def check_weights(folder: str | PathLike[str], digits: Digits | None = None) -> Metrics:
    """Check a folder of weights against itself; returns its metrics.

    Args:
        folder: the weights' folder.
        digits: MNIST's test digits, to hold the stated accuracy to; the sample in the folder
            alone is read without.

    Raises:
        PublishingError: something is missing, too much, or not as stated; the message says what.
        WeightsError: the weights are not LeNet-5's.
    """
    home = Path(folder)
    for name in REQUIRED_FILES:
        if not (home / name).is_file():
            raise PublishingError(f"{home} lacks {name}.")
    belonging = {*REQUIRED_FILES, *_figures(home), Path(ONNX_FILE).parent.name}
    for path in sorted(home.rglob("*")):
        if path.relative_to(home).as_posix() not in belonging:
            raise PublishingError(f"{path} does not belong to the weights. Move it elsewhere.")
    metrics = _read_metrics(home)
    actual = hashlib.sha256((home / WEIGHTS_FILE).read_bytes()).hexdigest()
    if metrics.sha256 != actual:
        raise PublishingError(
            f"{home / METRICS_FILE} was not measured with {WEIGHTS_FILE}: it states the SHA-256 "
            f"{metrics.sha256 or 'of no file'}, and the file's is {actual}."
        )
    if not _is_our_config(home / CONFIG_FILE):
        raise PublishingError(f"{home / CONFIG_FILE} is not LeNet-5's.")
    if (home / CARD_FILE).read_text("utf-8") != model_card(metrics, figures=_figures(home)):
        raise PublishingError(f"{home / CARD_FILE} does not say what {METRICS_FILE} says.")
    model = LeNet5.from_pretrained(home)
    result = evaluate(model, read_sample(home / SAMPLE_FILE))
    if metrics.sample != Sample(result.count, result.errors):
        stated = metrics.sample
        raise PublishingError(
            f"{WEIGHTS_FILE} reads {result.errors} of the {result.count} digits in {SAMPLE_FILE} "
            f"wrong; {METRICS_FILE} states "
            f"{f'{stated.errors} of {stated.count}' if stated else 'nothing of them'}."
        )
    if (home / ONNX_FILE).read_bytes() != _onnx(model):
        raise PublishingError(
            f"{home / ONNX_FILE} was not made from {WEIGHTS_FILE}. Make it again with "
            "lenet_digits.publishing.prepare."
        )
    if digits is not None:
        measured = evaluate(model, digits)
        if abs(measured.accuracy - metrics.accuracy) > TORN:
            raise PublishingError(
                f"{WEIGHTS_FILE} reads {measured.accuracy:.2%} of the test digits right; "
                f"{METRICS_FILE} states {metrics.accuracy:.2%}."
            )
    return metrics


def push(
    repo: str,
    *,
    folder: str | PathLike[str] | None = None,
    digits: Digits | None = None,
    private: bool | None = None,
    token: str | bool | None = None,
) -> str:
    """Upload a folder of weights, exactly it, to a model repository on the Hub, after checking it.

    The weights that this version of the package ships are tagged with it.

    Args:
        repo: "owner/name"; created if it does not exist.
        folder: of the weights; the shipped ones by default.
        digits: see `check_weights`.
        private: whether a repository made here is.
        token: that may write there; the one that ``hf auth login`` stored by default.

    Returns:
        The commit's hash.

    Raises:
        PublishingError, WeightsError: see `check_weights`; nothing was uploaded.
        HubError: the Hub cannot be reached or refuses.
    """
    home = Path(folder) if folder is not None else weights_directory()
    with tempfile.TemporaryDirectory() as scratch:
        if folder is None and not (home / ONNX_FILE).is_file():  # the installed package lacks it
            home = Path(shutil.copytree(home, Path(scratch, home.name)))
            _write_onnx(LeNet5.from_pretrained(home), home)
        metrics = check_weights(home, digits)
        if not (metrics.trained_on_mnist and metrics.tested_on_mnist):
            raise PublishingError(
                f"{home / METRICS_FILE} is of a run that did not train on all of MNIST's 60,000 "
                "training digits, or was not evaluated on its 10,000 test digits. Train without "
                "limit and holdout (--limit, --holdout), then push that run."
            )
        shipped = metrics.sha256 == SHIPPED_SHA256
        if folder is None and not shipped:
            raise PublishingError(f"{home / WEIGHTS_FILE} is not the file that this version ships.")
        return upload(
            home,
            repo,
            private=private,
            token=token,
            message=f"LeNet-5, {metrics.accuracy:.2%} of MNIST's test digits",
            tag=REVISION if shipped else None,
            exact=True,
        )


def copy_space(source: str | PathLike[str], target: str | PathLike[str]) -> None:
    """Copy what a Space needs, and nothing else, from a checkout into an empty folder.

    Raises PublishingError where something is missing.
    """
    for name in (*SPACE_FILES, *SPACE_FOLDERS, f"weights/{WEIGHTS_FILE}"):
        if not Path(source, name).exists():
            raise PublishingError(
                f"{source} lacks {name}: run this in a checkout of the project, not elsewhere."
            )
    for name in SPACE_FILES:
        shutil.copy(Path(source, name), target)
    for name in SPACE_FOLDERS:
        ignore = shutil.ignore_patterns(*LEFT_BEHIND)
        shutil.copytree(Path(source, name), Path(target, name), ignore=ignore)


def push_space(
    repo: str,
    *,
    source: str | PathLike[str] = ".",
    private: bool | None = None,
    hardware: str | None = None,
    token: str | bool | None = None,
) -> str:
    """Upload the app to a Space on the Hub; returns the commit's hash.

    It uploads README.md, app.py, requirements.txt and the folders lenet_digits, weights and
    examples, and nothing else.

    Args:
        repo: "owner/name"; created if it does not exist.
        source: a checkout of the project.
        private: whether a Space made here is.
        hardware: for a new Space, as the Hub names it, for example "zero-a10g".
        token: that may write there; the one that ``hf auth login`` stored by default.

    Raises:
        PublishingError: the source is not all there.
        HubError: the Hub cannot be reached or refuses.
    """
    with tempfile.TemporaryDirectory() as folder:
        copy_space(source, folder)
        return upload(
            Path(folder),
            repo,
            repo_type="space",
            private=private,
            hardware=hardware,
            token=token,
            message=f"lenet-digits {REVISION}",
            exact=True,
        )


def push_static_space(
    repo: str, *, private: bool | None = None, token: str | bool | None = None
) -> str:
    """Upload the static site to a Space on the Hub; returns the commit's hash.

    Visitors' browsers read the pictures themselves; see `lenet_digits.demo.site`.

    Args:
        repo: "owner/name"; created if it does not exist.
        private: whether a Space made here is.
        token: that may write there; the one that ``hf auth login`` stored by default.

    Raises HubError where the Hub cannot be reached or refuses.
    """
    from lenet_digits.demo.site import write_site

    with tempfile.TemporaryDirectory() as folder:
        write_site(folder)
        Path(folder, "README.md").write_text(STATIC_SPACE, encoding="utf-8")
        return upload(
            Path(folder),
            repo,
            repo_type="space",
            sdk="static",
            private=private,
            token=token,
            message=f"lenet-digits {REVISION}",
            exact=True,
        )


def _figures(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("*.png") if path.name != SAMPLE_FILE)


def _onnx(model: LeNet5) -> bytes:
    """The content of the ONNX file. PublishingError where the package that writes it is missing."""
    tensors = {name: tensor.numpy() for name, tensor in tensors_of(model).items()}
    try:
        return onnx_of(tensors, sees_nondigits=model.sees_nondigits)
    except ModuleNotFoundError as error:
        raise PublishingError(
            f"{ONNX_FILE} cannot be made or checked without the package onnx. Install it: "
            "pip install onnx"
        ) from error


def _write_onnx(model: LeNet5, folder: Path) -> None:
    path = folder / ONNX_FILE
    path.parent.mkdir(exist_ok=True)
    write_atomically(path, _onnx(model))


def _read_metrics(folder: Path) -> Metrics:
    try:
        return Metrics.read(folder / METRICS_FILE)
    except MetricsError as error:
        raise PublishingError(str(error)) from error


def _is_our_config(path: Path) -> bool:
    try:
        return bool(json.loads(path.read_text("utf-8")) == CONFIG)
    except (ValueError, RecursionError):
        return False


# The model card --------------------------------------------------------------------------------


def model_card(metrics: Metrics, *, figures: Sequence[str] = ()) -> str:
    """The model card, in Markdown, that says what the metrics say, and shows the figures named."""
    sample = metrics.sample
    shown, wrong = (sample.count, sample.errors) if sample else ("", "")
    curves = "\n".join(
        f"![{Path(name).stem} by epoch]({name})"
        for name in figures
        if name not in (RELIABILITY_FILE, MISTAKES_FILE)
    )
    settings = "\n".join(
        f"| {_words(name)} | {value} |" for name, value in asdict(metrics.recipe).items()
    )
    environment = ", ".join(f"{_words(name)} {value}" for name, value in metrics.versions.items())
    results = "\n".join(
        [
            *_accuracies(metrics),
            *_others(metrics),
            *_numbers(metrics),
            *_corruptions(metrics),
            *_reliability(metrics, figures),
            *_refusals(metrics),
            *_limits(metrics, figures),
        ]
    )
    return f"""---
license: apache-2.0
library_name: lenet-digits
pipeline_tag: image-classification
datasets:
- ylecun/mnist
metrics:
- accuracy
tags:
- lenet
- lenet-5
- mnist
- handwriting
- digit-recognition
- pytorch
- onnx
- safetensors
{_model_index(metrics)}---

# LeNet-5 for handwritten digits

The network of 1998 with its 61,706 parameters, trained to read what people draw, scan and
photograph. It reads {100 * metrics.accuracy:.2f} % of {_tested_on(metrics)} right.

![{shown} of MNIST's test digits, as the network sees them]({SAMPLE_FILE})

## How to use it

```sh
pip install lenet-digits
```

```python
from lenet_digits import load_model, predict

print(predict("digit.png", model=load_model("{REPO}")))
```

The package finds the digit in the picture and frames it as MNIST framed its own: most of being
right is decided there. Its releases carry these weights, so `predict("digit.png")` alone does the
same without a network. `LeNet5.from_pretrained("{REPO}")` gives the bare
network: canvases (N, 1, 28, 28), float32 in [0, 1], ink 1 on 0, to logits (N, 10).

[A notebook](https://github.com/lenet-digits/lenet-digits/blob/main/examples/lenet5.ipynb) trains
the network from scratch, step by step, and looks inside it.

### With ONNX Runtime

`{ONNX_FILE}` is the bare network, for ONNX Runtime and other readers of the format. It takes a
canvas, not a picture. A picture that is only scaled to 28×28 is often read wrong, so let the
package make the canvas. Neither needs PyTorch:

```python
import onnxruntime
from lenet_digits import canvas_steps

session = onnxruntime.InferenceSession("{ONNX_FILE}")
canvas = canvas_steps("digit.png").canvas[None, None]  # (1, 1, 28, 28) float32, ink 1 on 0
(probabilities,) = session.run(["probabilities"], {{"pixel_values": canvas}})
print(probabilities.argmax())
```

{_onnx_outputs(metrics)}

## What it is for

Single handwritten digits, 0 to 9: drawn on a screen, scanned, or photographed; for teaching, for
demonstrations, and as a small, fast reader within a larger system that can stand an error.

## What it is not for

- Letters and print. What does not look like a digit is refused, but not always. The network knows
  one handwritten digit at a time; `lenet_digits.read` puts numbers together from its answers.
- Anything where an error harms somebody and no person looks again: cheques, forms, medicine.
- MNIST's writers were American census employees and high-school students. Hands and habits far
  from theirs (other numerals, another 1, 4 or 7) are read less well.

{results}
## How it was trained

{_trained_on(metrics)}

| Setting | Value |
| --- | --- |
{settings}
| seed | {metrics.seed} |

{curves}

With {environment or "versions not recorded"}.
`{METRICS_FILE}` has the figures of every epoch and the confusion matrix.

## Files

- `{WEIGHTS_FILE}`: the weights, SHA-256 `{metrics.sha256}`.
- `{SAMPLE_FILE}`: {shown} of MNIST's test digits, a row for each digit 0 to 9; \
the weights read {wrong} of them wrong.
  MNIST is by Yann LeCun, Corinna Cortes and Chris Burges, and what is shown of it here licensed
  CC BY-SA 3.0.
- `{ONNX_FILE}`: the same network and weights, opset {OPSET}, any batch size.
- `{CONFIG_FILE}`: the network's sizes. There is nothing to configure.

## Literature

Y. LeCun, L. Bottou, Y. Bengio and P. Haffner, "Gradient-Based Learning Applied to Document
Recognition", Proceedings of the IEEE 86 (11), 1998.
"""


def _onnx_outputs(metrics: Metrics) -> str:
    """What the ONNX file answers, and what it does not."""
    outputs = "Its outputs are `logits` and `probabilities`, (N, 10)"
    if not metrics.recipe.nondigits:
        return f"{outputs}. It does not tell what is not a digit."
    return f"""{outputs}, and `outlier_score`, (N,): above
1, the canvas is not a digit. `predict` does more than the file: it compares several canvases where
it is open what is ink, and it refuses two digits in one picture."""


def _model_index(metrics: Metrics) -> str:
    """The accuracy in the form that the Hub expects: on MNIST's test digits, or not at all."""
    if not metrics.tested_on_mnist:
        return ""
    return f"""model-index:
- name: LeNet-5
  results:
  - task:
      type: image-classification
      name: Handwritten digit recognition
    dataset:
      type: ylecun/mnist
      name: MNIST
      split: test
    metrics:
    - type: accuracy
      value: {metrics.accuracy:.6g}
      name: Accuracy
"""


def _tested_on(metrics: Metrics) -> str:
    if metrics.tested_on_mnist:
        return f"MNIST's {metrics.count:,} test digits"
    if metrics.holdout:
        return metrics.evaluated_on
    return f"{metrics.count:,} test digits other than MNIST's"


def _trained_on(metrics: Metrics) -> str:
    if metrics.trained_on_mnist:
        digits = "MNIST's 60,000 training digits"
    elif metrics.limit:
        digits = f"the first {metrics.limit:,} training digits that it was given"
    else:
        digits = f"training digits with the SHA-256 `{metrics.data_sha256}`"
    recipe = metrics.recipe
    drawn = ["digits"] * bool(recipe.drawn) + ["non-digits"] * bool(recipe.nondigits)
    sentence = f"On {digits}{', warped at random' if recipe.distortion else ''}"
    if drawn:
        sentence += f", and on {' and '.join(drawn)} that the package's own code draws"
    if recipe.pieces or recipe.slivers:
        sentence += ", and cuts out of rows of the training digits"
    names = [name for name, known in RECIPES.items() if known == recipe]
    again = f" `lenet-digits train --recipe {names[0]}` does it again:" if names else ""
    whole = metrics.trained_on_mnist and metrics.tested_on_mnist
    text = f"{sentence}.{again if whole else ''}"
    return "\n".join(textwrap.wrap(text, 97, break_on_hyphens=False))


def weaknesses(metrics: Metrics) -> list[str]:
    """Where it fails most, a sentence each, as far as the metrics tell."""
    found = []
    if metrics.real_input:
        lowest = sorted(metrics.real_input.items(), key=lambda item: item[1].accuracy)[:4]
        shares = (
            f"{what.partition(': ')[2] or what} ({result.accuracy:.1%})" for what, result in lowest
        )
        found.append(f"The sets it reads worst: {'; '.join(shares)}.")
    if metrics.misses:
        each = (
            f"{miss.digit} as {miss.read_as} ({miss.count} of {miss.of})"
            for miss in metrics.misses
            if miss.read_as is not None
        )
        found.append(f"What it takes for what, on real input: {', '.join(each)}.")
    if refusal := metrics.refusal:
        kinds = {k: v for k, v in refusal.items() if k not in ("all", "digits", "AUROC") and v < 1}
        worst = sorted(kinds.items(), key=lambda item: item[1])[:4]
        shares = (f"{_words(kind).replace('-', ' ')} {1 - share:.0%}" for kind, share in worst)
        found.append(f"Pictures of other things that it takes for digits: {', '.join(shares)}.")
    if metrics.mnist_c:
        worst_kinds = sorted((r.pipeline, _words(kind)) for kind, r in metrics.mnist_c.items())[:3]
        shares = (f"{kind} ({share:.1%})" for share, kind in worst_kinds)
        found.append(f"MNIST-C's corruptions that it minds most: {', '.join(shares)}.")
    return found


def _accuracies(metrics: Metrics) -> list[str]:
    tested = "MNIST, the test digits" if metrics.tested_on_mnist else _tested_on(metrics)
    rows = {tested: Share(metrics.accuracy, metrics.count)} if metrics.count else {}
    lines = [
        "## How well it reads",
        "",
        *_table("What | Pictures | Right | 95 % interval"),
        *(
            f"| {what} | {result.count:,} | {100 * result.accuracy:.2f} % | "
            "{:.2f} to {:.2f} % |".format(*_interval(result))
            for what, result in (rows | metrics.real_input).items()
        ),
        "",
    ]
    if seeds := metrics.seeds:
        lines += [
            f"Trained {seeds.count} times by the same recipe, each time from another seed, the "
            f"network reads {_percent(seeds.mean)} ± {100 * seeds.deviation:.2f} % of the "
            f"test digits right ({_percent(seeds.lowest)} to {_percent(seeds.highest)}), "
            f"with an expected calibration error of {seeds.calibration_error:.4f}.",
            "",
        ]
    tested = "MNIST's test digits" if metrics.tested_on_mnist else _tested_on(metrics)
    return [
        *lines,
        f"{metrics.count - metrics.right} of {tested} are read wrong; by digit:",
        "",
        *_table("Digit | Pictures | Wrong"),
        *(
            f"| {d} | {sum(row):,} | {sum(row) - row[d]} |"
            for d, row in enumerate(metrics.confusion)
        ),
        "",
    ]


def _others(metrics: Metrics) -> list[str]:
    """Other systems on the same pictures; a system may have read a share of a set's pictures."""
    others = {name: results for name, results in metrics.others.items() if results}
    if not others or not metrics.real_input:
        return []

    def cell(result: Share | None) -> str:
        if result is None:
            return ""
        return "{:.1f} ({:.1f} to {:.1f})".format(100 * result.accuracy, *_interval(result))

    counts = {what: result.count for what, result in metrics.real_input.items()}
    fewer = [
        f"{name} read at most {most} of each set, drawn at random."
        for name, results in others.items()
        if (most := max(result.count for result in results.values())) < max(counts.values())
    ]
    return [
        "### Beside other systems",
        "",
        "Of the same pictures, what others read right, in per cent, with 95 % intervals. Published "
        "systems got each picture upright, and light on dark or on pure black where they want it.",
        *fewer,
        "",
        *_table(" | ".join(["What", *others])),
        *(
            f"| {what} | {' | '.join(cell(results.get(what)) for results in others.values())} |"
            for what in counts
        ),
        "",
    ]


def _numbers(metrics: Metrics) -> list[str]:
    if not metrics.numbers:
        return []
    rows = (
        f"| {what} | {result.count:,} | {_percent(result.accuracy, 1)} | "
        "{:.1f} to {:.1f} % |".format(*_interval(result))
        for what, result in metrics.numbers.items()
    )
    return [
        "### Numbers",
        "",
        "Pictures of several digits that `lenet_digits.read` reads right as a whole, every digit",
        "of every line. Its costs were fitted on the writers of about half of them.",
        "",
        *_table("What | Pictures | Right | 95 % interval"),
        *rows,
        "",
    ]


def _corruptions(metrics: Metrics) -> list[str]:
    corrupted = metrics.mnist_c
    if not corrupted:
        return []
    both = [(result.bare, result.pipeline) for result in corrupted.values()]
    means = (sum(shares) / len(corrupted) for shares in zip(*both, strict=True))
    return [
        "### MNIST-C",
        "",
        f"Of the first {next(iter(corrupted.values())).count:,} test digits, corrupted in "
        f"{len(corrupted)} ways (Mu and Gilmer, 2019), what the bare network and the whole "
        "package, which frames them again, read right:",
        "",
        *_table("Corruption | Bare network | Package"),
        *(
            f"| {_words(kind)} | {_percent(result.bare, 1)} | {_percent(result.pipeline, 1)} |"
            for kind, result in corrupted.items()
        ),
        f"| **mean** | {' | '.join(f'**{_percent(mean, 1)}**' for mean in means)} |",
        "",
    ]


def _reliability(metrics: Metrics, figures: Sequence[str]) -> list[str]:
    if not metrics.calibration:
        return []
    lines = [
        "### How far its probabilities can be believed",
        "",
        "Expected calibration error, 15 bins. The framing of pictures was tuned on the real input.",
        "",
        *_table(" | "),
        *(f"| {_words(name)} | {value:.4f} |" for name, value in metrics.calibration.items()),
        "",
    ]
    if RELIABILITY_FILE in figures:
        lines += [
            f"![Accuracy against confidence, and the share of digits]({RELIABILITY_FILE})",
            "",
            "The lines through the points are 95 % intervals.",
            "",
        ]
    return lines


def _refusals(metrics: Metrics) -> list[str]:
    if not metrics.refusal:
        return []
    return [
        "### What it refuses",
        "",
        "Shares refused; the threshold was chosen on these pictures.",
        "",
        *_table(" | "),
        *(
            f"| {name} | {value:.4f} |" if name == "AUROC" else
            f"| {_words(name)} | {_percent(value, 1)} |"
            for name, value in metrics.refusal.items()
        ),
        "",
    ]  # fmt: skip


def _limits(metrics: Metrics, figures: Sequence[str]) -> list[str]:
    lines = [f"- {sentence}" for sentence in weaknesses(metrics)]
    if MISTAKES_FILE in figures:
        shown = f"![MNIST's test digits that it misreads, each with its label]({MISTAKES_FILE})"
        lines += ["", shown] if lines else [shown]
    return ["### What it is not good at", "", *lines, ""] if lines else []


def _table(head: str) -> list[str]:
    """The first two lines of a table."""
    return [f"| {head} |", f"|{' --- |' * (head.count('|') + 1)}"]


def _percent(share: float, digits: int = 2) -> str:
    return f"{100 * share:.{digits}f} %"


def _interval(result: Share) -> tuple[float, float]:
    """The 95 % interval of an accuracy, in per cent."""
    low, high = wilson(round(result.accuracy * result.count), result.count)
    return 100 * low, 100 * high


def _words(name: str) -> str:
    return name.replace("_", " ")
