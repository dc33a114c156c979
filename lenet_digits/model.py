"""LeNet-5 in PyTorch, which turns canvases into logits; saves and loads its weights.

Names follow LeCun, Bottou, Bengio and Haffner, "Gradient-Based Learning Applied to Document
Recognition" (1998), section II.B: C1, C3, C5 are convolutions, F6 and OUTPUT fully connected.
Where this network departs from the paper: every S2 map feeds every C3 map (the paper's table I
leaves some out), S2 and S4 are plain averages without trainable gain and bias, tanh is unscaled
(the paper's is 1.7159 tanh(2x/3)), and OUTPUT is linear (the paper's is Euclidean RBF units).
"""

from __future__ import annotations

import hashlib
import io
import json
import reprlib
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load as load_safetensors
from safetensors.torch import save as save_safetensors
from torch import Tensor, nn

from lenet_digits.pth import parse_pth
from lenet_digits.reading.canvas import to_canvas
from lenet_digits.reading.framing import IMAGE_SIZE
from lenet_digits.reading.network import Floats
from lenet_digits.reading.pictures import ImageInput
from lenet_digits.storage.files import WeightsError, exists, read_weights, write_atomically
from lenet_digits.storage.header import NONDIGITS, sees_nondigits, with_metadata
from lenet_digits.storage.hub import TIMEOUT, HubError, fetch, split_source, upload
from lenet_digits.storage.shipped import WEIGHTS_FILE, shipped_weights

NUM_CLASSES = 10  # digits 0 to 9
LAYERS = ("c1", "s2", "c3", "s4", "c5", "f6", "output")  # in the order of the forward pass
NUM_FEATURES = 84  # units of F6
FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)  # types of stored weights
METADATA = {"format": "pt"}  # of a safetensors file, as the Hub's own libraries write it

CONFIG_FILE = "config.json"
CONFIG: dict[
    str, Any
] = {  # the file that the Hub expects beside weights; nothing here can be configured
    "architectures": ["LeNet5"],
    "model_type": "lenet-5",
    "image_size": IMAGE_SIZE,
    "num_channels": 1,
    "num_labels": NUM_CLASSES,
}
CARD = """---
library_name: lenet-digits
pipeline_tag: image-classification
tags: [lenet, mnist, handwriting, safetensors]
datasets: [ylecun/mnist]
---

# LeNet-5 for handwritten digits

Weights for [lenet-digits](https://pypi.org/project/lenet-digits/):

```python
from lenet_digits import LeNet5, predict

print(predict("digit.png", model=LeNet5.from_pretrained("REPO")))
```
"""


class TanhConv(nn.Conv2d):
    """A convolution and its tanh."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, O, H', W'), in (-1, 1)."""
        return torch.tanh(self._conv_forward(x, self.weight, self.bias))  # TorchScript has no super


class TanhFullConv(nn.Conv2d):
    """A convolution with kernels as large as its input, and its tanh.

    So it is a full connection, and a matrix product, which trains a quarter faster.
    """

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, K, K) with kernels of K x K to (N, O), in (-1, 1)."""
        return torch.tanh(F.linear(x.flatten(1), self.weight.flatten(1), self.bias))


class TanhLinear(nn.Linear):
    """A full connection and its tanh."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, I) to (N, O), in (-1, 1)."""
        return torch.tanh(F.linear(x, self.weight, self.bias))


