"""Small transformers with random weights, saved to folders as checkpoints are."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

import zoo
from zoo.model import GenreModel

RATE, NUM_CLASSES = 16_000, 5


def noise(*shape: int) -> torch.Tensor:
    return 0.3 * torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def save(model: Any, extractor: Any, folder: Path) -> Path:
    """Save both, the model without the zeros and ones of its initialisation."""
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    model.save_pretrained(folder)
    extractor.save_pretrained(folder)
    return folder


def load(name: str, folder: Path, **changes: Any) -> GenreModel:
    """Return the model that a folder asks for, with other arguments of its back end."""
    overrides = [f"model.backend.{key}={value}" for key, value in changes.items()]
    return zoo.create_model(name, checkpoint=folder, overrides=overrides)


def extracted(extractor: Any, folder: Path, x_BT: torch.Tensor) -> dict[str, torch.Tensor]:
    """Return the features of transformers' own extractor."""
    waveforms = [x.numpy() for x in x_BT]
    features = extractor.from_pretrained(folder)(waveforms, sampling_rate=RATE)
    return {key: torch.from_numpy(np.stack(value)) for key, value in features.items()}


@torch.no_grad()
def published_logits(
    classifier: Any, extractor: Any, folder: Path, x_BT: torch.Tensor
) -> torch.Tensor:
    """Return the logits of transformers' own class on features of its own extractor."""
    model = classifier.from_pretrained(folder).eval()
    logits = model(**extracted(extractor, folder, x_BT)).logits
    assert logits.std(0).min() > 1e-4  # clips differ
    return logits
