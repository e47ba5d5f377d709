"""Altered copies of test tracks among the training tracks: a leak of known size."""

import hashlib
import io
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import soundfile
from numpy.random import RandomState
from numpy.typing import NDArray
from tqdm import tqdm

from zoo.audio import FULL_SCALE, AudioError, decode
from zoo.datasets.base import Manifest
from zoo.datasets.files import write_once
from zoo.datasets.splits import check_classes
from zoo.errors import InputError
from zoo.index import identity

SAMPLE_RATE = 44_100  # Hz, of the copies
MOST_TRIMMED = 5.0  # seconds, of both ends together, and at most half of the track
GAIN = (2.0, 6.0)  # dB, up or down; down where up would clip
CODECS: dict[str, dict[str, Any]] = {  # mono at about 50 kbit/s
    "MP3": {"bitrate_mode": "CONSTANT", "compression_level": (320 - 48) / (320 - 32)},  # kbit/s
    "OGG": {"compression_level": 1.0},
}


def plant(base: Manifest, share: float, seed: int, cache: Path) -> Manifest:
    """Return the split with an altered copy of that share of the test tracks in training.

    Each copy takes the place of a training track of its label; where tracks have several labels and
    none has the same, of any. The column `copy_of` names the originals. Test tracks that cannot be
    decoded are passed over; raises `InputError` where too few are left.
    """
    frame = base.frame.assign(copy_of="")
    order = frame.assign(rank=[digest(seed, track) for track in frame["track"]])
    order = order.sort_values("rank").drop(columns="rank")
    tests, training = (order[order["split"] == name] for name in ("test", "train"))
    num = round(share * len(tests))
    _write_copies(tests.head(num), cache)
    copies: dict[int, dict[Any, Any]] = {}  # by the row of the track that it replaces
    for original in tests.to_dict("records"):
        if len(copies) == num:
            break
        place = _place(training.drop(list(copies)), original["label"], bool(base.multilabel))
        copy = altered_copy(original["path"], original["track"], cache)
        if place is not None and copy is not None:
            name = f"{original['track']} (altered copy)"
            changes = {"path": str(copy), "split": "train", "copy_of": original["track"]}
            copies[place] = {**original, "track": name, **changes}
    if not copies or len(copies) < num:
        raise InputError(
            f"dataset.planted={share:g} of the {len(tests)} test tracks of {base.where} is {num}, "
            f"and {len(copies)} can be copied; give another share."
        )
    planted = pd.concat([frame.drop(list(copies)), pd.DataFrame(copies.values())])
    made = replace(base, frame=planted, split_name=f"{base.split_name}, {share:g} planted")
    check_classes(made)
    return made


def digest(*names: object) -> str:
    """Return a hash of the names, for draws that are the same on every machine."""
    return hashlib.sha256("/".join(map(str, names)).encode()).hexdigest()


def _write_copies(originals: pd.DataFrame, cache: Path) -> None:
    """Write copies in parallel: decoding and encoding release the interpreter's lock."""
    with ThreadPoolExecutor() as pool:
        copies = pool.map(altered_copy, originals["path"], originals["track"], repeat(cache))
        for _ in tqdm(copies, "planting", len(originals), unit="track", disable=None):
            pass


def _place(free: pd.DataFrame, label: str, multilabel: bool) -> int | None:
    """Return the row of the training track that a copy of that label replaces, if there is one."""
    same = free.index[free["label"] == label]
    rows = free.index if multilabel and not len(same) else same
    return int(rows[0]) if len(rows) else None


def altered_copy(path: str, track: str, cache: Path) -> Path | None:
    """Return an altered copy of a track, written once: trimmed, louder or softer, and in a codec
    that loses much, all drawn by the track's name; None where it cannot be decoded."""
    draw = RandomState(int(digest(track)[:8], 16))
    codec = list(CODECS)[draw.randint(len(CODECS))]
    key = digest(Path(path).absolute(), *identity(path), track)
    file = cache / "planted" / f"{key[:32]}.{codec.lower()}"
    if not file.exists():
        try:
            samples = decode(path, SAMPLE_RATE)
        except AudioError:
            return None
        write_once(file, _encode(_alter(samples, draw), codec))
    return file


def _alter(samples_T: NDArray[np.int16], draw: RandomState) -> NDArray[np.float32]:
    """Trim both ends, and make it louder or softer by `GAIN`."""
    trimmed = draw.uniform(0, min(MOST_TRIMMED * SAMPLE_RATE, len(samples_T) / 2))
    start = draw.uniform(0, trimmed)
    x_T = samples_T[int(start) : len(samples_T) - int(trimmed - start)]
    x_T = (x_T / FULL_SCALE).astype(np.float32)
    gain, is_up = 10 ** (draw.uniform(*GAIN) / 20), draw.randint(2)
    return np.float32(gain if is_up and abs(x_T).max() * gain < 1 else 1 / gain) * x_T


def _encode(x_T: NDArray[np.float32], codec: str) -> bytes:
    encoded = io.BytesIO()
    with soundfile.SoundFile(
        encoded, "w", SAMPLE_RATE, channels=1, format=codec, **CODECS[codec]
    ) as file:
        for start in range(0, len(x_T), SAMPLE_RATE):  # minutes at once crash libsndfile's Vorbis
            file.write(x_T[start : start + SAMPLE_RATE])
    return encoded.getvalue()
