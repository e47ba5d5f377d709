"""`finetune=head`, `prototype` and `knn`: heads on embeddings that are computed once and kept."""

import math
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.nn import functional

from zoo import runtime
from zoo.datasets.base import SPLITS
from zoo.embeddings import embed_tracks, folder_of
from zoo.errors import InputError
from zoo.heads import Nearest, prototypes, regressions
from zoo.metrics import PRIMARY, evaluate
from zoo.model import GenreModel
from zoo.prepare import Data
from zoo.recipe import class_weights
from zoo.scores import chunk_length, to_waveform
from zoo.training import Training

SCALES = [10 ** (power / 2) for power in range(-2, 7)]  # of distances to prototypes: 0.1 to 1000
BATCH = 256  # embeddings
CALIBRATING = 64  # training clips, at most


class Probe(Training):
    """Takes the head that is best on the validation tracks; all before it stays as it is."""

    def __init__(
        self,
        config: Any,
        model: GenreModel,
        data: Data,
        accelerator: Accelerator,
        folder: Path,
        started: float,
    ) -> None:
        """Raises `InputError` for prototypes of several labels, or of classes without a track."""
        model.requires_grad_(False).eval()
        model.head.requires_grad_(config.finetune.name == "head")
        super().__init__(config, model, data, accelerator, folder, started)
        self.method: str = config.finetune.name
        if self.method == "prototype":
            self._check_prototypes()
        if not self.multilabel:
            self.onehot = np.eye(len(model.config.classes), dtype=np.float32)[self.targets]
        else:
            self.onehot = self.targets.astype(np.float32)
        self._calibrate()
        self.kept_in = folder_of(model, accelerator, config)
        self.x_MD = np.empty((0, model.backend.num_features), np.float32)
        self.rows_M = np.empty(0, np.int64)  # the track of each

    @torch.no_grad()
    def _calibrate(self) -> None:
        chosen = np.linspace(0, len(self.rows) - 1, min(CALIBRATING, len(self.rows))).astype(int)
        length, store = chunk_length(self.raw), self.data.store
        samples = store.gather(self.rows[chosen], np.zeros(len(chosen), np.int64), length)
        waveforms = to_waveform(samples, self.accelerator.device)
        self.raw.backend.calibrate(self.raw.frontend(waveforms))

    def _check_prototypes(self) -> None:
        if self.multilabel:
            raise InputError(
                "finetune=prototype is for one label a track, and these tracks have several; give "
                "finetune=head or finetune=knn."
            )
        missing = set(range(len(self.raw.config.classes))) - set(self.targets[self.rows].tolist())
        if missing:
            raise InputError(
                f"finetune=prototype: class {self.raw.config.classes[min(missing)]} has no "
                "training track; give finetune=head or finetune=knn."
            )

    @property
    def best(self) -> GenreModel:
        """The model with the head that `run` took."""
        return self.raw

    def plan(self) -> str:
        """Return how it comes to its head, in a few words."""
        return f"one pass over what is not in {self.kept_in} yet, then {self.method}"

    def run(self) -> None:
        """Embed all tracks, and take the head that is best on the validation tracks."""
        self._embed()
        began = time.monotonic()
        self._take(runtime.on_main(self._best_head))
        self.progress.seconds += time.monotonic() - began
        self._conclude()

    def _embed(self) -> None:
        progress = self.progress
        for split in SPLITS:
            rows, bar = self.data.rows(split), f"embedding {split}"
            x_MD, places_M, seconds = embed_tracks(
                self.raw, self.data, rows, self.accelerator, self.config, self.kept_in, bar
            )
            self.x_MD = np.concatenate([self.x_MD, x_MD])
            self.rows_M = np.concatenate([self.rows_M, rows[places_M]])
            progress.clips, progress.seconds = (
                progress.clips + len(x_MD),
                progress.seconds + seconds,
            )

    def _of(self, rows: np.ndarray) -> tuple[Tensor, np.ndarray]:
        """Return the embeddings of tracks, and the places of their tracks in `rows`."""
        place = np.full(len(self.targets), -1)
        place[rows] = np.arange(len(rows))
        chosen_M = place[self.rows_M] >= 0
        return torch.from_numpy(self.x_MD[chosen_M]), place[self.rows_M[chosen_M]]

    @torch.no_grad()
    def score(self, model: GenreModel, rows: np.ndarray) -> np.ndarray:
        """Return the scores of tracks, from their embeddings."""
        x_MD, places_M = self._of(rows)
        batches = x_MD.to(self.accelerator.device).split(BATCH)
        parts = [model.probabilities(model.classify(x_BD)).cpu().numpy() for x_BD in batches]
        total = np.zeros((len(rows), len(model.config.classes)))
        np.add.at(total, places_M, np.concatenate(parts).astype(np.float64))
        return (total / np.bincount(places_M)[:, None]).astype(np.float32)

    def _best_head(self) -> nn.Module:
        best: nn.Module | None = None
        best_rank, told = (-math.inf, -math.inf), ""
        for name, head in self._candidates():
            self._take(head)
            metrics = self._metrics()
            metric, loss = metrics[PRIMARY[self.multilabel]], metrics.get("log_loss", 0.0)
            rank = (0.0 if self.method == "prototype" else metric, -loss)
            if best is None or rank > best_rank:
                best, best_rank = head, rank
                told = f"{name}: validation {PRIMARY[self.multilabel]} {metric:.3f}"
        assert best is not None
        self.accelerator.print(told)
        return best.cpu()

    def _candidates(self) -> Iterator[tuple[str, nn.Module]]:
        """Yield heads to choose from, and what they are called."""
        x_MD, places_M = self._of(self.rows)
        target_MK = torch.from_numpy(self.onehot[self.rows[places_M]])
        weight_M = torch.from_numpy(1 / np.bincount(places_M)[places_M] / len(self.rows)).float()
        section = self.config.finetune
        if self.method == "knn":
            head = Nearest.of(x_MD, target_MK, self.multilabel, section.neighbours)
            yield f"the nearest {head.neighbours} of {len(x_MD)} embeddings", head
        elif self.method == "prototype":
            heads = prototypes(x_MD, weight_M, target_MK, SCALES)
            yield from ((f"distances times {s:.3g}", h) for s, h in zip(SCALES, heads, strict=True))
        else:
            strengths = sorted(section.l2, reverse=True)
            sizes = weight_M, target_MK.shape[1]
            heads = regressions(x_MD, *sizes, lambda y: self._losses(y, target_MK), strengths)
            yield from ((f"L2 of {s:g}", h) for s, h in zip(strengths, heads, strict=True))

    def _losses(self, logits_MK: Tensor, target_MK: Tensor) -> Tensor:
        """Return the cross-entropy of each chunk, for several labels the sum of those of each."""
        section, weights_K = self.config.loss, None
        target_MK = target_MK.to(logits_MK)
        if section.class_weights:
            weights_K = class_weights(self.targets[self.rows], target_MK.shape[1]).to(logits_MK)
        smoothing = section.label_smoothing
        if self.multilabel:
            target_MK = target_MK * (1 - smoothing) + smoothing / 2
            return functional.binary_cross_entropy_with_logits(
                logits_MK, target_MK, pos_weight=weights_K, reduction="none"
            ).sum(1)
        return functional.cross_entropy(
            logits_MK, target_MK, weight=weights_K, label_smoothing=smoothing, reduction="none"
        )

    def _take(self, head: nn.Module) -> None:
        self.raw.head = head.to(self.accelerator.device)
        sizes = head.sizes if isinstance(head, Nearest) else None
        self.raw.config = replace(self.raw.config, neighbours=sizes)

    def _metrics(self) -> dict[str, float]:
        """Return the metrics of the head that the model has, on the validation tracks."""
        scores = self.score(self.raw, self.validation_rows)
        return evaluate(self.targets[self.validation_rows], scores, self.multilabel)

    @torch.no_grad()
    def _conclude(self) -> None:
        """Note the one epoch that it took."""
        x_MD, places_M = self._of(self.rows)
        logits_MK = self.raw.classify(x_MD.to(self.accelerator.device))
        target_MK = torch.from_numpy(self.onehot[self.rows[places_M]])
        metrics, progress = self._metrics(), self.progress
        progress.epoch = progress.best_epoch = 1
        progress.best_metric = metrics[PRIMARY[self.multilabel]]
        row = {"epoch": 1, "train_loss": self._losses(logits_MK, target_MK).mean().item()}
        row |= {"seconds": progress.seconds}
        row |= {f"validation_{name}": value for name, value in metrics.items()}
        self.history.append(row)
        self.accelerator.log(row, step=1)
        if self.accelerator.is_main_process:
            pd.DataFrame(self.history).to_csv(self.folder / "log.csv", index=False)
