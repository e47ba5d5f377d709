"""Runners that need torch: a model of the zoo, and a program that `torch.export` saved."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Self

import numpy as np
import torch
from accelerate import Accelerator

from zoo import runtime
from zoo.calibration import Calibration
from zoo.errors import InputError
from zoo.folding import folded
from zoo.model import GenreModel, weights_hash, without_start
from zoo.results import validation_of
from zoo.runners import CPU_BATCH, KEY, About, Outputs, Runner
from zoo.scores import chunk_length, to_waveform

GPU_BATCH = 64  # clips


class ModelRunner(Runner):
    """A `GenreModel` in the precision that suits it and the device, its batch norms folded."""

    def __init__(
        self, model: GenreModel, precision: str = "auto", threads: int | None = None
    ) -> None:
        device = runtime.processes().device
        chosen = runtime.choose_precision(precision, model.backend.precision, device)
        self._accelerator: Accelerator = runtime.make_accelerator(chosen)
        self.batch_size, self.streams = form(device, threads)
        self.about = about(model)
        self.model = folded(model.eval()).to(device)

    @classmethod
    def open(cls, name: str | Path, threads: int | None = None, precision: str = "auto") -> Self:
        """Load a run, a model folder or a Hub name. Raises `InputError` where there is none."""
        runtime.keep_freed_memory()
        return cls(load_calibrated(name), precision, threads)

    @torch.inference_mode()
    def run(self, samples_BT: np.ndarray) -> Outputs:
        x_BT = to_waveform(samples_BT, self._accelerator.device)
        with self._accelerator.autocast():
            x_BD = self.model.embed(x_BT)
            prob_BK = self.model.probabilities(self.model.classify(x_BD))
        return Outputs(prob_BK.cpu().numpy(), x_BD.float().cpu().numpy())


class ProgramRunner(Runner):
    """A file that `python -m zoo.export --format torch` wrote, on the CPU."""

    def __init__(self, file: Path, threads: int | None = None) -> None:
        """Raises `InputError` for a file that is damaged, or of somebody else."""
        self.batch_size, self.streams = form(torch.device("cpu"), threads)
        extra = {KEY: ""}
        try:
            with runtime.silence():
                program = torch.export.load(file, extra_files=extra)
            self.about = About.loads(extra[KEY])
        except Exception as error:  # a damaged archive may raise anything
            reason = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
            raise InputError(
                f"{file} is no whole file of `python -m zoo.export --format torch`: {reason}."
            ) from error
        self._module = program.module(check_guards=False)  # they would refuse a batch of one

    @torch.inference_mode()
    def run(self, samples_BT: np.ndarray) -> Outputs:
        prob_BK, x_BD = self._module(to_waveform(samples_BT, torch.device("cpu")))
        return Outputs(prob_BK.numpy(), x_BD.numpy())


def form(device: torch.device, threads: int | None) -> tuple[int, int]:
    """Return the batch size and the number of batches at once that suit a device."""
    cores = runtime.set_threads(threads)
    if device.type != "cpu":
        return GPU_BATCH, 1
    torch.set_num_threads(1)
    return CPU_BATCH, cores


def load_calibrated(name: str | Path) -> GenreModel:
    """Load a model; that of a run from before models carried their calibration gets it from the
    run's validation scores."""
    model = GenreModel.from_pretrained(name)
    config, folder = model.config, Path(name).expanduser()
    if config.calibration is None and (
        scored := validation_of(folder, config.classes, config.multilabel)
    ):
        model.config = replace(config, calibration=Calibration.of(*scored).asdict())
    return model


def about(model: GenreModel) -> About:
    """Return what there is to know about a model to use it."""
    config = model.config
    args = without_start(config).backend_args, config.frontend_args
    computed = [config.model, config.frontend, *args, weights_hash(model)]
    text = json.dumps(computed, sort_keys=True, default=str)
    return About(
        model=config.model,
        frontend=config.frontend,
        weights=hashlib.sha256(text.encode()).hexdigest()[:32],
        classes=config.classes,
        multilabel=config.multilabel,
        sample_rate=model.sample_rate,
        clip_samples=chunk_length(model),
        min_samples=model.min_samples,
        num_features=model.backend.num_features,
        any_length=True,
        thresholds=config.thresholds,
        calibration=config.calibration,
        licence=config.licence,
    )
