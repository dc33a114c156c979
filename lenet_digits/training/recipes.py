"""The recipes: how to train LeNet-5, in numbers."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Recipe:
    """How to train: what a run needs besides digits and a seed."""

    epochs: int = 50
    batch_size: int = 100
    learning_rate: float = 1e-3  # the highest, where it changes
    weight_decay: float = 0.0
    muon: float = 0.0  # Muon's rate for all weight matrices but OUTPUT's, as a multiple of AdamW's
    warmup: float = 0.0  # share of all steps in which the rate climbs linearly from 0
    cosine: bool = False  # whether the rate then falls to 0 along a cosine; else it stays
    ema: float = 0.0  # decay per step of the weights' moving average; 0: none
    distortion: float = 0.0  # strength of `augmentation.distort`
    polish: float = 0.0  # share of the epochs, the last ones, with half the distortion
    drawn: float = 0.0  # drawn digits shown per epoch, as a share of MNIST's
    nondigits: float = 0.0  # drawn non-digits shown per epoch, as a share of MNIST's
    pieces: float = 0.0  # pieces of numbers that are not one digit, likewise
    slivers: float = 0.0  # digits with slivers of their neighbours, likewise
    teachers: int = 0  # larger networks, trained first, whose answers are learned; 0: the labels
    teacher_epochs: int = 16  # of each
    softening: float = 1.0  # what the teachers' logits are divided by before they teach
    temperature: float = 1.0  # what the final logits are divided by, fitted on held-out digits
    evidence: float = 0.0  # added to them then, so that a log-sum-exp under 0 means "no digit"


RECIPES = {
    "original": Recipe(),
    "quick": Recipe(
        epochs=2, batch_size=128, learning_rate=4e-3, muon=5.0, warmup=0.1, cosine=True
    ),
    "best": Recipe(
        epochs=40,
        batch_size=512,
        learning_rate=6e-3,
        weight_decay=1e-2,
        muon=2.5,
        warmup=0.05,
        cosine=True,
        ema=0.999,
        distortion=1.0,
        polish=0.1,
        drawn=0.3,
        nondigits=0.5,
        pieces=0.15,
        slivers=0.1,
        teachers=3,
        teacher_epochs=6,
        softening=4.0,
        temperature=0.29,
    ),
}


def teacher_recipe(recipe: Recipe) -> Recipe:
    """How the teachers of a recipe are trained: on what it shows, with their own schedule."""
    return replace(
        recipe,
        epochs=recipe.teacher_epochs,
        batch_size=128,
        learning_rate=4e-3,
        weight_decay=1e-2,
        muon=2.5,
        warmup=0.05,
        cosine=True,
        ema=0.999,
        polish=0.1,
        teachers=0,
        softening=1.0,
        temperature=1.0,
        evidence=0.0,
    )


def find_recipe(recipe: str | Recipe, epochs: int | None = None) -> Recipe:
    """The recipe of that name, or the recipe given, with its number of epochs changed if asked.

    Raises ValueError where there is no such recipe or a field is out of range; it names the field.
    """
    if isinstance(recipe, str):
        if recipe not in RECIPES:
            raise ValueError(f"There is no recipe {recipe!r}; there are {', '.join(RECIPES)}.")
        recipe = RECIPES[recipe]
    recipe = recipe if epochs is None else replace(recipe, epochs=epochs)
    for name, lies_in_range, accepted in (
        ("epochs", recipe.epochs >= 1, "1 or more"),
        ("batch_size", recipe.batch_size >= 1, "1 or more"),
        ("learning_rate", recipe.learning_rate > 0, "above 0"),
        ("weight_decay", recipe.weight_decay >= 0, "0 or more"),
        ("muon", recipe.muon >= 0, "0 or more"),
        ("warmup", 0 <= recipe.warmup < 1, "from 0 to below 1"),
        ("ema", 0 <= recipe.ema < 1, "from 0 to below 1"),
        ("distortion", recipe.distortion >= 0, "0 or more"),
        ("polish", 0 <= recipe.polish <= 1, "from 0 to 1"),
        ("drawn", recipe.drawn >= 0, "0 or more"),
        ("nondigits", recipe.nondigits >= 0, "0 or more"),
        ("pieces", recipe.pieces >= 0, "0 or more"),
        ("slivers", recipe.slivers >= 0, "0 or more"),
        ("teachers", recipe.teachers >= 0, "0 or more"),
        ("teacher_epochs", recipe.teacher_epochs >= 1, "1 or more"),
        ("softening", recipe.softening > 0, "above 0"),
        ("temperature", recipe.temperature > 0, "above 0"),
    ):
        if not lies_in_range:
            raise ValueError(f"{name} is {getattr(recipe, name)}; it must be {accepted}.")
    return recipe
