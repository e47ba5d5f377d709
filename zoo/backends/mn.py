"""`mn`: MobileNetV3, an efficient convolutional network.

Howard et al. 2019, Searching for MobileNetV3; as Schmid, Koutini, Widmer 2023, Efficient
Large-Scale Audio Tagging via Transformer-to-CNN Knowledge Distillation (EfficientAT), use it for
audio, in timm's implementation (Apache 2.0).
"""

from zoo.backends.timm import Timm
from zoo.errors import check_choice

WIDTHS = {"0.75": "075", "1.0": "100", "1.5": "150"}  # times the channels: timm's names


class MN(Timm):
    """`[B,C,F,N] -> [B,1280]`; `width` 1 is EfficientAT's mn10. Raises `InputError` for a width
    that timm does not have."""

    def __init__(self, num_channels: int, num_bins: int, width: float = 1.0) -> None:
        check_choice("model.backend.width", str(float(width)), WIDTHS)
        super().__init__(
            num_channels, num_bins, name=f"mobilenetv3_large_{WIDTHS[str(float(width))]}"
        )
