"""Chromaprints of decoded audio: 32 bits for each eighth of a second, kept in the cache.

`<cache>/fingerprints/<sample_rate>/<uuid>.parquet` holds those of many tracks by content hash. A
batch of tracks goes through one ffmpeg, one after the other, each from the start of a hop: its
values are then bit for bit those that it would have alone. Where pyacoustid and libchromaprint are
installed, they do the same several times as fast.

Chromaprint: Lukáš Lalinský, https://acoustid.org/chromaprint (algorithm 1, its default).
"""

import subprocess
import uuid
import warnings
from collections.abc import Iterable
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pyarrow as pa
import soxr
from numpy.typing import NDArray
from tqdm import tqdm

from zoo.errors import InputError
from zoo.shards import explained
from zoo.store import Store

RATE = 11_025  # Hz, at which chromaprint listens
HOP = 4096 // 3  # samples: frames of 4,096 overlap by two thirds
SPAN = 4096 + 19 * HOP  # samples behind one value: 16 frames, and 4 more for the filter before
HOP_SECONDS = HOP / RATE
BATCH_SECONDS = 600  # of audio for one process
FILE_BATCHES = 64  # for one file of the cache
INSTALL = "install imageio-ffmpeg, or pyacoustid with libchromaprint"

Fingerprint = NDArray[np.uint32]


def fingerprints(
    store: Store, workers: int | None = None, progress: bool = True
) -> list[Fingerprint]:
    """Return the chromaprint of each track: a value each `HOP`, none in less than `SPAN`.

    `workers` threads compute what the cache does not hold yet, by default one for each core.

    Raises:
        InputError: there is no chromaprint, or the cache cannot be written.
    """
    folder = folder_of(store)
    rows = {digest: row for row, digest in enumerate(store.content_hashes)}
    found = _read(folder, set(rows))
    batches = _batches(store, [row for digest, row in rows.items() if digest not in found])
    parallel = joblib.Parallel(workers or joblib.cpu_count(), prefer="threads")
    hide = None if progress and batches else True
    with tqdm(desc="fingerprinting", total=len(rows), unit="track", disable=hide) as bar:
        bar.update(len(found))
        for start in range(0, len(batches), FILE_BATCHES):
            group = batches[start : start + FILE_BATCHES]
            done = parallel(joblib.delayed(_fingerprint)(store, batch) for batch in group)
            new = {store.content_hashes[row]: x for batch in done for row, x in batch.items()}
            _write(folder, new)
            found |= new
            bar.update(len(new))
    return [found[digest] for digest in store.content_hashes]


def folder_of(store: Store) -> Path:
    """Return where the chromaprints of a store's tracks are kept: beside the store."""
    return store.folder.parents[1] / "fingerprints" / store.folder.name


def _batches(store: Store, rows: list[int]) -> list[list[int]]:
    """Return the rows in batches of about `BATCH_SECONDS`."""
    number = np.cumsum(store.lengths[rows]) // (BATCH_SECONDS * store.sample_rate)
    return [batch.tolist() for _, batch in pd.Series(rows, dtype=int).groupby(number)]


def _fingerprint(store: Store, rows: list[int]) -> dict[int, Fingerprint]:
    tracks = [soxr.resample(store.track(row), store.sample_rate, RATE) for row in rows]
    padded = [np.pad(track_T, (0, -len(track_T) % HOP)) for track_T in tracks]
    values = _values(np.concatenate([*padded, np.zeros(SPAN, np.int16)]))
    starts = np.cumsum([0, *map(len, padded)]) // HOP
    counts = [max(0, (len(track_T) - SPAN) // HOP + 1) for track_T in tracks]
    prints = (values[start : start + n] for start, n in zip(starts, counts, strict=False))
    return dict(zip(rows, prints, strict=True))


def _values(samples_T: NDArray[np.int16]) -> Fingerprint:
    """Return the values of mono samples at `RATE`, which must be `SPAN` at least."""
    try:
        import chromaprint
    except ImportError:  # no pyacoustid; or it found no libchromaprint
        return _by_ffmpeg(samples_T)
    printer = chromaprint.Fingerprinter()
    printer.start(RATE, 1)
    printer.feed(samples_T.tobytes())
    return np.array(chromaprint.decode_fingerprint(printer.finish())[0], np.uint32)


def _by_ffmpeg(samples_T: NDArray[np.int16]) -> Fingerprint:
    pcm = ["-f", "s16le", "-ar", str(RATE), "-ac", "1", "-i", "pipe:0"]
    raw = ["-f", "chromaprint", "-fp_format", "raw", "pipe:1"]
    try:
        from imageio_ffmpeg import get_ffmpeg_exe

        command = [get_ffmpeg_exe(), "-v", "error", *pcm, *raw]
        done = subprocess.run(command, input=samples_T.tobytes(), capture_output=True)
    except (ImportError, RuntimeError, OSError) as error:
        raise InputError(f"near duplicates need chromaprint: {INSTALL} ({error}).") from error
    if done.returncode:
        reason = done.stderr.decode(errors="replace").strip().rpartition("\n")[-1]
        raise InputError(f"{command[0]} has no chromaprint ({reason}): {INSTALL}.")
    return np.frombuffer(done.stdout, np.uint32)


def _read(folder: Path, digests: Iterable[str]) -> dict[str, Fingerprint]:
    found: dict[str, Fingerprint] = {}
    for file in sorted(folder.glob("*.parquet")):
        try:
            table = pd.read_parquet(file, columns=["content_hash", "fingerprint"])
        except (OSError, ValueError, pa.ArrowException) as error:
            warnings.warn(f"{file} is damaged and ignored: {error}", stacklevel=3)
            continue
        table = table[table["content_hash"].isin(digests)]
        prints = (np.frombuffer(raw, np.uint32) for raw in table["fingerprint"])
        found |= dict(zip(table["content_hash"], prints, strict=True))
    return found


def _write(folder: Path, prints: dict[str, Fingerprint]) -> None:
    columns = {"content_hash": list(prints), "fingerprint": [x.tobytes() for x in prints.values()]}
    file = folder / f"{uuid.uuid4().hex}.parquet"
    temporary = file.with_suffix(".tmp")
    with explained(folder):
        folder.mkdir(parents=True, exist_ok=True)
        pd.DataFrame(columns).to_parquet(temporary, index=False)
        temporary.replace(file)
