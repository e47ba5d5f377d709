"""What every back end is: a module from a front end's output to one vector a clip."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.fx.experimental.symbolic_shapes import statically_known_true
from torch.nn import functional

from zoo.errors import InputError
from zoo.frontends.base import are_plain


class BackEnd(nn.Module):
    """Front end's output to `[B,D]`. A subclass takes `num_channels` and `num_bins` first."""

    accepts: tuple[str, ...]  # kinds of front ends, or names of those that alone are of use
    num_features: int  # D
    min_frames: int  # frames (samples, for a waveform) that give at least one step in time
    channels_last = True  # the faster memory layout
    precision = "bf16"  # the faster precision, where the device computes it natively
    learned_here: tuple[str, ...] = ()  # beginnings of names that no checkpoint of others holds
    lora_targets: tuple[str, ...] = ()  # layers by the ends of their names; none: all that can be
    ia3_targets: tuple[str, ...] = ()  # likewise
    ia3_inputs: tuple[str, ...] = ()  # those of them whose input is scaled, not the output
    published: Mapping[str, str] | None = None
    """How names of tensors begin in files of published weights, and in GenreModel; what is not in
    it begins with `backend.` here and with nothing there. None: there are no such files."""

    def layer_groups(self) -> list[list[nn.Module]]:
        """Return all modules that have parameters, in groups from input to output."""
        raise NotImplementedError

    def calibrate(self, x: Tensor) -> None:
        """Take what a probe does not learn and the checkpoint does not hold from the front end's
        output for some training clips."""


def numbered(count: int) -> dict[str, str]:
    """Return the names of `published` for layers that are numbered there and a list here."""
    return {f"layer{i + 1}.": f"backend.layers.{i}." for i in range(count)}


def max_pool(x_BCFN: Tensor, size: tuple[int, int]) -> Tensor:
    """Max pooling with the kernel clipped to what remains, so that any input size fits.

    Where the size is not known before it runs (in an export), what is smaller than the kernel is
    filled up to it instead, with what is never the maximum: the same numbers.
    """
    bins, frames = x_BCFN.shape[-2:]
    if not statically_known_true(frames >= size[1]) and isinstance(frames, torch.SymInt):
        missing = torch.sym_max(0, size[1] - frames)
        x_BCFN, frames = functional.pad(x_BCFN, (0, missing), value=-math.inf), size[1]
    return functional.max_pool2d(x_BCFN, (min(size[0], bins), min(size[1], frames)))


def conv_bn(
    conv: nn.Conv1d | nn.Conv2d,
    bn: nn.BatchNorm2d,
    x_BCPT: Tensor,
    weight_OIK: Tensor | None = None,
) -> Tensor:
    """Convolve `[B,C,P,T]` over time and normalise, with the convolution's weights or others.

    The result is in memory channels-last, the layout in which convolutions, norms and poolings are
    fast, and which PyTorch has in two dimensions only. In evaluation the norm is part of the
    weights. A waveform is cut into pieces for a product of matrices, but not in `as_convolutions`.
    """
    weight_OIK = conv.weight if weight_OIK is None else weight_OIK
    bias_O = conv.bias if conv.bias is not None else bn.bias.new_zeros(len(bn.bias))
    if not bn.training:
        assert bn.running_mean is not None and bn.running_var is not None
        scale_O = bn.weight / (bn.running_var + bn.eps).sqrt()
        weight_OIK = weight_OIK * scale_O[:, None, None]
        bias_O = (bias_O - bn.running_mean) * scale_O + bn.bias
    stride, padding, dilation = conv.stride[-1], int(conv.padding[-1]), conv.dilation[-1]
    if x_BCPT.shape[1:3] == (1, 1) and dilation == 1 and not are_plain.get():
        x_BT = functional.pad(x_BCPT[:, 0, 0], (padding, padding))
        pieces_BTK = x_BT.unfold(1, weight_OIK.shape[2], stride)
        x_BTC = functional.linear(pieces_BTK, weight_OIK[:, 0], bias_O)
        x_BCPT = x_BTC.transpose(1, 2).unsqueeze(2)
    else:
        weight_OI1K = weight_OIK.unsqueeze(2).contiguous(memory_format=torch.channels_last)
        x_BCPT = functional.conv2d(
            x_BCPT, weight_OI1K, bias_O, (1, stride), (0, padding), (1, dilation)
        )
    return bn(x_BCPT) if bn.training else x_BCPT


def avg_pool(x_BCFN: Tensor, size: tuple[int, int]) -> Tensor:
    """Average pooling, clipped like `max_pool`."""
    bins, frames = x_BCFN.shape[-2:]
    return functional.avg_pool2d(x_BCFN, (min(size[0], bins), min(size[1], frames)))


def check_finite(where: object, weights: Mapping[str, Tensor]) -> None:
    """Raise `InputError` if a tensor holds NaN or infinite values."""
    for name, tensor in weights.items():
        if not tensor.isfinite().all():
            raise InputError(f"{where}: {name} holds NaN or infinite values.")
