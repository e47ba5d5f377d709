"""`wav2vec2`, `hubert`, `wavlm`, `data2vec`: transformers over a learned filter bank's frames.

Baevski, Zhou, Mohamed, Auli 2020, wav2vec 2.0; Hsu et al. 2021, HuBERT; Chen et al. 2022, WavLM;
Baevski et al. 2022, data2vec. The code is transformers' (Apache 2.0). With a group norm, padding
would change the output whatever the mask: all clips of a batch are of one length here.
"""

from collections.abc import Mapping
from typing import Any

from zoo.backends.transformer import Settings, Transformer


class Wav2Vec2(Transformer):
    """Waveform `[B,T] -> [B,D]`."""

    accepts = ("waveform",)
    model_type = "wav2vec2"

    @property
    def min_frames(self) -> int:  # type: ignore[override]
        """The samples that one frame of the filter bank sees."""
        config, samples = self.model.config, 1
        for kernel, stride in zip(
            reversed(config.conv_kernel), reversed(config.conv_stride), strict=True
        ):
            samples = (samples - 1) * stride + kernel
        return samples

    def is_last(self, name: str) -> bool:
        return name.startswith("encoder.layer_norm") and getattr(
            self.model.config, "do_stable_layer_norm", False
        )

    @classmethod
    def settings(cls, config: Mapping[str, Any], preprocessor: Mapping[str, Any]) -> Settings:
        waveform = {
            "sample_rate": preprocessor.get("sampling_rate", 16_000),
            "normalize": preprocessor.get("do_normalize", True),
        }
        return Settings("waveform", waveform, cls.backend_args(config))


class HuBERT(Wav2Vec2):
    """Likewise."""

    model_type = "hubert"


class WavLM(Wav2Vec2):
    """Likewise, with relative positions in its attention."""

    model_type = "wavlm"
    lora_targets = ("intermediate_dense", "output_dense")  # its attention only reads the weights


class Data2Vec(Wav2Vec2):
    """Likewise."""

    model_type = "data2vec-audio"
