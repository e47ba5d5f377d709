"""`conformer`: attention for what is far in time, convolution for what is near.

Gulati et al. 2020, Conformer: Convolution-augmented Transformer for Speech Recognition; layers of
torchaudio (BSD), which have no relative positions.
"""

import math
from typing import Any

from torch import Tensor, nn
from torchaudio.models.conformer import ConformerLayer

from zoo.backends.base import BackEnd
from zoo.errors import InputError

EXPANSION = 4  # of the feed-forward modules
KERNEL = 31  # steps of the depthwise convolution: 2 s at 16 frames a second
CHANNELS = 32  # of the convolutions that shorten the input


class Conformer(BackEnd):
    """`[B,C,F,N] -> [B,embed_dim]`: two convolutions leave a quarter of bins and frames, a dense
    layer makes them steps of a sequence; after the layers, the mean over time.

    Raises `InputError` for heads that do not divide `embed_dim`.
    """

    accepts = ("spectrogram",)
    min_frames = 4  # one step

    def __init__(
        self,
        num_channels: int,
        num_bins: int,
        embed_dim: int = 144,
        depth: int = 4,
        num_heads: int = 4,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        if embed_dim % num_heads:
            raise InputError(
                f"model.backend.num_heads={num_heads} must divide embed_dim={embed_dim}."
            )
        self.num_features = embed_dim
        self.spec_bn = nn.BatchNorm2d(num_channels)
        self.conv1 = nn.Conv2d(num_channels, CHANNELS, 3, stride=2, padding=1)
        self.conv2 = nn.Conv2d(CHANNELS, CHANNELS, 3, stride=2, padding=1)
        self.dense = nn.Linear(CHANNELS * math.ceil(num_bins / 4), embed_dim)
        self.dropout = nn.Dropout(dropout)
        self.layers = nn.ModuleList(
            ConformerLayer(embed_dim, EXPANSION * embed_dim, num_heads, KERNEL, dropout)
            for _ in range(depth)
        )
        layer: Any
        for layer in self.layers:
            layer.conv_module.sequential[2].bias = None  # batch norm would take it away

    def forward(self, x_BCFN: Tensor) -> Tensor:
        x_BCFN = self.conv1(self.spec_bn(x_BCFN)).relu()
        x_BCFN = self.conv2(x_BCFN).relu()
        x_NBD = self.dropout(self.dense(x_BCFN.flatten(1, 2).permute(2, 0, 1)))
        for layer in self.layers:
            x_NBD = layer(x_NBD, None)
        return x_NBD.mean(0)

    def layer_groups(self) -> list[list[nn.Module]]:
        first = [self.spec_bn, self.conv1, self.conv2, self.dense]
        return [first, *([layer] for layer in self.layers)]
