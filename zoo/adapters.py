"""Adapters: a few weights that learn inside a network that does not, saved without it, and merged
into it where it is loaded.

`lora`: Hu et al. 2022, LoRA: Low-Rank Adaptation of Large Language Models. `adapter`: Liu et al.
2022, Few-Shot Parameter-Efficient Fine-Tuning is Better and Cheaper than In-Context Learning, whose
(IA)3 scales some activations. Both are PEFT's (Apache 2.0). The base, the checkpoint that training
started from, is looked for where it was named, from the current folder; then where it was then.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from peft import IA3Config, LoraConfig, PeftConfig, inject_adapter_in_model
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_pre_hook

from zoo.errors import InputError
from zoo.sources import Source, find, implied
from zoo.weights import read_tensors, table_of, their_name

if TYPE_CHECKING:
    from zoo.model import GenreModel, ModelConfig

FILE = "adapter.safetensors"
BASE = "base"  # the tensor in it by which the base is recognised: `sample`
KINDS: Mapping[str, tuple[type[nn.Module], ...]] = {  # of layers that PEFT merges exactly
    "lora": (nn.Linear, nn.Conv1d, nn.Conv2d),
    "adapter": (nn.Linear, nn.Conv2d),
}
SAMPLED = 16  # values of each tensor of the base
SHOWN = 8  # names of layers in a message


@dataclass(frozen=True)
class Adapters:
    """What there is to know about a model's adapters, as config.json holds it."""

    method: str  # of KINDS
    layers: Sequence[str]  # that have one; names within the back end
    inputs: Sequence[str]  # those of them whose input is scaled, not the output
    rank: int | None
    alpha: int | None
    pretrained: bool  # the base is what timm names, not a checkpoint
    path: str | None  # where the base was, if not on the Hub

    def peft(self) -> PeftConfig:
        """Return PEFT's configuration."""
        layers, inputs = ("|".join(map(re.escape, names)) for names in (self.layers, self.inputs))
        if self.method == "lora":
            assert self.rank is not None and self.alpha is not None
            return LoraConfig(r=self.rank, lora_alpha=self.alpha, target_modules=layers)
        return IA3Config(target_modules=layers, feedforward_modules=inputs)


def inject(model: "GenreModel", section: Any) -> str:
    """Put new adapters into a model, as the section `finetune` says; return what learns now: they,
    the head, and what no checkpoint holds.

    Raises `InputError` for targets that name no layers.
    """
    backend, config = model.backend, model.config
    layers = choose_layers(model, section)
    start = config.backend_args or {}
    place = Path(config.base or "").expanduser()
    adapters = Adapters(
        method=section.name,
        layers=layers,
        inputs=[n for n in layers if section.name == "adapter" and ends(n, backend.ia3_inputs)],
        rank=section.get("rank"),
        alpha=section.get("alpha"),
        pretrained=bool(start.get("pretrained")) and config.base == start.get("name"),
        path=str(place.absolute()) if config.base and place.exists() else None,
    )
    attach(model, adapters)
    model.requires_grad_(False)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(is_learned(name, model))
    learning = sum(p.numel() for p in model.parameters() if p.requires_grad)
    total = sum(p.numel() for p in model.parameters())
    what = f"LoRA of rank {adapters.rank}" if adapters.method == "lora" else "(IA)3"
    return (
        f"{learning:,} of {total:,} parameters learn: {what} in {len(layers)} layers, and the head"
    )


def attach(model: "GenreModel", adapters: Adapters) -> None:
    """Put adapters into the layers; until they have learned, they change nothing."""
    inject_adapter_in_model(adapters.peft(), model.backend)
    model.config = replace(model.config, adapter=asdict(adapters))


def ends(name: str, targets: Iterable[str]) -> bool:
    """Tell whether a module's name ends in one of the targets."""
    return any(f".{name}".endswith(f".{target}") for target in targets)


