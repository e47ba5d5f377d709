"""`ast`: a transformer over overlapping patches of the spectrogram.

Gong, Chung, Glass 2021, AST: Audio Spectrogram Transformer (code BSD 3-clause; here transformers',
Apache 2.0).
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import PreTrainedConfig
from transformers.modeling_outputs import BaseModelOutput

from zoo.backends.transformer import Head, Pooling, Settings, Transformer, run_layers
from zoo.errors import InputError

TOKENS = 2  # before the patches: of the class, and of distillation
INIT_STD = 0.02  # of tokens and positions


class TokenPooling(Pooling):
    """`cls` is the mean of the two tokens; the others are of the patches."""

    kinds = ("cls", *Pooling.kinds)

    def forward(self, x_BND: Tensor) -> Tensor:
        if self.kind == "cls":
            return x_BND[:, :TOKENS].mean(1)
        return super().forward(x_BND[:, TOKENS:])


def fit_columns(grid_1DRS: Tensor, columns: int) -> Tensor:
    """Return a grid of positions with as many columns as a clip has: the middle ones, or, if there
    are not enough, bilinearly interpolated ones."""
    known = grid_1DRS.shape[3]
    if columns > known:
        return functional.interpolate(grid_1DRS, (grid_1DRS.shape[2], columns), mode="bilinear")
    start = known // 2 - columns // 2
    return grid_1DRS[..., start : start + columns]


class AST(Transformer):
    """`[B,1,F,N] -> [B,D]`: pooled tokens, and the norm of the published classifier.

    The positions of a checkpoint are those of `max_length` frames: 1024, or 10.26 s. A clip keeps
    its own length, while transformers' extractor fills it with zeros (before it normalises) to
    `max_length`, or cuts it: both give the same scores for clips of exactly that length. Frames
    that fill no patch are left out. Raises `InputError` also for patches larger than the front
    end's bins or `max_length`.
    """

    accepts = ("fbank",)
    model_type = "audio-spectrogram-transformer"
    pooler = TokenPooling
    learned_here = (*Transformer.learned_here, "norm.")

    def __init__(
        self,
        num_channels: int,
        num_bins: int,
        config: Mapping[str, Any] | None = None,
        layers: str = "last",
        pooling: str = "cls",
        gradient_checkpointing: bool = False,
    ) -> None:
        super().__init__(num_channels, num_bins, config, layers, pooling, gradient_checkpointing)
        self.min_frames = self.model.config.patch_size
        self.norm = nn.LayerNorm(self.num_features, eps=self.model.config.layer_norm_eps)

    def configure(self, config: Mapping[str, Any], num_bins: int) -> PreTrainedConfig:
        ours: Any = super().configure({**config, "num_mel_bins": num_bins}, num_bins)
        if min(num_bins, ours.max_length) < ours.patch_size:
            raise InputError(
                f"model.backend.config.patch_size={ours.patch_size} must be at most the front "
                f"end's bins, {num_bins}, and max_length={ours.max_length}."
            )
        return ours

    def build(self, config: PreTrainedConfig) -> Any:
        """Return the encoder with random weights, those of tokens and positions as published.

        Transformers' zeros would make the two tokens one, and their gradients, through a norm with
        an epsilon of 1e-12, a million times too large.
        """
        model = super().build(config)
        embeddings = model.embeddings
        for name in ("cls_token", "distillation_token", "position_embeddings"):
            nn.init.trunc_normal_(getattr(embeddings, name), std=INIT_STD)
        return model

    def blocks(self) -> nn.ModuleList:
        return self.model.layers

    def forward(self, x_BCFN: Tensor) -> Tensor:
        return self.norm(super().forward(x_BCFN))

    def encode(self, x_BCFN: Tensor, all_layers: bool) -> BaseModelOutput:
        x_BND = self.embed(x_BCFN)
        return run_layers(self.model.layers, self.model.layernorm, x_BND, all_layers)

    def embed(self, x_BCFN: Tensor) -> Tensor:
        """Return tokens and patches with their positions, `[B,2+RS,D]`."""
        embeddings = self.model.embeddings
        positions_1ND = embeddings.position_embeddings
        x_BDRS = embeddings.patch_embeddings.projection(x_BCFN)  # rows and columns of patches
        rows, columns = x_BDRS.shape[2:]
        grid_1DRS = positions_1ND[:, TOKENS:].transpose(1, 2).unflatten(2, (rows, -1))
        x_BDRS = x_BDRS + fit_columns(grid_1DRS, columns)
        tokens_12D = torch.cat([embeddings.cls_token, embeddings.distillation_token], dim=1)
        tokens_B2D = (tokens_12D + positions_1ND[:, :TOKENS]).expand(x_BCFN.shape[0], -1, -1)
        x_BND = torch.cat([tokens_B2D, x_BDRS.flatten(2).transpose(1, 2)], dim=1)
        return embeddings.dropout(x_BND)

    def layer_groups(self) -> list[list[nn.Module]]:
        *groups, end = super().layer_groups()
        return [*groups, [*end, self.norm]]

    def is_last(self, name: str) -> bool:
        return name.startswith("layernorm.")

    @classmethod
    def settings(cls, config: Mapping[str, Any], preprocessor: Mapping[str, Any]) -> Settings:
        fbank = {
            "sample_rate": preprocessor.get("sampling_rate", 16_000),
            "n_mels": preprocessor.get("num_mel_bins", 128),
        }
        if not preprocessor.get("do_normalize", True):
            fbank |= {"mean": 0.0, "std": 0.5}  # x is divided by twice the deviation
        else:
            fbank |= {key: preprocessor[key] for key in ("mean", "std") if key in preprocessor}
        return Settings("fbank", fbank, cls.backend_args(config))

    def head(self, theirs: Any) -> Head:
        """Take the norm of the published classifier, and return what is linear in it."""
        self.norm.load_state_dict(theirs.classifier.layernorm.state_dict())
        return Head(theirs.classifier.dense.weight, theirs.classifier.dense.bias)
