"""What transformers with positions for a fixed number of frames share: clips of any length."""

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional


def pad(x_BCFN: Tensor, bins: int, frames: int) -> Tensor:
    """Append zeros to what has fewer bins or frames than that."""
    missing = bins - x_BCFN.shape[2], frames - x_BCFN.shape[3]
    return functional.pad(x_BCFN, (0, max(0, missing[1]), 0, max(0, missing[0])))


def mean_over_windows(model: Callable[[Tensor], Tensor], x_BCFN: Tensor, frames: int) -> Tensor:
    """Return the mean `[B,D]` of the model's features over windows of so many frames: as few as
    cover the clip, evenly spaced, so that neighbours overlap."""
    excess = x_BCFN.shape[3] - frames
    if excess <= 0:
        return model(x_BCFN)
    number = math.ceil(x_BCFN.shape[3] / frames)
    starts = [excess * i // (number - 1) for i in range(number)]
    windows = torch.cat([x_BCFN[..., start : start + frames] for start in starts])
    return model(windows).unflatten(0, (number, -1)).mean(0)
