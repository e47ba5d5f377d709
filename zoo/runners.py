"""What turns waveforms into probabilities and embeddings: a model here, or an exported file.

Predicting, embedding and serving see no more of it than this. Imports no torch.
"""

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, NamedTuple, Self

import numpy as np

from zoo.calibration import Calibration

KEY = "genre_zoo"  # under which an exported file carries an `About`
CPU_BATCH = 8  # clips; larger batches leave the processor's cache


class Outputs(NamedTuple):
    """Of B clips: float32."""

    prob_BK: np.ndarray
    embedding_BD: np.ndarray


@dataclass(frozen=True)
class About:
    """What there is to know about a model to use it; an exported file carries it as JSON."""

    model: str  # registry names
    frontend: str
    weights: str  # a hash of them, and of how they are computed with
    classes: tuple[str, ...]
    multilabel: bool
    sample_rate: int  # Hz
    clip_samples: int  # of the chunks that it was trained on
    min_samples: int  # the shortest waveform
    num_features: int  # D
    any_length: bool  # whether it takes other lengths than `clip_samples`
    thresholds: tuple[float, ...] | None  # per tag, for several labels
    calibration: Mapping[str, Any] | None
    licence: str | None

    @cached_property
    def calibrated(self) -> Calibration | None:
        """The calibration, where there is one."""
        return None if self.calibration is None else Calibration.read(self.calibration)

    def calibrate(self, prob_BK: np.ndarray) -> np.ndarray:
        """Return calibrated probabilities of tracks, float64; as they are without a calibration."""
        if self.calibrated is None:
            return np.asarray(prob_BK, np.float64)
        return self.calibrated.apply(prob_BK, self.multilabel)

    @property
    def tag_thresholds(self) -> np.ndarray:
        """From which probability on a tag is given, for several labels `[K]`."""
        return np.array(self.thresholds or [0.5] * len(self.classes))

    def dumps(self) -> str:
        """Return it as JSON."""
        return json.dumps(asdict(self), ensure_ascii=False)

    @classmethod
    def loads(cls, text: str) -> Self:
        """Read what `dumps` wrote. Raises ValueError, KeyError or TypeError for anything else."""
        content = json.loads(text)
        content["classes"] = tuple(content["classes"])
        thresholds = content["thresholds"]
        content["thresholds"] = None if thresholds is None else tuple(thresholds)
        return cls(**content)


class Runner(ABC):
    """A model that is ready to be run."""

    about: About
    batch_size: int  # clips that are run together, where there are so many
    streams: int  # batches that are run at once, by threads of Python

    @abstractmethod
    def run(self, samples_BT: np.ndarray) -> Outputs:
        """Return probabilities, not yet calibrated, and embeddings of int16 mono clips at
        `about.sample_rate`, T of `about.clip_samples` (or another, if it takes any length)."""
