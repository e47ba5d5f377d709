"""`whisper_mel`: the log-mel spectrogram of Whisper, without computing its padding."""

import math

import torch
from nnAudio.librosa_functions import get_mel
from torch import Tensor
from torch.nn import functional

from zoo.frontends.base import FrontEnd, check_band
from zoo.frontends.stft import power_spectrogram

WINDOW_SECONDS = 30  # what Whisper reads at once
F_MIN, F_MAX = 0.0, 8000.0  # Hz
FLOOR = 1e-10  # of a band's power: -10 in log10
RANGE = 8.0  # in log10: what is further below a clip's maximum is raised to it
OFFSET = SCALE = 4.0  # (log10 + 4) / 4


def pad_to(x_BCFN: Tensor, frames: int) -> Tensor:
    """Return the features with silence at the right up to that many frames, clip by clip.

    Silence is `FLOOR`, or `RANGE` below the clip's maximum if that is higher. Clips that have the
    frames are returned as they are.
    """
    missing = max(frames - x_BCFN.shape[-1], 0)
    floor = (math.log10(FLOOR) + OFFSET) / SCALE  # -1.5
    silence_B111 = (x_BCFN.amax((1, 2, 3), keepdim=True) - RANGE / SCALE).clamp(min=floor)
    return torch.cat([x_BCFN, silence_B111.expand(*x_BCFN.shape[:3], missing)], dim=-1)


class WhisperMel(FrontEnd):
    """Log-mel spectrogram of Whisper, `[B,T] -> [B,1,n_mels,N]`.

    Equal to `WhisperFeatureExtractor` of transformers (Radford et al. 2022, Robust Speech
    Recognition via Large-Scale Weak Supervision), which puts zeros after a clip up to 30 s: N
    counts the frames that see a part of the clip, those centred up to n_fft / 2 after its end, and
    `pad_to(x, 3000)` gives all of the extractor's. Frames are centred, the left end is reflected.

    At the right a clip under 30 s meets zeros. One of 30 s or more meets its own reflection and
    has T // hop_length frames, 3,000 for exactly 30 s, as the extractor without truncation has:
    a longer clip is one signal, with one maximum.

    Raises `InputError` for sample rates under 16 kHz.
    """

    kind = "spectrogram"
    num_channels = 1
    min_samples = 1
    window: Tensor  # [n_fft]
    filters: Tensor  # [F,K]

    def __init__(
        self,
        sample_rate: int = 16_000,
        n_fft: int = 400,
        hop_length: int = 160,
        n_mels: int = 80,
    ) -> None:
        super().__init__()
        check_band(F_MIN, F_MAX, sample_rate)
        self.sample_rate, self.hop_length = sample_rate, hop_length
        self.num_bins = n_mels
        self.frame_rate = sample_rate / hop_length
        filters = get_mel(sample_rate, n_fft, n_mels, F_MIN, F_MAX)  # Slaney's scale and norm
        self.register_buffer("window", torch.hann_window(n_fft))
        self.register_buffer("filters", torch.from_numpy(filters))
        self.forget_frozen_kernels()

    def compute(self, x_BT: Tensor) -> Tensor:
        samples, n_fft = x_BT.shape[1], len(self.window)
        # n_fft zeros keep the reflection out of all frames that see the clip
        padded = max(samples, min(samples + n_fft, WINDOW_SECONDS * self.sample_rate))
        seeing = (samples + n_fft // 2 + self.hop_length - 1) // self.hop_length
        frames = min(seeing, padded // self.hop_length)
        x_BT = functional.pad(x_BT, (0, padded - samples))
        power_BKN = power_spectrogram(x_BT, self.window, self.hop_length)[..., :frames]
        log_BFN = (self.filters @ power_BKN).clamp(min=FLOOR).log10()
        log_BFN = log_BFN.maximum(log_BFN.amax((1, 2), keepdim=True) - RANGE)
        return ((log_BFN + OFFSET) / SCALE).unsqueeze(1)
