"""`python -m benchmarks.duplicates`: are planted copies found, and nothing but copies?

A tenth of the tracks are copies of others: re-encoded, and most of them also cut, at another
loudness and resampled. Of the others, three in four share a piece: another performance of it, with
or without its melody, or other melodies over one and the same recorded loop. With --manifest the
music is that of a data set instead. Exits with 1 if a figure misses what is asked.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile
import soxr
from numpy.random import RandomState

from zoo.audio import decode
from zoo.datasets import manifest, synth
from zoo.datasets.synth_score import Piece, draw_riffs, render
from zoo.decoding import prepare
from zoo.duplicates import candidates, near_duplicates
from zoo.fingerprints import fingerprints

RATE = synth.SAMPLE_RATE
SECONDS = 30.0  # of a track
MAX_TRIM = 5.0  # s
MIN_PRECISION, MIN_RECALL = 1.0, 0.95
CODECS = {
    "mp3 at 48 kbit/s": ("mp3", "-c:a libmp3lame -b:a 48k"),
    "mp3 at 64 kbit/s": ("mp3", "-c:a libmp3lame -b:a 64k"),
    "mp3 at 128 kbit/s": ("mp3", "-c:a libmp3lame -b:a 128k"),
    "ogg of quality 0": ("ogg", "-c:a libvorbis -q:a 0"),
    "wav": ("wav", "-c:a pcm_s16le"),
}
RATES = (22_050, 32_000, 44_100, 48_000)
MELODY = ("chords", "lead")
MUTE = -200.0  # dB


@dataclass(frozen=True)
class Copy:
    """How a copy is made; each but the codec may leave the track as it is."""

    codec: str
    rate: int  # Hz
    starts: float  # s cut off
    ends: float
    gain: float


def draw_copy(random: RandomState, peak: float) -> Copy:
    """Draw a way of copying a track whose highest sample is `peak`: some are slightly clipped."""
    trim = random.uniform(0, MAX_TRIM) * (random.random_sample() < 0.8)
    starts = trim * random.random_sample()
    is_scaled, is_resampled = random.random_sample(2) < 0.8
    codec = str(random.choice(list(CODECS)))
    return Copy(
        codec=codec,
        rate=int(random.choice(RATES)) if is_resampled else RATE,
        starts=starts,
        ends=trim - starts,
        gain=10 ** (random.uniform(-20, 1) / 20) / peak if is_scaled or codec == "wav" else 1.0,
    )


def write_copy(x_T: np.ndarray, copy: Copy, stem: Path) -> Path:
    """Write the copy of a track [T] (float, at `RATE`); return its file."""
    import imageio_ffmpeg

    x_T = x_T[round(copy.starts * RATE) : len(x_T) - round(copy.ends * RATE)] * copy.gain
    if copy.rate != RATE:
        x_T = soxr.resample(x_T, RATE, copy.rate)
    suffix, options = CODECS[copy.codec]
    file = stem.with_suffix(f".{suffix}")
    pcm = f"-f f32le -ar {copy.rate} -ac 1 -i pipe:0"
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", *pcm.split(), *options.split()]
    raw = x_T.clip(-1, 1).astype(np.float32).tobytes()
    subprocess.run([*command, str(file)], input=raw, check=True)
    return file


def only(piece: Piece, parts: tuple[str, ...]) -> Piece:
    """Return the piece with these parts alone."""
    levels = {part: db if part in parts else MUTE for part, db in piece.voicing.levels.items()}
    return replace(piece, voicing=replace(piece.voicing, levels=levels), pause=0.0)


def on_one_loop(piece: Piece, seconds: float, random: RandomState) -> Iterator[np.ndarray]:
    """Yield tracks with different melodies over one recording of two bars, again and again."""
    rhythm = tuple(part for part in piece.voicing.levels if part not in MELODY)
    num_samples = round(2 * piece.factors.metre * 60 / piece.tempo * RATE)
    loop_T = _render(only(piece, rhythm), seconds, random)
    loop_T = np.resize(loop_T[:num_samples], len(loop_T))
    while True:
        melody = only(replace(piece, riffs=draw_riffs(random)), MELODY)
        melody_T = _render(melody, seconds, random)
        softer = 10 ** (random.uniform(-6, 0) / 20)
        x_T = loop_T / np.std(loop_T) + softer * melody_T / np.std(melody_T)
        yield 0.9 * x_T / np.abs(x_T).max()


def _render(piece: Piece, seconds: float, random: RandomState) -> np.ndarray:
    return render(piece, seconds, RandomState(random.randint(2**31))) / 2**15


def composed(num: int, seconds: float, random: RandomState) -> Iterator[np.ndarray]:
    """Yield tracks of synth, eight to a piece: two have nothing in common with the others."""
    genres = list(synth.GENRES)
    for number in range(-(-num // 8)):
        artist = f"artist{random.randint(10**6)}"
        piece, *others = (
            synth.compose(artist, genres[(number + i) % 8], i).piece for i in range(3)
        )
        performances = [piece, piece, *(replace(piece, riffs=draw_riffs(random)) for _ in range(2))]
        yield from (_render(one, seconds, random) for one in (*others, *performances))
        loop = on_one_loop(piece, seconds, random)
        yield from (next(loop), next(loop))


def listed(file: Path, num: int, random: RandomState) -> Iterator[np.ndarray]:
    """Yield tracks of a manifest."""
    paths = manifest.load(Path(), path=file).frame["path"].tolist()
    for path in random.permutation(paths)[:num]:
        yield decode(path, RATE) / 2**15


def plant(
    folder: Path, tracks: Iterator[np.ndarray], num: int, random: RandomState
) -> pd.DataFrame:
    """Write `num` tracks, a tenth of them copies of others; return their path, split (copies are in
    another one than their originals), row of the original (-1: none) and way of copying."""
    num_copies = num // 10
    originals = [x_T for x_T, _ in zip(tracks, range(num - num_copies), strict=False)]
    rows: list[tuple[str, str, int, object]] = []
    for number, x_T in enumerate(originals):
        rows.append((str(folder / f"{number}.wav"), "train", -1, None))
        soundfile.write(rows[-1][0], x_T, RATE)
    for original in random.permutation(len(originals))[:num_copies].tolist():
        copy = draw_copy(random, float(np.abs(originals[original]).max()))
        file = write_copy(originals[original], copy, folder / f"copy_of_{original}")
        rows.append((str(file), "test", original, copy))
    return pd.DataFrame(rows, columns=["path", "split", "original", "copy"])


def cpu_seconds() -> float:
    """Return the processor's seconds of this process and of those that it waited for."""
    return sum(os.times()[:4])


