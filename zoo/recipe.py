"""The recipe: loss, optimiser, learning rate over time, averaged weights."""

import math

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim.swa_utils import AveragedModel


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


def make_optimizer(model: nn.Module, lr: float, weight_decay: float) -> torch.optim.Optimizer:
    """Return AdamW that decays matrices and kernels only, not biases and normalisations."""
    trainable = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in trainable if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in trainable if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW([g for g in groups if g["params"]], lr=lr)


def learning_rate(step: int, total_steps: int, peak: float, warmup: float) -> float:
    """Return the rate at a step: linear warm-up over a share of the steps, then cosine to 0."""
    warmup_steps = max(1, round(warmup * total_steps))
    if step < warmup_steps:
        return peak * (step + 1) / warmup_steps
    progress = (step - warmup_steps) / max(1, total_steps - warmup_steps)
    return peak * 0.5 * (1 + math.cos(math.pi * progress))


def averaged(model: nn.Module, decay: float) -> AveragedModel:
    """Return an exponential moving average of weights and buffers, warmed up from the start."""

    def update(average: Tensor, current: Tensor, num_averaged: Tensor | int) -> Tensor:
        share = min(decay, (1 + int(num_averaged)) / (10 + int(num_averaged)))
        return torch.lerp(current.float(), average.float(), share).to(average.dtype)

    return AveragedModel(model, avg_fn=update, use_buffers=True)
