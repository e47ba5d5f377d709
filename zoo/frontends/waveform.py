"""`waveform`: the samples themselves, for back ends that learn their own filters."""

from torch import Tensor

from zoo.frontends.base import FrontEnd

EPS = 1e-7  # added to the variance


class Waveform(FrontEnd):
    """The waveform as it is, `[B,T] -> [B,T]`.

    `normalize` gives each clip zero mean and unit variance, as `Wav2Vec2FeatureExtractor` of
    transformers does with `do_normalize`.
    """

    kind = "waveform"
    num_channels = 1
    num_bins = 1
    min_samples = 1

    def __init__(self, sample_rate: int = 16_000, normalize: bool = False) -> None:
        super().__init__()
        self.sample_rate = sample_rate
        self.frame_rate = float(sample_rate)
        self.normalize = normalize

    def compute(self, x_BT: Tensor) -> Tensor:
        if not self.normalize:
            return x_BT
        x_BT = x_BT - x_BT.mean(-1, keepdim=True)
        return x_BT / (x_BT.var(-1, correction=0, keepdim=True) + EPS).sqrt()
