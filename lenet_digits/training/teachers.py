"""Larger networks that teach LeNet-5: it learns from their answers instead of from labels.

Distillation: Hinton, Vinyals and Dean, "Distilling the Knowledge in a Neural Network" (2015).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lenet_digits.model import NUM_CLASSES

WIDTHS = (24, 48, 48, 96, 96)  # maps of the five convolutions
GROUPS = 8  # of maps that are normalised together: Wu and He, "Group Normalization" (2018)
PART = 512  # canvases at a time, where no gradients are wanted: their maps take 100 MB


class Teacher(nn.Module):
    """Five convolutions with group normalisation and ReLU: 165,000 weights, 13 M products a canvas.

    It takes canvases and gives logits as `LeNet5` does. Batch normalisation will not do here: how
    a digit is read would depend on how many non-digits, some of them all ink, stand beside it.
    """

    def __init__(self) -> None:
        super().__init__()
        blocks: list[nn.Module] = []
        inputs, size = 1, 5
        for place, maps in enumerate(WIDTHS):
            blocks += [
                nn.Conv2d(inputs, maps, size, padding=size // 2, bias=False),
                nn.GroupNorm(GROUPS, maps),
                nn.ReLU(),
            ]
            if place % 2 == 0:
                blocks.append(nn.MaxPool2d(2))  # 14, 7 and 3 pixels a side are left
            inputs, size = maps, 3
        self.maps = nn.Sequential(*blocks)
        self.output = nn.Linear(WIDTHS[-1] * 3 * 3, NUM_CLASSES)

    def forward(self, canvases: Tensor) -> Tensor:
        """Logits: (N, 1, 28, 28) float32 in [0, 1] to (N, 10) float32."""
        if not self.training and len(canvases) > PART:
            return torch.cat([self(part) for part in torch.split(canvases, PART)])
        logits: Tensor = self.output(self.maps(canvases).flatten(1))
        return logits

    @torch.inference_mode()
    def answers(self, canvases: Tensor, *, softening: float) -> Tensor:
        """Probabilities of the ten digits and of "not a digit", (N, 11), to learn from.

        All logits, that of "not a digit" is 0, are divided by `softening` first: the larger it is,
        the more is told of what else a canvas resembles.
        """
        logits = self.eval()(canvases)
        return (F.pad(logits, (0, 1)) / softening).softmax(dim=1)


def initial_teacher(seed: int) -> Teacher:
    """A teacher with random weights; only the seed decides them."""
    generator = torch.Generator().manual_seed(seed)
    with torch.device("meta"):  # draws no numbers
        teacher = Teacher()
    teacher.to_empty(device="cpu")
    for module in teacher.modules():
        if isinstance(module, nn.GroupNorm):
            module.reset_parameters()
        elif isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu", generator=generator)
    nn.init.zeros_(teacher.output.bias)
    return teacher
