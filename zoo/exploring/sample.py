"""The tracks whose audio is measured: drawn, decoded, and measured in processes."""

from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import NamedTuple

import joblib
import numpy as np
import pandas as pd
from tqdm import tqdm

from zoo.audio import content_hash
from zoo.datasets.base import labels_of
from zoo.decoder import release
from zoo.decoding import num_cores
from zoo.errors import InputError
from zoo.exploring.measures import MEASURES, RATE, Measured, measure, middle
from zoo.index import identity
from zoo.workers import decode_all

SEED = 0
FEW = 5  # tracks of each class that a sample has at least, where there are so many
FILES_PER_PROCESS = 16  # for fewer none pays: it takes seconds to start


@dataclass(frozen=True)
class Sample:
    """The tracks that were measured, and what was found; rows belong together."""

    tracks: pd.DataFrame  # of the manifest, with the columns of `MEASURES`, `key` and `hash`
    thirds_BF: np.ndarray  # dB
    features_BD: np.ndarray  # of the sound
    failed: pd.DataFrame  # path, reason: files that could not be read
    num_listed: int  # tracks of the whole library

    @property
    def is_all(self) -> bool:
        """Whether all tracks of the library were to be measured."""
        return len(self.tracks) + len(self.failed) == self.num_listed


class _Job(NamedTuple):
    """A track on its way to a process that measures it."""

    samples_T: np.ndarray  # of its middle
    seconds: float  # of the whole
    hash: str  # of the whole


def draw(frame: pd.DataFrame, most: int) -> pd.DataFrame:
    """Return at most so many tracks of a manifest's, in its order: a few of each class, and the
    rest at random, the same each time."""
    if len(frame) <= most:
        return frame
    shuffled = frame.iloc[np.random.default_rng(SEED).permutation(len(frame))]
    labels = labels_of(shuffled)
    of_each = labels.groupby(labels).head(FEW).index.unique()
    rest = shuffled.index.difference(of_each, sort=False)
    return frame.loc[np.sort(of_each.append(rest)[:most])]


def take(frame: pd.DataFrame, most: int, workers: int | None, progress: str) -> Sample:
    """Measure at most so many of the tracks; what cannot be read is listed with its reason.

    Raises `InputError` if that is all of them.
    """
    drawn = draw(frame, most)
    results = list(_measured(drawn["path"].tolist(), workers or num_cores(), progress))
    is_good = np.array([not isinstance(result, str) for result in results])
    if not is_good.any():
        path, reason = drawn["path"].iloc[0], results[0]
        raise InputError(
            f"none of the {len(drawn):,} files that were tried can be used, such as {path}, which "
            f"{reason}."
        )
    good = [result for result in results if not isinstance(result, str)]
    reasons = [result for result in results if isinstance(result, str)]
    tracks = drawn[is_good].reset_index(drop=True)
    for name in MEASURES:
        tracks[name] = [measured.values[name] for measured, _ in good]
    return Sample(
        tracks.assign(key=[m.key.name for m, _ in good], hash=[hash for _, hash in good]),
        np.stack([measured.thirds_B for measured, _ in good]),
        np.stack([measured.features_D for measured, _ in good]),
        pd.DataFrame({"path": drawn["path"][~is_good].tolist(), "reason": reasons}),
        len(frame),
    )


def _measured(
    paths: Sequence[str], workers: int, progress: str
) -> Iterator[tuple[Measured, str] | str]:
    """Yield what is measured of each file, with the hash of its samples, or the reason against
    it."""
    processes = max(1, min(workers, len(paths) // FILES_PER_PROCESS))
    bar = tqdm(desc=progress, total=len(paths), unit="track", leave=False, disable=None)
    with (
        bar,
        closing(_jobs(paths, workers)) as jobs,
        joblib.parallel_config("loky", n_jobs=processes, inner_max_num_threads=1),
    ):
        parallel = joblib.Parallel(return_as="generator", pre_dispatch="2*n_jobs")
        for result in parallel(joblib.delayed(_of_job)(job) for job in jobs):
            bar.update()
            yield result


def _jobs(paths: Sequence[str], workers: int) -> Generator[_Job | str, None, None]:
    with closing(decode_all([(path, *identity(path)) for path in paths], RATE, workers)) as decoded:
        for _, result in decoded:
            if isinstance(result, str):
                yield result
                continue
            samples_T = result.samples
            yield _Job(middle(samples_T).copy(), len(samples_T) / RATE, content_hash(samples_T))
            release(samples_T)


def _of_job(job: _Job | str) -> tuple[Measured, str] | str:
    return job if isinstance(job, str) else (measure(job.samples_T, job.seconds), job.hash)
