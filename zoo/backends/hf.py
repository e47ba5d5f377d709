"""`hf`: any other encoder of transformers that reads waveforms and gives hidden states.

Such as SEW and SEW-D (Wu et al. 2022), UniSpeech, UniSpeech-SAT, Wav2Vec2-Conformer. The code is
transformers' (Apache 2.0).
"""

import bisect
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from transformers import CONFIG_MAPPING, MODEL_MAPPING, PreTrainedConfig
from transformers.modeling_outputs import BaseModelOutput

from zoo.backends.hub import changes, reason
from zoo.backends.wav2vec2 import Wav2Vec2
from zoo.errors import InputError

MOST = 2**16  # samples, of which an encoder must make a frame
LAYERS = ("encoder.layers", "encoder.layer", "encoder.encoder.layer", "layers")
ATTENTION = (("q_proj", "v_proj"), ("query_proj", "value_proj"), ("linear_q", "linear_v"))


class AnyEncoder(Wav2Vec2):
    """Waveform `[B,T] -> [B,D]`.

    `config` names the encoder with `model_type`. It is tried at once: the shortest waveform of
    which it makes a frame has `min_frames` samples, and what gets no gradient is frozen. Raises
    `InputError` for one that does not read waveforms of any length, or gives no hidden states.
    """

    model_type = "sew"
    min_frames = 0

    def __init__(
        self,
        num_channels: int,
        num_bins: int,
        config: Mapping[str, Any] | None = None,
        layers: str = "last",
        pooling: str = "mean",
        gradient_checkpointing: bool = False,
    ) -> None:
        super().__init__(num_channels, num_bins, config, layers, pooling, gradient_checkpointing)
        names = {name.split(".")[-2] for name, _ in self.model.named_parameters() if "." in name}
        self.lora_targets = next((pair for pair in ATTENTION if names.issuperset(pair)), ())
        self.freeze_what_gets_no_gradient()

    def configure(self, config: Mapping[str, Any], num_bins: int) -> PreTrainedConfig:
        if config:
            self.model_type = known_type(config)
        rest = {key: value for key, value in config.items() if key != "model_type"}
        return super().configure(rest, num_bins)

    def build(self, config: PreTrainedConfig) -> Any:
        theirs = MODEL_MAPPING.get(type(config), None)
        if getattr(theirs, "main_input_name", None) != "input_values":
            raise InputError(
                f"model=hf with model_type={self.model_type}: it does not read waveforms, as sew, "
                "unispeech and wav2vec2-conformer do."
            )
        model = super().build(config).eval()
        try:
            self.min_frames = shortest(model)
        except Exception as error:  # transformers raises of all kinds
            raise InputError(
                f"model=hf with model_type={self.model_type}: it does not give hidden states of "
                f"waveforms of any length: {reason(error)}"
            ) from error
        return model  # in evaluation until all has been tried

    def hidden_size(self) -> int:
        return hidden_states(self.model, self.min_frames).shape[-1]

    def blocks(self) -> nn.ModuleList:
        modules = dict(self.model.named_modules())
        found = (modules[name] for name in LAYERS if name in modules)
        return next((m for m in found if isinstance(m, nn.ModuleList)), nn.ModuleList())

    def is_last(self, name: str) -> bool:
        return super().is_last(name) or name.startswith("encoder.upsample.")

    def combine(self, output: BaseModelOutput) -> Tensor:
        if self.layer_weights is not None:
            states = output.hidden_states or ()
            if len(states) != len(self.layer_weights):
                raise InputError(
                    f"model.backend.layers=weighted is not possible with model_type="
                    f"{self.model_type}, which does not give the outputs of all layers; take last."
                )
            assert output.last_hidden_state is not None
            if states[-1].shape != output.last_hidden_state.shape:  # SEW has more frames after them
                output = BaseModelOutput(states[-1], hidden_states=states)
        return super().combine(output)

    @torch.enable_grad()
    def freeze_what_gets_no_gradient(self) -> None:
        """Freeze parameters of transformers' that the features do not depend on."""
        learning = [p for p in self.parameters() if p.requires_grad]
        features_BD = self(torch.zeros(1, self.min_frames))
        gradients = torch.autograd.grad(features_BD.sum(), learning, allow_unused=True)
        for parameter, gradient in zip(learning, gradients, strict=True):
            parameter.requires_grad_(gradient is not None)
        self.train()

    @classmethod
    def backend_args(cls, config: Mapping[str, Any]) -> dict[str, Any]:
        model_type = known_type(config)
        full = {"model_type": model_type, **changes(model_type, config)}
        return {**super().backend_args(config), "config": full}


def known_type(config: Mapping[str, Any]) -> str:
    """Return the model type of a configuration. Raises `InputError` if transformers has none."""
    model_type = config.get("model_type")
    if not isinstance(model_type, str) or model_type not in CONFIG_MAPPING:
        raise InputError(
            f"model=hf with model_type={model_type}: it must be one of the names that transformers "
            "knows, such as sew."
        )
    return model_type


@torch.no_grad()
def hidden_states(model: nn.Module, samples: int) -> Tensor:
    """Return what a model makes of silence, `[1,N,D]`."""
    return model(torch.zeros(1, samples)).last_hidden_state


def shortest(model: nn.Module) -> int:
    """Return the least number of samples of which a model makes a frame.

    Raises what the model raises if there is none below `MOST`, or one more sample does not do.
    """

    def reads(samples: int) -> bool:
        try:
            return hidden_states(model, samples).shape[1] > 0
        except Exception:  # too short, or none that reads waveforms
            return False

    powers = [2**i for i in range(MOST.bit_length())]
    enough = next((samples for samples in powers if reads(samples)), MOST)
    least = bisect.bisect_left(range(enough), True, enough // 2 + 1, key=reads)
    hidden_states(model, least + 1)
    return least