class LeNet5(nn.Module):
    """The network: 61,706 parameters (C1 156, C3 2,416, C5 48,120, F6 10,164, OUTPUT 850).

    Its layers are modules named as in the paper, called in order, each with its tanh: a forward
    hook on ``c3`` sees what the paper calls C3.

    Attributes:
        sees_nondigits: whether the weights also learned what is not a digit. If they did not,
            they cannot tell whether a picture is a digit, and `Prediction.is_digit` is None.
            Safetensors files and copies keep the attribute. It becomes False when
            `load_state_dict` loads the network or one of its layers, and when a layer is replaced.
            Set it yourself after you change or train the weights.
    """

    __jit_unused_properties__ = ("sees_nondigits",)  # for TorchScript

    def __init__(self) -> None:
        super().__init__()
        self.c1 = TanhConv(1, 6, kernel_size=5, padding=2)  # (N, 6, 28, 28)
        self.s2 = nn.AvgPool2d(2)  # (N, 6, 14, 14)
        self.c3 = TanhConv(6, 16, kernel_size=5)  # (N, 16, 10, 10)
        self.s4 = nn.AvgPool2d(2)  # (N, 16, 5, 5)
        self.c5 = TanhFullConv(16, 120, kernel_size=5)  # (N, 120)
        self.f6 = TanhLinear(120, NUM_FEATURES)  # (N, 84)
        self.output = nn.Linear(NUM_FEATURES, NUM_CLASSES)  # (N, 10)
        for layer in self.children():
            layer.register_load_state_dict_post_hook(_forget_nondigits)  # type: ignore[no-untyped-call]

    @property
    def sees_nondigits(self) -> bool:
        """Whether the weights of all layers learned what is not a digit; see the class."""
        return all(getattr(layer, "sees_nondigits", False) for layer in self.children())

    @sees_nondigits.setter
    def sees_nondigits(self, value: bool) -> None:
        for layer in self.children():
            vars(layer)["sees_nondigits"] = value

    def forward(self, canvases: Tensor) -> Tensor:
        """Canvases (N, 1, 28, 28) float32 in [0, 1], ink 1, to logits (N, 10) float32.

        There is no softmax here: cross-entropy expects logits. Of probabilities, which are 1 at
        most, it could not make the loss lower than 1.461.
        """
        # Channels last: 1.7 to 3.4 times faster on a CPU than the default memory format.
        x = canvases.contiguous(memory_format=torch.channels_last)
        x = self.s2(self.c1(x))
        x = self.s4(self.c3(x))
        logits: Tensor = self.output(self.f6(self.c5(x)))
        return logits

    def logits(self, canvases: NDArray[Any]) -> Floats:
        """The logits of canvases as arrays: (N, 28, 28) in [0, 1] to (N, 10) float32.

        It computes no gradients. Raises ValueError if the model is on the device ``meta``.
        """
        device, dtype = input_type(self)
        with torch.inference_mode():
            logits = self(torch.from_numpy(canvases)[:, None].to(device, dtype))
        return np.asarray(logits.float().cpu())

    def activations(self, canvas: NDArray[Any]) -> dict[str, Floats]:
        """The output of every layer for a canvas (28, 28), float32, by the layer's name.

        The shapes are c1 (6, 28, 28), s2 (6, 14, 14), c3 (16, 10, 10), s4 (16, 5, 5), c5 (120,),
        f6 (84,) and output (10,).
        """
        seen: dict[str, Floats] = {}
        here = threading.get_ident()

        def keep(name: str) -> Callable[[nn.Module, Any, Tensor], None]:
            def hook(_: nn.Module, __: Any, out: Tensor) -> None:
                if threading.get_ident() == here:  # another thread may read other canvases
                    seen[name] = out[0].float().numpy(force=True).copy()

            return hook

        layers = {name: getattr(self, name) for name in LAYERS}
        hooks = [layer.register_forward_hook(keep(name)) for name, layer in layers.items()]
        try:
            self.logits(canvas[None])
        finally:
            for hook in hooks:
                hook.remove()
        return seen

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | PathLike[str],
        *,
        revision: str | None = None,
        token: str | bool | None = None,
        cache_dir: str | Path | None = None,
        local_files_only: bool = False,
        timeout: float = TIMEOUT,
    ) -> LeNet5:
        """Load the network from a repository on the Hub, in eval mode.

        The file must hold LeNet-5's tensors and no others, all finite and of the right shape. Only
        safetensors are read, never a pickle.

        Args:
            pretrained_model_name_or_path: "owner/name" or "owner/name@revision", or a folder that
                `save_pretrained` wrote.
            revision, token, cache_dir, local_files_only, timeout: see
                `lenet_digits.storage.hub.fetch`.

        Raises:
            HubError: the Hub did not send the file.
            WeightsError: the file does not hold LeNet-5's weights; the message says what is wrong.
        """
        origin = str(pretrained_model_name_or_path)
        if exists(origin):
            path = Path(origin, WEIGHTS_FILE)
            origin = str(path)
        else:
            repo, at = split_source(origin) or (None, None)
            if repo is None:
                raise HubError(f"{origin} is neither a folder nor a repository (owner/name).")
            path = fetch(
                repo,
                revision=revision or at,
                token=token,
                cache_dir=cache_dir,
                local_files_only=local_files_only,
                timeout=timeout,
            )
            origin = f"{WEIGHTS_FILE} of {origin}"
        content = read_weights(path)
        return with_weights(
            parse_weights(content, origin), origin, nondigits=sees_nondigits(content)
        )

    def save_pretrained(self, save_directory: str | PathLike[str]) -> None:
        """Write ``model.safetensors`` and ``config.json`` into a folder, which is made if need be.

        Each file appears whole or not at all. Raises OSError if a file cannot be written.
        """
        folder = Path(save_directory)
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(folder / WEIGHTS_FILE, safetensors_of(self))
        write_atomically(folder / CONFIG_FILE, (json.dumps(CONFIG, indent=2) + "\n").encode())

    def push_to_hub(
        self,
        repo_id: str,
        *,
        commit_message: str = "Weights of LeNet-5",
        private: bool | None = None,
        token: str | bool | None = None,
    ) -> str:
        """Upload the weights with a short model card to the Hub; returns the commit's hash.

        To upload the shipped weights with their figures, use ``lenet-digits push`` instead.

        Raises:
            HubError: the Hub cannot be reached or refuses; the message says why.
        """
        with tempfile.TemporaryDirectory() as folder:
            self.save_pretrained(folder)
            Path(folder, "README.md").write_text(CARD.replace("REPO", repo_id), encoding="utf-8")
            return upload(folder, repo_id, private=private, token=token, message=commit_message)


