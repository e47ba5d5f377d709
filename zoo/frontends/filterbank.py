"""`filterbank`: band-pass filters learned from the waveform, which begin as mel filters.

Zeghidour, Teboul, de Chaumont Quitry, Tagliasacchi 2021, LEAF: A Learnable Frontend for Audio
Classification; in the shapes of the implementation published with it (Apache 2.0).
"""

import math

import numpy as np
import torch
from nnAudio.librosa_functions import mel_frequencies
from torch import Tensor, nn
from torch.nn import functional

from zoo.errors import InputError
from zoo.frontends.base import FrontEnd, check_band
from zoo.frontends.compression import PCEN

FLOOR = 1e-5  # of the pooled energy
# A Gaussian of deviation sigma in time has a width at half maximum of HALF / sigma in frequency,
# in cycles a sample where sigma is in samples.
HALF = math.sqrt(2 * math.log(2)) / math.pi


def mel_bands(n_filters: int, f_min: float, f_max: float) -> np.ndarray:
    """Return centre and width of Gabor filters `[F,2]` in Hz that are like mel filters (HTK).

    A mel filter rises from the centre of the filter below to its own, and falls to that of the
    filter above. The width is where it exceeds a quarter of its peak, 3/4 of all that: as it
    weights power, the response of a filter is at half its peak there.
    """
    f = mel_frequencies(n_filters + 2, fmin=f_min, fmax=f_max, htk=True)
    return np.stack([f[1:-1], 0.75 * (f[2:] - f[:-2])], axis=1)


class GaborFilters(nn.Module):
    """Energy in bands, `[B,T] -> [B,F,T]`: squared modulus of Gabor filters, Gaussian times wave.

    Two parameters a filter: `center` in radians a sample, `sigma` in samples. `f_F2` are the centre
    and the width at half maximum of the frequency responses to begin with, in cycles a sample.
    Only every `stride`-th sample is computed.
    """

    def __init__(self, f_F2: Tensor, window_length: int, stride: int) -> None:
        super().__init__()
        self.reach = window_length // 2  # samples to both sides
        self.stride = stride
        self.center = nn.Parameter(2 * math.pi * f_F2[:, 0])
        self.sigma = nn.Parameter((HALF / f_F2[:, 1]).clamp(*self.limits))

    @property
    def limits(self) -> tuple[float, float]:
        """Sigma in samples of a response as wide as half the spectrum, and as 1 / window."""
        return 4 * HALF, (2 * self.reach + 1) * HALF

    def kernels(self) -> Tensor:
        """Return the impulse responses `[2F,1,T]`, real parts first."""
        t_T = torch.arange(-self.reach, self.reach + 1, device=self.center.device)
        center_F1 = self.center.clamp(0.0, math.pi)[:, None]
        sigma_F1 = self.sigma.clamp(*self.limits)[:, None]
        gaussian_FT = (-0.5 * (t_T / sigma_F1) ** 2).exp() / (math.sqrt(2 * math.pi) * sigma_F1)
        angle_FT = center_F1 * t_T
        return torch.cat([gaussian_FT * angle_FT.cos(), gaussian_FT * angle_FT.sin()])[:, None]

    def forward(self, x_BT: Tensor) -> Tensor:
        z_BFT = functional.conv1d(
            x_BT[:, None], self.kernels(), stride=self.stride, padding=self.reach
        )
        real_BFT, imaginary_BFT = z_BFT.chunk(2, dim=1)
        return real_BFT.square() + imaginary_BFT.square()


class GaussianPooling(nn.Module):
    """Energies around each frame summed under a Gaussian of its own a filter, `[B,F,T] -> [B,F,N]`.

    `sigma` is its deviation as a share of half the window; 0.4 is nearly a Hann window. Only every
    `stride`-th sample comes in, and counts for as many; the first `reach` are before the clip.
    """

    def __init__(self, num_bins: int, window_length: int, hop_length: int, stride: int) -> None:
        super().__init__()
        self.window_length, self.hop_length, self.stride = window_length, hop_length, stride
        self.reach = window_length // 2 // stride * stride  # samples to both sides
        self.sigma = nn.Parameter(torch.full((num_bins,), 0.4))

    def forward(self, energy_BFT: Tensor) -> Tensor:
        stride, reach = self.stride, self.reach
        t_T = torch.arange(-reach, reach + 1, stride, device=self.sigma.device)
        sigma_F1 = self.window_length // 2 * self.sigma.clamp(2 / self.window_length, 0.5)[:, None]
        weights_T = torch.full_like(t_T, stride, dtype=torch.float32)
        weights_T[0] = weights_T[-1] = (stride + 1) / 2  # half of these samples' reach is outside
        kernels_F1T = (weights_T * (-0.5 * (t_T / sigma_F1) ** 2).exp())[:, None]
        hop = self.hop_length // stride
        return functional.conv1d(energy_BFT, kernels_F1T, stride=hop, groups=len(kernels_F1T))


class FilterBank(FrontEnd):
    """Gabor filters, Gaussian low-pass pooling and PCEN, `[B,T] -> [B,1,n_filters,N]`.

    N is the number of samples over the hop, rounded up; beyond its ends the waveform is silent.
    All three parts are trainable, seven parameters a filter. The paper computes each sample of the
    filters' output, `stride` 1. That output changes slowly: every fourth sample gives, on noise,
    the same to 0.001 at a quarter of the cost.

    Raises `InputError` for an even or very short window, a hop that is no multiple of the stride,
    or frequencies that do not fit the sample rate.
    """

    kind = "spectrogram"
    num_channels = 1
    min_samples = 1

    def __init__(
        self,
        sample_rate: int = 16_000,
        window_length: int = 401,
        hop_length: int = 160,
        stride: int = 4,
        n_filters: int = 40,
        f_min: float = 60.0,
        f_max: float | None = 7800.0,
    ) -> None:
        super().__init__()
        f_max = check_band(f_min, f_max, sample_rate)
        if window_length < 5 or window_length % 2 == 0:
            raise InputError(
                f"frontend.window_length={window_length} must be odd and at least 5 samples."
            )
        if hop_length % stride:
            raise InputError(
                f"frontend.hop_length={hop_length} must be a multiple of stride={stride}."
            )
        self.sample_rate, self.num_bins = sample_rate, n_filters
        self.frame_rate = sample_rate / hop_length
        f_F2 = torch.from_numpy(mel_bands(n_filters, f_min, f_max) / sample_rate).float()
        self.filters = GaborFilters(f_F2, window_length, stride)
        self.pooling = GaussianPooling(n_filters, window_length, hop_length, stride)
        self.pcen = PCEN(n_filters, s=0.04, alpha=0.96, delta=2.0, r=0.5, eps=1e-12)

    def compute(self, x_BT: Tensor) -> Tensor:
        x_BT = functional.pad(x_BT, (self.pooling.reach, self.pooling.reach))
        energy_BFN = self.pooling(self.filters(x_BT))
        return self.pcen(energy_BFN.clamp(min=FLOOR)).unsqueeze(1)
