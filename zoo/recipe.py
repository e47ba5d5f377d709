"""The recipe: loss, optimiser, learning rate over time, averaged weights."""

import copy
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from functools import partial
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from zoo.errors import InputError, check_choice, nearest

M = TypeVar("M", bound=nn.Module)
OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "adamw": torch.optim.AdamW,
    "adam": torch.optim.Adam,
    "sgd": partial(torch.optim.SGD, momentum=0.9, nesterov=True),
}
DECAYS = ("cosine", "none")


def loss_function(
    logits_BK: Tensor,
    target_BK: Tensor,
    multilabel: bool,
    smoothing: float,
    weights_K: Tensor | None,
) -> Tensor:
    """Return the mean cross-entropy; targets are probabilities (they may be mixed)."""
    logits_BK = logits_BK.float()
    if multilabel:
        target_BK = target_BK * (1 - smoothing) + smoothing / 2
        return functional.binary_cross_entropy_with_logits(
            logits_BK, target_BK, pos_weight=weights_K
        )
    return functional.cross_entropy(
        logits_BK, target_BK, weight=weights_K, label_smoothing=smoothing
    )


def class_weights(targets: np.ndarray, num_classes: int) -> Tensor:
    """Return weights by inverse frequency: with mean 1 over the tracks, or for several labels
    the ratio of negatives to positives of each, at most 100."""
    if targets.ndim == 2:
        positives = targets.sum(0)
        weights = (len(targets) - positives) / np.maximum(positives, 1)
        return torch.tensor(np.clip(weights, 0.01, 100.0), dtype=torch.float32)
    counts = np.bincount(targets, minlength=num_classes)
    return torch.tensor(len(targets) / (num_classes * np.maximum(counts, 1)), dtype=torch.float32)


@dataclass(frozen=True)
class Phase:
    """An optimiser and its learning rate, from an epoch on to the next phase or the end."""

    name: str  # of OPTIMIZERS
    lr: float  # the peak
    weight_decay: float
    warmup: float  # share of all steps
    decay: str  # of DECAYS
    epoch: int = 0  # finished ones before it begins; the best weights are reloaded then


def read_phases(optimizer: Mapping[str, Any]) -> list[Phase]:
    """Return the phases of the section `optimizer`: what it says itself, then each of `phases`,
    which states what differs. Raises `InputError` for what is none."""
    kinds = {field.name: field.type for field in fields(Phase)}
    first = {name: optimizer[name] for name in kinds if name in optimizer}
    phases: list[Phase] = []
    for number, section in enumerate([{}, *optimizer["phases"]]):
        key = f"optimizer.phases[{number - 1}]" if number else "optimizer"
        if not isinstance(section, Mapping):
            raise InputError(f"{key}={section} must be a mapping, such as {{epoch: 80, lr: 0.1}}.")
        changes = dict(section)
        for word, value in section.items():
            if word not in kinds:
                raise InputError(f"{key} takes no {word!r}; {nearest(word, kinds)}")
            if kinds[word] is not str:
                changes[word] = _number(f"{key}.{word}", value, whole=kinds[word] is int)
        phase = Phase(**{**first, **changes})
        check_choice(f"{key}.name", phase.name, OPTIMIZERS)
        check_choice(f"{key}.decay", phase.decay, DECAYS)
        if phases and phase.epoch <= phases[-1].epoch:
            raise InputError(f"{key}.epoch={phase.epoch} must be after {phases[-1].epoch}.")
        phases.append(phase)
    return phases


def _number(key: str, value: object, whole: bool) -> float:
    try:
        number = float(str(value))  # YAML reads 1e-3 as text
    except ValueError:
        number = -1.0
    if not 0 <= number < math.inf or (whole and not number.is_integer()):
        kind = "whole number" if whole else "number"
        raise InputError(f"{key}={value} must be a {kind} of at least 0.")
    return int(number) if whole else number


def make_optimizer(
    rates: Iterable[tuple[Iterable[nn.Parameter], float]], phase: Phase
) -> torch.optim.Optimizer:
    """Return the phase's optimiser for parameters, each group with a factor of its rate, `scale`.

    AdamW decays matrices and kernels only, not biases and normalisations; Adam and SGD decay all,
    as papers that name no exception do.
    """
    groups: list[dict[str, Any]] = []
    for parameters, scale in rates:
        learning = [p for p in parameters if p.requires_grad]
        spared = [p for p in learning if p.ndim <= 1 and phase.name == "adamw"]
        decayed = [p for p in learning if p.ndim > 1 or phase.name != "adamw"]
        groups.append({"params": decayed, "weight_decay": phase.weight_decay, "scale": scale})
        groups.append({"params": spared, "weight_decay": 0.0, "scale": scale})
    return OPTIMIZERS[phase.name]([g for g in groups if g["params"]], lr=phase.lr)


def learning_rate(step: int, total_steps: int, phase: Phase) -> float:
    """Return the rate at a step: linear warm-up over a share of the steps, then cosine to 0
    or, with decay `none`, the peak."""
    warmup_steps = round(phase.warmup * total_steps)
    if step < warmup_steps:
        return phase.lr * (step + 1) / warmup_steps
    if phase.decay == "none":
        return phase.lr
    progress = (step - warmup_steps) / max(1, total_steps - warmup_steps)
    return phase.lr * 0.5 * (1 + math.cos(math.pi * progress))


class Average(Generic[M]):
    """An exponential moving average of a model's weights and buffers, warmed up from the start.

    torch's own AveragedModel counts on the device and waits for it several times a step.
    """

    def __init__(self, model: M, decay: float) -> None:
        self.module: M = copy.deepcopy(model).requires_grad_(False)
        self.decay, self.num_updates = decay, 0

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Move towards the model: less and less, down to a share of 1 - decay."""
        kept = min(self.decay, self.num_updates / (9 + self.num_updates))
        ours, theirs = self.module.state_dict().values(), model.state_dict().values()
        pairs = list(zip(ours, theirs, strict=True))
        floats = [(a, b) for a, b in pairs if a.is_floating_point()]
        torch._foreach_lerp_([a for a, _ in floats], [b for _, b in floats], 1 - kept)
        for a, b in pairs:
            if not a.is_floating_point():  # the number of batches
                a.copy_(b)
        self.num_updates += 1

    def state_dict(self) -> dict[str, Any]:
        """Return the averaged weights, and how many updates they are of."""
        return {"module": self.module.state_dict(), "num_updates": self.num_updates}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` returned."""
        self.module.load_state_dict(state["module"])
        self.num_updates = state["num_updates"]