def _forget_nondigits(layer: nn.Module, _: Any) -> None:
    vars(layer)["sees_nondigits"] = False  # nobody knows what the new weights learned


def preprocess(image: ImageInput, *, method: str = "mnist") -> Tensor:
    """Turn a picture into the network's input: (1, 1, 28, 28) float32 in [0, 1], ink 1 on 0.

    Arguments and errors are those of `canvas_steps`.
    """
    return torch.from_numpy(to_canvas(image, method=method))[None, None]


def save_weights(model: LeNet5, path: str | PathLike[str]) -> str:
    """Write the weights as safetensors, or as a state dict where ``path`` ends in ``.pth``.

    Returns the SHA-256 of the file, in hexadecimal. The same weights give the same safetensors
    file. Only a safetensors file keeps `LeNet5.sees_nondigits`.

    Raises:
        WeightsError: the weights are not LeNet-5's or not all finite, so that nobody could load
            the file. For example, a layer was pruned, parametrized or replaced.
        OSError: the file cannot be written.
    """
    if Path(path).suffix in (".pth", ".pt"):
        buffer = io.BytesIO()
        torch.save(tensors_of(model), buffer)
        content = buffer.getvalue()
    else:
        content = safetensors_of(model)
    write_atomically(path, content)
    return hashlib.sha256(content).hexdigest()


def load_model(
    source: str | PathLike[str] | None = None,
    *,
    device: str | torch.device | None = None,
    timeout: float = TIMEOUT,
) -> LeNet5:
    """Load LeNet-5 with weights, ready to predict (eval mode, float32).

    Args:
        source: None for the weights shipped with the package, checked by SHA-256. Or the path of
            a safetensors file, or of a plain state dict (``.pth``) as ``torch.save`` writes it;
            there, layers may have other names if their shapes are LeNet-5's. Or "owner/name" or
            "owner/name@revision" on the Hugging Face Hub, where only a safetensors file with
            exactly LeNet-5's names and shapes is accepted; see `LeNet5.from_pretrained`.
        device: where to put the model; the CPU by default.
        timeout: seconds after which to stop waiting for the Hub.

    Raises:
        WeightsError: the file does not hold LeNet-5's weights; the message says why.
        FileNotFoundError: there is no such file.
        HubError: the Hub did not send it.
        ValueError: torch cannot use the device here.
    """
    place = usable_device(device)
    on_hub = split_source(source)
    if on_hub is not None:
        repo, revision = on_hub
        model = LeNet5.from_pretrained(repo, revision=revision, timeout=timeout)
        return model.to(place)
    origin = f"The shipped {WEIGHTS_FILE}" if source is None else str(source)
    content = shipped_weights() if source is None else read_weights(Path(source))
    if source is not None and Path(source).suffix in (".pth", ".pt", ".bin"):
        model = with_weights(_renamed(parse_pth(content, origin)), origin)
    else:
        tensors = parse_weights(content, origin)
        nondigits = sees_nondigits(content)
        model = with_weights(_renamed(tensors), origin, nondigits=nondigits)
    return model.to(place)


