"""Which part of the spectrogram mattered: integrated gradients, through Captum.

Sundararajan, Taly, Yan 2017, Axiomatic Attribution for Deep Networks: the gradient of a class's
logit is integrated on the way from the spectrogram of silence to that of the clip. The attributions
add up to the difference of the logit between the two.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from zoo.errors import InputError
from zoo.model import GenreModel
from zoo.runners import Runner
from zoo.runners_torch import ModelRunner
from zoo.scores import to_waveform

STEPS = 64  # of the integral
STEPS_AT_ONCE = 8


class Explained(NamedTuple):
    """A clip's spectrogram, what each part of it adds to the logit, and how well that adds up."""

    spectrogram_FN: np.ndarray
    attribution_FN: np.ndarray
    logit: float
    baseline: float  # the logit of silence
    gap: float  # of the sum of the attributions to logit - baseline


def explainable(runner: Runner, name: str) -> GenreModel:
    """Return the model of a runner. Raises `InputError` where there are no gradients, or no
    spectrogram, or no Captum."""
    if not isinstance(runner, ModelRunner):
        raise InputError(
            f"--explain needs gradients, which the exported file {name} does not have; give the "
            "run or model folder that it was exported from."
        )
    model = runner.model
    if model.frontend.kind != "spectrogram":
        raise InputError(
            f"--explain shows parts of a spectrogram, and {model.config.model} hears the waveform; "
            "give a model on a spectrogram front end."
        )
    try:
        import captum  # noqa: F401
    except ImportError as error:
        raise InputError(
            "--explain needs Captum, which is not installed: pip install 'genre-zoo[explain]'."
        ) from error
    return model


def explain(model: GenreModel, samples_T: np.ndarray, k: int) -> Explained:
    """Return what in a clip of int16 samples speaks for and against class number `k`, float32."""
    from captum.attr import IntegratedGradients

    device = next(model.parameters()).device
    x_1T = to_waveform(samples_T[None].copy(), device)

    def logit_of(features: Tensor) -> Tensor:
        return model.classify(model.backend(features))[:, k]

    with torch.no_grad():
        features, silence = model.frontend(x_1T), model.frontend(torch.zeros_like(x_1T))
        logit, baseline = float(logit_of(features)), float(logit_of(silence))
    with torch.backends.cudnn.flags(enabled=False):  # recurrent layers have gradients without
        attribution, gap = IntegratedGradients(logit_of).attribute(
            features,
            silence,
            n_steps=STEPS,
            internal_batch_size=STEPS_AT_ONCE,
            return_convergence_delta=True,
        )
    return Explained(
        features[0].mean(0).cpu().numpy(),
        attribution[0].sum(0).float().detach().cpu().numpy(),
        logit,
        baseline,
        abs(float(gap)),
    )


def draw(file: Path, title: str, found: Explained, start: float, seconds: float) -> None:
    """Draw the spectrogram of a clip that starts at `start`, and below it what mattered."""
    figure = Figure(figsize=(10, 6), layout="constrained")
    top, bottom = figure.subplots(2, 1, sharex=True)
    extent = (start, start + seconds, 0, len(found.spectrogram_FN))
    for axes in (top, bottom):
        axes.set(ylabel="bin, low to high")
    image = top.imshow(
        found.spectrogram_FN, origin="lower", aspect="auto", extent=extent, cmap="magma"
    )
    figure.colorbar(image, ax=top, label="front end's output")
    most = float(np.quantile(np.abs(found.attribution_FN), 0.999)) or 1.0
    image = bottom.imshow(
        found.attribution_FN,
        origin="lower",
        aspect="auto",
        extent=extent,
        cmap="RdBu_r",
        vmin=-most,
        vmax=most,
    )
    figure.colorbar(image, ax=bottom, label="adds to the logit (red: for)")
    bottom.set(xlabel="second")
    figure.suptitle(title)
    figure.savefig(file, dpi=120)
