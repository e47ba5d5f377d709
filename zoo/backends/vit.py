"""`vit`: a transformer over patches of the spectrogram, many of which it leaves out in training.

Gong, Chung, Glass 2021, AST: Audio Spectrogram Transformer; Koutini, Schlüter, Eghbal-zadeh,
Widmer 2022, Efficient Training of Audio Transformers with Patchout (PaSST; code Apache 2.0), whose
positions in frequency and time are learned apart. The transformer itself is timm's (Apache 2.0).
"""

from typing import Any

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from zoo.backends.base import BackEnd
from zoo.backends.windows import mean_over_windows, pad
from zoo.errors import InputError


class ViT(BackEnd):
    """`[B,C,F,N] -> [B,embed_dim]`: the class token; the mean of it over windows of `frames`,
    where the clip is longer.

    `patchout_time` and `patchout_freq` are the shares of columns and rows of patches that
    training leaves out. Raises `InputError` for heads that do not divide `embed_dim`.
    """

    accepts = ("spectrogram",)

    def __init__(
        self,
        num_channels: int,
        num_bins: int,
        embed_dim: int = 192,
        depth: int = 12,
        num_heads: int = 3,
        patch_size: int = 16,
        stride: int = 16,
        frames: int = 640,
        patchout_time: float = 0.4,
        patchout_freq: float = 0.3,
    ) -> None:
        super().__init__()
        if embed_dim % num_heads:
            raise InputError(
                f"model.backend.num_heads={num_heads} must divide embed_dim={embed_dim}."
            )
        self.num_features, self.min_frames = embed_dim, patch_size
        self.patch_size, self.stride, self.frames = patch_size, stride, frames
        self.patchout_time, self.patchout_freq = patchout_time, patchout_freq
        self.spec_bn = nn.BatchNorm2d(num_channels)
        self.vit: Any = VisionTransformer(
            patch_size=patch_size,
            in_chans=num_channels,
            num_classes=0,
            embed_dim=embed_dim,
            depth=depth,
            num_heads=num_heads,
            pos_embed="none",
        )
        self.vit.patch_embed.proj.stride = (stride, stride)
        self.freq_embed = nn.Parameter(torch.empty(embed_dim, self._patches(num_bins), 1))
        self.time_embed = nn.Parameter(torch.empty(embed_dim, 1, self._patches(frames)))
        for embed in (self.freq_embed, self.time_embed):
            nn.init.trunc_normal_(embed, std=0.02)

    def _patches(self, length: int) -> int:
        """Return how many patches cover so many bins or frames."""
        return 1 + max(0, length - self.patch_size + self.stride - 1) // self.stride

    def forward(self, x_BCFN: Tensor) -> Tensor:
        return mean_over_windows(self._class_token, self.spec_bn(x_BCFN), self.frames)

    def _class_token(self, x_BCFN: Tensor) -> Tensor:
        rows, columns = map(self._patches, x_BCFN.shape[2:])
        reach = self.patch_size - self.stride
        x_BCFN = pad(x_BCFN, rows * self.stride + reach, columns * self.stride + reach)
        x_BDRS = self.vit.patch_embed.proj(x_BCFN)  # rows and columns of patches
        x_BDRS = x_BDRS + self.freq_embed + self.time_embed[..., :columns]
        if self.training:
            x_BDRS = leave_out(leave_out(x_BDRS, 2, self.patchout_freq), 3, self.patchout_time)
        x_BPD = x_BDRS.flatten(2).transpose(1, 2)
        x_BPD = torch.cat([self.vit.cls_token.expand(x_BPD.shape[0], -1, -1), x_BPD], dim=1)
        return self.vit.norm(self.vit.blocks(x_BPD))[:, 0]

    def layer_groups(self) -> list[list[nn.Module]]:
        tokens = nn.ParameterList([self.freq_embed, self.time_embed, self.vit.cls_token])
        first = [self.spec_bn, self.vit.patch_embed, tokens]
        return [first, *([block] for block in self.vit.blocks), [self.vit.norm]]


def leave_out(x: Tensor, dim: int, share: float) -> Tensor:
    """Leave a share of the places along a dimension out, the same for the whole batch, and at
    least one in."""
    places = x.shape[dim]
    kept = max(1, round(places * (1 - share)))
    return x.index_select(dim, torch.randperm(places, device=x.device)[:kept].sort().values)
