"""A run of a suite: the arguments that `zoo.train` takes for it, and the folder that it fills."""

import hashlib
import importlib.metadata
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from zoo.datasets.base import IDENTITY, Manifest
from zoo.results import FILE, INCIDENTAL, flat, recipe_config
from zoo.sources import RUN_CONFIG

NOT_IDENTITY = {*INCIDENTAL, "dataset.path", "checkpoint", "model.backend.checkpoint"}
"""Keys of a configuration for which something else stands: tracks, and the content of weights."""


@dataclass(frozen=True)
class Job:
    """One run, before, while and after it is trained."""

    row: str  # what the suite calls the model: "crnn cqt"
    seed: int
    manifest: Manifest
    arguments: tuple[str, ...]  # of zoo.train, without output_dir
    config: Mapping[str, Any]  # what they compose
    folder: Path

    @property
    def name(self) -> str:
        """What messages call it."""
        fold = "" if self.manifest.fold is None else f", fold {self.manifest.fold}"
        return f"{self.row} on {self.manifest.name} ({self.split}{fold}), seed {self.seed}"

    @property
    def split(self) -> str:
        """The name of the split that it is trained and tested on."""
        return self.manifest.split_name

    @property
    def contest(self) -> str:
        """What is equal for runs that compare: data, split, folds, evaluation."""
        tracks = self.manifest.fingerprint() if self.manifest.fold is None else ""
        return json.dumps([self.manifest.name, self.split, self.config["evaluation"], tracks])

    @property
    def recipe(self) -> str:
        """What seeds and folds of one row have in common."""
        kept = recipe_config(self.config)
        return json.dumps([self.row, self.contest, kept], sort_keys=True)

    @property
    def state(self) -> str:
        """Return finished, interrupted (it has begun) or missing."""
        if (self.folder / FILE).exists():
            return "finished"
        begun = (RUN_CONFIG, "checkpoints")
        return "interrupted" if any((self.folder / name).exists() for name in begun) else "missing"


def identity(config: Any, manifest: Manifest) -> str:
    """Return a hash of all that a run's scores follow from: settings, seed, tracks with their
    labels and splits, the weights that it starts from, and the version of the zoo.

    Not of the number of threads: it moves scores by rounding only, and a suite that was begun with
    another number goes on with what is there.
    """
    content: Any = OmegaConf.to_container(config)
    kept = {key: value for key, value in flat(content).items() if key not in NOT_IDENTITY}
    columns = [column for column in IDENTITY if column != "path"]
    tracks = manifest.frame[columns].sort_values("track").to_csv(index=False)
    weights = [content["checkpoint"], content["model"]["backend"].get("checkpoint")]
    parts = [kept, tracks, [w and weights_digest(w) for w in weights], manifest.fold]
    text = json.dumps([*parts, importlib.metadata.version("genre-zoo")], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


@cache
def weights_digest(checkpoint: str) -> str:
    """Return a hash of a checkpoint's file, or of the files in its folder; a name on the Hub is
    its own."""
    path = Path(checkpoint).expanduser()
    if not path.exists():
        return checkpoint
    files = [path] if path.is_file() else sorted(f for f in path.rglob("*") if f.is_file())
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.name.encode())
        with file.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()
