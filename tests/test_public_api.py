"""The public names: each one is listed, found on first use, documented and typed."""

from __future__ import annotations

import importlib
import inspect
import re
from pathlib import Path

import pytest

import lenet_digits

NAMES = lenet_digits._MODULE_OF


@pytest.mark.parametrize("name", NAMES)
def test_a_public_name_comes_from_its_module_and_is_documented(name: str) -> None:
    value = getattr(lenet_digits, name)
    module = importlib.import_module(f"lenet_digits.{NAMES[name]}")
    assert value is getattr(module, name)
    assert value.__module__ == module.__name__
    own = vars(value).get("__doc__") if inspect.isclass(value) else value.__doc__
    assert own
    assert not own.startswith(f"{name}(")  # what a dataclass writes where nobody did


@pytest.mark.parametrize("name", [name for name in NAMES if name.islower()])
def test_the_options_of_a_public_function_have_names_and_everything_has_a_type(name: str) -> None:
    signature = inspect.signature(getattr(lenet_digits, name))
    assert signature.return_annotation is not inspect.Signature.empty
    for index, parameter in enumerate(signature.parameters.values()):
        assert parameter.annotation is not inspect.Parameter.empty
        assert parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
        if parameter.default is not inspect.Parameter.empty and index:
            assert parameter.kind is parameter.KEYWORD_ONLY, parameter.name


def test_type_checkers_see_the_same_names() -> None:
    source = inspect.getsource(lenet_digits)
    block = source.partition("if TYPE_CHECKING:")[2].partition("__version__")[0]
    names = re.findall(r"from lenet_digits\.(\S+) import (\w+) as \2$", block, re.MULTILINE)
    assert {name: module for module, name in names} == NAMES
    assert (Path(lenet_digits.__file__).parent / "py.typed").is_file()


def test_dir_and_star_import_give_exactly_the_public_names() -> None:
    scope: dict[str, object] = {}
    exec("from lenet_digits import *", scope)
    assert set(scope) - {"__builtins__"} == {*NAMES, "__version__"}
    assert dir(lenet_digits) == lenet_digits.__all__ == sorted({*NAMES, "__version__"})


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'Predicter'"):
        lenet_digits.Predicter  # noqa: B018


def test_our_errors_are_kinds_of_builtin_errors() -> None:
    assert issubclass(lenet_digits.NoInkError, ValueError)
    assert issubclass(lenet_digits.UnreadableImageError, ValueError)
    assert issubclass(lenet_digits.WeightsError, ValueError)
    assert issubclass(lenet_digits.DatasetNotFoundError, FileNotFoundError)
    assert issubclass(lenet_digits.TrainingError, RuntimeError)
