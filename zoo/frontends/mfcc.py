"""`mfcc`: mel-frequency cepstral coefficients, the classic features of timbre."""

from torch import Tensor
from torchaudio.functional import create_dct

from zoo.errors import InputError
from zoo.frontends.base import FrontEnd
from zoo.frontends.mel import Mel


class MFCC(FrontEnd):
    """Cosine transform of the log-mel spectrogram, `[B,T] -> [B,1,n_mfcc,T // hop_length + 1]`.

    Davis, Mermelstein 1980. DCT-II, orthonormal, of the decibels of `mel`; the first coefficient
    is the level. There are fewer mel bands than in `mel`, on more Fourier bins, as a band without
    a bin would be a constant in all coefficients.

    Raises `InputError` for more coefficients than bands, and as `mel` does.
    """

    kind = "spectrogram"
    num_channels = 1
    dct: Tensor  # [n_mfcc, n_mels]

    def __init__(
        self,
        sample_rate: int = 16_000,
        n_fft: int = 1024,
        hop_length: int = 256,
        n_mels: int = 64,
        n_mfcc: int = 20,
        f_min: float = 0.0,
        f_max: float | None = None,
        mel_scale: str = "htk",
        norm: str | None = None,
    ) -> None:
        super().__init__()
        if n_mfcc > n_mels:
            raise InputError(
                f"frontend.n_mfcc={n_mfcc} must be at most the number of bands, n_mels={n_mels}."
            )
        self.mel = Mel(sample_rate, n_fft, hop_length, n_mels, f_min, f_max, mel_scale, norm)
        self.sample_rate, self.frame_rate = sample_rate, self.mel.frame_rate
        self.min_samples = self.mel.min_samples
        self.num_bins = n_mfcc
        self.register_buffer("dct", create_dct(n_mfcc, n_mels, norm="ortho").T.contiguous())
        self.forget_frozen_kernels()

    def compute(self, x_BT: Tensor) -> Tensor:
        return self.dct @ self.mel.compute(x_BT)
