"""`python -m zoo.evaluate RUN`: compute a run's numbers again, or score another data set.

Without --dataset the run's own validation and test tracks are scored again and compared with its
result. With --dataset NAME (and --set dataset.path=...) the model scores that data set: its test
tracks, or all where it has no split.
"""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from accelerate import Accelerator
from omegaconf import OmegaConf

from zoo import runtime
from zoo.chunks import EVALUATIONS
from zoo.config import assign, compose
from zoo.datasets.base import Manifest
from zoo.errors import InputError, check_choice, guard, nearest
from zoo.metrics import best_thresholds
from zoo.metrics import evaluate as compute_metrics
from zoo.model import GenreModel
from zoo.prepare import Data, build_manifest, decode_tracks, load_manifest
from zoo.results import FILE, SCORES, Result, read_result
from zoo.scores import score_tracks, write_scores


@dataclass(frozen=True)
class Measured:
    """The scores of a split's tracks, and what they amount to."""

    manifest: Manifest
    scores: np.ndarray  # [B,K]
    metrics: dict[str, float]


Scorer = Callable[[GenreModel, np.ndarray], np.ndarray]
"""From a model and rows of tracks to their scores `[B,K]`."""


def scorer(data: Data, accelerator: Accelerator, config: Any, progress: str = "") -> Scorer:
    """Return what scores tracks from their audio."""
    return lambda model, rows: score_tracks(model, data, rows, accelerator, config, progress)


def measure(model: GenreModel, data: Data, split: str, score: Scorer) -> Measured:
    """Score the tracks of a split."""
    scores = score(model, data.rows(split))
    manifest = data.manifest.split(split)
    thresholds = model.config.thresholds
    metrics = compute_metrics(
        manifest.targets(),
        scores,
        model.config.multilabel,
        np.array(thresholds) if thresholds else None,
    )
    return Measured(manifest, scores, metrics)


def with_thresholds(model: GenreModel, data: Data, score: Scorer) -> GenreModel:
    """Give a model of several labels the thresholds that are best on the validation tracks."""
    if model.config.multilabel:
        rows = data.rows("validation")
        scores = score(model, rows)
        thresholds = best_thresholds(data.manifest.targets()[rows], scores)
        model.config = replace(model.config, thresholds=tuple(thresholds.tolist()))
    return model


def read_label_map(file: Path) -> dict[str, str | None]:
    """Read a YAML mapping from a data set's labels to the model's classes (null: leave out)."""
    try:
        content = yaml.safe_load(file.read_text("utf-8"))
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"--label-map {file} cannot be read as YAML: {reason}.") from error
    if not isinstance(content, dict):
        raise InputError(
            f"--label-map {file} must hold lines of the form `their label: our class`."
        )
    return {str(k): None if v is None else str(v) for k, v in content.items()}


def in_classes_of(model: GenreModel, manifest: Manifest, names: dict[str, str | None]) -> Manifest:
    """Return the manifest with its labels translated to the model's classes.

    Raises `InputError` for labels that the model does not have.
    """
    frame, classes = manifest.frame, model.config.classes
    multilabel = model.config.multilabel
    parts = frame["label"].str.split("|").map(lambda ps: [names.get(p, p) for p in ps if p])
    unknown = sorted({p for ps in parts for p in ps if p is not None} - set(classes))
    if unknown:
        close = nearest(unknown[0], classes)
        raise InputError(
            f"{manifest.where}: the model has no class {unknown[0]!r}; {close} "
            "Give --label-map FILE with a line `their label: our class` for each that differs."
        )
    labels = parts.map(lambda ps: "|".join(p for p in ps if p is not None))
    bare = frame["label"] == ""  # none of the tags fits
    translated = frame.assign(label=labels)[(labels != "") | (bare & multilabel)]
    if translated.empty:
        raise InputError(f"{manifest.where}: --label-map leaves no track.")
    return replace(manifest, frame=translated, classes=classes, multilabel=multilabel)