def is_learned(name: str, model: "GenreModel") -> bool:
    """Tell whether a tensor of a model with adapters is no tensor of the base."""
    ours = tuple(f"backend.{start}" for start in model.backend.learned_here)
    return name.startswith(("head.", *ours)) or ".lora_" in name or ".ia3_l." in name


def choose_layers(model: "GenreModel", section: Any) -> list[str]:
    """Return the names of the layers of the back end that get an adapter: those that
    `finetune.targets` names, else the back end's own, else all that can have one."""
    backend, given = model.backend, [str(target) for target in section.targets or ()]
    possible = possible_layers(model, KINDS[section.name])
    if not possible:
        raise InputError(
            f"finetune={section.name}: model={model.config.model} has no layers that take "
            "adapters; give finetune=full, layerwise or head."
        )
    for target in given:
        if not any(ends(name, [target]) for name in possible):
            raise InputError(
                f"finetune.targets: {target} ends the name of no layer of "
                f"model={model.config.model} that takes adapters; such are {some_ends(possible)}."
            )
    own = backend.lora_targets if section.name == "lora" else backend.ia3_targets
    return [name for name in possible if ends(name, given or own)] or possible


def some_ends(names: list[str]) -> str:
    """Return a few ends of modules' names that tell kinds of layers apart."""
    found = dict.fromkeys(re.sub(r".*?([^.]*[^.\d][^.]*(\.\d+)*)$", r"\1", name) for name in names)
    return ", ".join(list(found)[:SHOWN]) + (" and more" if len(found) > SHOWN else "")


def possible_layers(model: "GenreModel", kinds: tuple[type[nn.Module], ...]) -> list[str]:
    """Return the names of the back end's layers that can have an adapter.

    PEFT changes what a layer's call gives: a layer of which the network reads the weights, as
    WavLM's attention does and `conv_bn`, would go on as if there were none. A subclass may compute
    something else.
    """
    called = called_modules(model)
    return [
        name
        for name, module in model.backend.named_modules()
        if type(module) in kinds
        and module in called
        and is_plain(module)
        and not name.startswith(model.backend.learned_here)
    ]


def is_plain(layer: nn.Module) -> bool:
    """Tell whether a layer's adapter computes what its merged weights do: not with groups or
    dilation, and not where the weights follow from others, as with a weight norm."""
    if isinstance(layer, nn.Conv1d | nn.Conv2d):
        is_dense = layer.groups == 1 and set(layer.dilation) == {1}
        if not is_dense or layer.padding_mode != "zeros":
            return False
    return "weight" in dict(layer.named_parameters(recurse=False))


@torch.no_grad()
def called_modules(model: "GenreModel") -> set[nn.Module]:
    """Return the modules that are called when a clip is evaluated."""
    called: set[nn.Module] = set()
    was_training = model.training
    hook = register_module_forward_pre_hook(lambda module, _: called.add(module))
    try:
        model.eval().embed(
            torch.zeros(1, model.min_samples, device=next(model.parameters()).device)
        )
    finally:
        hook.remove()
        model.train(was_training)
    return called


def to_save(model: "GenreModel") -> dict[str, Tensor]:
    """Return what a model with adapters is saved as: all but its base, and a sample of that."""
    state = model.state_dict()
    learned = {name: tensor for name, tensor in state.items() if is_learned(name, model)}
    return {**learned, BASE: sample(model)}


