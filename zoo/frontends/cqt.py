"""`cqt`: log-magnitude constant-Q spectrogram, whose bins are notes."""

from collections.abc import Iterator

import torch
from nnAudio.features.cqt import CQT1992v2
from torch import Tensor
from torch.nn import functional

from zoo.errors import InputError
from zoo.frontends.base import FrontEnd
from zoo.frontends.compression import make_compression


class CQT(FrontEnd):
    """Constant-Q transform in decibels, `[B,T] -> [B,1,n_bins,T // hop_length + 1]`.

    Brown 1991, Calculation of a constant Q spectral transform; with the kernels of nnAudio (Cheuk
    et al. 2020, MIT), scaled as librosa does. Beyond its ends the waveform is taken as silent.
    `trainable` makes the kernels parameters.

    Raises `InputError` for bins that do not lie between 0 and half the sample rate.
    """

    kind = "spectrogram"
    num_channels = 1
    min_samples = 1

    def __init__(
        self,
        sample_rate: int = 16_000,
        hop_length: int = 256,
        n_bins: int = 84,
        bins_per_octave: int = 12,
        f_min: float = 32.70,
        compression: str = "db",
        trainable: bool = False,
    ) -> None:
        super().__init__()
        f_max = f_min * 2 ** min((n_bins - 1) / bins_per_octave, 99.0)  # so that it is a number
        if not 0 < f_min <= f_max < sample_rate / 2:
            raise InputError(
                f"frontend.f_min={f_min:g} with n_bins={n_bins} reaches {f_max:.0f} Hz: bins must "
                f"lie between 0 and half the sample rate, {sample_rate / 2:g} Hz."
            )
        self.sample_rate, self.num_bins = sample_rate, n_bins
        self.bins_per_octave = bins_per_octave
        self.frame_rate = sample_rate / hop_length
        self.cqt = CQT1992v2(
            sr=sample_rate,
            hop_length=hop_length,
            fmin=f_min,
            n_bins=n_bins,
            bins_per_octave=bins_per_octave,
            pad_mode="constant",
            trainable=trainable,
            verbose=False,
        )
        self.octaves = list(self._octaves())
        self.compression = make_compression(compression, n_bins, self.frame_rate)
        self.forget_frozen_kernels()

    def _octaves(self) -> Iterator[tuple[slice, int]]:
        """Yield slices of bins, and how many samples at both ends of their kernels are zero.

        Each octave's kernels are half as long as those of the octave below, but all are stored in
        the width of the longest: convolving octave by octave costs a fraction of all at once.
        """
        for low in range(0, self.num_bins, self.bins_per_octave):
            spare = (self.cqt.kernel_width - int(self.cqt.lenghts[low])) // 2 - 1
            yield slice(low, low + self.bins_per_octave), max(0, spare)

    def compute(self, x_BT: Tensor) -> Tensor:
        return self.compression(self.power(x_BT)).unsqueeze(1)

    def power(self, x_BT: Tensor) -> Tensor:
        """Return the power `[B,F,N]` of a float32 waveform."""
        cqt, half = self.cqt, self.cqt.kernel_width // 2
        x_B1T = functional.pad(x_BT, (half, half)).unsqueeze(1)
        power = []
        for bins, spare in self.octaves:
            inner = slice(spare, -spare or None)
            kernels = torch.cat([cqt.cqt_kernels_real[bins], cqt.cqt_kernels_imag[bins]])
            z_BFN = functional.conv1d(x_B1T[..., inner], kernels[..., inner], stride=cqt.hop_length)
            # power without the square root of nnAudio's magnitude, whose gradient is infinite at 0
            real_BFN, imaginary_BFN = z_BFN.chunk(2, dim=1)
            power.append(real_BFN.square() + imaginary_BFN.square())
        return torch.cat(power, dim=1) * cqt.lenghts.view(-1, 1)  # the scale of librosa
