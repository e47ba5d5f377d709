"""`gammatone`: log spectrogram of a gammatone filter bank, a model of the ear."""

import torch
from nnAudio.librosa_functions import get_gammatone
from torch import Tensor

from zoo.frontends.base import FrontEnd, check_band
from zoo.frontends.compression import make_compression
from zoo.frontends.stft import power_spectrogram


class Gammatone(FrontEnd):
    """Compressed gammatone spectrogram, `[B,T] -> [B,1,n_bins,T // hop_length + 1]`.

    Power spectra weighted with the frequency responses of fourth-order gammatone filters, whose
    centres are evenly spaced on the ERB scale from `f_min` to just below `f_max` (Slaney 1993, An
    Efficient Implementation of the Patterson-Holdsworth Auditory Filter Bank; weights of nnAudio,
    Cheuk et al. 2020, MIT).

    Raises `InputError` for frequencies that do not fit the sample rate, or an unknown compression.
    """

    kind = "spectrogram"
    num_channels = 1
    weights: Tensor  # [F, n_fft // 2 + 1]
    window: Tensor  # [T]

    def __init__(
        self,
        sample_rate: int = 16_000,
        n_fft: int = 1024,
        hop_length: int = 256,
        n_bins: int = 64,
        f_min: float = 50.0,
        f_max: float | None = None,
        compression: str = "db",
    ) -> None:
        super().__init__()
        f_max = check_band(f_min, f_max, sample_rate)
        self.sample_rate, self.hop_length = sample_rate, hop_length
        self.num_bins = n_bins
        self.frame_rate = sample_rate / hop_length
        self.min_samples = n_fft // 2 + 1  # what reflection at the ends needs
        weights = get_gammatone(sample_rate, n_fft, n_bins, f_min, f_max)
        self.register_buffer("weights", torch.from_numpy(weights))
        self.register_buffer("window", torch.hann_window(n_fft))
        self.compression = make_compression(compression, n_bins, self.frame_rate)
        self.forget_frozen_kernels()

    def compute(self, x_BT: Tensor) -> Tensor:
        power_BFN = power_spectrogram(x_BT, self.window, self.hop_length)
        return self.compression(self.weights @ power_BFN).unsqueeze(1)
