"""`harmonic`: band-pass filters at the harmonics of notes, stacked as channels."""

import torch
from torch import Tensor, nn

from zoo.errors import InputError
from zoo.frontends.base import FrontEnd
from zoo.frontends.compression import Decibels
from zoo.frontends.stft import power_spectrogram

C1 = 24  # MIDI number of the lowest note


class Harmonic(FrontEnd):
    """Power in decibels around the harmonics, `[B,T] -> [B,n_harmonics,F,T // hop_length + 1]`.

    Won, Chun, Nieto, Serra 2020, Data-driven Harmonic Filters for Audio Representation Learning;
    as in the implementation published with Won et al. 2020 (MIT). Channel h and bin f are a
    triangular filter at h times the bin's note. Its width in Hz is (0.1079 centre + 24.7) / q,
    the ear's equivalent rectangular bandwidth over a quality q, which is learned. The notes reach
    from C1 to where the highest harmonic comes to half the sample rate.

    Raises `InputError` where no note is left.
    """

    kind = "spectrogram"
    centre: Tensor  # Hz, [C,F]
    window: Tensor  # [T]

    def __init__(
        self,
        sample_rate: int = 16_000,
        n_fft: int = 512,
        hop_length: int = 256,
        n_harmonics: int = 6,
        bins_per_semitone: int = 2,
    ) -> None:
        super().__init__()
        highest = 69 + 12 * torch.tensor(sample_rate / 2 / n_harmonics / 440.0).log2()
        self.num_bins = (round(highest.item()) - C1) * bins_per_semitone
        if self.num_bins < 1:
            raise InputError(
                f"frontend.n_harmonics={n_harmonics} leaves no note between C1 and half the sample "
                f"rate, {sample_rate / 2:g} Hz; take fewer."
            )
        self.sample_rate, self.n_fft, self.hop_length = sample_rate, n_fft, hop_length
        self.num_channels = n_harmonics
        self.frame_rate = sample_rate / hop_length
        self.min_samples = n_fft // 2 + 1  # what reflection at the ends needs
        note_F = C1 + torch.arange(self.num_bins, dtype=torch.float64) / bins_per_semitone
        harmonic_C1 = torch.arange(1, n_harmonics + 1).unsqueeze(1)
        centre_CF = harmonic_C1 * 440.0 * 2 ** ((note_F - 69) / 12)
        self.register_buffer("centre", centre_CF.float())
        self.register_buffer("window", torch.hann_window(n_fft))
        self.q = nn.Parameter(torch.ones(1))
        self.decibels = Decibels()
        self.forget_frozen_kernels()

    def filters(self) -> Tensor:
        """Return the triangles, `[C,F,S]` over S frequencies of the Fourier transform."""
        hertz_S = torch.linspace(
            0, self.sample_rate / 2, self.n_fft // 2 + 1, device=self.centre.device
        )
        centre_CF1 = self.centre.unsqueeze(-1)
        width_CF1 = (0.1079 * centre_CF1 + 24.7) / self.q
        return (1 - 2 * (hertz_S - centre_CF1).abs() / width_CF1).relu()

    def compute(self, x_BT: Tensor) -> Tensor:
        power_BSN = power_spectrogram(x_BT, self.window, self.hop_length)
        band_BFN = self.filters().flatten(0, 1) @ power_BSN
        return self.decibels(band_BFN.unflatten(1, (self.num_channels, self.num_bins)))