def share(part: int, whole: int) -> float:
    return part / whole if whole else 1.0


def measure(tracks: Iterator[np.ndarray], num: int, random: RandomState) -> dict[str, float]:
    """Plant copies, look for them on one core, and return figures by name."""
    with tempfile.TemporaryDirectory() as name:
        planted = plant(Path(name), tracks, num, random)
        store, _ = prepare(planted["path"], RATE, Path(name), progress=False)
        started = cpu_seconds()
        found = near_duplicates(store, workers=1, progress=False)
        spent = cpu_seconds() - started
        suspected = candidates(fingerprints(store))
    copies = planted[planted["original"] >= 0]
    true = set(zip(copies["original"], copies.index, strict=True))
    pairs = set(zip(found["a"], found["b"], strict=True))
    errors: dict[tuple[int, int], float] = {}
    for one in suspected:
        pair = one.a, one.b
        errors[pair] = min(errors.get(pair, 1.0), one.bit_errors)
    worst = max((errors.get(pair, 0.0) for pair in true), default=0.0)
    best = {pair for pair, share in errors.items() if share <= worst}
    for pair in sorted(true ^ pairs):
        kind = "missed" if pair in true else "wrong"
        print(f"  {kind}: {planted['path'][pair[0]]}, {planted['copy'][pair[1]]}")
    right = found[[pair in true for pair in zip(found["a"], found["b"], strict=True)]]
    return {
        "tracks": len(store),
        "copies": len(true),
        "precision": share(len(pairs & true), len(pairs)),
        "recall": share(len(pairs & true), len(true)),
        "lowest correlation of a copy": right["correlation"].min(),
        "candidates": len(errors),
        "precision of chromaprint alone": share(len(true & errors.keys()), len(errors)),
        "at its best threshold": share(len(true & best), len(best)),
        "s of one core per 1,000 tracks of 30 s": spent * 30_000 / (store.lengths.sum() / RATE),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.duplicates", description=__doc__)
    parser.add_argument("--tracks", type=int, default=200, metavar="NUM")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], metavar="SEED")
    parser.add_argument("--manifest", type=Path, metavar="FILE", help="music for the planting")
    options = parser.parse_args()
    rows = []
    for seed in options.seeds:
        random = RandomState(seed)
        tracks = (
            listed(options.manifest, options.tracks, random)
            if options.manifest
            else composed(options.tracks, SECONDS, random)
        )
        rows.append(measure(tracks, options.tracks, random))
    table = pd.DataFrame(rows, index=pd.Index(options.seeds, name="seed"))
    print(table.T.to_markdown(floatfmt=".3g"))
    met = (table["precision"] >= MIN_PRECISION) & (table["recall"] >= MIN_RECALL)
    sys.exit(0 if met.all() else 1)


if __name__ == "__main__":
    main()
