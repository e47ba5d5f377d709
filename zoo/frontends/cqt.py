"""`cqt`: log-magnitude constant-Q spectrogram, whose bins are notes."""

from nnAudio.features.cqt import CQT1992v2
from torch import Tensor

from zoo.errors import InputError
from zoo.frontends.base import FrontEnd

FLOOR = 1e-10  # of power: -100 dB


class CQT(FrontEnd):
    """Constant-Q transform in decibels, `[B,T] -> [B,1,n_bins,T // hop_length + 1]`.

    Brown 1991, Calculation of a constant Q spectral transform; by nnAudio (Cheuk et al. 2020,
    MIT), scaled as librosa does. Beyond its ends the waveform is taken as silent. `trainable`
    makes the kernels parameters.

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
        trainable: bool = False,
    ) -> None:
        super().__init__()
        f_max = f_min * 2 ** ((n_bins - 1) / bins_per_octave)
        if not 0 < f_min <= f_max < sample_rate / 2:
            raise InputError(
                f"frontend.f_min={f_min:g} with n_bins={n_bins} reaches {f_max:.0f} Hz: bins must "
                f"lie between 0 and half the sample rate, {sample_rate / 2:g} Hz."
            )
        self.sample_rate, self.num_bins = sample_rate, n_bins
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
        self.forget_frozen_kernels()

    def compute(self, x_BT: Tensor) -> Tensor:
        z_BFN2 = self.cqt(x_BT, output_format="Complex", normalization_type="librosa")
        # power without the square root of nnAudio's magnitude, whose gradient is infinite at 0
        return 10.0 * z_BFN2.square().sum(-1).clamp(min=FLOOR).log10().unsqueeze(1)
