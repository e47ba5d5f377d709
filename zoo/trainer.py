"""The training loop, under Accelerate on one process or many."""

import time
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from accelerate import Accelerator
from torch import Tensor
from torch.nn import functional
from tqdm import tqdm

from zoo import checkpoint, finetune
from zoo.chunks import TrainingChunks, num_epochs
from zoo.errors import InputError
from zoo.metrics import PRIMARY, evaluate
from zoo.model import GenreModel
from zoo.prepare import Data
from zoo.recipe import (
    Average,
    Phase,
    class_weights,
    learning_rate,
    make_optimizer,
    read_phases,
)
from zoo.scores import chunk_length, score_tracks, to_waveform
from zoo.signals import Signals
from zoo.step import Step, step_seed
from zoo.training import Training

LOG_STEPS = 10  # between two readings of the loss, each of which waits for the device
MOST_SAVING = 0.1  # share of the time that goes into checkpoints at the ends of epochs


class Trainer(Training):
    """Trains a model on the training split, and keeps its best averaged weights."""

    def __init__(
        self,
        config: Any,
        model: GenreModel,
        data: Data,
        accelerator: Accelerator,
        folder: Path,
        started: float,
    ) -> None:
        """Begin anew, or `resume`."""
        super().__init__(config, model, data, accelerator, folder, started)
        self.chunks = TrainingChunks(
            data.store.lengths[self.rows], chunk_length(model), config.batch_size, config.seed
        )
        self.epochs = num_epochs(config, self.chunks.steps_per_epoch)
        self.total_steps = self.epochs * self.chunks.steps_per_epoch
        weights: Tensor | None = None
        if config.loss.class_weights:
            weights = class_weights(self.targets[self.rows], len(model.config.classes))
            weights = weights.to(accelerator.device)
        self.forward_backward = Step(config, accelerator, weights)
        self.phases = read_phases(config.optimizer)
        self.phase = self.phases[0]
        if accelerator.num_processes > 1 and accelerator.device.type == "cuda":
            from timm.layers import (
                convert_sync_batchnorm,
            )  # torch's drops the activations of timm's

            self.raw = convert_sync_batchnorm(self.raw)
        self.average = Average(self.raw, config.ema_decay)
        self.rates = finetune.rates(self.raw, config)
        optimizer = make_optimizer(self.rates, self.phase)
        self.model, self.optimizer = accelerator.prepare(self.raw, optimizer)
        self.same = checkpoint.must_stay(data.manifest, accelerator.mixed_precision)
        self.losses = torch.zeros(self.chunks.steps_per_epoch, device=accelerator.device)
        self.best_weights: dict[str, Tensor] = {}
        self.clock = self.saved = time.monotonic()
        self.saving_seconds = 0.0  # what the last checkpoint took
        self.best_saved = 0  # the epoch that best.pt is of

    @property
    def best(self) -> GenreModel:
        """The averaged model, with the best weights once `run` is over."""
        return self.average.module

    def plan(self) -> str:
        """Return how long it trains, in a few words."""
        return f"{self.epochs} epochs of {self.chunks.steps_per_epoch} steps"

    def score(self, model: GenreModel, rows: np.ndarray) -> np.ndarray:
        """Return the scores of tracks."""
        return score_tracks(model, self.data, rows, self.accelerator, self.config, "scoring")

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
                self._save(after_seconds=self.saving_seconds / MOST_SAVING)
                self._heed(signals)
        self.best.load_state_dict(self.best_weights)

    def _enter_phase(self) -> None:
        """Where another phase begins, take its optimiser and go on from the best weights."""
        phase = [phase for phase in self.phases if phase.epoch <= self.progress.epoch][-1]
        if phase != self.phase:
            for model in (self.raw, self.best):
                model.load_state_dict(self.best_weights)
            self.set_phase(phase)
            self._tell(f"from here {phase.name} at {phase.lr:g}, on the best weights so far")

    def set_phase(self, phase: Phase) -> None:
        """Go on with the optimiser of a phase."""
        self.phase = phase
        self.accelerator._optimizers.clear()  # it would scale and clip for the earlier one too
        self.optimizer = self.accelerator.prepare(make_optimizer(self.rates, phase))

    def _train_epoch(self, bar: tqdm, signals: Signals) -> None:
        self.model.train()
        progress, self.clock = self.progress, time.monotonic()
        on_gpus = self.accelerator.device.type != "cpu" and self.accelerator.num_processes > 1
        for index in range(progress.step, len(self.losses)):
            self.losses[index] = self.step(progress.epoch, index)
            progress.step, progress.clips = index + 1, progress.clips + self.config.batch_size
            bar.update(self.config.batch_size)
            is_reading = (index + 1) % LOG_STEPS == 0 or index + 1 == len(self.losses)
            if is_reading:
                recent = self._checked(self.losses[max(0, index + 1 - LOG_STEPS) : index + 1])
                end = self._expected_end()
                bar.set_postfix(
                    loss=f"{recent:.3f}", lr=f"{self._rate(progress.epoch, index):.1e}", end=end
                )
            self._count_seconds()
            if is_reading or not on_gpus:  # which would have to wait for each other
                self._heed(signals)
            is_due = time.monotonic() - self.saved > 60 * self.config.checkpoint_minutes
            if is_due and self.accelerator.is_main_process:
                checkpoint.write(self)

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

    def _rate(self, epoch: int, index: int) -> float:
        step = epoch * self.chunks.steps_per_epoch + index
        return learning_rate(step, self.total_steps, self.phase)

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
        rate = self._rate(epoch, index)
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["scale"]
        seed = step_seed(self.config.seed, epoch, index, rank)
        loss = self.forward_backward(self.model, self.raw, x_BT, target.float(), seed)
        if self.config.optimizer.clip_norm:
            accelerator.clip_grad_norm_(self.model.parameters(), self.config.optimizer.clip_norm)
        self.optimizer.step()
        self.optimizer.zero_grad()
        if not accelerator.optimizer_step_was_skipped:  # fp16 overflowed
            self.average.update(self.raw)
        return loss

    def _agree(self) -> None:
        """Average the losses over the processes, and take the first one's running statistics."""
        if self.accelerator.num_processes > 1:
            self.losses = self.accelerator.reduce(self.losses, "mean")
            for buffer in self.best.buffers():
                torch.distributed.broadcast(buffer, src=0)

    def _validate(self) -> None:
        self._agree()
        scores = score_tracks(
            self.best, self.data, self.validation_rows, self.accelerator, self.config
        )
        metrics = evaluate(self.targets[self.validation_rows], scores, self.multilabel)
        metric, tie_break = metrics[PRIMARY[self.multilabel]], metrics.get("log_loss", 0.0)
        progress, loss = self.progress, self._checked(self.losses)
        rate = self._rate(progress.epoch, progress.step - 1)
        progress.epoch, progress.step = progress.epoch + 1, 0
        better = (metric, -tie_break) > (progress.best_metric, -progress.best_loss)
        if better:
            progress.best_metric, progress.best_loss = metric, tie_break
            progress.best_epoch = progress.epoch
            self.best_weights = {k: v.cpu().clone() for k, v in self.best.state_dict().items()}
        row = {"epoch": progress.epoch, "train_loss": loss}
        row |= {"lr": rate, "seconds": progress.seconds}
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

    def _save(self, after_seconds: float = 0.0) -> None:
        """Write last.pt, and best.pt if there are better weights than it holds; not sooner after
        the last time than that."""
        is_due = time.monotonic() - self.saved >= after_seconds
        if is_due and self.accelerator.is_main_process:
            checkpoint.write(self)
            if self.progress.best_epoch > self.best_saved:
                checkpoint.save(checkpoint.file(self.folder, "best"), {"model": self.best_weights})
                self.best_saved = self.progress.best_epoch
        self.accelerator.wait_for_everyone()
