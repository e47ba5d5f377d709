"""`encodec`: the encoder of a neural codec, convolutions and an LSTM, by default frozen.

Defossez, Copet, Synnaeve, Adi 2022, High Fidelity Neural Audio Compression. The code is
transformers' (Apache 2.0).
"""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn
from transformers import EncodecConfig, PreTrainedConfig
from transformers.modeling_outputs import BaseModelOutput
from transformers.models.encodec.modeling_encodec import EncodecConv1d

from zoo.backends.transformer import Settings, Transformer
from zoo.errors import InputError


class Conv1d(EncodecConv1d):
    """Transformers' convolution, whose paddings are numbers here, not tensors: an export needs to
    know how shapes follow from each other."""

    def forward(self, hidden_states: Tensor) -> Tensor:
        conv, x_BCT = self.conv, hidden_states
        stride = conv.stride[0]
        padding = (conv.kernel_size[0] - 1) * conv.dilation[0] + 1 - stride
        left = padding if self.causal else padding - padding // 2
        right = padding - left + -x_BCT.shape[-1] % stride  # up to whole strides
        x_BCT = conv(self._pad1d(x_BCT, (left, right), self.pad_mode))
        return self.norm(x_BCT) if self.norm_type == "time_group_norm" else x_BCT


class Encodec(Transformer):
    """Waveform `[B,T]`, at 24 kHz in the published weights, to `[B,D]`: what the codec quantises,
    75 frames a second, pooled over time.

    `frozen`: the encoder learns nothing and stays in evaluation mode. Raises `InputError` for a
    configuration with more than one channel, or that normalises by the clip's loudness.
    """

    accepts = ("waveform",)
    model_type = "encodec"
    min_frames = 1
    lora_targets = ()

    def __init__(
        self,
        num_channels: int,
        num_bins: int,
        config: Mapping[str, Any] | None = None,
        pooling: str = "mean_std",
        frozen: bool = True,
    ) -> None:
        super().__init__(num_channels, num_bins, config, pooling=pooling)
        self.frozen = frozen
        self.model.requires_grad_(not frozen)

    def configure(self, config: Mapping[str, Any], num_bins: int) -> PreTrainedConfig:
        full = super().configure(config, num_bins)
        assert isinstance(full, EncodecConfig)
        if full.audio_channels != 1 or full.normalize:
            raise InputError(
                f"model.backend.config.audio_channels={full.audio_channels} and "
                f"normalize={full.normalize} are not supported, as in the EnCodec for stereo at "
                "48 kHz; take the one for mono, facebook/encodec_24khz."
            )
        return full

    def build(self, config: PreTrainedConfig) -> Any:
        model = super().build(config)
        del model.decoder, model.quantizer
        for module in model.modules():
            if isinstance(module, EncodecConv1d):
                module.__class__ = Conv1d
        return model

    def blocks(self) -> nn.ModuleList:
        layers = self.model.encoder.layers
        return nn.ModuleList(layer for layer in layers if any(True for _ in layer.parameters()))

    def train(self, mode: bool = True) -> "Encodec":
        super().train(mode)
        self.model.train(mode and not self.frozen)
        return self

    def encode(self, x_BT: Tensor, all_layers: bool) -> BaseModelOutput:
        x_BDN = self.model.encoder(x_BT.unsqueeze(1))
        return BaseModelOutput(x_BDN.transpose(1, 2))

    @classmethod
    def settings(cls, config: Mapping[str, Any], preprocessor: Mapping[str, Any]) -> Settings:
        rate = preprocessor.get("sampling_rate", config.get("sampling_rate", 24_000))
        return Settings("waveform_24k", {"sample_rate": rate}, cls.backend_args(config))
