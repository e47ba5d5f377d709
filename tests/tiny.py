"""Small transformers with random weights, saved to folders as checkpoints are."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from zoo.backends.transformer import Transformer, read_json
from zoo.model import GenreModel, ModelConfig
from zoo.registry import target

RATE, CLASSES = 16_000, ("a", "b", "c", "d", "e")


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
    """Return the model that a folder asks for, with its weights, and its classifier if it fits."""
    backend: type[Transformer] = target("model", name)
    config = read_json(folder / "config.json")
    settings = backend.settings(config, read_json(folder / "preprocessor_config.json"))
    model = GenreModel(
        ModelConfig(
            model=name,
            frontend=settings.frontend,
            classes=CLASSES,
            multilabel=False,
            clip_seconds=1.0,
            frontend_args=settings.frontend_args,
            backend_args={**settings.backend_args, **changes},
        )
    )
    head = model.backend.load(folder)
    if head is not None:
        model.head.load_state_dict(head._asdict())
    return model.eval()


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
    assert logits.std(0).min() > 1e-3  # clips differ
    return logits
