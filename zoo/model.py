"""`GenreModel`: the only place where front end, back end and head meet."""

import copy
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Self

import torch
from omegaconf import OmegaConf
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from zoo.backends.base import BackEnd, check_finite
from zoo.errors import InputError
from zoo.frontends.base import FrontEnd, full_precision
from zoo.heads import Nearest
from zoo.registry import build_named, choices, target
from zoo.sources import download, model_folder

START = {"pretrained": False, "checkpoint": None}  # weights that the saved ones stand in for
Augment = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class ModelConfig:
    """All it takes to build a model again: names of the registry and plain arguments."""

    model: str
    frontend: str
    classes: tuple[str, ...]
    multilabel: bool
    clip_seconds: float  # of the chunks it was trained on
    dropout: float = 0.0  # before the head
    frontend_args: Mapping[str, Any] | None = None
    backend_args: Mapping[str, Any] | None = None
    thresholds: tuple[float, ...] | None = None  # per tag, for several labels
    base: str | None = None  # the checkpoint that training started from
    base_hash: str | None = None  # of its weights
    licence: str | None = None  # of that checkpoint, as it states it
    adapter: Mapping[str, Any] | None = None  # `zoo.adapters.Adapters`, where there are some
    neighbours: Mapping[str, int] | None = None  # of a head that is `Nearest`: its sizes
    calibration: Mapping[str, Any] | None = None  # `zoo.calibration.Calibration`, as plain values


def without_start(config: ModelConfig) -> ModelConfig:
    """Return the config without the weights that its back end would be built with."""
    args = {key: START.get(key, value) for key, value in (config.backend_args or {}).items()}
    return replace(config, backend_args=args)


def fits(model: str, frontend: str) -> bool:
    """Tell whether the back end of a model reads what a front end gives."""
    return not {frontend, target("frontend", frontend).kind}.isdisjoint(
        target("model", model).accepts
    )


def check_pair(model: str, frontend_name: str, frontend: FrontEnd) -> None:
    """Raise `InputError` if the back end does not read what the front end gives."""
    if fits(model, frontend_name):
        return
    fitting = [name for name in choices("frontend") if fits(model, name)]
    raise InputError(
        f"model={model} does not take frontend={frontend_name} (a {frontend.kind}); "
        f"those that fit: {', '.join(fitting)}."
    )


class GenreModel(nn.Module):
    """Waveforms at `sample_rate` in [-1, 1] to logits `[B,K]`."""

    has_head = True  # false where the checkpoint had no classifier, and the head is random

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        args = dict(config.frontend_args or {}), dict(config.backend_args or {})
        self.frontend: FrontEnd = build_named("frontend", config.frontend, args[0])
        check_pair(config.model, config.frontend, self.frontend)
        shape = self.frontend.num_channels, self.frontend.num_bins
        self.backend: BackEnd = build_named("model", config.model, args[1], *shape)
        self.dropout = nn.Dropout(config.dropout)
        sizes = self.backend.num_features, len(config.classes)
        self.head: nn.Module = (
            nn.Linear(*sizes)
            if config.neighbours is None
            else Nearest(*sizes, config.multilabel, **config.neighbours)
        )
        if self.backend.channels_last:
            self.backend.to(memory_format=torch.channels_last)

    @property
    def sample_rate(self) -> int:
        """Samples a second of the waveforms that it takes."""
        return self.frontend.sample_rate

    @property
    def min_samples(self) -> int:
        """The shortest waveform that it takes."""
        return self.frontend.samples_for(self.backend.min_frames)

    def embed(self, x_BT: Tensor, augment: Augment | None = None) -> Tensor:
        """Return the back end's features `[B,D]`; `augment` changes the front end's output."""
        if x_BT.ndim != 2 or x_BT.shape[1] < self.min_samples:
            raise ValueError(
                f"waveforms must be [B,T] with T of at least {self.min_samples} samples at "
                f"{self.sample_rate} Hz, not {tuple(x_BT.shape)}"
            )
        features = self.frontend(x_BT)
        if augment is not None:
            features = augment(features)
        if self.backend.channels_last and features.ndim == 4:
            features = features.contiguous(memory_format=torch.channels_last)
        return self.backend(features)

    def train(self, mode: bool = True) -> Self:
        """Set the mode; what is frozen stays in evaluation: its norms keep their statistics, its
        dropout is off. Not so recurrent layers: cuDNN has gradients in training only."""
        super().train(mode)
        for module in self.modules() if mode else ():
            parameters = list(module.parameters())
            is_frozen = parameters and not any(p.requires_grad for p in parameters)
            if is_frozen:
                module.eval()
        for module in self.modules() if mode else ():
            if isinstance(module, nn.RNNBase):
                module.train()
        return self

    def forward(self, x_BT: Tensor, augment: Augment | None = None) -> Tensor:
        return self.classify(self.embed(x_BT, augment))

    def classify(self, x_BD: Tensor) -> Tensor:
        """Return the logits `[B,K]` of features, in float32: they are small differences of large
        sums, which costs nothing."""
        with full_precision(x_BD.device):
            return self.head(self.dropout(x_BD.float()))

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle config and weights: modules with a weight norm cannot be pickled themselves."""
        return _unpickled, (without_start(self.config), self.state_dict(), self.training)

    def __deepcopy__(self, memo: dict[int, Any]) -> "GenreModel":
        """Copy module by module, what has been added or frozen since included."""
        copied = self.__class__.__new__(self.__class__)
        memo[id(self)] = copied
        copied.__dict__.update(copy.deepcopy(self.__dict__, memo))
        return copied

    def probabilities(self, logits_BK: Tensor) -> Tensor:
        """Return float32 probabilities: of one class, or of each tag."""
        logits_BK = logits_BK.float()
        return logits_BK.sigmoid() if self.config.multilabel else logits_BK.softmax(-1)

    def save_pretrained(self, folder: Path) -> None:
        """Write config.json, model.safetensors and a model card, as the Hub has them; of a model
        with adapters, only what has learned."""
        folder.mkdir(parents=True, exist_ok=True)
        write_config(folder, self.config)
        file, state = folder / "model.safetensors", self.state_dict()
        if self.config.adapter is not None:
            from zoo import adapters

            file, state = folder / adapters.FILE, adapters.to_save(self)
        form = torch.contiguous_format  # clones, as one module may have several names
        state = {k: tensor.clone(memory_format=form) for k, tensor in state.items()}
        file.write_bytes(save(state, {"format": "pt"}))
        (folder / "README.md").write_text(model_card(self))

    @classmethod
    def from_pretrained(cls, name: str | Path) -> "GenreModel":
        """Load a folder that `save_pretrained` wrote, or a Hub repository of that name.

        Returns it in evaluation mode, adapters merged into their base. Raises `InputError` for what
        is no such model.
        """
        folder = find_model(name)
        config_file, weights_file = folder / "config.json", folder / "model.safetensors"
        try:
            content = json.loads(config_file.read_text("utf-8"))
            content["classes"] = tuple(content["classes"])
            config = ModelConfig(**content)
        except (OSError, TypeError, KeyError, json.JSONDecodeError) as error:
            raise InputError(
                f"{config_file} is not the config of a Genre Zoo model: {error}."
            ) from error
        if config.adapter is not None:
            from zoo import adapters

            weights_file = folder / adapters.FILE
        try:
            weights = load_file(weights_file)
            if config.adapter is not None:
                model = adapters.load(cls, config, weights_file, weights)
            else:
                model = cls(config)
                model.load_state_dict(weights)
        except (OSError, SafetensorError, RuntimeError) as error:
            reason = str(error).splitlines()[0]
            raise InputError(f"{weights_file} does not hold its weights: {reason}") from error
        check_finite(weights_file, weights)
        return model.eval()


def write_config(folder: Path, config: ModelConfig) -> None:
    """Write config.json into a model's folder."""
    content = asdict(without_start(config))
    (folder / "config.json").write_text(json.dumps(content, indent=2) + "\n")


