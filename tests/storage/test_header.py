"""The header of a safetensors file is the same in every process and says what weights learned."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import nn

from lenet_digits import LeNet5, load_model, predict, save_weights
from lenet_digits.reading.prediction import shipped_network
from lenet_digits.storage.header import metadata_of, sees_nondigits, with_metadata

ROOT = Path(__file__).parents[2]
SEVEN = ROOT / "examples" / "7-photo.jpg"


@pytest.fixture
def model() -> LeNet5:
    """A network that learned what is not a digit."""
    torch.manual_seed(0)
    model = LeNet5().eval()
    model.sees_nondigits = True
    return model


SAVE = """
import sys, torch
from lenet_digits import LeNet5, save_weights
torch.manual_seed(0)
model = LeNet5()
model.sees_nondigits = True
print(save_weights(model, sys.argv[1]))
"""


def test_two_processes_write_the_same_file(tmp_path: Path) -> None:
    command = [sys.executable, "-c", SAVE, str(tmp_path / "m.safetensors")]
    hashes = {subprocess.check_output(command, text=True) for _ in range(2)}
    assert len(hashes) == 1


def test_the_writer_of_safetensors_alone_would_not(model: LeNet5) -> None:
    metadata = {str(number): "" for number in range(20)}
    files = {save(model.state_dict(), metadata) for _ in range(5)}
    assert len(files) > 1
    assert len({with_metadata(file, metadata) for file in files}) == 1


def test_others_read_the_file_as_they_would_any(model: LeNet5, tmp_path: Path) -> None:
    save_weights(model, tmp_path / "m.safetensors")
    with safe_open(tmp_path / "m.safetensors", framework="pt") as file:
        assert file.metadata() == {"format": "pt", "nondigits": "seen"}
        for name, tensor in model.state_dict().items():
            assert torch.equal(file.get_tensor(name), tensor)


@pytest.mark.parametrize("seen", [True, False])
def test_what_weights_learned_travels_with_them(model: LeNet5, tmp_path: Path, seen: bool) -> None:
    model.sees_nondigits = seen
    model.save_pretrained(tmp_path)
    torch.save(model, tmp_path / "whole.pt")
    copies = [
        load_model(tmp_path / "model.safetensors"),
        LeNet5.from_pretrained(tmp_path),
        copy.deepcopy(model),
        pickle.loads(pickle.dumps(model)),
        torch.load(tmp_path / "whole.pt", weights_only=False),
        model.double(),
    ]
    assert [each.sees_nondigits for each in copies] == [seen] * len(copies)
    content = (tmp_path / "model.safetensors").read_bytes()
    assert sees_nondigits(content) is seen
    assert metadata_of(content)["format"] == "pt"


def test_where_nobody_says_so_it_is_unknown(model: LeNet5, tmp_path: Path) -> None:
    state = model.state_dict()
    save_weights(model, tmp_path / "m.pth")
    torch.save(state, tmp_path / "state.pth")
    (tmp_path / "bare.safetensors").write_bytes(save(state))
    for name in ("m.pth", "state.pth", "bare.safetensors"):
        loaded = load_model(tmp_path / name)
        assert not loaded.sees_nondigits
        answer = predict(SEVEN, model=loaded)
        assert answer.is_digit is answer.outlier_score is None


def test_other_tensors_clear_what_was_known(model: LeNet5) -> None:
    state = LeNet5().state_dict()
    assert model.sees_nondigits
    model.load_state_dict(state)
    assert not model.sees_nondigits
    model.sees_nondigits = True
    nn.Sequential(model).load_state_dict({f"0.{name}": value for name, value in state.items()})
    assert not model.sees_nondigits


@pytest.mark.parametrize("layer", ["c1", "c3", "c5", "f6", "output"])
@pytest.mark.parametrize("copied", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_another_layer_clears_what_was_known(
    model: LeNet5, layer: str, copied: Callable[[LeNet5], LeNet5]
) -> None:
    model, replaced = copied(model), copied(model)
    assert model.sees_nondigits
    assert replaced.sees_nondigits
    other = LeNet5().get_submodule(layer)
    model.get_submodule(layer).load_state_dict(other.state_dict())
    setattr(replaced, layer, other)
    assert not model.sees_nondigits
    assert not replaced.sees_nondigits


def test_the_shipped_weights_learned_what_is_not_a_digit() -> None:
    assert load_model().sees_nondigits
    assert shipped_network().sees_nondigits
    assert predict(SEVEN).is_digit is True
    assert predict(SEVEN, model=load_model()).is_digit is True
