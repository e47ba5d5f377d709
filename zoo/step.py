"""Forward and backward of one batch, in as many pieces as memory asks for."""

import itertools
from contextlib import nullcontext
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor
from tqdm import tqdm

from zoo.augment import Augment
from zoo.errors import InputError
from zoo.model import GenreModel
from zoo.recipe import loss_function


class Step:
    """Augments a batch and accumulates the gradients of its loss."""

    def __init__(self, config: Any, accelerator: Accelerator, weights_K: Tensor | None) -> None:
        self.config, self.accelerator, self.weights_K = config, accelerator, weights_K
        self.augment = Augment(**config.augment)
        self.micro_batch: int = config.micro_batch_size or config.batch_size

    def __call__(
        self, model: torch.nn.Module, raw: GenreModel, x_BT: Tensor, target_BK: Tensor, seed: int
    ) -> Tensor:
        """Return the loss, still on the device; `model` is `raw` as Accelerate prepared it.

        Where GPU memory runs out the batch is taken again in halves. Every draw follows `seed`.
        """
        while True:
            torch.manual_seed(seed)
            try:
                return self._backward(model, raw.config.multilabel, x_BT, target_BK)
            except torch.OutOfMemoryError:
                pass  # so that what the error holds is freed
            model.zero_grad()
            self._halve(len(x_BT), raw.config.clip_seconds)

    def _backward(
        self, model: torch.nn.Module, multilabel: bool, x_BT: Tensor, target_BK: Tensor
    ) -> Tensor:
        x_BT, target_BK = self.augment.waveform(x_BT, target_BK)
        pieces = self._pieces(len(x_BT))
        total = torch.zeros((), device=x_BT.device)
        for piece in pieces:
            is_last = piece is pieces[-1]
            with nullcontext() if is_last else self.accelerator.no_sync(model):
                logits = model(x_BT[piece], augment=self.augment.spectrogram)
                smoothing = self.config.loss.label_smoothing
                loss = loss_function(
                    logits, target_BK[piece], multilabel, smoothing, self.weights_K
                )
                loss = loss * (len(logits) / len(x_BT))
                self.accelerator.backward(loss)
            total += loss.detach()
        return total

    def _pieces(self, batch: int) -> list[slice]:
        """Return slices of equal sizes, give or take one: two clips each at least, for the batch
        norms."""
        num_pieces = max(1, min(-(-batch // self.micro_batch), batch // 2))
        bounds = [batch * i // num_pieces for i in range(num_pieces + 1)]
        return [slice(*pair) for pair in itertools.pairwise(bounds)]

    def _halve(self, batch: int, clip_seconds: float) -> None:
        size = min(self.micro_batch, batch)
        if size <= 3:
            raise InputError(
                f"GPU memory does not hold {size} clips of {clip_seconds:g} s; "
                "try a smaller clip_seconds."
            )
        if self.accelerator.num_processes > 1:  # the others would wait for this one
            raise InputError(
                f"GPU memory does not hold {size} clips of {clip_seconds:g} s in each process; "
                f"try micro_batch_size={size // 2}."
            )
        self.micro_batch = size // 2
        torch.cuda.empty_cache()
        tqdm.write(f"out of GPU memory: going on with {self.micro_batch} clips at a time")


def step_seed(*place: int) -> int:
    """Return the seed of a step's draws: a function of (seed, epoch, step, rank)."""
    return int(np.random.SeedSequence(place).generate_state(1)[0])
