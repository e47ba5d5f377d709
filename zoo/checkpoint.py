"""Checkpoints of a run: written whole or not at all, and continued from.

`last.pt` holds all that continuing takes, in one file, so that a kill cannot leave parts of it;
`best.pt` beside it the best weights so far, for whoever wants them before the run is over.
"""

import io
import os
import pickle
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from zoo.datasets.base import SPLITS, Manifest
from zoo.errors import InputError

if TYPE_CHECKING:
    from zoo.trainer import Trainer


ORIGIN = ("base_hash", "licence")  # of the model's config: the checkpoint may be gone by then


@dataclass
class Progress:
    """Where a run is; all of it is in the checkpoint."""

    epoch: int = 0  # finished ones
    step: int = 0  # finished ones of the epoch under way
    best_epoch: int = 0
    best_metric: float = -1.0
    best_loss: float = float("inf")  # decides between epochs with equal metrics
    seconds: float = 0.0  # of training
    clips: int = 0

    def __str__(self) -> str:
        return f"epoch {self.epoch}" + (f" and {self.step} steps" if self.step else "")


def file(folder: Path, name: str) -> Path:
    """Return the file of a run's checkpoint `last` or `best`."""
    return folder / "checkpoints" / f"{name}.pt"


def is_there(config: Any) -> bool:
    """Tell whether the run is one that goes on from its last checkpoint."""
    return (
        bool(config.resume and config.output_dir) and file(Path(config.output_dir), "last").exists()
    )


def save(to: Path, state: dict[str, Any]) -> None:
    """Write the state under a temporary name, flush it to the disk, and rename it.

    Raises OSError if that fails (a full disk); the previous checkpoint stays as it was.
    """
    to.parent.mkdir(parents=True, exist_ok=True)
    part = to.with_suffix(".part")
    content = io.BytesIO()  # torch writes to a full disk without saying that it is full
    torch.save(state, content)
    try:
        with part.open("wb") as stream:
            stream.write(content.getbuffer())
            stream.flush()
            os.fsync(stream.fileno())
        part.replace(to)
    except OSError:
        part.unlink(missing_ok=True)
        raise


def load(source: Path) -> dict[str, Any]:
    """Read a checkpoint. Raises `InputError` if it is none."""
    try:
        return torch.load(source, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, ValueError, pickle.UnpicklingError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{source} is not a checkpoint of this version: {reason}") from error


def write(trainer: "Trainer") -> None:
    """Write last.pt."""
    started, scaler = time.monotonic(), trainer.accelerator.scaler
    state = {
        "model": trainer.raw.state_dict(),
        "average": trainer.average.state_dict(),
        "best": trainer.best_weights,
        "optimizer": trainer.optimizer.state_dict(),
        "scaler": scaler.state_dict() if scaler else None,
        "phase": trainer.phases.index(trainer.phase),
        "progress": asdict(trainer.progress),
        "wall_seconds": trainer.wall_seconds,
        "losses": trainer.losses,
        "history": trainer.history,
        "micro_batch": trainer.forward_backward.micro_batch,
        "same": trainer.same,
        "origin": {name: getattr(trainer.raw.config, name) for name in ORIGIN},
    }
    save(file(trainer.folder, "last"), state)
    trainer.saved = time.monotonic()
    trainer.saving_seconds = trainer.saved - started


def must_stay(manifest: Manifest, precision: str) -> dict[str, str]:
    """Return what beside the configuration may not change when a run is resumed."""
    tracks = {f"{name} tracks": manifest.split(name).fingerprint() for name in SPLITS}
    return {**tracks, "precision": precision}


def resume(trainer: "Trainer") -> bool:
    """Go on from last.pt; return false if there is none.

    Raises `InputError` if its tracks, labels, splits or precision were others.
    """
    last = file(trainer.folder, "last")
    if not last.exists():
        return False
    state = load(last)
    for what, now in trainer.same.items():
        if state["same"][what] != now:
            raise InputError(
                f"{last} is of a run with other {what} than there are now; give another output_dir."
            )
    trainer.progress = Progress(**state["progress"])
    trainer.wall_before = state["wall_seconds"]
    for model in (trainer.raw, trainer.best):
        model.config = replace(model.config, **state["origin"])
    trainer.raw.load_state_dict(state["model"])
    trainer.average.load_state_dict(state["average"])
    trainer.best_weights = state["best"]
    if state["phase"]:
        trainer.set_phase(trainer.phases[state["phase"]])
    trainer.optimizer.load_state_dict(state["optimizer"])
    if trainer.accelerator.scaler:
        trainer.accelerator.scaler.load_state_dict(state["scaler"])
    trainer.losses.copy_(state["losses"])
    trainer.history = state["history"]
    trainer.forward_backward.micro_batch = state["micro_batch"]
    return True
