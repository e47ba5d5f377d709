"""`clap`: the audio tower of CLAP, a Swin transformer (HTS-AT) over a folded spectrogram.

Wu et al. 2023, Large-scale Contrastive Language-Audio Pretraining with Feature Fusion and
Keyword-to-Caption Augmentation; Chen et al. 2022, HTS-AT. The code is transformers' (Apache 2.0).
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import ClapAudioConfig, ClapAudioModel, PreTrainedConfig

from zoo.backends.hub import from_pretrained
from zoo.backends.transformer import Settings, Transformer
from zoo.backends.windows import mean_over_windows
from zoo.errors import InputError, check_choice

FRAMES = 1001  # of 10 s, what it was trained on
FUSION = (".fusion_model.", ".mel_conv2d.")  # these read crops of clips of more than 10 s
MEL_SCALES = {"fusion": "htk", "rand_trunc": "slaney"}  # by the extractor's truncation
EXTRACTOR = {  # arguments of the front end, and how the extractor calls them
    "sample_rate": "sampling_rate",
    "n_fft": "fft_window_size",
    "hop_length": "hop_length",
    "n_mels": "feature_size",
    "f_min": "frequency_min",
    "f_max": "frequency_max",
    "max_seconds": "max_length_s",
}


class Clap(Transformer):
    """Log-mel spectrogram `[B,1,F,N] -> [B,D]`: what CLAP projects to where its texts are.

    Clips of more than 10 s are the mean over windows of 10 s, with feature fusion too: no random
    crops are taken. `config` is that of transformers' `clap_audio_model`. Raises `InputError` for
    one that does not fit the front end's bins, or its own windows of attention.
    """

    accepts = ("clap_mel",)
    model_type = "clap_audio_model"
    min_frames = 1
    lora_targets = ("query", "value")
    ia3_targets = ("key", "value", "intermediate.dense")
    ia3_inputs = ()

    def __init__(
        self, num_channels: int, num_bins: int, config: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(num_channels, num_bins, config)
        size = self.model.config.spec_size
        self.frames = min(FRAMES, size * (size // num_bins))
        for name, parameter in self.model.named_parameters():
            if any(part in name for part in FUSION):
                parameter.requires_grad_(False)

    def configure(self, config: Mapping[str, Any], num_bins: int) -> PreTrainedConfig:
        full = super().configure(config, num_bins)
        assert isinstance(full, ClapAudioConfig)
        if full.num_mel_bins != num_bins:
            raise InputError(
                f"model.backend.config.num_mel_bins={full.num_mel_bins} must be the front end's "
                f"number of bins, {num_bins}."
            )
        halvings = len(full.depths) - 1
        stride = full.patch_stride if isinstance(full.patch_stride, int) else full.patch_stride[0]
        least = full.window_size * 2**halvings * stride
        if full.spec_size % num_bins or full.spec_size < least:
            raise InputError(
                f"model.backend.config.spec_size={full.spec_size} must be a multiple of "
                f"num_mel_bins={num_bins} and at least {least}: window_size={full.window_size} "
                f"patches of patch_stride={stride} after {halvings} halvings."
            )
        return full

    def build(self, config: PreTrainedConfig) -> Any:
        assert isinstance(config, ClapAudioConfig)
        return ClapAudioModel(config)

    def hidden_size(self) -> int:
        return self.model.audio_encoder.num_features

    def blocks(self) -> nn.ModuleList:
        return self.model.audio_encoder.layers

    def is_last(self, name: str) -> bool:
        return name.startswith("audio_encoder.norm.")

    def forward(self, x_BCFN: Tensor) -> Tensor:
        return mean_over_windows(self.features, x_BCFN, self.frames)

    def features(self, x_BCFN: Tensor) -> Tensor:
        """Return the features `[B,D]` of at most 10 s. With fusion as without, one channel is what
        transformers reads of the extractor's four equal ones."""
        is_longer_B1 = torch.zeros(x_BCFN.shape[0], 1, dtype=torch.bool, device=x_BCFN.device)
        return self.model(x_BCFN.transpose(2, 3), is_longer=is_longer_B1).pooler_output

    @classmethod
    def settings(cls, config: Mapping[str, Any], preprocessor: Mapping[str, Any]) -> Settings:
        audio = config.get("audio_config", config)
        default = "fusion" if audio.get("enable_fusion") else "rand_trunc"
        truncation = preprocessor.get("truncation", default)
        check_choice("preprocessor_config.json: truncation", truncation, MEL_SCALES)
        padding = preprocessor.get("padding", "repeatpad")
        check_choice("preprocessor_config.json: padding", padding, ["repeatpad"])
        frontend = {k: preprocessor[name] for k, name in EXTRACTOR.items() if name in preprocessor}
        frontend["mel_scale"] = MEL_SCALES[truncation]
        return Settings("clap_mel", frontend, cls.backend_args(audio))

    def read(self, folder: Path, config: PreTrainedConfig, with_head: bool) -> Any:
        # of the audio tower alone, or of the whole
        names = {r"^audio_model\.": ""}
        return from_pretrained(ClapAudioModel, folder, config, key_mapping=names)
