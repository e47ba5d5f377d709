"""What the audio transformers of Hugging Face's `transformers` share: layers, pooling, weights.

Wolf et al. 2020, Transformers: State-of-the-Art Natural Language Processing (Apache 2.0; the
licence of a checkpoint is that of its authors).
"""

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, AutoModelForAudioClassification, PreTrainedConfig
from transformers.modeling_outputs import BaseModelOutput

from zoo.backends.base import BackEnd
from zoo.backends.hub import OURS, changes, from_pretrained, has_head, reason
from zoo.errors import InputError, check_choice
from zoo.sources import read_json


class Settings(NamedTuple):
    """What a checkpoint says about the model to build: names and arguments of the registry."""

    frontend: str
    frontend_args: Mapping[str, Any]
    backend_args: Mapping[str, Any]


class Head(NamedTuple):
    """The classifier of a checkpoint, as one linear layer on the pooled features."""

    weight: Tensor  # [K,D]
    bias: Tensor  # [K]


class Pooling(nn.Module):
    """`[B,N,D] -> [B,D]` or, with the deviation, `[B,2D]`.

    Attention: a softmax over time of a learned score (Safari, India, Hernando 2020, Self-Attention
    Encoding and Pooling for Speaker Recognition).
    """

    kinds: tuple[str, ...] = ("mean", "mean_std", "attention")  # the first: checkpoints' own

    def __init__(self, num_features: int, kind: str) -> None:
        super().__init__()
        check_choice("model.backend.pooling", kind, self.kinds)
        self.kind = kind
        self.num_features = num_features * (2 if kind == "mean_std" else 1)
        self.score: nn.Module | None = None
        if kind == "attention":
            self.score = nn.Linear(num_features, 1)

    def forward(self, x_BND: Tensor) -> Tensor:
        if self.score is not None:
            return (self.score(x_BND).softmax(1) * x_BND).sum(1)
        if self.kind == "mean":
            return x_BND.mean(1)
        variance_BD = x_BND.float().var(1, correction=0)
        return torch.cat([x_BND.mean(1), (variance_BD + 1e-5).sqrt().to(x_BND.dtype)], dim=1)


