"""`clap_mel`: the log-mel spectrogram of CLAP, short clips repeated to 10 s."""

import torch
from nnAudio.librosa_functions import get_mel
from torch import Tensor
from torch.nn import functional

from zoo.errors import check_choice
from zoo.frontends.base import FrontEnd, check_band
from zoo.frontends.compression import Decibels
from zoo.frontends.stft import power_spectrogram


class ClapMel(FrontEnd):
    """Mel spectrogram in decibels of at least `max_seconds`, `[B,T] -> [B,1,n_mels,N]`.

    Equal to `ClapFeatureExtractor` of transformers (Wu et al. 2023, Large-scale Contrastive
    Language-Audio Pretraining with Feature Fusion and Keyword-to-Caption Augmentation): shorter
    clips are repeated as often as they fit whole, then zeros follow (`repeatpad`), so that N is
    never under max_seconds * sample_rate // hop_length + 1, 1,001. Longer clips keep all their
    frames, T // hop_length + 1. The filters are `slaney`, of equal area, for checkpoints with
    `truncation: rand_trunc`, and `htk`, of equal height, for those with `fusion`.
    The Fourier transform is in float64, as the extractor's.

    Raises `InputError` for an unknown scale, or frequencies that do not fit the sample rate.
    """

    kind = "spectrogram"
    num_channels = 1
    min_samples = 1
    window: Tensor  # [n_fft]
    filters: Tensor  # [F,K]

    def __init__(
        self,
        sample_rate: int = 48_000,
        n_fft: int = 1024,
        hop_length: int = 480,
        n_mels: int = 64,
        f_min: float = 50.0,
        f_max: float = 14_000.0,
        mel_scale: str = "slaney",
        max_seconds: float = 10.0,
    ) -> None:
        super().__init__()
        f_max = check_band(f_min, f_max, sample_rate)
        check_choice("frontend.mel_scale", mel_scale, ("htk", "slaney"))
        self.sample_rate, self.hop_length = sample_rate, hop_length
        self.frame_rate = sample_rate / hop_length
        self.num_bins = n_mels
        self.full_samples = round(max_seconds * sample_rate)
        htk = mel_scale == "htk"
        filters = get_mel(sample_rate, n_fft, n_mels, f_min, f_max, htk, norm=None if htk else 1)
        self.register_buffer("window", torch.hann_window(n_fft, dtype=torch.float64))
        self.register_buffer("filters", torch.from_numpy(filters))
        self.decibels = Decibels()
        self.forget_frozen_kernels()

    def compute(self, x_BT: Tensor) -> Tensor:
        samples = x_BT.shape[1]
        if samples < self.full_samples:
            x_BT = x_BT.repeat(1, self.full_samples // samples)
            x_BT = functional.pad(x_BT, (0, self.full_samples - x_BT.shape[1]))
        power_BKN = power_spectrogram(x_BT.double(), self.window, self.hop_length).float()
        return self.decibels(self.filters @ power_BKN).unsqueeze(1)
