"""`whisper`: the encoder of a speech recogniser.

Radford et al. 2022, Robust Speech Recognition via Large-Scale Weak Supervision (MIT; here
transformers' code, Apache 2.0).
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from torch.nn import functional
from transformers import PreTrainedConfig
from transformers.modeling_outputs import BaseModelOutput
from transformers.models.whisper.modeling_whisper import WhisperEncoder

from zoo.backends.hub import from_pretrained
from zoo.backends.transformer import Settings, Transformer, run_layers
from zoo.backends.windows import mean_over_windows
from zoo.errors import InputError
from zoo.frontends.whisper_mel import WINDOW_SECONDS, pad_to

STRIDE = 2  # frames of a step
AFTER = 2  # frames after the end of a clip that still see it: half of 25 ms, every 10 ms
NAMES = {r"^(model\.)?encoder\.": ""}  # of a checkpoint's tensors, in the encoder


class Whisper(Transformer):
    """`[B,1,F,N] -> [B,D]`, pooled over the steps of the clip (20 ms), not of the padding.

    Silence fills a clip up to the `max_source_positions` steps that the encoder knows, 30 s. With
    `short` it does not: the first positions serve, and 5 s have a sixth of the steps. What enters
    the layers is the same for the clip's steps, but attention lacks the silence that it saw in
    pretraining. Of a longer clip the features are the mean over windows of 30 s.

    A checkpoint's own classifier pools padding as well: its scores are transformers' for 30 s only.
    """

    accepts = ("whisper_mel",)
    model_type = "whisper"
    min_frames = 1

    def __init__(
        self,
        num_channels: int,
        num_bins: int,
        config: Mapping[str, Any] | None = None,
        layers: str = "last",
        pooling: str = "mean",
        gradient_checkpointing: bool = False,
        short: bool = False,
    ) -> None:
        super().__init__(num_channels, num_bins, config, layers, pooling, gradient_checkpointing)
        self.short = short
        self.frames = STRIDE * self.model.config.max_source_positions

    def configure(self, config: Mapping[str, Any], num_bins: int) -> PreTrainedConfig:
        return super().configure({**config, "num_mel_bins": num_bins}, num_bins)

    def build(self, config: Any) -> Any:
        return WhisperEncoder(config)

    def blocks(self) -> nn.ModuleList:
        return self.model.layers

    def forward(self, x_BCFN: Tensor) -> Tensor:
        return mean_over_windows(self.features, x_BCFN, self.frames)

    def features(self, x_BCFN: Tensor) -> Tensor:
        """Return the features of clips of up to 30 s."""
        frames = x_BCFN.shape[3]
        steps = math.ceil((frames if frames == self.frames else frames - AFTER) / STRIDE)
        if not self.short:
            x_BCFN = pad_to(x_BCFN, self.frames)
        x_BND = self.combine(self.encode(x_BCFN, self.layer_weights is not None))
        return self.pooling(x_BND[:, : max(1, steps)])

    def encode(self, x_BCFN: Tensor, all_layers: bool) -> BaseModelOutput:
        """As transformers' encoder does, which takes 30 s only."""
        encoder = self.model
        x_BDN = functional.gelu(encoder.conv1(x_BCFN.squeeze(1)))
        x_BND = functional.gelu(encoder.conv2(x_BDN)).transpose(1, 2)
        x_BND = x_BND + encoder.embed_positions.weight[: x_BND.shape[1]]
        x_BND = functional.dropout(x_BND, encoder.dropout, encoder.training)
        return run_layers(encoder.layers, encoder.layer_norm, x_BND, all_layers)

    def is_last(self, name: str) -> bool:
        return name.startswith("layer_norm.")

    @classmethod
    def settings(cls, config: Mapping[str, Any], preprocessor: Mapping[str, Any]) -> Settings:
        keys = {"sampling_rate": "sample_rate", "feature_size": "n_mels"}
        keys |= {key: key for key in ("n_fft", "hop_length")}
        mel = {ours: preprocessor[key] for key, ours in keys.items() if key in preprocessor}
        if (seconds := preprocessor.get("chunk_length", WINDOW_SECONDS)) != WINDOW_SECONDS:
            raise InputError(
                f"preprocessor_config.json: chunk_length={seconds} must be {WINDOW_SECONDS} "
                "(seconds that Whisper reads at once)."
            )
        return Settings("whisper_mel", mel, cls.backend_args(config))

    def read(self, folder: Path, config: PreTrainedConfig, with_head: bool) -> Any:
        if with_head:
            return super().read(folder, config, with_head)
        return from_pretrained(WhisperEncoder, folder, config, key_mapping=NAMES)

    def body(self, theirs: Any) -> nn.Module:
        return theirs.encoder
