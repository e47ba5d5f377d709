"""`self_attention`: residual convolutions for timbre, a Transformer encoder for time.

Won, Chun, Serra 2019, Toward Interpretable Music Tagging with Self-attention; in the shapes of the
implementation published with Won et al. 2020 (MIT), whose encoder is that of BERT (Devlin et al.
2019) without positions.
"""

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from zoo.backends.base import BackEnd, numbered
from zoo.backends.short_chunk_res import ResBlock

CHANNELS = (128, 128, 256, 256, 256, 256, 256)  # each block halves the bins ...
HALVE_FRAMES = (True, True, True, False, False, False, False)  # ... and these also the frames
ENCODER_LAYERS = 2
HEADS = 8
EPSILON = 1e-12  # of the layer norms
ENCODER_NAMES = {
    "attention.self.query.": "query.",
    "attention.self.key.": "key.",
    "attention.self.value.": "value.",
    "attention.output.dense.": "projection.",
    "attention.output.LayerNorm.": "norm1.",
    "intermediate.dense.": "dense1.",
    "output.dense.": "dense2.",
    "output.LayerNorm.": "norm2.",
}


class EncoderLayer(nn.Module):
    """Self-attention, then a dense layer four times as wide; each is added and normalised."""

    def __init__(self, width: int, dropout: float, attention_dropout: float) -> None:
        super().__init__()
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.projection = nn.Linear(width, width)
        self.norm1 = nn.LayerNorm(width, EPSILON)
        self.dense1 = nn.Linear(width, 4 * width)
        self.dense2 = nn.Linear(4 * width, width)
        self.norm2 = nn.LayerNorm(width, EPSILON)
        self.dropout = nn.Dropout(dropout)
        self.attention_dropout = attention_dropout

    def attend(self, x_BND: Tensor) -> Tensor:
        """Return what each step gathers from all steps, one slice of D for each head."""
        q, k, v = (
            layer(x_BND).unflatten(-1, (HEADS, -1)).transpose(1, 2)
            for layer in (self.query, self.key, self.value)
        )
        dropout = self.attention_dropout if self.training else 0.0
        return functional.scaled_dot_product_attention(q, k, v, dropout_p=dropout)

    def forward(self, x_BND: Tensor) -> Tensor:
        gathered_BND = self.attend(x_BND).transpose(1, 2).flatten(2)
        x_BND = self.norm1(x_BND + self.dropout(self.projection(gathered_BND)))
        hidden_BND = functional.gelu(self.dense1(x_BND))
        return self.norm2(x_BND + self.dropout(self.dense2(hidden_BND)))


class SelfAttention(BackEnd):
    """`[B,C,F,N] -> [B,256]`: seven blocks, two encoder layers, what the first step has gathered.

    That first step is a vector which is fixed, not learned, as published.
    """

    accepts = ("spectrogram",)
    num_features = CHANNELS[-1]
    min_frames = 1
    first: Tensor  # [D]
    published = {
        **numbered(len(CHANNELS)),
        **{
            f"encoder.layer.{i}.{theirs}": f"backend.encoder.{i}.{ours}"
            for i in range(ENCODER_LAYERS)
            for theirs, ours in ENCODER_NAMES.items()
        },
        "pooler.dense.": "backend.pooler.",
        "dense.": "head.",
    }

    def __init__(
        self,
        num_channels: int,
        num_bins: int,
        dropout: float = 0.4,
        attention_dropout: float = 0.5,
    ) -> None:
        super().__init__()
        width = self.num_features
        self.spec_bn = nn.BatchNorm2d(num_channels)
        shapes = zip((num_channels, *CHANNELS), CHANNELS, HALVE_FRAMES, strict=False)
        self.layers = nn.ModuleList(ResBlock(a, b, (2, 2 if h else 1)) for a, b, h in shapes)
        self.encoder = nn.ModuleList(
            EncoderLayer(width, dropout, attention_dropout) for _ in range(ENCODER_LAYERS)
        )
        self.pooler = nn.Linear(width, width)
        first_D = torch.from_numpy(np.random.RandomState(0).random_sample(width)).float()
        self.register_buffer("first", first_D, persistent=False)

    def forward(self, x_BCFN: Tensor) -> Tensor:
        x_BCFN = self.spec_bn(x_BCFN)
        for layer in self.layers:
            x_BCFN = layer(x_BCFN)
        x_BND = x_BCFN.mean(2).transpose(1, 2)  # 128 bins have become one
        first_BND = self.first.to(x_BND.dtype).expand(x_BND.shape[0], 1, -1)
        x_BND = torch.cat([first_BND, x_BND], dim=1)
        for layer in self.encoder:
            x_BND = layer(x_BND)
        return self.pooler(x_BND[:, 0]).tanh()

    def layer_groups(self) -> list[list[nn.Module]]:
        first, *rest = self.layers
        groups = [[self.spec_bn, first], *([layer] for layer in (*rest, *self.encoder))]
        return [*groups, [self.pooler]]