class Transformer(BackEnd):
    """Front end's output to `[B,D]`: hidden states of an encoder, pooled over time.

    `config` is what differs from the defaults of transformers' configuration of `model_type`; a
    checkpoint brings its own. `layers` is `last`, `weighted` (a learned weighted mean of the input
    to the first layer and the outputs of all) or a number: the first so many, the others are left
    out. Raises `InputError` for a configuration that transformers refuses, and for unknown layers
    or pooling.
    """

    model_type: str  # of transformers
    pooler = Pooling
    channels_last = False
    learned_here: tuple[str, ...] = ("layer_weights", "pooling.")
    lora_targets: tuple[str, ...] = ("q_proj", "v_proj")
    ia3_inputs: tuple[str, ...] = (
        "output_dense",
        "output.dense",
        "fc2",
    )  # second layers of feed-forward blocks
    ia3_targets: tuple[str, ...] = (
        "k_proj",
        "v_proj",
        "linear_k",
        "linear_v",
        "key",
        "value",
        *ia3_inputs,
    )

    def __init__(
        self,
        num_channels: int,
        num_bins: int,
        config: Mapping[str, Any] | None = None,
        layers: str = "last",
        pooling: str = "mean",
        gradient_checkpointing: bool = False,
    ) -> None:
        super().__init__()
        try:
            self.model: Any = self.build(self.configure(config or {}, num_bins))
        except InputError:
            raise
        except Exception as error:  # transformers raises of all kinds
            raise InputError(
                f"model.backend.config is none of {self.model_type}: {reason(error)}"
            ) from error
        if gradient_checkpointing and not self.model.supports_gradient_checkpointing:
            raise InputError(
                f"model.backend.gradient_checkpointing=true: {self.model_type} cannot do that."
            )
        if gradient_checkpointing:
            self.model.activation_checkpointing_enable({"use_reentrant": False})
        for name, parameter in self.model.named_parameters():
            if name.endswith("masked_spec_embed"):
                parameter.requires_grad_(False)
        depth = len(self.blocks())
        if layers.isdecimal() and 1 <= int(layers) <= depth:
            del self.blocks()[int(layers) :]
        elif layers not in ("last", "weighted"):
            raise InputError(
                f"model.backend.layers={layers} must be last, weighted, or one of the numbers from "
                f"1 to {depth}."
            )
        self.layer_weights = nn.Parameter(torch.zeros(depth + 1)) if layers == "weighted" else None
        self.pooling = self.pooler(self.hidden_size(), pooling)
        self.reads_as_published = layers == "last" and pooling == self.pooler.kinds[0]
        self.num_features = self.pooling.num_features

    def configure(self, config: Mapping[str, Any], num_bins: int) -> PreTrainedConfig:
        """Return transformers' configuration with those changes of its defaults."""
        return AutoConfig.for_model(self.model_type, **{**config, **OURS})

    def build(self, config: PreTrainedConfig) -> Any:
        """Return the encoder with random weights."""
        return AutoModel.from_config(config)

    def hidden_size(self) -> int:
        """Return D of the hidden states."""
        return self.model.config.hidden_size

    def blocks(self) -> nn.ModuleList:
        """Return the layers."""
        return self.model.encoder.layers

    def encode(self, x: Tensor, all_layers: bool) -> BaseModelOutput:
        """Return what transformers' encoder gives for the front end's output."""
        return self.model(x, output_hidden_states=all_layers)

    def forward(self, x: Tensor) -> Tensor:
        return self.pooling(self.combine(self.encode(x, self.layer_weights is not None)))

    def combine(self, output: BaseModelOutput) -> Tensor:
        """Return the last hidden states, or the weighted mean of all, `[B,N,D]`."""
        assert output.last_hidden_state is not None
        if self.layer_weights is None:
            return output.last_hidden_state
        assert output.hidden_states is not None
        # the last of all may lack the encoder's last norm
        every_LBND = torch.stack([*output.hidden_states[:-1], output.last_hidden_state])
        return (self.layer_weights.softmax(0)[:, None, None, None] * every_LBND).sum(0)

    def layer_groups(self) -> list[list[nn.Module]]:
        blocks = list(self.blocks())
        inside = {id(p) for block in blocks for p in block.parameters()}
        outside = [(n, p) for n, p in self.model.named_parameters() if id(p) not in inside]
        last = [p for n, p in outside if self.is_last(n)]
        first = [p for n, p in outside if not self.is_last(n)]
        ours = [] if self.layer_weights is None else [self.layer_weights]
        end = [nn.ParameterList(last), nn.ParameterList(ours), self.pooling]
        return [[nn.ParameterList(first)], *([block] for block in blocks), end]

    def is_last(self, name: str) -> bool:
        """Tell whether a parameter outside the layers comes after them."""
        return False

    @classmethod
    def settings(cls, config: Mapping[str, Any], preprocessor: Mapping[str, Any]) -> Settings:
        """Return what a checkpoint's config.json and preprocessor_config.json ask for.

        Raises `InputError` for a checkpoint that this back end cannot be.
        """
        raise NotImplementedError

    @classmethod
    def backend_args(cls, config: Mapping[str, Any]) -> dict[str, Any]:
        """Return the arguments that a checkpoint's config.json implies: its architecture and, where
        it has a classifier, what that reads."""
        reads = {"layers": "last", "pooling": cls.pooler.kinds[0]} if has_head(config) else {}
        return {"config": changes(cls.model_type, config), **reads}

    def load(self, folder: Path) -> Head | None:
        """Take the weights of a checkpoint's folder; return its classifier, if that reads what this
        back end gives.

        Raises `InputError` if tensors are missing, of other shapes, or not finite.
        """
        content = read_json(folder / "config.json")
        config = copy.deepcopy(self.model.config)
        config.num_labels = len(content.get("id2label") or config.id2label)
        theirs = self.read(folder, config, has_head(content))
        body = self.body(theirs) if has_head(content) else theirs
        state = body.state_dict()
        self.model.load_state_dict({name: state[name] for name in self.model.state_dict()})
        is_read = self.reads_as_published and not content.get("add_adapter")
        return self.head(theirs) if has_head(content) and is_read else None

    def read(self, folder: Path, config: PreTrainedConfig, with_head: bool) -> Any:
        """Return transformers' encoder, or its class with a classifier, with a folder's weights."""
        auto = AutoModelForAudioClassification if with_head else AutoModel
        return from_pretrained(auto, folder, config)

    def body(self, theirs: Any) -> nn.Module:
        """Return the encoder within transformers' class with a classifier."""
        return theirs.base_model

    def head(self, theirs: Any) -> Head:
        """Return projector and classifier as one linear layer: the mean over time between them is
        linear too."""
        classifier, projector = theirs.classifier, theirs.projector
        weight_KD = classifier.weight @ projector.weight
        return Head(weight_KD, classifier.weight @ projector.bias + classifier.bias)


def run_layers(
    layers: nn.ModuleList, norm: nn.Module, x_BND: Tensor, all_layers: bool
) -> BaseModelOutput:
    """Return what an encoder gives that has a norm after its layers."""
    states = []
    for layer in layers:
        states.append(x_BND)
        x_BND = layer(x_BND, None)
    last = norm(x_BND)
    return BaseModelOutput(last, hidden_states=(*states, last) if all_layers else None)
