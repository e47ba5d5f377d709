"""What a run leaves behind: result.json, scores, pictures, and a few lines for the reader."""

import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from omegaconf import OmegaConf

from zoo import plots, runtime
from zoo.evaluate import Measured, measure, with_thresholds
from zoo.model import GenreModel
from zoo.results import (
    SCORES,
    Costs,
    Hardware,
    Protocol,
    Result,
    contrast_accuracy,
    read_result,
    recipe_hash,
    write_result,
)
from zoo.scores import write_scores
from zoo.trainer import Trainer


def plan(trainer: Trainer, precision: str, threads: int) -> str:
    """Return what is about to happen, in a few words."""
    config, accelerator = trainer.raw.config, trainer.accelerator
    where = str(accelerator.device)
    if accelerator.device.type == "cpu":
        where = f"{threads} thread{'s' * (threads > 1)}"
    if accelerator.num_processes > 1:
        where += f" in each of {accelerator.num_processes} processes"
    return (
        f"{config.model} with {config.frontend} on {trainer.data.manifest.name}: "
        f"{len(trainer.rows)} training tracks, {len(config.classes)} classes, chunks of "
        f"{config.clip_seconds:g} s; {trainer.epochs} epochs of "
        f"{trainer.chunks.steps_per_epoch} steps, {precision} on {where}"
    )


def make_result(
    trainer: Trainer,
    model: GenreModel,
    measured: Mapping[str, Measured],
    threads: int,
    precision: str,
) -> Result:
    """Return the run's result."""
    data, accelerator = trainer.data, trainer.accelerator
    config: Any = OmegaConf.to_container(trainer.config)
    manifest = data.manifest
    return Result(
        model=model.config.model,
        frontend=model.config.frontend,
        protocol=Protocol(
            dataset=manifest.name,
            split=manifest.split_name,
            fold=manifest.fold,
            classes=list(manifest.classes),
            multilabel=model.config.multilabel,
            evaluation=trainer.config.evaluation,
            train_fingerprint=manifest.split("train").fingerprint(),
            test_fingerprint=measured["test"].manifest.fingerprint(),
            contrasts=dict(manifest.contrasts),
        ),
        recipe=recipe_hash(config),
        seed=trainer.config.seed,
        threads=threads,
        precision=precision,
        clip_seconds=model.config.clip_seconds,
        metrics={split: m.metrics for split, m in measured.items()},
        best_epoch=trainer.progress.best_epoch,
        costs=costs(trainer, model),
        hardware=hardware(accelerator),
        versions=runtime.versions(),
        config=config,
        left_out=len(data.left_out),
    )


def costs(trainer: Trainer, model: GenreModel) -> Costs:
    """Return what the run took."""
    progress, parameters = trainer.progress, list(model.parameters())
    return Costs(
        parameters=sum(p.numel() for p in parameters),
        trainable_parameters=sum(p.numel() for p in parameters if p.requires_grad),
        train_seconds=progress.seconds,
        wall_seconds=trainer.wall_seconds,
        clips_per_second=progress.clips / progress.seconds,
        steps=progress.clips // trainer.config.batch_size,
        epochs=progress.epoch,
        peak_memory_bytes=runtime.peak_memory(trainer.accelerator.device),
    )


def hardware(accelerator: Accelerator) -> Hardware:
    """Return where the run ran."""
    return Hardware(
        device=runtime.device_name(accelerator.device),
        processor=runtime.processor(),
        num_cores=os.cpu_count() or 1,
        num_processes=accelerator.num_processes,
    )


def conclude(trainer: Trainer, threads: int, precision: str) -> None:
    """Save the best weights, score validation and test tracks with what was saved, and write it
    all to the run's folder."""
    data, config, accelerator = trainer.data, trainer.config, trainer.accelerator
    folder = trainer.folder
    best = with_thresholds(trainer.best, data, accelerator, config)
    if accelerator.is_main_process:
        best.save_pretrained(folder / "model")
    accelerator.wait_for_everyone()
    saved = GenreModel.from_pretrained(folder).to(accelerator.device)
    measured = {
        split: measure(saved, data, split, accelerator, config) for split in ("validation", "test")
    }
    accelerator.end_training()
    if accelerator.is_main_process:
        result = make_result(trainer, saved, measured, threads, precision)
        write(folder, result, measured, trainer.history)
        print(conclusion(folder))


def write(
    folder: Path, result: Result, measured: Mapping[str, Measured], history: list[dict[str, float]]
) -> None:
    """Write scores and pictures, and last result.json: where it is, the run is complete."""
    for split, part in measured.items():
        write_scores(folder / SCORES[split], part.manifest, part.scores)
    test = measured["test"]
    plots.confusion(folder / "confusion.png", test.manifest, test.scores)
    plots.curves(folder / "curves.png", history, result)
    write_result(folder, result)


def conclusion(folder: Path) -> str:
    """Return what the reader of a finished run wants to know."""
    result = read_result(folder)
    lines = ["", f"{'':24s}validation      test"]
    validation = result.metrics["validation"]
    for name, value in result.metrics["test"].items():
        mark = "*" if name == result.primary else " "
        lines.append(f"{mark} {name:24s}{validation.get(name, math.nan):8.4f}  {value:8.4f}")
    contrasts = contrast_accuracy([folder], result.protocol)
    if contrasts:
        lines += ["", "told apart, of pairs that differ in (0.5 is chance):"]
        lines += [f"  {name:24s}{value:8.3f}" for name, value in contrasts.items()]
    costs = result.costs
    lines += [
        "",
        f"{costs.parameters:,} parameters, {costs.clips_per_second:.1f} clips of "
        f"{result.clip_seconds:g} s a second in training, {costs.wall_seconds:.0f} s in all",
        f"result: {folder / 'result.json'}",
        f"rank it: python -m leaderboard show {folder.parent}",
    ]
    return "\n".join(lines)
