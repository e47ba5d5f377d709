"""What comes to weights: `Trainer`, by many passes over the audio, and `Probe`, by one."""

import time
from pathlib import Path
from typing import Any

import numpy as np
from accelerate import Accelerator

from zoo.checkpoint import Progress
from zoo.model import GenreModel
from zoo.prepare import Data


class Training:
    """A run from its data to its best weights."""

    def __init__(
        self,
        config: Any,
        model: GenreModel,
        data: Data,
        accelerator: Accelerator,
        folder: Path,
        started: float,
    ) -> None:
        """`started` is when the process began, by `time.monotonic`."""
        self.config, self.data, self.accelerator, self.folder = config, data, accelerator, folder
        self.raw = model.to(accelerator.device)
        self.multilabel = model.config.multilabel
        self.trainable_parameters = sum(p.numel() for p in model.parameters() if p.requires_grad)
        self.rows = data.rows("train")
        self.validation_rows = data.rows("validation")
        self.targets = data.manifest.targets()
        self.progress = Progress()
        self.history: list[dict[str, float]] = []  # a row an epoch, as in log.csv
        self.started, self.wall_before = started, 0.0  # of the sessions before this one

    @property
    def best(self) -> GenreModel:
        """The model with the best weights once `run` is over."""
        raise NotImplementedError

    @property
    def wall_seconds(self) -> float:
        """What the run has taken so far, all sessions together, preparation included."""
        return self.wall_before + time.monotonic() - self.started

    def plan(self) -> str:
        """Return what is about to happen, in a few words."""
        raise NotImplementedError

    def run(self) -> None:
        """Come to the best weights."""
        raise NotImplementedError

    def score(self, model: GenreModel, rows: np.ndarray) -> np.ndarray:
        """Return the scores `[len(rows),K]` of tracks by a model with the best weights."""
        raise NotImplementedError