def usable_device(name: str | torch.device | None) -> torch.device:
    """The device of that name, the CPU for None. Raises ValueError if torch cannot use it here."""
    try:
        device = torch.device("cpu" if name is None else name)
        torch.empty(0, device=device)
    except (AssertionError, NotImplementedError, RuntimeError, TypeError) as error:
        reason = str(error).strip().split("\n")[0]
        raise ValueError(f"The device {str(name)!r} cannot be used here: {reason}") from error
    return device


def input_type(model: nn.Module) -> tuple[torch.device, torch.dtype]:
    """The device and the type of numbers that a model expects: those of its first weights.

    Raises ValueError if the model is on the device ``meta``, which holds no numbers.
    """
    for weight in model.parameters():
        if weight.is_meta:
            raise ValueError("The model is on the device meta and holds no numbers: load weights.")
        if weight.is_floating_point():
            return weight.device, weight.dtype
    return torch.device("cpu"), torch.float32


def tensors_of(model: LeNet5) -> dict[str, Tensor]:
    """The weights by name, on the CPU and contiguous, as files need them.

    Raises WeightsError if `load_model` would refuse them.
    """
    state = model.state_dict()
    _check(state, "The model cannot be saved: it")
    return {name: value.detach().cpu().contiguous() for name, value in state.items()}


def safetensors_of(model: LeNet5) -> bytes:
    """The weights as the content of a safetensors file."""
    metadata = METADATA | NONDIGITS if getattr(model, "sees_nondigits", False) else METADATA
    return with_metadata(save_safetensors(tensors_of(model)), metadata)


def parse_weights(content: bytes, origin: str) -> dict[str, Tensor]:
    """The tensors in a safetensors file. Raises WeightsError, with the file's origin."""
    try:
        return load_safetensors(content)
    except (SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise WeightsError(f"{origin} is not a safetensors file, or is damaged.") from error


def with_weights(tensors: Mapping[str, Tensor], origin: str, *, nondigits: bool = False) -> LeNet5:
    """LeNet-5 with these weights as float32 on the CPU, in eval mode.

    Raises WeightsError, with the origin, if they are not exactly LeNet-5's tensors, all finite.
    """
    _check(tensors, origin)
    model = empty_network()
    model.load_state_dict(
        {name: _float32(tensor).clone() for name, tensor in tensors.items()}, assign=True
    )
    model.sees_nondigits = nondigits
    return model.eval()


def empty_network() -> LeNet5:
    """LeNet-5 on the device ``meta``. Making it draws nothing from the process's generator."""
    with torch.device("meta"):
        return LeNet5()


def _check(tensors: Mapping[str, Tensor], origin: str) -> None:
    """Raises WeightsError, with the origin, if the tensors are not exactly LeNet-5's."""
    faults = list(_faults(tensors, empty_network().state_dict()))
    if faults:
        more = f", and {len(faults) - 4} more faults" if len(faults) > 4 else ""
        raise WeightsError(f"{origin} {'; '.join(faults[:4])}{more}.")


def _renamed(found: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """The tensors under LeNet-5's names, if they have LeNet-5's shapes under other names."""
    wanted = empty_network().state_dict()
    if set(found) == set(wanted) or len(found) != len(wanted):
        return found
    # No two of LeNet-5's tensors have the same shape, so a shape tells which one it is.
    names = {tensor.shape: name for name, tensor in wanted.items()}
    return {names.get(tensor.shape, name): tensor for name, tensor in found.items()}


def _faults(found: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> Iterator[str]:
    for name, tensor in wanted.items():
        if name not in found:
            yield f"lacks LeNet-5's tensor {name!r} of shape {tuple(tensor.shape)}"
        elif found[name].shape != tensor.shape:
            shapes = f"{tuple(found[name].shape)}; LeNet-5's has {tuple(tensor.shape)}"
            yield f"has a tensor {name!r} of shape {shapes}"
        elif (
            found[name].dtype not in FLOATS
            or found[name].layout != torch.strided
            or found[name].is_meta
            or not bool(_float32(found[name]).isfinite().all())
        ):
            yield f"has a tensor {name!r} that is not all finite float32 numbers"
    for name in found:
        if name not in wanted:
            yield f"has a tensor {reprlib.repr(name)} that LeNet-5 does not have"


def _float32(tensor: Tensor) -> Tensor:
    return tensor.detach().to(torch.float32).contiguous()