def weights_hash(model: nn.Module, without: str | None = None) -> str:
    """Return a hash of a module's tensors, of all but those whose names begin like `without`."""
    digest = hashlib.sha256()
    for name, tensor in model.state_dict().items():
        if without is None or not name.startswith(without):
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            flat = tensor.detach().cpu().contiguous().flatten()
            digest.update(flat.view(torch.uint8).numpy().data)
    return digest.hexdigest()[:32]


def _unpickled(config: ModelConfig, state: Mapping[str, Tensor], training: bool) -> GenreModel:
    model = GenreModel(config)
    if config.adapter is not None:
        from zoo import adapters

        adapters.attach(model, adapters.Adapters(**config.adapter))
    model.load_state_dict(state)
    return model.train(training)


def find_model(name: str | Path) -> Path:
    """Return the local folder with a model: a run, a model folder, or the Hub's copy of a name."""
    path = Path(name).expanduser()
    if folder := model_folder(path):
        return folder
    if path.exists() or str(name).count("/") != 1:
        raise InputError(f"{name} holds no model: neither model/config.json nor config.json.")
    return download(str(name))


def shown(base: str) -> str:
    """Return how a checkpoint is called in public: a path on this machine by its last part."""
    path = Path(base).expanduser()
    return path.name if path.exists() else base


def model_card(model: GenreModel) -> str:
    """Return the text of the model card."""
    config = model.config
    origin = f", from the weights of {shown(config.base)}" if config.base else ""
    if config.adapter is not None:
        origin += ", which it needs: only what has learned since is here"
    lines = [
        "---",
        *([f"license: {config.licence}"] if config.licence else []),
        "library_name: genre-zoo",
        "pipeline_tag: audio-classification",
        "---",
        f"# {config.model} on {config.frontend}",
        "",
        f"Recognises {', '.join(config.classes)} in music at {model.sample_rate} Hz mono; trained "
        f"on chunks of {config.clip_seconds:g} s with Genre Zoo"
        f"{origin}.",
        "",
        "```python",
        "import zoo",
        "",
        'model = zoo.load_model("path/to/this/folder")',
        "```",
    ]
    return "\n".join(lines) + "\n"


def config_from(config: Any, classes: Sequence[str], multilabel: bool, clip: float) -> ModelConfig:
    """Return the model part of a composed configuration."""
    content: Any = OmegaConf.to_container(config) if OmegaConf.is_config(config) else config
    frontend, backend = content["frontend"], content["model"]["backend"]
    return ModelConfig(
        model=config.model.name,
        frontend=config.frontend.name,
        classes=tuple(classes),
        multilabel=multilabel,
        clip_seconds=clip,
        dropout=config.model.dropout,
        frontend_args={k: v for k, v in frontend.items() if k not in ("_target_", "name")},
        backend_args={k: v for k, v in backend.items() if k != "_target_"},
    )
