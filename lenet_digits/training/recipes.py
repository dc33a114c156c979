"""Holds the recipes: the settings of a training run."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace


@dataclass(frozen=True)
class Recipe:
    """The settings of a training run, besides its digits and its seed.

    The defaults are the original recipe. Raises ValueError, with the field's name, if a field is
    out of range.

    Attributes:
        epochs: passes over the training digits, 1 or more.
        batch_size: digits a step, 1 or more.
        learning_rate: of AdamW, above 0; the highest one, if it changes.
        weight_decay: decoupled, as AdamW's; 0 or more.
        muon: Muon's learning rate for all weight matrices but OUTPUT's, as a multiple of AdamW's.
            With 0, AdamW trains all weights.
        warmup: share of all steps in which the rate climbs linearly from 0; below 1.
        cosine: whether the rate then falls to 0 along a cosine. If not, it stays.
        ema: decay of the weights' moving average at each step, below 1; 0 for no average.
        distortion: strength of `augmentation.distort`, 0 or more.
        polish: share of the epochs, the last ones, with half the distortion; from 0 to 1.
        drawn: drawn digits shown in an epoch, as a share of the training digits; 0 or more.
        nondigits: drawn non-digits shown in an epoch, as a share of the training digits; 0 or more.
        pieces: pieces of numbers that are not one digit, shown in an epoch; a share as above.
        slivers: digits with slivers of their neighbours, shown in an epoch; a share as above.
        temperature: divides the final logits, from 0.01 to 100; fitted on held-out digits.
        evidence: is then added to them, from -100 to 100, so that a log-sum-exp below 0 means "not
            a digit".
    """

    epochs: int = 50
    batch_size: int = 100
    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    muon: float = 0.0
    warmup: float = 0.0
    cosine: bool = False
    ema: float = 0.0
    distortion: float = 0.0
    polish: float = 0.0
    drawn: float = 0.0
    nondigits: float = 0.0
    pieces: float = 0.0
    slivers: float = 0.0
    temperature: float = 1.0
    evidence: float = 0.0

    @property
    def has_background(self) -> bool:
        """Whether there is an eleventh class: "not one digit"."""
        return self.nondigits > 0 or self.pieces > 0

    def __post_init__(self) -> None:
        for field in fields(self):
            _check_type(field.name, getattr(self, field.name), type(field.default))
        for name, lies_in_range, accepted in (
            ("epochs", self.epochs >= 1, "1 or more"),
            ("batch_size", self.batch_size >= 1, "1 or more"),
            ("learning_rate", self.learning_rate > 0, "above 0"),
            ("weight_decay", self.weight_decay >= 0, "0 or more"),
            ("muon", self.muon >= 0, "0 or more"),
            ("warmup", 0 <= self.warmup < 1, "from 0 to below 1"),
            ("ema", 0 <= self.ema < 1, "from 0 to below 1"),
            ("distortion", self.distortion >= 0, "0 or more"),
            ("polish", 0 <= self.polish <= 1, "from 0 to 1"),
            ("drawn", self.drawn >= 0, "0 or more"),
            ("nondigits", self.nondigits >= 0, "0 or more"),
            ("pieces", self.pieces >= 0, "0 or more"),
            ("slivers", self.slivers >= 0, "0 or more"),
            ("temperature", 0.01 <= self.temperature <= 100, "from 0.01 to 100"),
            ("evidence", -100 <= self.evidence <= 100, "from -100 to 100"),
        ):
            if not lies_in_range:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be {accepted}.")


def check_whole(name: str, value: object, least: int, most: int) -> None:
    """Raises ValueError, with the name, if a value is not a whole number in the range."""
    if type(value) is not int or not least <= value <= most:
        raise ValueError(f"{name} is {value!r}; it must be a whole number from {least} to {most}.")


def _check_type(name: str, value: object, wanted: type) -> None:
    if wanted is bool and type(value) is not bool:
        raise ValueError(f"{name} is {value!r}; it must be True or False.")
    if wanted is int and type(value) is not int:
        raise ValueError(f"{name} is {value!r}; it must be a whole number.")
    if wanted is float and (
        isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value)
    ):
        raise ValueError(f"{name} is {value!r}; it must be a finite number.")


RECIPES = {
    "original": Recipe(),
    "quick": Recipe(
        epochs=2, batch_size=128, learning_rate=4e-3, muon=5.0, warmup=0.1, cosine=True
    ),
    "best": Recipe(
        epochs=80,
        batch_size=128,
        learning_rate=4e-3,
        weight_decay=1e-2,
        muon=2.5,
        warmup=0.05,
        cosine=True,
        ema=0.999,
        distortion=1.0,
        polish=0.1,
        drawn=0.3,
        nondigits=0.5,
        pieces=0.2,
        slivers=0.15,
        evidence=-0.2,
    ),
}


def find_recipe(recipe: str | Recipe, epochs: int | None = None) -> Recipe:
    """The recipe of that name, or the recipe given, with another number of epochs if one is given.

    Raises ValueError if there is no such recipe or `epochs` is out of range.
    """
    if isinstance(recipe, str):
        if recipe not in RECIPES:
            raise ValueError(f"There is no recipe {recipe!r}; there are {', '.join(RECIPES)}.")
        recipe = RECIPES[recipe]
    if not isinstance(recipe, Recipe):
        raise ValueError(f"recipe is {recipe!r}; it must be a Recipe, or {' or '.join(RECIPES)}.")
    return recipe if epochs is None else replace(recipe, epochs=epochs)
