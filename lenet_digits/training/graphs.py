"""Records a training step on a GPU once, as a CUDA graph, and then replays it.

A step of LeNet-5 launches some 250 small kernels, and launching them one by one takes longer than
they do.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

WARM_UP = 3  # steps taken before one is recorded: they make the optimisers' state


class ReplayedStep:
    """A step as a function of a batch of one size; it moves the weights and gives the cost."""

    def __init__(self, step: Callable[[Tensor, Tensor], Tensor | float]) -> None:
        self.step = step
        self.taken = 0
        self.graph: torch.cuda.CUDAGraph | None = None

    def __call__(self, canvases: Tensor, targets: Tensor) -> Tensor | float:
        """Takes the step; canvases and targets are on the GPU, of the same shapes every time."""
        if self.graph is None and self.taken < WARM_UP:
            self.taken += 1
            apart = torch.cuda.Stream()  # type: ignore[no-untyped-call]
            here = torch.cuda.current_stream()
            apart.wait_stream(here)
            with torch.cuda.stream(apart):
                cost = self.step(canvases, targets)
            here.wait_stream(apart)
            return cost
        if self.graph is None:
            self.canvases, self.targets = canvases.clone(), targets.clone()
            self.graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self.graph):
                self.cost = self.step(self.canvases, self.targets)
        self.canvases.copy_(canvases)
        self.targets.copy_(targets)
        self.graph.replay()
        return self.cost.clone() if isinstance(self.cost, Tensor) else self.cost
