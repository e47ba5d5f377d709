"""From a model to a file that computes the same without this code, and the proof that it does.

The front end is inside: a waveform goes in, probabilities and an embedding come out.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from zoo import runtime
from zoo.capture import Both, LengthError, capture
from zoo.errors import InputError
from zoo.model import GenreModel
from zoo.runners import KEY, About, Outputs
from zoo.runners_torch import about
from zoo.scores import chunk_length, to_waveform

TOLERANCE = 1e-4  # of probabilities, and of embeddings in units of the largest number in them
LONG_SECONDS = 40  # more than the 30 s that some encoders read at once


class Difference(NamedTuple):
    """The largest differences between a file's numbers and the model's."""

    probability: float
    embedding: float  # in units of the largest number in any

    @property
    def is_small(self) -> bool:
        """Whether both are within `TOLERANCE`."""
        return self.probability <= TOLERANCE and self.embedding <= TOLERANCE


class Draft(ABC):
    """What has been exported, before it is in a file."""

    shortest: int  # samples of the shortest waveform that it is good for, as far as that is known

    @abstractmethod
    def run(self, samples_BT: np.ndarray) -> Outputs:
        """Return what it gives for int16 clips."""

    @abstractmethod
    def write(self, file: Path, about: About) -> None:
        """Write it."""


@dataclass(frozen=True)
class Exported:
    """A draft, what its file will say of it, and for how many lengths and why."""

    draft: Draft
    about: About
    lengths: str
    is_rounded: bool = False  # so that its numbers are no longer the model's


class TorchDraft(Draft):
    """A program of `torch.export`."""

    def __init__(self, model: GenreModel, any_length: bool) -> None:
        self._program, self.shortest = capture(model, any_length)
        self._module = self._program.module(check_guards=False)

    @torch.inference_mode()
    def run(self, samples_BT: np.ndarray) -> Outputs:
        prob_BK, x_BD = self._module(to_waveform(samples_BT, torch.device("cpu")))
        return Outputs(prob_BK.numpy(), x_BD.numpy())

    def write(self, file: Path, about: About) -> None:
        self._program.example_inputs = None  # megabytes of zeros
        with runtime.silence():
            torch.export.save(self._program, file, extra_files={KEY: about.dumps()})


Convert = Callable[[GenreModel, bool], Draft]
"""From a model, and whether for any length, to a draft."""


def export(model: GenreModel, convert: Convert, samples_BT: np.ndarray) -> Exported:
    """Export a model in evaluation mode on the CPU, for any length of clips if the draft then gives
    the model's numbers for several lengths and batches of the music `samples_BT`.

    Raises `InputError` for a model that cannot be exported.
    """
    of, clip = about(model), chunk_length(model)
    try:
        draft = convert(model, True)
        shortest = _tried(model, draft, samples_BT)
    except InputError:
        raise
    except LengthError as error:
        why = str(error)
    except Exception as error:  # PyTorch's exporter raises of all kinds
        why = f"for others PyTorch's exporter gives up ({_first_line(error)})"
    else:
        lengths = f"{shortest} ({shortest / of.sample_rate:.3g} s) or more"
        return Exported(draft, replace(of, min_samples=shortest), lengths)
    try:
        draft = convert(model, False)
    except InputError:
        raise
    except Exception as error:
        name = model.config.model
        raise InputError(f"model={name} cannot be exported: {_first_line(error)}.") from error
    lengths = f"{clip} ({clip / of.sample_rate:.3g} s), fixed: {why}"
    return Exported(draft, replace(of, min_samples=clip, any_length=False), lengths)


def _first_line(error: BaseException) -> str:
    while error.__cause__ is not None:
        error = error.__cause__
    return (str(error).splitlines() or [""])[0].rstrip(". ") or type(error).__name__


def _tried(model: GenreModel, draft: Draft, samples_BT: np.ndarray) -> int:
    """Return the shortest length for which the draft was seen to agree with the model.

    Raises `LengthError` where it does not for longer ones.
    """
    clip, rate = chunk_length(model), model.sample_rate
    shortest = max(draft.shortest, model.min_samples)
    for batch, length in (
        (2, max(shortest, 2 * clip // 3) + 1),  # odd numbers, which no step divides
        (1, 2 * clip + 1),
        (1, max(clip, LONG_SECONDS * rate) + 1),
    ):
        if not _agrees(model, draft, np.resize(samples_BT, (batch, length))):
            raise LengthError(f"what it computes for {length / rate:.3g} s takes other steps")
    while shortest < clip and not _agrees(model, draft, np.resize(samples_BT, (1, shortest))):
        shortest *= 2
    return min(shortest, clip)


def _agrees(model: GenreModel, draft: Draft, samples_BT: np.ndarray) -> bool:
    try:
        return difference(model, draft.run, samples_BT).is_small
    except Exception:  # what has been exported is for other lengths
        return False


@torch.inference_mode()
def difference(
    model: GenreModel, run: Callable[[np.ndarray], Outputs], samples_BT: np.ndarray
) -> Difference:
    """Return how far apart a model in float32 and what was made of it are on int16 clips."""
    prob_BK, x_BD = (
        part.numpy() for part in Both(model)(to_waveform(samples_BT, torch.device("cpu")))
    )
    got = run(samples_BT)
    size = float(max(np.abs(x_BD).max(), np.finfo(np.float32).tiny))
    return Difference(
        float(np.abs(got.prob_BK - prob_BK).max()),
        float(np.abs(got.embedding_BD - x_BD).max()) / size,
    )
