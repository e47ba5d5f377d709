"""`mel`: log-mel spectrogram, the usual front end of music tagging."""

import torch
from nnAudio.features.mel import MelSpectrogram
from torch import Tensor

from zoo.errors import InputError, check_choice
from zoo.frontends.base import FrontEnd, check_band
from zoo.frontends.compression import make_compression
from zoo.frontends.stft import convolved_power, power_spectrogram

ENGINES = ("auto", "fft", "nnaudio")


class Mel(FrontEnd):
    """Mel spectrogram in decibels, `[B,T] -> [B,1,n_mels,T // hop_length + 1]`.

    HTK mel scale without normalisation of the filters, Hann window, power, 10 log10 with a floor
    of 1e-10: the settings of Won et al. 2020, Evaluation of CNN-based Automatic Music Tagging
    Models. `mel_scale` and `norm` may be `slaney`, as in librosa. Two engines give the same
    numbers: `nnaudio` (convolution with Fourier kernels: fast on a GPU, and trainable; Cheuk et
    al. 2020, MIT) and `fft` (fast on a CPU); `auto` picks by the waveform's device. `trainable`
    makes Fourier kernels and mel filters parameters.

    Raises `InputError` for an unknown engine, scale, norm or compression, or frequencies that do
    not fit the sample rate.
    """

    kind = "spectrogram"
    num_channels = 1
    window: Tensor  # [T]

    def __init__(
        self,
        sample_rate: int = 16_000,
        n_fft: int = 512,
        hop_length: int = 256,
        n_mels: int = 96,
        f_min: float = 0.0,
        f_max: float | None = None,
        mel_scale: str = "htk",
        norm: str | None = None,
        compression: str = "db",
        engine: str = "auto",
        trainable: bool = False,
    ) -> None:
        super().__init__()
        f_max = check_band(f_min, f_max, sample_rate)
        check_choice("frontend.engine", engine, ENGINES)
        check_choice("frontend.mel_scale", mel_scale, ("htk", "slaney"))
        check_choice("frontend.norm", "null" if norm is None else norm, ("null", "slaney"))
        if trainable and engine == "fft":
            raise InputError("frontend.engine=fft has no parameters: trainable needs nnaudio.")
        self.sample_rate, self.hop_length = sample_rate, hop_length
        self.num_bins = n_mels
        self.frame_rate = sample_rate / hop_length
        self.min_samples = n_fft // 2 + 1  # what reflection at the ends needs
        self.engine = "nnaudio" if trainable else engine
        self.mel = MelSpectrogram(
            sr=sample_rate,
            n_fft=n_fft,
            hop_length=hop_length,
            n_mels=n_mels,
            fmin=f_min,
            fmax=f_max,
            htk=mel_scale == "htk",
            norm=1 if norm == "slaney" else None,
            trainable_mel=trainable,
            trainable_STFT=trainable,
            verbose=False,
        )
        self.register_buffer("window", torch.hann_window(n_fft))
        self.compression = make_compression(compression, n_mels, self.frame_rate)
        self.forget_frozen_kernels()

    def compute(self, x_BT: Tensor) -> Tensor:
        engine = self.engine
        if engine == "auto":
            engine = "fft" if x_BT.device.type == "cpu" else "nnaudio"
        if engine == "fft":
            power_BFN = power_spectrogram(x_BT, self.window, self.hop_length)
        else:
            # power without the square root of nnAudio's magnitude, whose gradient is infinite at 0
            kernels = torch.cat([self.mel.stft.wcos, self.mel.stft.wsin])
            power_BFN = convolved_power(x_BT, kernels, self.hop_length)
        return self.compression(self.mel.mel_basis @ power_BFN).unsqueeze(1)
