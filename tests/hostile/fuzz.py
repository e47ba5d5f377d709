"""Good files, damaged at random."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from hostile.files import aiff, au, good, wav


def damaged(random: np.random.Generator) -> tuple[str, bytes]:
    """Return the suffix and the content of a file that a few random changes were made to."""
    kinds = {"wav": wav(), "au": au(), "aiff": aiff()}
    kinds |= {kind: good(kind.upper()) for kind in ("flac", "ogg", "opus", "mp3", "w64", "caf")}
    names = list(kinds)
    kind = names[random.integers(len(names))]
    data = bytearray(kinds[kind])
    for _ in range(random.integers(1, 4)):
        near_the_start = int(min(len(data), 10 ** random.uniform(0, 5)))
        place = int(random.integers(near_the_start))
        length = int(10 ** random.uniform(0, 3))
        other = kinds[names[random.integers(len(names))]]
        change = random.integers(5)
        if change == 0:  # noise in place of it
            data[place : place + length] = random.bytes(length)
        elif change == 1:  # a number at its limits
            value = [0, 1, 0x7F, 0x80, 0xFF][random.integers(5)]
            data[place : place + 4] = bytes([value]) * 4
        elif change == 2:  # something goes missing
            del data[place : place + length]
        elif change == 3:  # something of another file comes in between
            data[place:place] = other[place : place + length]
        else:  # cut off
            del data[max(1, len(data) - length) :]
    return f".{kind}", bytes(data or b"\0")


def write(folder: Path, num: int, seed: int) -> Iterator[Path]:
    """Write files that are the same for the same seed."""
    random = np.random.default_rng(seed)
    for number in range(num):
        suffix, data = damaged(random)
        path = folder / f"{number}{suffix}"
        path.write_bytes(data)
        yield path
