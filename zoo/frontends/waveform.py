"""`waveform`: the samples themselves, for back ends that learn their own filters."""

from torch import Tensor

from zoo.frontends.base import FrontEnd


class Waveform(FrontEnd):
    """The waveform as it is, `[B,T] -> [B,T]`."""

    kind = "waveform"
    num_channels = 1
    num_bins = 1
    min_samples = 1

    def __init__(self, sample_rate: int = 16_000) -> None:
        super().__init__()
        self.sample_rate = sample_rate
        self.frame_rate = float(sample_rate)

    def compute(self, x_BT: Tensor) -> Tensor:
        return x_BT
