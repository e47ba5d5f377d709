"""`wav2vec2_bert`: a conformer over pairs of mel frames, pretrained on 4.5 million hours of speech.

Seamless Communication et al. 2023, Seamless: Multilingual Expressive and Streaming Speech
Translation (w2v-BERT 2.0). The code is transformers' (Apache 2.0).
"""

from collections.abc import Mapping
from typing import Any

from torch import Tensor
from transformers import PreTrainedConfig
from transformers.modeling_outputs import BaseModelOutput

from zoo.backends.transformer import Settings, Transformer
from zoo.errors import InputError
from zoo.frontends.fbank_stacked import STRIDE

POSITIONS = "relative_key"  # of all published checkpoints
NO_ADAPTER = {"add_adapter": False, "use_intermediate_ffn_before_adapter": False}


class Wav2Vec2BERT(Transformer):
    """`[B,1,F,N] -> [B,D]`. All clips of a batch are of one length, and nothing is padded.

    An adapter after the encoder, which checkpoints for recognising speech may have, is left out.
    Raises `InputError` also for positions other than relative to the key: transformers keeps the
    others from call to call, in the precision, mode and place of the last one.
    """

    accepts = ("fbank_stacked",)
    model_type = "wav2vec2-bert"
    min_frames = 1
    lora_targets = ("linear_q", "linear_v")

    def configure(self, config: Mapping[str, Any], num_bins: int) -> PreTrainedConfig:
        kind = config.get("position_embeddings_type", POSITIONS)
        if kind != POSITIONS:
            raise InputError(
                f"model.backend.config.position_embeddings_type={kind} must be {POSITIONS}."
            )
        inputs = {"feature_projection_input_dim": num_bins}
        return super().configure({**config, **inputs, **NO_ADAPTER}, num_bins)

    def encode(self, x_BCFN: Tensor, all_layers: bool) -> BaseModelOutput:
        return super().encode(x_BCFN.squeeze(1).transpose(1, 2), all_layers)

    @classmethod
    def settings(cls, config: Mapping[str, Any], preprocessor: Mapping[str, Any]) -> Settings:
        if (stride := preprocessor.get("stride", STRIDE)) != STRIDE:
            raise InputError(f"preprocessor_config.json: stride={stride} must be {STRIDE}.")
        keys = {"sampling_rate": "sample_rate", "num_mel_bins": "n_mels"}
        fbank = {ours: preprocessor[key] for key, ours in keys.items() if key in preprocessor}
        return Settings("fbank_stacked", fbank, cls.backend_args(config))
