"""Near duplicates: the same audio re-encoded, cut, louder, softer, resampled or turned over.

Chromaprints that agree at one shift make candidates, without comparing all pairs. Loops and drum
machines make candidates too, so the waveforms decide.

What is not found: audio at another pitch or speed (two transfers of one tape differ by enough), a
mix with something as loud, a copy that is cut inside, and less than `MIN_OVERLAP` in common.
"""

from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from itertools import groupby
from typing import NamedTuple

import joblib
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from tqdm import tqdm

from zoo.correlation import Match, Waveform, correlate, waveform
from zoo.fingerprints import HOP, HOP_SECONDS, RATE, SPAN, Fingerprint, fingerprints
from zoo.store import Store

MIN_OVERLAP = (4.0, 10.0)  # s: half of the shorter track, but within this
MASKS = (0x00FFFFFF, 0xFF00FFFF, 0xFFFF00FF, 0xFFFFFF00)  # of the bits in which values are equal
MIN_VOTES = 0.05  # of the overlap, 2 at least; a value that is equal in all bits gives 4
MAX_NEIGHBOURS = 32  # with which a value is compared, of those that are equal to it
MAX_BIT_ERRORS = 0.17  # share; by chance it is 0.5, in copies it was 0.13 at most
MAX_SHIFTS = 8  # tried for two tracks: loops agree at many
BLOCK_TRACKS = 4096  # whose votes are counted at a time: bounds the memory
MIN_CORRELATION = 0.8
CACHED_TRACKS = 64  # waveforms that are kept
COLUMNS = {"a": int, "b": int, "shift": float, "overlap": float, "correlation": float}


class Candidate(NamedTuple):
    """Chromaprints that agree when that of b begins `shift` values after that of a."""

    a: int
    b: int
    shift: int
    votes: int
    bit_errors: float  # share over the overlap


def near_duplicates(
    store: Store, workers: int | None = None, progress: bool = True
) -> pd.DataFrame:
    """Return the pairs of tracks that hold the same audio without being equal.

    Columns: a, b (rows of the store, a < b), shift (s by which b begins later than a), overlap (s),
    correlation (`MIN_CORRELATION` to 1); sorted by a and b. Rows with equal content hashes count
    as one track: what is paired with one of them is with each, and they are not with one another.

    Raises:
        InputError: see `zoo.fingerprints.fingerprints`.
    """
    prints = fingerprints(store, workers, progress)
    codes = pd.factorize(np.asarray(store.content_hashes))[0]
    firsts = np.unique(codes, return_index=True)[1]
    found = candidates([prints[row] for row in firsts])
    matches = _confirm(store.select(firsts), found, workers or joblib.cpu_count(), progress)
    return _by_row(matches, codes)


def candidates(prints: list[Fingerprint]) -> list[Candidate]:
    """Return the pairs whose chromaprints agree, sorted, each at the `MAX_SHIFTS` shifts that have
    most votes."""
    found = []
    for a, b, shift, votes in _voted(prints):
        x_N, y_N = prints[a][max(shift, 0) :], prints[b][max(-shift, 0) :]
        length = min(len(x_N), len(y_N))
        errors = float(np.bitwise_count(x_N[:length] ^ y_N[:length]).mean()) / 32
        if errors <= MAX_BIT_ERRORS:
            found.append(Candidate(a, b, shift, votes, errors))
    found.sort(key=lambda one: (one.a, one.b, -one.votes))
    pairs = groupby(found, key=lambda one: one[:2])
    return [one for _, group in pairs for one in _apart(group)]


def _apart(pair: Iterable[Candidate]) -> list[Candidate]:
    """Return the first shifts of a pair, without those that lie beside another one."""
    chosen: list[Candidate] = []
    for one in pair:
        if len(chosen) < MAX_SHIFTS and all(abs(one.shift - x.shift) > 1 for x in chosen):
            chosen.append(one)
    return chosen


