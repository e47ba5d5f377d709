"""`fbank`: Kaldi's log mel filter bank, which AST and Wav2Vec2-BERT were trained on."""

import math

import torch
from torch import Tensor, nn

from zoo.errors import InputError
from zoo.frontends.base import FrontEnd

FRAME_MS, HOP_MS = 25, 10
PREEMPHASIS = 0.97
F_MIN = 20.0  # Hz, lower end of the lowest filter; the highest ends at half the sample rate
FLOOR = torch.finfo(torch.float32).eps  # of a filter's energy


def mel_filters(n_mels: int, n_fft: int, sample_rate: int, dtype: torch.dtype) -> Tensor:
    """Return Kaldi's filters `[F,K]`: triangles over mel (not over Hz), of height 1."""

    def mel(hertz: Tensor) -> Tensor:
        return 1127.0 * (1.0 + hertz / 700.0).log()

    bins_K = mel(sample_rate / n_fft * torch.arange(n_fft // 2 + 1, dtype=dtype))
    ends = torch.tensor([F_MIN, sample_rate / 2], dtype=torch.float64)
    low, high = mel(ends).tolist()
    width = (high - low) / (n_mels + 1)  # mel from one centre to the next
    f_F1 = torch.arange(n_mels, dtype=dtype)[:, None]
    lower_F1, centre_F1, upper_F1 = (low + (f_F1 + i) * width for i in range(3))
    rising_FK = (bins_K - lower_F1) / (centre_F1 - lower_F1)
    falling_FK = (upper_F1 - bins_K) / (upper_F1 - centre_F1)
    return rising_FK.minimum(falling_FK).clamp(min=0.0)


class KaldiMel(nn.Module):
    """Waveform `[B,T]` to the log energy of mel filters `[B,F,N]`.

    As `compute-fbank-feats` of Kaldi (Povey et al. 2011) without dither: frames of 25 ms every
    10 ms, whole ones only; in each frame the mean is removed, pre-emphasis and the window are
    applied, and zeros fill it to a power of two. The window is Hann's to a power: 1, or 0.85 for
    Povey's. It computes in `dtype`: quiet bins of loud frames depend on it.
    """

    window: Tensor  # [frame_length]
    filters: Tensor  # [F,K]

    def __init__(
        self, sample_rate: int, n_mels: int, window_power: float, dtype: torch.dtype
    ) -> None:
        super().__init__()
        self.frame_length = sample_rate * FRAME_MS // 1000
        self.hop_length = sample_rate * HOP_MS // 1000
        if self.hop_length == 0:
            raise InputError(f"frontend.sample_rate={sample_rate} must be at least 100 Hz.")
        self.n_fft = 2 ** math.ceil(math.log2(self.frame_length))
        window = torch.hann_window(self.frame_length, periodic=False, dtype=dtype)
        self.register_buffer("window", window**window_power)
        self.register_buffer("filters", mel_filters(n_mels, self.n_fft, sample_rate, dtype))

    def samples_for(self, frames: int) -> int:
        """Return the samples of that many frames."""
        return self.frame_length + (frames - 1) * self.hop_length

    def forward(self, x_BT: Tensor) -> Tensor:
        frames_BNT = x_BT.to(self.window.dtype).unfold(-1, self.frame_length, self.hop_length)
        x_BNT = frames_BNT - frames_BNT.mean(-1, keepdim=True)
        before_BNT = torch.cat([x_BNT[..., :1], x_BNT[..., :-1]], dim=-1)  # the first stands twice
        z_BNK = torch.fft.rfft((x_BNT - PREEMPHASIS * before_BNT) * self.window, self.n_fft)
        power_BNK = torch.view_as_real(z_BNK).square().sum(-1)
        return (power_BNK @ self.filters.T).clamp(min=FLOOR).log().transpose(1, 2)


class Fbank(FrontEnd):
    """Normalised log mel filter bank, `[B,T] -> [B,1,n_mels,N]` with N = 1 + (T - 400) // 160.

    At 16 kHz (25 ms and 10 ms at other rates): only whole frames count, so the shortest clip is
    one frame. Equal to `ASTFeatureExtractor` of transformers (Gong, Chung, Glass 2021, AST: Audio
    Spectrogram Transformer; Hann window, float32) without its padding to a fixed length. The result
    is (x - mean) / (2 std), as AST has it; by default mean and deviation are those of AudioSet. A
    mean of 0 and a deviation of 0.5 leave x as it is (`do_normalize: false`).
    """

    kind = "spectrogram"
    num_channels = 1
    frame_rate = 1000 / HOP_MS

    def __init__(
        self,
        sample_rate: int = 16_000,
        n_mels: int = 128,
        mean: float = -4.2677393,
        std: float = 4.5689974,
    ) -> None:
        super().__init__()
        self.mel = KaldiMel(sample_rate, n_mels, window_power=1.0, dtype=torch.float32)
        self.sample_rate, self.num_bins = sample_rate, n_mels
        self.mean, self.std = mean, std
        self.min_samples = self.mel.samples_for(1)
        self.forget_frozen_kernels()

    def samples_for(self, frames: int) -> int:
        return self.mel.samples_for(frames)

    def compute(self, x_BT: Tensor) -> Tensor:
        return ((self.mel(x_BT) - self.mean) / (2 * self.std)).unsqueeze(1)
