"""Checkpoints of `transformers`: their configurations and weights, read as they are."""

import textwrap
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, PreTrainedConfig
from transformers.utils import logging

from zoo.backends.base import check_finite
from zoo.errors import InputError

OURS = {
    "layerdrop": 0.0,
    "encoder_layerdrop": 0.0,
    "apply_spec_augment": False,
    "add_adapter": False,
}
"""What every encoder is built with: each parameter gets a gradient in each step."""
NOT_ARCHITECTURE = {
    *("architectures", "dtype", "id2label", "label2id", "model_type", "problem_type"),
    *("transformers_version", *OURS),
}


def has_head(config: Mapping[str, Any]) -> bool:
    """Tell whether a config.json is that of a classifier on the last hidden states."""
    names = config.get("architectures") or [""]
    classifies = names[0].endswith(("ForAudioClassification", "ForSequenceClassification"))
    return classifies and not config.get("use_weighted_layer_sum")


def changes(model_type: str, content: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a config.json says otherwise than the defaults of its model type."""
    known = AutoConfig.for_model(model_type).to_dict()
    return {
        key: value
        for key, value in content.items()
        if key in known and key not in NOT_ARCHITECTURE and value != known[key]
    }


def from_pretrained(auto: Any, folder: Path, config: PreTrainedConfig, **options: Any) -> Any:
    """Return a model of transformers with all its weights from a local folder, as float32.

    Raises `InputError` if that fails or leaves any random.
    """
    with quiet():
        try:
            model, report = auto.from_pretrained(
                folder,
                config=config,
                dtype=torch.float32,
                local_files_only=True,
                ignore_mismatched_sizes=True,
                output_loading_info=True,
                **options,
            )
        except Exception as error:  # transformers raises of all kinds
            raise InputError(
                f"checkpoint={folder} holds no weights that can be read: {reason(error)}"
            ) from error
    missing = sorted(n for n in report["missing_keys"] if not n.endswith("masked_spec_embed"))
    reshaped = sorted(name for name, *_ in report["mismatched_keys"])
    if missing or reshaped:
        what = f"{missing[0]} is missing" if missing else f"{reshaped[0]} has another shape"
        more = len(missing) + len(reshaped) - 1
        raise InputError(
            f"checkpoint={folder} does not hold all weights of {config.model_type}: {what}"
            f"{f', and {more} more differ' if more else ''}."
        )
    check_finite(f"checkpoint={folder}", model.state_dict())
    return model


@contextmanager
def quiet() -> Iterator[None]:
    """Keep transformers from telling what it reads, and from drawing bars."""
    before = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(before[0])
        if before[1]:
            logging.enable_progress_bar()


def reason(error: Exception) -> str:
    """Return an error's message in one line."""
    return textwrap.shorten(str(error) or type(error).__name__, 300, placeholder=" ...")
