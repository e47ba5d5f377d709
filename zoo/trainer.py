"""The training loop, under Accelerate on one process or many."""

import time
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
import torch
from accelerate import Accelerator
from torch import Tensor
from torch.nn import functional
from tqdm import tqdm

from zoo import checkpoint
from zoo.chunks import TrainingChunks
from zoo.datasets.base import SPLITS
from zoo.errors import InputError
from zoo.metrics import PRIMARY, evaluate
from zoo.model import GenreModel
from zoo.prepare import Data
from zoo.recipe import (
    Phase,
    averaged,
    class_weights,
    learning_rate,
    make_optimizer,
    read_phases,
)
from zoo.scores import chunk_length, score_tracks, to_waveform
from zoo.signals import Signals
from zoo.step import Step, step_seed

DEFAULT_EPOCHS = 10
LOG_STEPS = 10  # between two readings of the loss, each of which waits for the device


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


class Trainer:
    """Trains a model on the training split, and keeps its best averaged weights."""

    def __init__(
        self, config: Any, model: GenreModel, data: Data, accelerator: Accelerator, folder: Path
    ) -> None:
        self.config, self.data, self.accelerator, self.folder = config, data, accelerator, folder
        self.multilabel = model.config.multilabel
        self.rows = data.rows("train")
        self.validation_rows = data.rows("validation")
        self.targets = data.manifest.targets()
        self.chunks = TrainingChunks(
            data.store.lengths[self.rows], chunk_length(model), config.batch_size, config.seed
        )
        self.epochs = config.epochs or max(
            DEFAULT_EPOCHS, -(-config.min_steps // self.chunks.steps_per_epoch)
        )
        self.total_steps = self.epochs * self.chunks.steps_per_epoch
        weights: Tensor | None = None
        if config.loss.class_weights:
            weights = class_weights(self.targets[self.rows], len(model.config.classes))
            weights = weights.to(accelerator.device)
        self.forward_backward = Step(config, accelerator, weights)
        self.phases = read_phases(config.optimizer)
        self.phase = self.phases[0]
        if accelerator.num_processes > 1 and accelerator.device.type == "cuda":
            model = torch.nn.SyncBatchNorm.convert_sync_batchnorm(model)
        self.average = averaged(model, config.ema_decay).to(accelerator.device)
        self.raw = model
        optimizer = make_optimizer(model, self.phase)
        self.model, self.optimizer = accelerator.prepare(model, optimizer)
        self.progress = Progress()
        self.losses = torch.zeros(self.chunks.steps_per_epoch, device=accelerator.device)
        self.history: list[dict[str, float]] = []
        self.clock = self.saved = time.monotonic()

    @property
    def best(self) -> GenreModel:
        """The averaged model, with the best weights once `run` is over."""
        return cast(GenreModel, self.average.module)

    def plan(self, precision: str, threads: int) -> str:
        """Return what is about to happen, in a few words."""
        config, device = self.raw.config, self.accelerator.device
        where = f"{threads} threads" if device.type == "cpu" else str(device)
        if (processes := self.accelerator.num_processes) > 1:
            where += f" in each of {processes} processes"
        return (
            f"{config.model} with {config.frontend} on {self.data.manifest.name}: "
            f"{len(self.rows)} training tracks, {len(config.classes)} classes, chunks of "
            f"{config.clip_seconds:g} s; {self.epochs} epochs of {self.chunks.steps_per_epoch} "
            f"steps, {precision} on {where}"
        )

    def run(self) -> None:
        """Train to the last epoch, or until `patience` epochs brought nothing better.

        Exits when a signal asks for it, once a checkpoint is written.
        """
        progress, batch = self.progress, self.config.batch_size
        bar = tqdm(
            total=self.total_steps * batch,
            initial=(progress.epoch * self.chunks.steps_per_epoch + progress.step) * batch,
            unit="clip",
            desc="training",
            disable=None if self.accelerator.is_main_process else True,
        )
        with bar, Signals() as signals:
            while progress.epoch < self.epochs:
                if progress.epoch - progress.best_epoch >= self.config.patience:
                    self._tell(f"no better epoch in {self.config.patience}: stopping early")
                    break
                self._enter_phase()
                self._train_epoch(bar, signals)
                self._validate()
                self._save()
                self._heed(signals)
        self.average.module.load_state_dict(self._best_weights())

    def _enter_phase(self) -> None:
        """Where another phase begins, take its optimiser and go on from the best weights."""
        phase = [phase for phase in self.phases if phase.epoch <= self.progress.epoch][-1]
        if phase != self.phase:
            for model in (self.raw, self.average.module):
                model.load_state_dict(self._best_weights())
            self._set_phase(phase)
            self._tell(f"from here {phase.name} at {phase.lr:g}, on the best weights so far")

    def _set_phase(self, phase: Phase) -> None:
        self.phase = phase
        self.optimizer = self.accelerator.prepare(make_optimizer(self.raw, phase))

    def _train_epoch(self, bar: tqdm, signals: Signals) -> None:
        self.model.train()
        progress, self.clock = self.progress, time.monotonic()
        for index in range(progress.step, len(self.losses)):
            self.losses[index] = self.step(progress.epoch, index)
            progress.step, progress.clips = index + 1, progress.clips + self.config.batch_size
            self._count_seconds()
            bar.update(self.config.batch_size)
            is_reading = (index + 1) % LOG_STEPS == 0
            if is_reading:
                recent = self._checked(self.losses[index + 1 - LOG_STEPS : index + 1])
                bar.set_postfix(loss=f"{recent:.3f}", end=self._expected_end())
            if is_reading or self.accelerator.num_processes == 1:
                self._heed(signals)
            is_due = time.monotonic() - self.saved > 60 * self.config.checkpoint_minutes
            if is_due and self.accelerator.is_main_process:
                self._write_last()

    def _count_seconds(self) -> None:
        now = time.monotonic()
        self.progress.seconds, self.clock = self.progress.seconds + now - self.clock, now

    def _expected_end(self) -> str:
        left = self.total_steps * self.config.batch_size - self.progress.clips
        seconds = left * self.progress.seconds / self.progress.clips
        return f"{datetime.now() + timedelta(seconds=seconds):%H:%M}"

    def _checked(self, losses: Tensor) -> float:
        loss = losses.mean().item()
        if not np.isfinite(loss):
            raise InputError(
                f"training diverged in epoch {self.progress.epoch + 1} (the loss is {loss}); "
                f"try a smaller optimizer.lr than {self.phase.lr:g}."
            )
        return loss

    def _heed(self, signals: Signals) -> None:
        """Stop if a signal came, to whichever process, with a checkpoint."""
        asked = signals.received is not None
        if self.accelerator.num_processes > 1:
            votes = torch.tensor(float(asked), device=self.accelerator.device)
            asked = bool(self.accelerator.reduce(votes).item())
        if asked:
            self._save()
            self._tell(
                f"stopped by a signal after {self.progress}, checkpoint written; continue with the "
                f"same settings, output_dir={self.folder} resume=true"
            )
            signals.stop()

    def step(self, epoch: int, index: int) -> Tensor:
        """Take one optimiser step and return the loss, still on the device."""
        accelerator, rank = self.accelerator, self.accelerator.process_index
        tracks, starts = self.chunks.batch(epoch, index)
        mine = slice(rank, None, accelerator.num_processes)
        rows = self.rows[tracks[mine]]
        samples = self.data.store.gather(rows, starts[mine], self.chunks.length)
        x_BT = to_waveform(samples, accelerator.device)
        target = torch.from_numpy(self.targets[rows]).to(accelerator.device)
        if not self.multilabel:
            target = functional.one_hot(target, len(self.raw.config.classes))
        rate = learning_rate(
            epoch * self.chunks.steps_per_epoch + index, self.total_steps, self.phase
        )
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        seed = step_seed(self.config.seed, epoch, index, rank)
        loss = self.forward_backward(self.model, self.raw, x_BT, target.float(), seed)
        if self.config.optimizer.clip_norm:
            accelerator.clip_grad_norm_(self.model.parameters(), self.config.optimizer.clip_norm)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.average.update_parameters(self.raw)
        return loss

    def _validate(self) -> None:
        scores = score_tracks(
            self.best, self.data, self.validation_rows, self.accelerator, self.config
        )
        metrics = evaluate(self.targets[self.validation_rows], scores, self.multilabel)
        metric, tie_break = metrics[PRIMARY[self.multilabel]], metrics.get("log_loss", 0.0)
        progress, loss = self.progress, self._checked(self.losses)
        progress.epoch, progress.step = progress.epoch + 1, 0
        better = (metric, -tie_break) > (progress.best_metric, -progress.best_loss)
        if better:
            progress.best_metric, progress.best_loss = metric, tie_break
            progress.best_epoch = progress.epoch
        row = {"epoch": progress.epoch, "train_loss": loss}
        row |= {"lr": self.optimizer.param_groups[0]["lr"], "seconds": progress.seconds}
        row |= {f"validation_{name}": value for name, value in metrics.items()}
        self.history.append(row)
        self.accelerator.log(row, step=progress.epoch * self.chunks.steps_per_epoch)
        if self.accelerator.is_main_process:
            pd.DataFrame(self.history).to_csv(self.folder / "log.csv", index=False)
        self._tell(
            f"epoch {progress.epoch}/{self.epochs}  loss {loss:.3f}  validation "
            f"{PRIMARY[self.multilabel]} {metric:.3f}{'  (best)' if better else ''}"
        )

    def _tell(self, line: str) -> None:
        if self.accelerator.is_main_process:
            tqdm.write(line)

    def _file(self, name: str) -> Path:
        return self.folder / checkpoint.FOLDER / f"{name}.pt"

    def _best_weights(self) -> dict[str, Any]:
        return checkpoint.load(self._file("best"))["model"]

    def _save(self) -> None:
        """Write best.pt if this epoch was the best so far, then last.pt."""
        if self.accelerator.is_main_process:
            if self.progress.best_epoch == self.progress.epoch and self.progress.step == 0:
                checkpoint.save(self._file("best"), {"model": self.best.state_dict()})
            self._write_last()
        self.accelerator.wait_for_everyone()

    def _write_last(self) -> None:
        """Write last.pt: all that continuing takes."""
        state = {
            "model": self.raw.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "progress": asdict(self.progress),
            "phase": self.phases.index(self.phase),
            "losses": self.losses,
            "history": self.history,
            "micro_batch": self.forward_backward.micro_batch,
            "tracks": self._tracks(),
        }
        checkpoint.save(self._file("last"), state)
        self.saved = time.monotonic()

    def _tracks(self) -> list[str]:
        """Return what tells whether the data are the same."""
        return [self.data.manifest.split(name).fingerprint() for name in SPLITS]

    def resume(self) -> bool:
        """Go on from the last checkpoint; return false if there is none.

        Raises `InputError` if its tracks, labels or splits were others.
        """
        file = self._file("last")
        if not file.exists():
            return False
        state = checkpoint.load(file)
        if state["tracks"] != self._tracks():
            raise InputError(
                f"{file} is of other tracks, labels or splits than {self.data.manifest.where} "
                "has now; give another output_dir."
            )
        self.progress = Progress(**state["progress"])
        self.raw.load_state_dict(state["model"])
        self.average.load_state_dict(state["average"])
        if state["phase"]:
            self._set_phase(self.phases[state["phase"]])
        self.optimizer.load_state_dict(state["optimizer"])
        self.losses.copy_(state["losses"])
        self.history, self.forward_backward.micro_batch = state["history"], state["micro_batch"]
        return True