def sample(model: "GenreModel") -> Tensor:
    """Return some values of each tensor of the base, with or without adapters in it.

    A hash would tell bases apart that differ by a rounding: those with adapters of their own,
    merged, and weights that timm resampled.
    """
    tensors = {
        name.replace(".base_layer.", "."): tensor.detach().float().flatten().cpu()
        for name, tensor in model.state_dict().items()
        if not is_learned(name, model)
    }
    return torch.cat([t[:: 1 + len(t) // SAMPLED] for _, t in sorted(tensors.items())])


def load(
    model_class: type["GenreModel"], config: "ModelConfig", file: Path, tensors: dict[str, Tensor]
) -> "GenreModel":
    """Return the model of a configuration with the adapters in a file, merged into their base.

    Raises `InputError` if the base is not there or has changed, RuntimeError for other tensors.
    """
    try:
        adapters = Adapters(**(config.adapter or {}))
    except TypeError as error:
        raise InputError(f"{file.parent / 'config.json'}: adapter: {error}.") from error
    theirs = tensors.pop(BASE, torch.empty(0))
    for source in find_bases(config, adapters, file):
        model = base_model(model_class, replace(config, adapter=None), source)
        ours = sample(model)
        if theirs.shape == ours.shape and torch.allclose(theirs, ours, rtol=1e-4, atol=1e-6):
            break
    else:
        raise InputError(
            f"{file} was trained on checkpoint={config.base}, of which the weights have changed "
            "since; it is of no use without those."
        )
    learning = [p for p in model.parameters() if p.requires_grad]
    if absent := set(adapters.layers) - {name for name, _ in model.backend.named_modules()}:
        raise RuntimeError(f"the model has no layer {min(absent)}")
    attach(model, adapters)
    frozen = {n: t for n, t in model.state_dict().items() if not is_learned(n, model)}
    model.load_state_dict({**frozen, **tensors})
    merge(model)
    for parameter in learning:
        parameter.requires_grad_()
    return model


def merge(model: "GenreModel") -> None:
    """Put into each layer's weights what its adapter does, and take the adapters out."""
    for name, layer in list(model.backend.named_modules()):
        if isinstance(layer, BaseTunerLayer):
            layer.merge()
            model.backend.set_submodule(name, layer.get_base_layer())
    del model.backend.peft_config
    model.config = replace(model.config, adapter=None)


def base_model(
    model_class: type["GenreModel"], config: "ModelConfig", source: Source | None
) -> "GenreModel":
    """Return a model with the weights of a checkpoint, else of timm's, and a random head."""
    args = dict(config.backend_args or {})
    if source is None:
        args["pretrained"] = True
    elif config.model == "timm":
        args["checkpoint"] = implied(str(source.path), "timm").values["model"].get("checkpoint")
    model = model_class(replace(config, backend_args=args))
    model.config = config
    if source and not args.get("checkpoint"):
        take(model, source)
    return model


@torch.no_grad()
def take(model: "GenreModel", source: Source) -> None:
    """Give a model the weights of a checkpoint, but for the head."""
    ours, given = model.state_dict(), {}
    if source.kind == "transformers":
        backend: Any = model.backend
        backend.load(source.path)
    elif source.kind == "zoo":
        given = model.from_pretrained(source.path).state_dict()
    else:
        theirs, table = read_tensors(source.path), table_of(model.config.model) or {}
        named = {name: their_name(name, table) for name in ours}
        given = {name: theirs[old] for name, old in named.items() if old in theirs}
    for name, tensor in model.state_dict().items():
        if name in given and given[name].shape == tensor.shape and not name.startswith("head."):
            tensor.copy_(given[name])


def find_bases(config: "ModelConfig", adapters: Adapters, file: Path) -> Iterator[Source | None]:
    """Yield what may be the checkpoint that the adapters in a file were trained on; None stands for
    the weights that timm names. Nothing is downloaded: it was not the user who named the base.

    Raises `InputError` if there is none.
    """
    if adapters.pretrained:
        yield None
        return
    if adapters.path is None:
        yield find(str(config.base), remote=False)
        return
    places = [
        place for place in (str(config.base), adapters.path) if Path(place).expanduser().exists()
    ]
    if not places:
        raise InputError(
            f"{file} was trained on checkpoint={config.base}, which it needs; that is neither "
            f"there nor at {adapters.path}."
        )
    yield from map(find, dict.fromkeys(places))
