"""The training loop, under Accelerate on one process or many."""

import time
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
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
from zoo.augment import Augment
from zoo.chunks import TrainingChunks
from zoo.errors import InputError
from zoo.metrics import PRIMARY, evaluate
from zoo.model import GenreModel
from zoo.prepare import Data
from zoo.recipe import averaged, class_weights, learning_rate, loss_function, make_optimizer
from zoo.scores import chunk_length, score_tracks, to_waveform

DEFAULT_EPOCHS = 10
LOG_STEPS = 10  # between two readings of the loss, each of which waits for the device


@dataclass
class Progress:
    """Where a run is; all of it is in the checkpoint."""

    epoch: int = 0  # finished ones
    best_epoch: int = 0
    best_metric: float = -1.0
    best_loss: float = float("inf")  # decides between epochs with equal metrics
    seconds: float = 0.0  # of training
    clips: int = 0


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
        self.augment = Augment(**config.augment)
        self.weights: Tensor | None = None
        if config.loss.class_weights:
            weights = class_weights(self.targets[self.rows], len(model.config.classes))
            self.weights = weights.to(accelerator.device)
        self.micro_batch = config.micro_batch_size or config.batch_size
        optimizer = make_optimizer(model, config.optimizer.lr, config.optimizer.weight_decay)
        self.average = averaged(model, config.ema_decay).to(accelerator.device)
        self.raw = model
        self.model, self.optimizer = accelerator.prepare(model, optimizer)
        self.progress = Progress()
        self.history: list[dict[str, float]] = []

    @property
    def best(self) -> GenreModel:
        """The averaged model, with the best weights once `run` is over."""
        return cast(GenreModel, self.average.module)

    def plan(self, precision: str, threads: int) -> str:
        """Return what is about to happen, in a few words."""
        config, device = self.raw.config, self.accelerator.device
        where = f"{threads} threads" if device.type == "cpu" else str(device)
        return (
            f"{config.model} with {config.frontend} on {self.data.manifest.name}: "
            f"{len(self.rows)} training tracks, {len(config.classes)} classes, chunks of "
            f"{config.clip_seconds:g} s; {self.epochs} epochs of {self.chunks.steps_per_epoch} "
            f"steps, {precision} on {where}"
        )

    def run(self) -> None:
        """Train to the last epoch, or until `patience` epochs brought nothing better."""
        done = self.progress.epoch * self.chunks.steps_per_epoch
        total = self.total_steps * self.config.batch_size
        bar = tqdm(
            total=total,
            initial=done * self.config.batch_size,
            unit="clip",
            desc="training",
            disable=None if self.accelerator.is_main_process else True,
        )
        with bar:
            for epoch in range(self.progress.epoch, self.epochs):
                if epoch - self.progress.best_epoch >= self.config.patience:
                    tqdm.write(f"no better epoch in {self.config.patience}: stopping early")
                    break
                loss = self._train_epoch(epoch, bar)
                self._validate(epoch, loss)
                self._save()
        self.average.load_state_dict(checkpoint.load(self._file("best"))["average"])

    def _train_epoch(self, epoch: int, bar: tqdm) -> float:
        self.model.train()
        started = time.monotonic()
        losses = torch.zeros(self.chunks.steps_per_epoch, device=self.accelerator.device)
        for index in range(len(losses)):
            losses[index] = self.step(epoch, index)
            bar.update(self.config.batch_size)
            if (index + 1) % LOG_STEPS == 0:
                recent = self._checked(losses[index + 1 - LOG_STEPS : index + 1], epoch)
                bar.set_postfix(loss=f"{recent:.3f}", end=self._expected_end(started, epoch, index))
        self.progress.seconds += time.monotonic() - started
        self.progress.clips += len(losses) * self.config.batch_size
        return self._checked(losses, epoch)

    def _expected_end(self, started: float, epoch: int, index: int) -> str:
        left = self.total_steps - (epoch * self.chunks.steps_per_epoch + index + 1)
        seconds = left * (time.monotonic() - started) / (index + 1)
        return f"{datetime.now() + timedelta(seconds=seconds):%H:%M}"

    def _checked(self, losses: Tensor, epoch: int) -> float:
        loss = losses.mean().item()
        if not np.isfinite(loss):
            raise InputError(
                f"training diverged in epoch {epoch + 1} (the loss is {loss}); "
                f"try a smaller optimizer.lr than {self.config.optimizer.lr:g}."
            )
        return loss

    def step(self, epoch: int, index: int) -> Tensor:
        """Take one optimiser step and return the loss, still on the device."""
        rank, world = self.accelerator.process_index, self.accelerator.num_processes
        tracks, starts = (x[rank::world] for x in self.chunks.batch(epoch, index))
        rows = self.rows[tracks]
        samples = self.data.store.gather(rows, starts, self.chunks.length)
        target = torch.from_numpy(self.targets[rows]).to(self.accelerator.device)
        if not self.multilabel:
            target = functional.one_hot(target, len(self.raw.config.classes))
        step = epoch * self.chunks.steps_per_epoch + index
        rate = self.config.optimizer
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(step, self.total_steps, rate.lr, rate.warmup)
        while True:
            seeds = np.random.SeedSequence([self.config.seed, epoch, index, rank])
            torch.manual_seed(int(seeds.generate_state(1)[0]))
            try:
                loss = self._backward(to_waveform(samples, self.accelerator.device), target.float())
                break
            except torch.OutOfMemoryError:
                self._halve_micro_batch()
        self.accelerator.clip_grad_norm_(self.model.parameters(), self.config.optimizer.clip_norm)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.average.update_parameters(self.raw)
        return loss

    def _backward(self, x_BT: Tensor, target_BK: Tensor) -> Tensor:
        x_BT, target_BK = self.augment.waveform(x_BT, target_BK)
        pieces = list(self._micro_batches(len(x_BT)))
        total = torch.zeros((), device=x_BT.device)
        for piece in pieces:
            is_last = piece is pieces[-1]
            with nullcontext() if is_last else self.accelerator.no_sync(self.model):
                logits = self.model(x_BT[piece], augment=self.augment.spectrogram)
                loss = loss_function(
                    logits,
                    target_BK[piece],
                    self.multilabel,
                    self.config.loss.label_smoothing,
                    self.weights,
                )
                loss = loss * (len(logits) / len(x_BT))
                self.accelerator.backward(loss)
            total += loss.detach()
        return total

    def _micro_batches(self, batch: int) -> Iterator[slice]:
        num_pieces = -(-batch // self.micro_batch)
        size = -(-batch // num_pieces)
        return (slice(start, min(start + size, batch)) for start in range(0, batch, size))

    def _halve_micro_batch(self) -> None:
        self.optimizer.zero_grad()
        if self.micro_batch <= 2:
            raise InputError(
                f"GPU memory does not hold two clips of {self.raw.config.clip_seconds:g} s; "
                "try a smaller clip_seconds."
            )
        self.micro_batch = min(self.micro_batch, self.config.batch_size) // 2
        torch.cuda.empty_cache()
        tqdm.write(f"out of GPU memory: going on with {self.micro_batch} clips at a time")

    def _validate(self, epoch: int, loss: float) -> None:
        scores = score_tracks(
            self.best, self.data, self.validation_rows, self.accelerator, self.config.batch_size
        )
        metrics = evaluate(self.targets[self.validation_rows], scores, self.multilabel)
        metric = metrics[PRIMARY[self.multilabel]]
        tie_break = metrics.get("log_loss", 0.0)
        progress = self.progress
        progress.epoch = epoch + 1
        better = (metric, -tie_break) > (progress.best_metric, -progress.best_loss)
        if better:
            progress.best_metric, progress.best_loss = metric, tie_break
            progress.best_epoch = epoch + 1
        row = {"epoch": epoch + 1, "train_loss": loss, "lr": self.optimizer.param_groups[0]["lr"]}
        row |= {"seconds": progress.seconds} | {f"validation_{k}": v for k, v in metrics.items()}
        self.history.append(row)
        self.accelerator.log(row, step=(epoch + 1) * self.chunks.steps_per_epoch)
        if self.accelerator.is_main_process:
            pd.DataFrame(self.history).to_csv(self.folder / "log.csv", index=False)
            tqdm.write(
                f"epoch {epoch + 1}/{self.epochs}  loss {loss:.3f}  validation "
                f"{PRIMARY[self.multilabel]} {metric:.3f}{'  (best)' if better else ''}"
            )

    def _file(self, name: str) -> Path:
        return self.folder / checkpoint.FOLDER / f"{name}.pt"

    def _save(self) -> None:
        """Write last.pt (all that continuing takes), and best.pt if this epoch was the best."""
        if self.accelerator.is_main_process:
            state = {
                "model": self.raw.state_dict(),
                "average": self.average.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "progress": vars(self.progress),
                "history": self.history,
                "micro_batch": self.micro_batch,
            }
            checkpoint.save(self._file("last"), state)
            if self.progress.best_epoch == self.progress.epoch:
                checkpoint.save(self._file("best"), {"average": state["average"]})
        self.accelerator.wait_for_everyone()

    def resume(self) -> bool:
        """Go on from the last checkpoint; return false if there is none."""
        if not self._file("last").exists():
            return False
        state = checkpoint.load(self._file("last"))
        self.raw.load_state_dict(state["model"])
        self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.progress = Progress(**state["progress"])
        self.history, self.micro_batch = state["history"], state["micro_batch"]
        return True
