"""Folders of runs for tests: real files, of a few tracks whose scores are drawn."""

import json

import numpy as np
import pandas as pd

from zoo.datasets.base import Manifest
from zoo.metrics import evaluate
from zoo.results import Costs, Hardware, Protocol, Result, recipe_hash, write_result
from zoo.scores import write_scores

CLASSES = ("funk", "jazz", "rock")
CONTRASTS = {"swing": ("rock", "jazz"), "clave": ("rock", "funk")}
HARDWARE = Hardware(device="cpu", processor="Z80", num_cores=1, num_processes=1)
COSTS = Costs(
    parameters=1234,
    trainable_parameters=1234,
    train_seconds=1,
    wall_seconds=2,
    clips_per_second=3,
    steps=4,
    epochs=5,
    peak_memory_bytes=6,
)


def make_tracks(num_tracks, fold, multilabel, rng):
    """Tracks of all classes; with several labels each, where they may have several."""
    labels = [CLASSES[i % len(CLASSES)] for i in range(num_tracks)]
    if multilabel:
        labels = ["|".join(sorted({label, rng.choice(CLASSES)})) for label in labels]
    names = [f"fold{fold}/{i}" for i in range(num_tracks)]
    frame = pd.DataFrame({"track": names, "path": names, "label": labels, "artist": names})
    return Manifest("x", frame, classes=CLASSES, multilabel=multilabel)


def make_scores(manifest, skill, rng):
    """Probabilities that are the better the higher the skill, 0 to 1."""
    targets = manifest.targets()
    onehot = targets if manifest.multilabel else np.eye(len(CLASSES))[targets]
    scores = rng.random(onehot.shape) * (1 - skill) + onehot * skill * rng.random(onehot.shape)
    return (scores if manifest.multilabel else scores / scores.sum(1, keepdims=True)).astype("f4")


def make_run(
    folder, seed=0, model="linear", fold=None, skill=0.4, num_tracks=90, config=None, **given
):
    """Write the folder of one run; `given` are fields of the result, its protocol or its costs."""
    multilabel = given.get("multilabel", False)
    manifest = make_tracks(num_tracks, fold, multilabel, np.random.default_rng(fold or 0))
    scores = make_scores(manifest, skill, np.random.default_rng([seed, *model.encode()]))
    config = {"seed": seed, "model": {"name": model}, "dataset": {"fold": fold}, **(config or {})}
    protocol = {
        "dataset": "gtzan",
        "split": "given",
        "fold": fold,
        "classes": CLASSES,
        "multilabel": multilabel,
        "evaluation": "complete",
        "train_fingerprint": f"without fold {fold}",
        "test_fingerprint": manifest.fingerprint(),
    }
    fields = {
        "model": model,
        "frontend": "mel",
        "recipe": recipe_hash(config),
        "seed": seed,
        "threads": 1,
        "precision": "fp32",
        "clip_seconds": 10.0,
        "metrics": {"test": evaluate(manifest.targets(), scores, multilabel)},
        "best_epoch": 1,
        "hardware": HARDWARE,
        "versions": {},
        "config": config,
        "left_out": 0,
    }
    for key, value in given.items():
        (fields if key in fields else protocol).update({key: value})
    costs = COSTS.model_copy(update={k: protocol.pop(k) for k in COSTS.model_dump() & given.keys()})
    folder.mkdir(parents=True)
    write_scores(folder / "scores.parquet", manifest, scores)
    write_result(folder, Result(protocol=Protocol(**protocol), costs=costs, **fields))
    return folder


def read(*folders):
    """Return true class indices and probabilities of the runs' test tracks, by plain pandas."""
    table = pd.concat([pd.read_parquet(folder / "scores.parquet") for folder in folders])
    target = [CLASSES.index(label) for label in table["label"]]
    return np.array(target), table[[f"p:{c}" for c in CLASSES]].to_numpy(np.float64)


def change_scores(run, column, value):
    table = pd.read_parquet(run / "scores.parquet")
    table[column] = value
    table.to_parquet(run / "scores.parquet")


def change_result(run, change):
    result = json.loads((run / "result.json").read_text())
    change(result)
    (run / "result.json").write_text(json.dumps(result))
