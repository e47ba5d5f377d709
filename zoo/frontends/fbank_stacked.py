"""`fbank_stacked`: Kaldi's log mel filter bank, each bin normalised, frames in pairs."""

import torch
from torch import Tensor

from zoo.frontends.base import FrontEnd
from zoo.frontends.fbank import HOP_MS, KaldiMel

INT16 = 2**15  # the samples of Kaldi are whole numbers of 16 bits
STRIDE = 2  # frames that become one
EPS = 1e-7  # added to the variance


class StackedFbank(FrontEnd):
    """Frame pairs of the log mel filter bank, `[B,T] -> [B,1,2 n_mels,N // 2]`.

    N is 1 + (T - 400) // 160 at 16 kHz. Equal to `SeamlessM4TFeatureExtractor` of transformers,
    which Wav2Vec2-BERT takes (Seamless Communication 2023; Povey's window, float64): each bin of a
    clip has its mean removed and is divided by its deviation (of a sample: over N - 1), then two
    frames stand one above the other. An odd last frame counts for mean and deviation, but is left
    out: the extractor pairs it with zeros and masks the pair. The shortest clip is one pair.
    """

    kind = "spectrogram"
    num_channels = 1
    frame_rate = 1000 / HOP_MS / STRIDE

    def __init__(self, sample_rate: int = 16_000, n_mels: int = 80) -> None:
        super().__init__()
        self.mel = KaldiMel(sample_rate, n_mels, window_power=0.85, dtype=torch.float64)
        self.sample_rate, self.num_bins = sample_rate, STRIDE * n_mels
        self.min_samples = self.samples_for(1)
        self.forget_frozen_kernels()

    def samples_for(self, frames: int) -> int:
        return self.mel.samples_for(STRIDE * frames)

    def compute(self, x_BT: Tensor) -> Tensor:
        x_BFN = self.mel(INT16 * x_BT)
        x_BFN = x_BFN - x_BFN.mean(-1, keepdim=True)
        x_BFN = x_BFN / (x_BFN.var(-1, keepdim=True) + EPS).sqrt()
        pairs = x_BFN.shape[-1] // STRIDE
        x_BFNS = x_BFN[..., : STRIDE * pairs].unflatten(-1, (pairs, STRIDE))
        return x_BFNS.permute(0, 3, 1, 2).flatten(1, 2).unsqueeze(1).float()
