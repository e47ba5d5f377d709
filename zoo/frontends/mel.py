"""`mel`: log-mel spectrogram, the usual front end of music tagging."""

import torch
import torchaudio.functional as audio
from nnAudio.features.mel import MelSpectrogram
from torch import Tensor

from zoo.errors import InputError, check_choice
from zoo.frontends.base import FLOOR, FrontEnd

ENGINES = ("auto", "fft", "nnaudio")


class Mel(FrontEnd):
    """Mel spectrogram in decibels, `[B,T] -> [B,1,n_mels,T // hop_length + 1]`.

    HTK mel scale without normalisation of the filters, Hann window, power, 10 log10 with a floor
    of 1e-10: the settings of Won et al. 2020, Evaluation of CNN-based Automatic Music Tagging
    Models. Two engines give the same numbers: `nnaudio` (convolution with Fourier kernels: fast
    on a GPU, and trainable; Cheuk et al. 2020, MIT) and `fft` (fast on a CPU); `auto` picks by
    the waveform's device. `trainable` makes Fourier kernels and mel filters parameters.

    Raises `InputError` for an unknown engine, or frequencies that do not fit the sample rate.
    """

    kind = "spectrogram"
    num_channels = 1

    def __init__(
        self,
        sample_rate: int = 16_000,
        n_fft: int = 512,
        hop_length: int = 256,
        n_mels: int = 96,
        f_min: float = 0.0,
        f_max: float | None = None,
        engine: str = "auto",
        trainable: bool = False,
    ) -> None:
        super().__init__()
        f_max = sample_rate / 2 if f_max is None else f_max
        check_choice("frontend.engine", engine, ENGINES)
        if not 0 <= f_min < f_max <= sample_rate / 2:
            raise InputError(
                f"frontend.f_min={f_min:g} and f_max={f_max:g} must rise and lie between 0 and "
                f"half the sample rate, {sample_rate / 2:g} Hz."
            )
        if trainable and engine == "fft":
            raise InputError("frontend.engine=fft has no parameters: trainable needs nnaudio.")
        self.sample_rate, self.n_fft, self.hop_length = sample_rate, n_fft, hop_length
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
            htk=True,
            norm=None,
            trainable_mel=trainable,
            trainable_STFT=trainable,
            verbose=False,
        )
        self.register_buffer("window", torch.hann_window(n_fft))
        self.forget_frozen_kernels()

    def compute(self, x_BT: Tensor) -> Tensor:
        engine = self.engine
        if engine == "auto":
            engine = "fft" if x_BT.device.type == "cpu" else "nnaudio"
        z_BFN2 = self._fft(x_BT) if engine == "fft" else self.mel.stft(x_BT, "Complex")
        # power without the square root of nnAudio's magnitude, whose gradient is infinite at 0
        mel_BFN = self.mel.mel_basis @ z_BFN2.square().sum(-1)
        return 10.0 * mel_BFN.clamp(min=FLOOR).log10().unsqueeze(1)

    def _fft(self, x_BT: Tensor) -> Tensor:
        z_BFN = audio.spectrogram(
            x_BT,
            pad=0,
            window=self.window,
            n_fft=self.n_fft,
            hop_length=self.hop_length,
            win_length=self.n_fft,
            power=None,
            normalized=False,
        )
        return torch.view_as_real(z_BFN)
