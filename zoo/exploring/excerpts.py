"""Seconds of tracks to hear and to see: players and pictures inside the page."""

import base64
import io
from collections.abc import Sequence
from contextlib import closing
from functools import cache
from typing import TYPE_CHECKING

import matplotlib
import numpy as np
import soundfile
import soxr
from PIL import Image

from zoo.audio import FULL_SCALE
from zoo.decoding import num_cores
from zoo.errors import InputError
from zoo.exploring.measures import RATE
from zoo.index import identity
from zoo.workers import decode_all

if TYPE_CHECKING:
    from zoo.frontends.base import FrontEnd

SECONDS = 5.0  # from the middle of a track
COMPRESSION = 0.8  # of libsndfile's MP3s, 0 to 1
WIDTH, HEIGHT = 200, 72  # pixels of a picture, at most
SHADES = 48
PALETTE = (255 * matplotlib.colormaps["magma"](np.linspace(0, 1, SHADES))[:, :3]).astype(np.uint8)


def excerpts(paths: Sequence[str], workers: int | None = None) -> dict[str, np.ndarray]:
    """Return the middle 5 s of each file that can be read, mono in [-1, 1] at `RATE` `[T]`."""
    keys = [(path, *identity(path)) for path in dict.fromkeys(paths)]
    found, length = {}, round(SECONDS * RATE)
    with closing(decode_all(keys, RATE, workers or num_cores())) as decoded:
        for (path, _, _), result in decoded:
            if not isinstance(result, str):
                start = max(0, (len(result.samples) - length) // 2)
                found[path] = result.samples[start : start + length].astype(np.float32) / FULL_SCALE
    return found


def player(x_T: np.ndarray) -> str:
    """Return a waveform at `RATE` as an MP3 in a data URI."""
    stream = io.BytesIO()
    soundfile.write(stream, x_T, RATE, format="MP3", compression_level=COMPRESSION)
    return f"data:audio/mpeg;base64,{base64.b64encode(stream.getvalue()).decode()}"


def spectrograms(x_T: np.ndarray) -> dict[str, str]:
    """Return pictures of a waveform at `RATE` as each front end shows it that gives a spectrogram:
    name -> PNG in a data URI. One that cannot take so short a track is left out."""
    import torch

    found = {}
    for name, frontend in _frontends().items():
        at_rate_T = soxr.resample(x_T, RATE, frontend.sample_rate)
        if len(at_rate_T) < frontend.min_samples:
            continue
        with torch.no_grad():
            found[name] = picture(frontend(torch.from_numpy(at_rate_T)[None])[0, 0].numpy())
    return found


@cache
def _frontends() -> "dict[str, FrontEnd]":
    """Return the front ends of the registry that give spectrograms, as they are before training."""
    from zoo.models import frontends
    from zoo.registry import build, read_choice

    built = {}
    for name in frontends("spectrogram"):
        try:
            built[name] = build(read_choice("frontend", name)).eval()
        except InputError:  # what it needs is not installed
            continue
    return built


def picture(value_FN: np.ndarray) -> str:
    """Return a spectrogram as a PNG in a data URI: low bins below, the lightest 1 % white."""
    rows = np.linspace(0, len(value_FN) - 1, min(HEIGHT, len(value_FN))).round().astype(int)
    columns = np.linspace(0, value_FN.shape[1] - 1, min(WIDTH, value_FN.shape[1]))
    shown_FN = value_FN[rows[::-1]][:, columns.round().astype(int)]
    low, high = np.percentile(shown_FN, [5, 99])
    scaled_FN = np.clip((shown_FN - low) / max(high - low, 1e-9), 0, 1)
    image = Image.fromarray(np.rint((SHADES - 1) * scaled_FN).astype(np.uint8))
    image.putpalette(PALETTE.tobytes())
    stream = io.BytesIO()
    image.save(stream, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(stream.getvalue()).decode()}"
