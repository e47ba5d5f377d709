"""Batch normalization folded into the convolutions before it: fewer passes over memory.

In evaluation it is a factor and an offset for each channel, and a convolution can have those in its
own weights (Jacob et al. 2018, "Quantization and Training of Neural Networks for Efficient
Integer-Arithmetic-Only Inference", section 3.2).
"""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from zoo.model import GenreModel

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d)
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)
TOLERANCE = 1e-3  # of the logits' largest: what rounding may change


@torch.no_grad()
def folded(model: GenreModel) -> GenreModel:
    """Return a model in evaluation mode in which convolutions do the work of the batch norms that
    take their outputs: a copy, or the model itself where there are none, or where somebody else
    takes those outputs as well, so that another model would come of it."""
    x_BT = torch.randn(2, model.min_samples, generator=torch.Generator().manual_seed(0)) / 10
    copied = copy.deepcopy(model)
    with _followed(copied) as norms:
        expected_BK = copied(x_BT)
    if not norms:
        return model
    for norm, convolution in norms.items():
        _replace(copied, convolution, fuse_conv_bn_eval(convolution, norm))
        _replace(copied, norm, nn.Identity())
    off = (copied(x_BT) - expected_BK).abs().max()
    return copied if off <= TOLERANCE * expected_BK.abs().max() else model


@contextmanager
def _followed(model: nn.Module) -> Iterator[dict[Any, Any]]:
    """Note, while a model is run, which batch norm takes what which convolution gives."""
    outputs: list[tuple[Tensor, nn.Module]] = []
    norms: dict[Any, Any] = {}

    def given(module: nn.Module, _: Any, output: Tensor) -> None:
        outputs.append((output, module))

    def taken(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        norms.update((module, source) for output, source in outputs if output is inputs[0])

    hooks = [m.register_forward_hook(given) for m in model.modules() if type(m) in CONVOLUTIONS]
    hooks += [m.register_forward_pre_hook(taken) for m in model.modules() if type(m) in NORMS]
    try:
        yield norms
    finally:
        for hook in hooks:
            hook.remove()


def _replace(model: nn.Module, old: nn.Module, new: nn.Module) -> None:
    for parent in model.modules():
        for name, child in parent.named_children():
            if child is old:
                setattr(parent, name, new)
