"""Make the pictures and sounds of the guide: `python docs/figures.py [FOLDER]`.

All come from music that the project composes (`synth`), through its own front ends, and from its
own results. A new one is a function in `pictures.py` or a line in `SOUNDS`, and a page that uses
it; `tests/test_guide.py` tests that no other file lies in docs/assets/.
"""

import io
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pictures
import soundfile
from matplotlib.figure import Figure
from PIL import Image

import sounds

ASSETS = Path(__file__).with_name("assets")
COLORS = 36  # of a picture: a fraction of the bytes, and hardly a difference to see
SOUNDS: dict[str, Callable[[], np.ndarray]] = {
    "excerpt": sounds.excerpt,
    "tone": lambda: sounds.tone(1),
    "overtones": lambda: sounds.tone(10),
    "heard-mel": sounds.of_mel,
    "heard-cqt": sounds.of_cqt,
    "heard-mfcc": sounds.of_mfcc,
    "heard-chroma": sounds.of_chroma,
    **{genre: lambda genre=genre: sounds.excerpt(genre) for genre in pictures.GENRES},  # type: ignore[misc]
}
NAMES = {f"{made.__name__}.png" for made in pictures.PICTURES} | {f"{name}.mp3" for name in SOUNDS}


def save(figure: Figure, file: Path) -> None:
    """Write a picture with few colors."""
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png")
    image = Image.open(drawn).convert("RGB").quantize(COLORS)
    image.save(file, optimize=True)


def main(folder: Path = ASSETS) -> None:
    """Write all of them."""
    folder.mkdir(parents=True, exist_ok=True)
    for picture in pictures.PICTURES:
        save(picture(), folder / f"{picture.__name__}.png")
    for name, make in SOUNDS.items():
        soundfile.write(folder / f"{name}.mp3", make(), sounds.RATE, format="MP3")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
