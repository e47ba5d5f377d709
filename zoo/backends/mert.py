"""`mert`: a HuBERT at 24 kHz that learned from codes of EnCodec and constant-Q spectrograms.

Li et al. 2024, MERT: Acoustic Music Understanding Model with Large-Scale Self-supervised Training.
Its weights are loaded into transformers' HuBERT (Apache 2.0), without the authors' code: in both
published sizes of version 1 the two compute the same. The spectrogram was a target of training
only. `attention_relax` is for numbers of half precision and leaves the attention as it is.
"""

from collections.abc import Mapping
from typing import Any

from zoo.backends.transformer import Settings
from zoo.backends.wav2vec2 import HuBERT
from zoo.errors import InputError

ARCHITECTURES = ("MERTModel", "HubertModel")
OTHERWISE = {  # keys of its config.json that make it no HuBERT
    "feature_extractor_cqt": "it reads a constant-Q spectrogram beside the waveform",
    "deepnorm": "its residual connections are scaled",
}


class MERT(HuBERT):
    """Waveform `[B,T]` at 24 kHz `-> [B,D]`."""

    @classmethod
    def settings(cls, config: Mapping[str, Any], preprocessor: Mapping[str, Any]) -> Settings:
        for name in config.get("architectures") or ():
            if name not in ARCHITECTURES:
                raise InputError(
                    f"model=mert does not take a checkpoint of architecture {name}, only of "
                    f"{' or '.join(ARCHITECTURES)}."
                )
        for key, why in OTHERWISE.items():
            if config.get(key):
                raise InputError(
                    f"model=mert does not take a checkpoint with {key}={config[key]}: {why}; "
                    "m-a-p/MERT-v1-95M and m-a-p/MERT-v1-330M are without."
                )
        rate = preprocessor.get("sampling_rate", config.get("sample_rate", 24_000))
        normalize = preprocessor.get("do_normalize", True)
        waveform = {"sample_rate": rate, "normalize": normalize}
        return Settings("waveform_24k", waveform, cls.backend_args(config))
