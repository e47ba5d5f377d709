"""How long runs will take, from the speed of earlier runs of the model, else from a few steps."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from benchmarks.job import Job
from zoo.chunks import num_epochs
from zoo.errors import InputError
from zoo.results import FILE, read_result

Speed = dict[tuple[str, ...], float]
"""Seconds of a run for each clip that it trains on, by model, front end and method."""

STEPS_SHARE = 0.9  # of a run's time goes into steps and scoring


def kind_of(config: Mapping[str, Any]) -> tuple[str, ...]:
    """Return what decides how fast a run is, but for the machine."""
    return config["model"]["name"], config["frontend"]["name"], config["finetune"]["name"]


def num_clips(job: Job) -> int:
    """Return how many clips a run trains on; a probe embeds all tracks once."""
    from zoo.finetune import PROBES  # brings torch

    splits, config = job.manifest.frame["split"], job.config
    if config["finetune"]["name"] in PROBES:
        return len(splits)
    steps = -(-int((splits == "train").sum()) // config["batch_size"])
    return num_epochs(SimpleNamespace(**config), steps) * steps * config["batch_size"]


def speeds(folder: Path) -> Speed:
    """Return the speed of the runs that are finished in a folder, the slowest of each kind."""
    found: Speed = {}
    for file in folder.rglob(FILE):
        try:
            result = read_result(file.parent)
        except InputError:
            continue
        clips = max(1, result.costs.steps * result.config["batch_size"])
        kind = kind_of(result.config)
        found[kind] = max(found.get(kind, 0.0), result.costs.wall_seconds / clips)
    return found


def timed(job: Job, threads: int) -> float:
    """Return the seconds for each clip, scoring of the validation tracks included, from timing a
    step here with so many threads."""
    import torch
    from omegaconf import OmegaConf

    from benchmarks.speed_models import BATCH, pair
    from benchmarks.speed_training import device
    from benchmarks.timing import in_turn
    from zoo import runtime
    from zoo.finetune import PROBES
    from zoo.model import GenreModel, config_from

    config = OmegaConf.create(dict(job.config))
    torch.set_num_threads(threads)
    sketch = config_from(config, job.manifest.classes, False, config.clip_seconds)
    model = GenreModel(sketch)
    precision = runtime.choose_precision(config.precision, model.backend.precision, device())
    step, scoring = in_turn(*pair(model, model.backend.channels_last, precision), rounds=1)[0]
    counts = job.manifest.frame["split"].value_counts()
    share = counts.get("validation", 0) / max(1, counts.get("train", 0))
    once = scoring if config.finetune.name in PROBES else step + share * scoring
    return once / BATCH / STEPS_SHARE


def seconds(jobs: Iterable[Job], folder: Path, threads: int) -> float:
    """Return about how many seconds the runs take, one after the other with so many threads."""
    known, total = speeds(folder), 0.0
    for job in jobs:
        kind = kind_of(job.config)
        if kind not in known:
            known[kind] = timed(job, threads)
        total += num_clips(job) * known[kind]
    return total
