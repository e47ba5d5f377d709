"""`vqt`: variable-Q spectrogram, whose bins are notes, with short kernels for low ones."""

import torch
from nnAudio.utils import create_cqt_kernels
from torch import nn

from zoo.errors import InputError
from zoo.frontends.cqt import CQT

ERB_HERTZ = 24.7 / 0.108  # constant part of the ear's bandwidth over its share of the frequency


class VQT(CQT):
    """Variable-Q transform, `[B,T] -> [B,1,n_bins,T // hop_length + 1]`.

    Schörkhuber et al. 2014, A Matlab Toolbox for Efficient Perfect Reconstruction Time-Frequency
    Transforms with Log-Frequency Resolution. A bin at f Hz is alpha f + gamma wide, alpha that of
    the constant-Q transform: low notes are heard less sharply but when they sound. `gamma` in Hz;
    null makes the widths proportional to those of the ear (ERB; Glasberg, Moore 1990). The rest is
    as in `cqt`.

    Raises `InputError` for a negative gamma, and as `cqt` does.
    """

    def __init__(
        self,
        sample_rate: int = 16_000,
        hop_length: int = 256,
        n_bins: int = 84,
        bins_per_octave: int = 12,
        f_min: float = 32.70,
        gamma: float | None = None,
        compression: str = "db",
        trainable: bool = False,
    ) -> None:
        super().__init__(
            *(sample_rate, hop_length, n_bins, bins_per_octave, f_min, compression, trainable)
        )
        alpha = 2 ** (1 / bins_per_octave) - 1
        gamma = ERB_HERTZ * alpha if gamma is None else gamma
        if gamma < 0:
            raise InputError(f"frontend.gamma={gamma:g} must be at least 0 Hz.")
        kernels, self.cqt.kernel_width, self.cqt.lenghts, _ = create_cqt_kernels(
            *(1 / alpha, sample_rate, f_min, n_bins, bins_per_octave), gamma=gamma
        )
        parts_F1T = torch.view_as_real(torch.from_numpy(kernels)).unsqueeze(1).unbind(-1)
        real_F1T, imaginary_F1T = (
            nn.Parameter(part.contiguous()) if trainable else part.contiguous()
            for part in parts_F1T
        )
        self.cqt.cqt_kernels_real, self.cqt.cqt_kernels_imag = real_F1T, imaginary_F1T
        self.octaves = list(self._octaves())
