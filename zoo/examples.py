"""Music to try a model on: of the data set that it was trained for, of files, or composed here."""

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soxr

from zoo.chunks import EVALUATIONS, complete_chunks
from zoo.datasets import synth
from zoo.errors import InputError
from zoo.index import Samples, identity
from zoo.inference import find_files
from zoo.model import GenreModel
from zoo.opened import open_run
from zoo.prepare import decode_tracks, load_manifest
from zoo.results import FILE
from zoo.scores import chunk_length
from zoo.store import copy_chunk
from zoo.workers import decode_all

TRACKS, CHUNKS = 4, 8  # at most
GENRES = tuple(synth.GENRES)[:TRACKS]
SECONDS = 10.0  # of a composed track


@dataclass(frozen=True)
class Examples:
    """A few chunks of music, and whose they are."""

    what: str
    samples_BT: Samples  # int16, at the model's rate and of the length of its chunks


def find_examples(name: str | Path, model: GenreModel, audio: Sequence[str] = ()) -> Examples:
    """Return chunks of the files or folders `audio`, else of the test tracks of a run called
    `name`, else of music composed here.

    Raises `InputError` for files that cannot be heard, and for a run whose data set is not there.
    """
    folder = Path(name).expanduser()
    if audio:
        return _of_files(model, find_files(audio))
    if (folder / FILE).is_file():
        return _of_run(model, folder)
    return _composed(model)


def _of_run(model: GenreModel, folder: Path) -> Examples:
    run, length = open_run(folder), chunk_length(model)
    try:
        test = load_manifest(run.config).split("test")
        chosen = spread(len(test.frame), TRACKS)
        test = test.select(np.isin(np.arange(len(test.frame)), chosen))
        store = decode_tracks(test, run.config, model.sample_rate).store
    except InputError as error:
        raise InputError(f"{str(error).rstrip('.')}; or give --audio PATH with music.") from error
    rows, starts = EVALUATIONS[run.config.evaluation](store.lengths, length)
    few = spread(len(rows), CHUNKS)
    return _examples(f"test tracks of {test.name}", store.gather(rows[few], starts[few], length))


def _of_files(model: GenreModel, paths: Sequence[str]) -> Examples:
    keys = [(path, *identity(path)) for path in paths[:TRACKS]]
    tracks = []
    with closing(decode_all(keys, model.sample_rate, 1)) as decoded:
        for (path, _, _), result in decoded:
            if isinstance(result, str):
                raise InputError(f"--audio {path} {result}.")
            tracks.append(np.array(result.samples))
    what = ", ".join(Path(path).name for path in paths[:TRACKS])
    return _examples(what, _chunks(tracks, chunk_length(model)))


def _composed(model: GenreModel) -> Examples:
    tracks = []
    for genre in GENRES:
        track = synth.compose("artist00", genre, 0)
        x_T = synth.render(track.piece, SECONDS, synth.random_of("noise", track.name))
        tracks.append(soxr.resample(x_T, synth.SAMPLE_RATE, model.sample_rate))
    return _examples("music that Genre Zoo composed", _chunks(tracks, chunk_length(model)))


def _chunks(tracks: Sequence[Samples], length: int) -> Samples:
    rows, starts = complete_chunks(np.array([len(track) for track in tracks]), length)
    few = spread(len(rows), CHUNKS)
    samples_BT = np.empty((len(few), length), np.int16)
    for chunk, row, start in zip(samples_BT, rows[few], starts[few], strict=True):
        copy_chunk(tracks[row], int(start), chunk)
    return samples_BT


def _examples(whose: str, samples_BT: Samples) -> Examples:
    count = len(samples_BT)
    return Examples(f"{count} chunk{'s' * (count > 1)} of {whose}", samples_BT)


def spread(count: int, most: int) -> np.ndarray:
    """Return up to `most` of `count` places, evenly spaced."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(np.int64))
