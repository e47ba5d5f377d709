"""`chroma`: how strong each of the twelve pitch classes sounds, whatever the octave."""

import math

import torch
from torch import Tensor
from torch.nn import functional

from zoo.errors import InputError
from zoo.frontends.base import FrontEnd
from zoo.frontends.compression import FLOOR
from zoo.frontends.cqt import CQT

NUM_CLASSES = 12  # C, C sharp ... B
C1_HERTZ = 440.0 * 2 ** (-45 / 12)


class Chroma(FrontEnd):
    """Power of the constant-Q transform folded to one octave, `[B,T] -> [B,1,12,N]`.

    Each frame is divided by its largest class, as librosa's chroma_cqt does; a frame without any
    power stays 0. N is T // hop_length + 1. With several bins to a semitone a class takes those
    around the note, which forgives instruments out of tune.

    Raises `InputError` for bins an octave that are no multiple of 12, and as `cqt` does.
    """

    kind = "spectrogram"
    num_channels = 1
    num_bins = NUM_CLASSES
    min_samples = 1
    fold: Tensor  # [12,F]

    def __init__(
        self,
        sample_rate: int = 16_000,
        hop_length: int = 256,
        n_octaves: int = 7,
        bins_per_octave: int = 12,
        f_min: float = 32.70,
    ) -> None:
        super().__init__()
        if bins_per_octave % NUM_CLASSES:
            raise InputError(
                f"frontend.bins_per_octave={bins_per_octave} must be a multiple of {NUM_CLASSES}."
            )
        n_bins = n_octaves * bins_per_octave
        self.cqt = CQT(sample_rate, hop_length, n_bins, bins_per_octave, f_min)
        self.sample_rate, self.frame_rate = sample_rate, self.cqt.frame_rate
        per_class = bins_per_octave // NUM_CLASSES
        lowest = round(NUM_CLASSES * math.log2(f_min / C1_HERTZ))  # note of the lowest bin
        notes_F = lowest + (torch.arange(n_bins) + per_class // 2) // per_class
        classes_FC = functional.one_hot(notes_F % NUM_CLASSES, NUM_CLASSES)
        self.register_buffer("fold", classes_FC.T.float().contiguous())
        self.forget_frozen_kernels()

    def compute(self, x_BT: Tensor) -> Tensor:
        chroma_BCN = self.fold @ self.cqt.power(x_BT)
        loudest_B1N = chroma_BCN.amax(1, keepdim=True).clamp(min=FLOOR)
        return (chroma_BCN / loudest_B1N).unsqueeze(1)