def again(
    run: Path, result: Result, config: Any, accelerator: Accelerator, out: Path | None
) -> None:
    """Score the run's own tracks again, print the metrics, and whether they are the same."""
    model = GenreModel.from_pretrained(run).to(accelerator.device)
    data = decode_tracks(load_manifest(config), config, model.sample_rate)
    score = scorer(data, accelerator, config, "scoring")
    measured = {split: measure(model, data, split, score) for split in SCORES}
    table = pd.DataFrame(
        [
            (split, name, result.metrics[split].get(name, np.nan), value)
            for split, part in measured.items()
            for name, value in part.metrics.items()
        ],
        columns=["split", "metric", "result.json", "now"],
    ).sort_values("split", ascending=False, kind="stable")
    accelerator.print(table.to_markdown(index=False, floatfmt=".6f"))
    before = result.protocol
    if data.manifest.split("test").fingerprint() != before.test_fingerprint:
        accelerator.print("\nThese are not the tracks that the run was tested on.")
    elif config.evaluation != before.evaluation:
        other = f"evaluation={config.evaluation}, in result.json {before.evaluation}"
        accelerator.print(f"\nThe numbers of now are by {other}.")
    else:
        most = (table["result.json"] - table["now"]).abs().max(skipna=False)
        differ = f"The numbers differ, by at most {most:.2g}."
        accelerator.print("\n" + (differ if most else "The same numbers, exactly."))
    if out is not None and accelerator.is_main_process:
        write(out, table, {SCORES[split]: part for split, part in measured.items()})


def write(out: Path, metrics: pd.DataFrame, scores: dict[str, Measured]) -> None:
    """Write metrics.csv and the scores under their file names."""
    out.mkdir(parents=True, exist_ok=True)
    metrics.to_csv(out / "metrics.csv", index=False)
    for name, part in scores.items():
        write_scores(out / name, part.manifest, part.scores)
    print(f"\nwrote {', '.join(str(out / name) for name in ('metrics.csv', *scores))}")


def elsewhere(
    run: Path, config: Any, accelerator: Accelerator, label_map: Path | None, out: Path | None
) -> None:
    """Score another data set with the run's model, print and write the metrics."""
    model = GenreModel.from_pretrained(run).to(accelerator.device)
    manifest = build_manifest(config)
    if (manifest.frame["split"] == "test").any():
        manifest = manifest.split("test")
    manifest = in_classes_of(model, manifest, read_label_map(label_map) if label_map else {})
    manifest = replace(manifest, frame=manifest.frame.assign(split="test"))
    data = decode_tracks(manifest, config, model.sample_rate, out)
    measured = measure(model, data, "test", scorer(data, accelerator, config, "scoring"))
    table = pd.DataFrame(measured.metrics.items(), columns=["metric", manifest.name])
    accelerator.print(f"{len(measured.scores)} tracks of {manifest.name}\n")
    accelerator.print(table.to_markdown(index=False, floatfmt=".6f"))
    if out is not None and accelerator.is_main_process:
        write(out, table, {SCORES["test"]: measured})


def _config(run: Path, result: Result, dataset: str | None, values: list[str]) -> Any:
    """Return the run's configuration with other values, or that of another data set.

    Keys of the first level that are newer than the run have their defaults; evaluation and cache
    are the run's own.
    """
    values = [f"evaluation={result.protocol.evaluation}", *values]
    if cache := result.config.get("cache_dir"):
        values.insert(0, f"cache_dir={cache}")
    if dataset:
        config = compose("train", [f"dataset={dataset}", *values])
    else:
        missing = {"dataset", "batch_size"} - set(result.config)
        if missing:
            raise InputError(f"{run / FILE}: its config has no {min(missing)!r}.")
        defaults: Any = OmegaConf.to_container(compose("train"))
        config = assign({**defaults, **result.config}, values)
    check_choice("evaluation", config.evaluation, EVALUATIONS)
    return config


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m zoo.evaluate", description=__doc__)
    parser.add_argument("run", type=Path, help="the folder of a run")
    parser.add_argument("--dataset", help="score this data set instead of the run's own")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="such as dataset.path=DIR"
    )
    parser.add_argument(
        "--label-map", type=Path, metavar="FILE", help="YAML: their label: our class"
    )
    parser.add_argument("--out", type=Path, metavar="DIR", help="write metrics and scores there")
    options = parser.parse_args(arguments)
    result = read_result(options.run)
    config = _config(options.run, result, options.dataset, options.set)
    runtime.keep_freed_memory()
    runtime.set_threads(result.threads if config.threads is None else config.threads)
    accelerator = runtime.make_accelerator(result.precision)
    if options.dataset:
        elsewhere(options.run, config, accelerator, options.label_map, options.out)
    else:
        again(options.run, result, config, accelerator, options.out)


if __name__ == "__main__":
    guard(main)
