"""`stft`: log-power spectrogram, all bins of the Fourier transform."""

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from zoo.frontends.base import FrontEnd, are_plain
from zoo.frontends.compression import make_compression


def power_spectrogram(x_BT: Tensor, window_T: Tensor, hop_length: int) -> Tensor:
    """Return the power `[B,F,N]` of the short-time Fourier transform, as long as the window.

    Frames are centred, the waveform is reflected at its ends, nothing is normalised: N is
    T // hop_length + 1, and T must be more than half the window.
    """
    if are_plain.get() and x_BT.dtype == torch.float32:
        return convolved_power(x_BT, fourier_kernels(window_T), hop_length)
    z_BFN = torch.stft(
        x_BT,
        n_fft=len(window_T),
        hop_length=hop_length,
        window=window_T,
        center=True,
        pad_mode="reflect",
        return_complex=True,
    )
    return torch.view_as_real(z_BFN).square().sum(-1)


def convolved_power(x_BT: Tensor, kernels_F1T: Tensor, hop_length: int) -> Tensor:
    """Return the same from one convolution with the real parts of the kernels, then the imaginary
    ones."""
    reach = kernels_F1T.shape[2] // 2
    x_B1T = functional.pad(x_BT.unsqueeze(1), (reach, reach), mode="reflect")
    z_BFN = functional.conv1d(x_B1T, kernels_F1T, stride=hop_length)
    real_BFN, imaginary_BFN = z_BFN.chunk(2, dim=1)
    return real_BFN.square() + imaginary_BFN.square()


def fourier_kernels(window_T: Tensor) -> Tensor:
    """Return cosines, then sines, under a window, `[2F,1,T]` in float32."""
    t_T = np.arange(len(window_T))
    angle_FT = 2 * np.pi * (t_T[: len(t_T) // 2 + 1, None] * t_T % len(t_T)) / len(t_T)
    waves_F1T = np.concatenate([np.cos(angle_FT), np.sin(angle_FT)])[:, None]
    return torch.from_numpy(waves_F1T.astype(np.float32)) * window_T


class STFT(FrontEnd):
    """Compressed power spectrogram, `[B,T] -> [B,1,n_fft // 2 + 1,T // hop_length + 1]`.

    Hann window, reflection at the ends, no normalisation, as in librosa with pad_mode="reflect".
    """

    kind = "spectrogram"
    num_channels = 1
    window: Tensor  # [T]

    def __init__(
        self,
        sample_rate: int = 16_000,
        n_fft: int = 512,
        hop_length: int = 256,
        compression: str = "db",
    ) -> None:
        super().__init__()
        self.sample_rate, self.hop_length = sample_rate, hop_length
        self.num_bins = n_fft // 2 + 1
        self.frame_rate = sample_rate / hop_length
        self.min_samples = n_fft // 2 + 1  # what reflection at the ends needs
        self.register_buffer("window", torch.hann_window(n_fft))
        self.compression = make_compression(compression, self.num_bins, self.frame_rate)
        self.forget_frozen_kernels()

    def compute(self, x_BT: Tensor) -> Tensor:
        power_BFN = power_spectrogram(x_BT, self.window, self.hop_length)
        return self.compression(power_BFN).unsqueeze(1)
