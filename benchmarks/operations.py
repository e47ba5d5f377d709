"""Operations of a forward pass, as torch's counter counts them."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from zoo.model import GenreModel

ATEN = torch.ops.aten


class Operations(NamedTuple):
    """What a forward pass takes."""

    macs: int  # multiply-accumulates of convolutions and products of matrices, all in all
    front_end_macs: int  # of these, the front end's
    fft_flops: int  # additions and multiplications of Fourier transforms, which `macs` is without


def _real_fft(shape: Sequence[int], dims: Sequence[int], *_: Any, **__: Any) -> int:
    """Return 2.5 n log2 n for each transform of n real samples: the count of benchFFT (Frigo,
    Johnson 2005, The Design and Implementation of FFTW3), whatever the algorithm here."""
    return round(2.5 * math.prod(shape) * math.log2(math.prod(shape[dim] for dim in dims)))


def _complex_fft(shape: Sequence[int], dims: Sequence[int], *_: Any, **__: Any) -> int:
    return 2 * _real_fft(shape, dims)


FFTS = {ATEN._fft_r2c: _real_fft, ATEN._fft_c2c: _complex_fft}


@torch.no_grad()
def count(model: GenreModel, x_BT: Tensor) -> Operations:
    """Return the operations of scoring waveforms; `model` is in evaluation mode.

    torch counts convolutions and products of matrices. It knows no Fourier transform, which is
    counted apart, and no fused attention or recurrent layer of a CPU: these are taken in their
    plain forms here. Elementwise operations, norms and pooling are not counted.
    """
    plain = (sdpa_kernel(SDPBackend.MATH), torch.backends.mkldnn.flags(enabled=False))
    counter = FlopCounterMode(display=False, custom_mapping=FFTS)
    with plain[0], plain[1], torch.backends.cudnn.flags(enabled=False), counter:
        model(x_BT)
    counts = counter.get_flop_counts()
    every, front_end = counts["Global"], counts.get(f"{type(model).__name__}.frontend", {})
    return Operations(_macs(every), _macs(front_end), sum(every.get(name, 0) for name in FFTS))


def _macs(flops: dict[Any, int]) -> int:
    return sum(number for name, number in flops.items() if name not in FFTS) // 2
