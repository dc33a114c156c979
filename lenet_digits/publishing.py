"""The model card, and weights and app to the Hub once they agree with themselves; trains nothing.

The folder of weights is the repository on the Hub: ``model.safetensors``; ``config.json``;
``metrics.json``, which training wrote; ``sample.png``, some test digits to check the weights with;
``README.md``, the model card made from the metrics; and figures, if any.
"""

from __future__ import annotations

import hashlib
import json
import math
import shutil
import tempfile
from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from lenet_digits.files import write_atomically
from lenet_digits.hub import (
    REPO,
    REVISION,
    SHIPPED_SHA256,
    WEIGHTS_FILE,
    upload,
    weights_directory,
)
from lenet_digits.mnist import Digits
from lenet_digits.model import CONFIG, CONFIG_FILE, IMAGE_SIZE, NUM_CLASSES, LeNet5
from lenet_digits.training import METRICS_FILE, evaluate

CARD_FILE = "README.md"
SAMPLE_FILE = "sample.png"
REQUIRED_FILES = (CARD_FILE, CONFIG_FILE, METRICS_FILE, WEIGHTS_FILE, SAMPLE_FILE)
# What a Space is made of: it installs requirements.txt and finds the package beside app.py.
SPACE_FILES = ("README.md", "app.py", "requirements.txt")
SPACE_FOLDERS = ("lenet_digits", "weights", "examples")
LEFT_BEHIND = ("__pycache__", "*.pyc", "*.pyi", ".*")
REAL_LEAD = "On digits by real people, for which the framing of pictures was tuned as well:"
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
    ``config.json`` and the model card. The shipped weights' folder by default.
    """
    home = Path(folder) if folder is not None else weights_directory()
    metrics = _read_metrics(home)
    metrics["sha256"] = hashlib.sha256((home / WEIGHTS_FILE).read_bytes()).hexdigest()
    result = evaluate(LeNet5.from_pretrained(home), read_sample(home / SAMPLE_FILE))
    metrics["sample"] = {"count": result.count, "errors": result.errors}
    write_atomically(home / METRICS_FILE, (json.dumps(metrics, indent=2) + "\n").encode())
    write_atomically(home / CONFIG_FILE, (json.dumps(CONFIG, indent=2) + "\n").encode())
    write_atomically(home / CARD_FILE, model_card(metrics, figures=_figures(home)).encode())


def check_weights(folder: str | PathLike[str], digits: Digits | None = None) -> dict[str, Any]:
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
    for path in sorted(home.iterdir()):
        if path.name not in REQUIRED_FILES and path.name not in _figures(home):
            raise PublishingError(f"{path} is no part of the weights; move it elsewhere.")
    metrics = _read_metrics(home)
    actual = hashlib.sha256((home / WEIGHTS_FILE).read_bytes()).hexdigest()
    if metrics.get("sha256") != actual:
        raise PublishingError(
            f"{home / METRICS_FILE} was not measured with {WEIGHTS_FILE}: it states the SHA-256 "
            f"{metrics.get('sha256')}, and the file's is {actual}."
        )
    confusion = torch.tensor(metrics["confusion"])
    if not math.isclose(metrics["accuracy"], confusion.trace() / confusion.sum(), abs_tol=1e-6):
        raise PublishingError(f"{home / METRICS_FILE}: accuracy and confusion disagree.")
    if json.loads((home / CONFIG_FILE).read_text("utf-8")) != CONFIG:
        raise PublishingError(f"{home / CONFIG_FILE} is not LeNet-5's.")
    if (home / CARD_FILE).read_text("utf-8") != model_card(metrics, figures=_figures(home)):
        raise PublishingError(f"{home / CARD_FILE} does not say what {METRICS_FILE} says.")
    model = LeNet5.from_pretrained(home)
    stated = metrics.get("sample", {})
    sample = evaluate(model, read_sample(home / SAMPLE_FILE))
    if (sample.count, sample.errors) != (stated.get("count"), stated.get("errors")):
        raise PublishingError(
            f"{WEIGHTS_FILE} reads {sample.errors} of the {sample.count} digits in {SAMPLE_FILE} "
            f"wrong; {METRICS_FILE} states {stated.get('errors')} of {stated.get('count')}."
        )
    if digits is not None:
        measured = evaluate(model, digits)
        if abs(measured.accuracy - metrics["accuracy"]) > TORN:
            raise PublishingError(
                f"{WEIGHTS_FILE} reads {measured.accuracy:.2%} of the test digits right; "
                f"{METRICS_FILE} states {metrics['accuracy']:.2%}."
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
        repo: "owner/name", made if there is none.
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
    metrics = check_weights(home, digits)
    shipped = metrics["sha256"] == SHIPPED_SHA256
    if folder is None and not shipped:
        raise PublishingError(f"{home / WEIGHTS_FILE} is not the file that this version ships.")
    return upload(
        home,
        repo,
        private=private,
        token=token,
        message=f"LeNet-5, {metrics['accuracy']:.2%} of MNIST's test digits",
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

    Args:
        repo: "owner/name", made if there is none.
        source: a checkout of the project.
        private: whether a Space made here is.
        hardware: of a Space made here, as the Hub names it, say "zero-a10g".
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


def _figures(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("*.png") if path.name != SAMPLE_FILE)


def _read_metrics(folder: Path) -> dict[str, Any]:
    path = folder / METRICS_FILE
    try:
        metrics = json.loads(path.read_text("utf-8"))
        return dict(metrics, accuracy=float(metrics["accuracy"]), confusion=metrics["confusion"])
    except (KeyError, TypeError, ValueError) as error:
        raise PublishingError(f"{path} is not the metrics of a training run ({error}).") from error


# The model card --------------------------------------------------------------------------------


def model_card(metrics: dict[str, Any], *, figures: Sequence[str] = ()) -> str:
    """The model card, in Markdown, that says what the metrics say, and shows the figures named.

    Of the metrics, ``real_input`` ({what: {"accuracy", "count"}}), ``calibration`` and ``refusal``
    ({name: figure}) may be absent.
    """
    confusion = torch.tensor(metrics["confusion"])
    count, right = int(confusion.sum()), int(confusion.trace())
    recipe: dict[str, Any] = metrics.get("recipe", {})
    versions: dict[str, Any] = metrics.get("versions", {})
    sample: dict[str, Any] = metrics.get("sample", {})
    rows = [("MNIST, the test digits", metrics["accuracy"], count)]
    rows += [
        (what, result["accuracy"], result["count"])
        for what, result in metrics.get("real_input", {}).items()
    ]
    table = "\n".join(
        f"| {what} | {n:,} | {100 * share:.2f} % | {_interval(share, n)} |"
        for what, share, n in rows
    )
    digits = "\n".join(
        f"| {digit} | {int(row.sum()):,} | {int(row.sum() - row[digit])} |"
        for digit, row in enumerate(confusion)
    )
    curves = "\n".join(f"![{Path(name).stem} by epoch]({name})" for name in figures)
    settings = "\n".join(f"| {_words(name)} | {value} |" for name, value in recipe.items())
    environment = ", ".join(f"{_words(name)} {value}" for name, value in versions.items())
    extras = "".join(
        f"\n### {title}\n\n{lead}\n\n| | |\n| --- | --- |\n"
        + "".join(f"| {_words(name)} | {value:.4g} |\n" for name, value in metrics[key].items())
        for key, title, lead in (
            ("calibration", "How far its probabilities can be believed", REAL_LEAD),
            ("refusal", "What it says is no digit", "Shares refused, and what decides it:"),
        )
        if metrics.get(key)
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
- safetensors
model-index:
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
      value: {metrics["accuracy"]:.6g}
      name: Accuracy
---

# LeNet-5 for handwritten digits

The network of 1998 with its 61,706 parameters, trained to read what people draw, scan and
photograph. It reads {100 * metrics["accuracy"]:.2f} % of MNIST's {count:,} test digits right.

![{sample.get("count", "")} of MNIST's test digits, as the network sees them]({SAMPLE_FILE})

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

## What it is for

Single handwritten digits, 0 to 9: drawn on a screen, scanned, or photographed; for teaching, for
demonstrations, and as a small, fast reader within a larger system that can stand an error.

## What it is not for

- Numbers of several digits, letters, and print: it knows one handwritten digit at a time. What
  looks like no digit is refused, but not always.
- Anything where an error harms somebody and no person looks again: cheques, forms, medicine.
- MNIST's writers were American census employees and high-school students. Hands and habits far
  from theirs (other numerals, another 1, 4 or 7) are read less well.

## How well it reads

| What | Pictures | Right | 95 % interval |
| --- | --- | --- | --- |
{table}

{count - right} of MNIST's test digits are read wrong; by digit:

| Digit | Pictures | Wrong |
| --- | --- | --- |
{digits}
{extras}
## How it was trained

On MNIST's 60,000 training digits, warped at random, and on digits and non-digits that the
package's own code draws. `lenet-digits train --recipe best` does it again:

| Setting | Value |
| --- | --- |
{settings}
| seed | {metrics.get("seed", "")} |

{curves}

With {environment or "versions not recorded"}.
`{METRICS_FILE}` has the figures of every epoch and the confusion matrix.

## Files

- `{WEIGHTS_FILE}`: the weights, SHA-256 `{metrics.get("sha256", "")}`.
- `{SAMPLE_FILE}`: {sample.get("count", "")} of MNIST's test digits, a row for each digit 0 to 9; \
the weights read {sample.get("errors", "")} of them wrong.
  MNIST is by Yann LeCun, Corinna Cortes and Chris Burges, and this sample of it licensed CC BY-SA
  3.0.
- `{CONFIG_FILE}`: the network's sizes. There is nothing to configure.

## Literature

Y. LeCun, L. Bottou, Y. Bengio and P. Haffner, "Gradient-Based Learning Applied to Document
Recognition", Proceedings of the IEEE 86 (11), 1998.
"""


def _interval(share: float, count: int) -> str:
    """The 95 % interval of a share by Wilson's score (1927), in per cent."""
    z = 1.96
    centre = (share + z * z / (2 * count)) / (1 + z * z / count)
    spread = (
        z / (1 + z * z / count) * math.sqrt(share * (1 - share) / count + (z / (2 * count)) ** 2)
    )
    return f"{100 * (centre - spread):.2f} to {100 * min(1, centre + spread):.2f} %"


def _words(name: str) -> str:
    return name.replace("_", " ")
