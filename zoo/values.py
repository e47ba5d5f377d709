"""What a key may be set to: the type and the range of its values, and the text that was typed."""

import json
import math
import os
import re
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin

import yaml

from zoo.errors import InputError

NULLABLE: dict[str, type] = {  # keys that may be null and are no argument of a `_target_`
    "epochs": int,
    "micro_batch_size": int,
    "threads": int,
    "output_dir": Path,
    "cache_dir": Path,
    "checkpoint": Path,
    "dataset.folds": int,
    "dataset.shots": int,
    "dataset.share": float,
    "finetune.targets": list,
    "listen": Path,
    "split": str,
    "prepare.workers": int,
    "workers": int,
    "checkpoints": Path,
}
COUNT, POSITIVE, SHARE = (1, math.inf), (0, math.inf), (0, 1)
RANGES: dict[str, tuple[float, float]] = {  # of numbers, by the last part of their keys
    key: limits
    for keys, limits in {
        "epochs min_steps patience threads workers listen_clips artists tracks": COUNT,
        "sample_rate n_fft hop_length window_length stride": COUNT,
        "n_mels n_bins bins_per_octave bins_per_semitone n_octaves n_mfcc n_filters": COUNT,
        "n_harmonics channels features embed_dim depth num_heads patch_size frames": COUNT,
        "shots neighbours rank alpha": COUNT,
        "split_number": (0, 4),
        "batch_size micro_batch_size folds": (2, math.inf),
        "clip_seconds seconds max_seconds": (0.1, math.inf),
        "std": (1e-6, math.inf),
        "share": (1e-6, 1),
        "seed split_seed": (0, 2**32 - 1),
        "fold lr weight_decay clip_norm f_min gamma checkpoint_minutes": POSITIVE,
        "mixup gain_db time_masks freq_masks": POSITIVE,
        "max_bad dropout attention_dropout warmup label_smoothing ema_decay layer_decay": SHARE,
        "planted time_shift time_mask freq_mask patchout_time patchout_freq": SHARE,
    }.items()
    for key in keys.split()
}
WORDS = {int: "a whole number", float: "a number", bool: "true or false", list: "a list"}


def value_type(key: str, default: Any, annotation: Any) -> tuple[type, bool]:
    """Return the type of a key's values (int, float, bool, str, Path, list) and whether they may
    be null: as `NULLABLE` says, else the target's annotation, else the default."""
    if key in NULLABLE:
        return NULLABLE[key], True
    is_union = get_origin(annotation) in (Union, UnionType)
    parts = get_args(annotation) if is_union else (annotation,)
    parts = tuple(list if get_origin(part) in (list, tuple) else part for part in parts)
    known = [part for part in parts if part in (*WORDS, str, Path)]
    return known[0] if known else type(default), type(None) in parts


def convert(key: str, typed: str, default: Any, kind: type, nullable: bool) -> Any:
    """Return the typed text as a value of that type. Raises `InputError` if it is none."""
    if nullable and typed == "null":
        return None
    if kind is Path and not typed:
        raise InputError(f"{key}= is empty; give a path.")
    if kind is Path:
        typed = os.path.expanduser(typed)  # noqa: PTH111 (a Path would tidy what was typed)
    if kind not in WORDS:
        return _literal(key, typed)
    value = _parsed(typed, kind, default)
    if value is None:
        example = "" if default is None else f", such as {json.dumps(default)}"
        raise InputError(f"{key}={typed} must be {WORDS[kind]}{example}.")
    low, high = RANGES.get(key.rpartition(".")[2], (-math.inf, math.inf))
    if kind in (int, float) and not low <= value <= high:
        limits = f"at least {low}" if high == math.inf else f"between {low} and {high}"
        raise InputError(f"{key}={typed} must be {limits}.")
    return value


def _literal(key: str, typed: str) -> str:
    """Return the text in the form that OmegaConf reads as it was typed."""
    if typed == "???":
        raise InputError(f"{key}=??? is OmegaConf's mark for what is missing; give a value.")
    return re.sub(r"(\\*)\$\{", r"\1\1\\${", typed)


def _parsed(typed: str, kind: type, default: Any) -> Any:
    """Return the value of that type, or None if the text is none."""
    if kind is bool:
        return {"true": True, "false": False}.get(typed.lower())
    try:
        if kind is list:
            values, kinds = yaml.safe_load(typed), {*map(type, default or ())}
            if isinstance(values, list) and kinds == {float}:  # YAML reads 1e-3 as text
                return [float(value) for value in values]
            fits = isinstance(values, list) and (not kinds or {*map(type, values)} <= kinds)
            return values if fits else None
        number = float(typed)
    except (TypeError, ValueError, yaml.YAMLError):
        return None
    if kind is int:
        return int(number) if number.is_integer() else None
    return number if math.isfinite(number) else None
