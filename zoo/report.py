"""What a run leaves behind: result.json, scores, pictures, and a few lines for the reader."""

import math
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from omegaconf import OmegaConf

from zoo import plots, runtime
from zoo.calibration import Calibration
from zoo.evaluate import Measured, measure, with_thresholds
from zoo.model import GenreModel, ModelConfig, write_config
from zoo.pooling import contrast_accuracy
from zoo.results import (
    SCORES,
    Audited,
    Costs,
    Hardware,
    Protocol,
    Result,
    read_result,
    recipe_hash,
    write_result,
)
from zoo.scores import write_scores
from zoo.training import Training


def plan(training: Training, precision: str, threads: int) -> str:
    """Return what is about to happen, on what, in a few words."""
    config, accelerator = training.raw.config, training.accelerator
    where = str(accelerator.device)
    if accelerator.device.type == "cpu":
        where = f"{threads} thread{'s' * (threads > 1)}"
    if accelerator.num_processes > 1:
        where += f" in each of {accelerator.num_processes} processes"
    return (
        f"{config.model} with {config.frontend} on {training.data.manifest.name}: "
        f"{len(training.rows)} training tracks, {len(config.classes)} classes, "
        f"chunks of {config.clip_seconds:g} s; {training.plan()}, {precision} on {where}"
    )


def make_result(
    training: Training,
    model: GenreModel,
    measured: Mapping[str, Measured],
    threads: int,
    precision: str,
    audited: Audited,
) -> Result:
    """Return the run's result."""
    data, accelerator = training.data, training.accelerator
    config: Any = OmegaConf.to_container(training.config)
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
            evaluation=training.config.evaluation,
            train_fingerprint=manifest.split("train").fingerprint(),
            test_fingerprint=measured["test"].manifest.fingerprint(),
            contrasts=dict(manifest.contrasts),
        ),
        recipe=recipe_hash(config, model.config.base_hash),
        seed=training.config.seed,
        threads=threads,
        precision=precision,
        clip_seconds=model.config.clip_seconds,
        metrics={split: m.metrics for split, m in measured.items()},
        best_epoch=training.progress.best_epoch,
        costs=costs(training, model),
        hardware=hardware(accelerator),
        versions=runtime.versions(),
        config=config,
        left_out=len(data.left_out),
        licence=model.config.licence,
        audit=audited,
    )


def costs(training: Training, model: GenreModel) -> Costs:
    """Return what the run took."""
    progress = training.progress
    return Costs(
        parameters=sum(p.numel() for p in model.parameters()),
        trainable_parameters=training.trainable_parameters,
        train_seconds=progress.seconds,
        wall_seconds=training.wall_seconds,
        clips_per_second=progress.clips / progress.seconds,
        steps=progress.clips // training.config.batch_size,
        epochs=progress.epoch,
        peak_memory_bytes=runtime.peak_memory(training.accelerator.device),
    )


def hardware(accelerator: Accelerator) -> Hardware:
    """Return where the run ran."""
    return Hardware(
        device=runtime.device_name(accelerator.device),
        processor=runtime.processor(),
        num_cores=os.cpu_count() or 1,
        num_processes=accelerator.num_processes,
    )


def conclude(training: Training, threads: int, precision: str, audited: Audited) -> None:
    """Save the best weights, score validation and test tracks with what was saved, and write it
    all to the run's folder."""
    data, accelerator = training.data, training.accelerator
    folder = training.folder
    best = with_thresholds(training.best, data, training.score)
    if accelerator.is_main_process:
        best.save_pretrained(folder / "model")
    accelerator.wait_for_everyone()
    saved = GenreModel.from_pretrained(folder).to(accelerator.device)
    measured = {
        split: measure(saved, data, split, training.score) for split in ("validation", "test")
    }
    accelerator.end_training()
    if accelerator.is_main_process:
        write_config(folder / "model", calibrated(best.config, measured["validation"]))
        result = make_result(training, saved, measured, threads, precision, audited)
        write(folder, result, measured, training.history)
        print(conclusion(folder))


def calibrated(config: ModelConfig, validation: Measured) -> ModelConfig:
    """Return a model's config with what the validation tracks say of its probabilities."""
    calibration = Calibration.of(validation.manifest.targets(), validation.scores)
    return replace(config, calibration=calibration.asdict())


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
    if result.audit and result.audit.warnings:
        kinds = ", ".join(warned.kind for warned in result.audit.warnings)
        affected = f"{result.audit.affected:,} of {result.audit.test_tracks:,} test tracks"
        lines += ["", f"audit ({kinds}): {affected} are affected, see {folder / 'audit.md'}"]
    costs = result.costs
    lines += [
        "",
        f"{costs.parameters:,} parameters, of which {costs.trainable_parameters:,} were trained, "
        f"{costs.clips_per_second:.1f} clips of {result.clip_seconds:g} s a second; "
        f"{costs.peak_memory_bytes / 2**30:.1f} GiB at most, {costs.wall_seconds:.0f} s in all",
        f"result: {folder / 'result.json'}",
        f"rank it: python -m leaderboard show {folder.parent}",
    ]
    return "\n".join(lines)
