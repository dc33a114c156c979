"""What the package offers: each name listed, resolved, documented and typed."""

from __future__ import annotations

import importlib
import inspect
import re
from pathlib import Path

import pytest

import lenet_digits


def test_all_lists_the_lazily_resolved_names_in_order() -> None:
    assert lenet_digits.__all__ == sorted([*lenet_digits._MODULE_OF, "__version__"])


@pytest.mark.parametrize("name", lenet_digits._MODULE_OF)
def test_a_public_name_comes_from_its_module_and_is_documented(name: str) -> None:
    value = getattr(lenet_digits, name)
    module = importlib.import_module(f"lenet_digits.{lenet_digits._MODULE_OF[name]}")
    assert value is getattr(module, name)
    assert value.__module__ == module.__name__
    own = vars(value).get("__doc__") if inspect.isclass(value) else value.__doc__
    assert own
    assert not own.startswith(f"{name}(")  # what a dataclass writes where nobody did


@pytest.mark.parametrize("name", [name for name in lenet_digits._MODULE_OF if name.islower()])
def test_a_public_function_annotates_everything_and_names_its_options(name: str) -> None:
    signature = inspect.signature(getattr(lenet_digits, name))
    assert signature.return_annotation is not inspect.Signature.empty
    for index, parameter in enumerate(signature.parameters.values()):
        assert parameter.annotation is not inspect.Parameter.empty
        assert parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
        if parameter.default is not inspect.Parameter.empty and index:
            assert parameter.kind is parameter.KEYWORD_ONLY, parameter.name


def test_the_names_for_type_checkers_are_the_names_for_everyone() -> None:
    source = inspect.getsource(lenet_digits)
    block = source.partition("if TYPE_CHECKING:")[2].partition("__version__")[0]
    names = re.findall(r"from lenet_digits\.(\S+) import (\w+) as (\w+)", block)
    assert {name: module for module, name, _ in names} == lenet_digits._MODULE_OF
    assert all(name == public for _, name, public in names)


def test_dir_lists_what_there_is() -> None:
    assert dir(lenet_digits) == lenet_digits.__all__


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'Predicter'"):
        lenet_digits.Predicter  # noqa: B018


def test_star_import_brings_exactly_the_public_names() -> None:
    scope: dict[str, object] = {}
    exec("from lenet_digits import *", scope)
    assert set(lenet_digits.__all__) == set(scope) - {"__builtins__"}


def test_the_package_says_that_it_is_typed() -> None:
    assert (Path(lenet_digits.__file__).parent / "py.typed").is_file()


def test_the_version_is_stated_once_and_well_formed() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+([ab.]\w+)?", lenet_digits.__version__)


def test_our_errors_are_kinds_of_builtin_errors() -> None:
    assert issubclass(lenet_digits.NoInkError, ValueError)
    assert issubclass(lenet_digits.UnreadableImageError, ValueError)
    assert issubclass(lenet_digits.WeightsError, ValueError)
    assert issubclass(lenet_digits.DatasetNotFoundError, FileNotFoundError)
    assert issubclass(lenet_digits.TrainingError, RuntimeError)