def _voted(prints: list[Fingerprint]) -> Iterator[tuple[int, int, int, int]]:
    """Yield a, b, shift and votes where enough values of a equal values of b, a < b.

    Values are looked up without one of their bytes, four times: tracks that are half a hop apart
    seldom agree in all of them.
    """
    lengths = np.array([len(x_N) for x_N in prints])
    values = np.concatenate(prints)
    track = np.repeat(np.arange(len(prints)), lengths)
    place = np.arange(len(values)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    reach = max(1, int(lengths.max()))  # shifts are smaller
    tables = [_sorted(values & np.uint32(mask)) for mask in MASKS]
    for first in range(0, len(prints), BLOCK_TRACKS):
        is_in_block = (track >= first) & (track < first + BLOCK_TRACKS)
        equal = [_equal(ordered, order, is_in_block[order]) for ordered, order in tables]
        i, j = np.concatenate(equal, axis=1)
        pair = track[i] * len(prints) + track[j]
        key = (2 * pair + 1) * reach + place[i] - place[j]
        keys, votes = np.unique(key[track[i] < track[j]], return_counts=True)
        pairs, shifts = np.divmod(keys, 2 * reach)
        columns = np.stack(
            [*np.divmod(pairs, len(prints)), shifts - reach, _with_neighbours(keys, votes)]
        )
        yield from columns[:, _is_enough(columns, lengths)].T.tolist()


def _is_enough(columns: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Tell which a, b, shift and votes have votes and overlap enough."""
    a, b, shift, votes = columns
    overlap = np.minimum(lengths[a], lengths[b] + shift) - np.maximum(shift, 0)
    shorter = np.minimum(lengths[a], lengths[b])
    least = np.clip(_seconds(shorter) / 2, *MIN_OVERLAP)
    return (_seconds(overlap) >= least) & (votes >= np.maximum(2, MIN_VOTES * overlap))


def _seconds(num_values: np.ndarray) -> np.ndarray:
    return (SPAN + (num_values - 1) * HOP) / RATE


def _with_neighbours(keys: np.ndarray, votes: np.ndarray) -> np.ndarray:
    """Return the votes for keys with those for the keys beside them: what lies between two shifts
    divides its votes."""
    beside = np.flatnonzero(np.diff(keys) == 1)
    total = votes.copy()
    total[beside] += votes[beside + 1]
    total[beside + 1] += votes[beside]
    return total


def _sorted(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the values in order, and their places."""
    order = np.argsort(values, kind="stable").astype(np.int32)
    return values[order], order


def _equal(values: np.ndarray, order: np.ndarray, is_first: np.ndarray) -> np.ndarray:
    """Return the places [2,M] of equal values, of which the first `is_first`.

    A value that is everywhere, such as that of silence, is compared with `MAX_NEIGHBOURS` others
    only: that bounds M.
    """
    at, found = np.flatnonzero(is_first), [np.empty((2, 0), np.int32)]
    for distance in range(1, MAX_NEIGHBOURS + 1):
        at = at[at < len(values) - distance]
        at = at[values[at] == values[at + distance]]
        found.append(np.stack([order[at], order[at + distance]]))
    return np.concatenate(found, axis=1)


def _confirm(store: Store, found: list[Candidate], workers: int, progress: bool) -> pd.DataFrame:
    """Return the pairs whose waveforms correlate, each at its best shift."""
    read = lru_cache(CACHED_TRACKS)(lambda row: waveform(store.track(row), store.sample_rate))
    pairs = [list(group) for _, group in groupby(found, key=lambda one: one[:2])]
    jobs = (joblib.delayed(_best)(read, pair) for pair in pairs)
    results = joblib.Parallel(workers, prefer="threads", return_as="generator")(jobs)
    hide = None if progress and pairs else True
    bar = tqdm(results, "comparing", len(pairs), unit="pair", disable=hide)
    rows = [
        (pair[0].a, pair[0].b, match.shift, match.overlap, match.correlation)
        for pair, match in zip(pairs, bar, strict=True)
        if match.correlation >= MIN_CORRELATION
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _best(read: Callable[[int], Waveform], pair: list[Candidate]) -> Match:
    """Return the first match that is good enough, else the best."""
    x_T, y_T = read(pair[0].a), read(pair[0].b)
    best = Match(0.0, 0.0, 0.0)
    for one in pair:
        best = max(best, correlate(x_T, y_T, one.shift * HOP_SECONDS))
        if best.correlation >= MIN_CORRELATION:
            break
    return best


def _by_row(matches: pd.DataFrame, codes: NDArray[np.intp]) -> pd.DataFrame:
    """Return the matches of tracks as matches of all rows that hold them."""
    rows = pd.Series(np.arange(len(codes)), index=codes)
    frame = matches.join(rows.rename("x"), on="a").join(rows.rename("y"), on="b")
    frame["shift"] = frame["shift"].where(frame["x"] < frame["y"], -frame["shift"])
    frame["a"], frame["b"] = frame[["x", "y"]].min(axis=1), frame[["x", "y"]].max(axis=1)
    return frame[list(COLUMNS)].astype(COLUMNS).sort_values(["a", "b"], ignore_index=True)
