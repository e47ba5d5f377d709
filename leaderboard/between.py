"""Two architectures, or two checkpoints, on the same test tracks: which is better, how surely.

The two questions are never mixed. Names are architectures: seeds and tracks may vary. Folders of
runs are checkpoints: tracks alone may.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from benchmarks.comparing import Comparison, compare_architectures, compare_checkpoints
from benchmarks.power import power
from benchmarks.standings import Entry, entries_of, track_values
from leaderboard.names import names_of
from zoo.errors import InputError, nearest
from zoo.pooling import pool
from zoo.statistics import LEVEL, MIN_SEEDS, pool_seed_variance


def protocols_with(
    a: str, b: str, folders: Sequence[Path], report: Callable[[str], None]
) -> list[tuple[Entry, Entry, list[Entry]]]:
    """Return a, b, and all entries beside them, of each protocol that has both.

    A name is a model, a model and its front end, the whole name that sets a recipe apart, or the
    beginning of a recipe's hash. Raises `InputError` for one that is none, or several, of them.
    """
    pooled = pool(folders, report)
    protocols = entries_of(pooled, names_of(pooled))
    for name in (a, b):
        if not any(_named(name, entry) for entries in protocols for entry in entries):
            every = [entry for entries in protocols for entry in entries]
            known = {n for e in every for n in (e.name, e.runs[0].result.model)}
            raise InputError(
                f"{name!r} is none of the models that were trained; {nearest(name, known)}"
            )
    found = []
    for entries in protocols:
        pairs = [[entry for entry in entries if _named(name, entry)] for name in (a, b)]
        if all(pairs):
            found.append((_only(a, pairs[0]), _only(b, pairs[1]), entries))
    if not found:
        raise InputError(f"{a!r} and {b!r} were never tested on the same tracks of the same split.")
    return found


def _named(name: str, entry: Entry) -> bool:
    result = entry.runs[0].result
    names = (result.model, f"{result.model} {result.frontend}", entry.name)
    return name in names or (len(name) >= 6 and result.recipe.startswith(name))


def _only(name: str, entries: Sequence[Entry]) -> Entry:
    exact = [entry for entry in entries if entry.name == name]
    if len(entries) == 1 or len(exact) == 1:
        return (exact or entries)[0]
    names = "; ".join(f"{entry.name} ({entry.runs[0].result.recipe})" for entry in entries)
    raise InputError(f"{name!r} may be any of {names}; give the whole name, or the hash.")


def architectures(a: Entry, b: Entry, entries: Sequence[Entry]) -> str:
    """Return what can be said of two architectures on one protocol."""
    protocol = a.runs[0].result.protocol
    seed_variance = pool_seed_variance([entry.values for entry in entries], a.units)
    comparison = compare_architectures(a.values, b.values, a.units, seed_variance)
    head = (
        f"{protocol.dataset}, split {protocol.split}: {a.name} {a.mean:.4f}, {b.name} {b.mean:.4f}"
    )
    if comparison is None:
        return (
            f"{head}\nNo claim about architectures: that takes {MIN_SEEDS} seeds of each and two "
            f"independent units, and there are {len(a.seeds)} and {len(b.seeds)} seeds, "
            f"{len(np.unique(a.units))} units."
        )
    return f"{head}\n{verdict(comparison, a.name, b.name)}"


def verdict(comparison: Comparison, a: str, b: str) -> str:
    """Return a comparison in words."""
    is_shown = comparison.p_value < 1 - LEVEL
    better, worse = (a, b) if comparison.difference > 0 else (b, a)
    said = f"{better} is better than {worse}" if is_shown else "a tie: the difference may be noise"
    counts = ""
    if comparison.a_only is not None:
        counts = f" {comparison.a_only} tracks only {a} has right, {comparison.b_only} only {b}."
    return (
        f"{said} (difference {comparison.difference:+.4f}, {LEVEL:.0%} interval "
        f"{comparison.low:+.4f} to {comparison.high:+.4f}, p {comparison.p_value:.3g}, "
        f"{comparison.method}).{counts}"
    )


def checkpoints(a: Path, b: Path, report: Callable[[str], None]) -> str:
    """Return what can be said of two runs' checkpoints. Raises `InputError` where they were not
    tested on the same tracks, or tracks have several labels."""
    pooled = pool([a, b], report)
    if len(pooled) != 2 or pooled[0].group != pooled[1].group:
        raise InputError(f"{a} and {b} were not tested on the same tracks of the same split.")
    if pooled[0].runs[0].result.protocol.multilabel:
        raise InputError("tracks with several labels are neither right nor wrong: compare names.")
    by_folder = {one.runs[0].folder: one for one in pooled}
    (correct_a, units), (correct_b, _) = (track_values(by_folder[folder]) for folder in (a, b))
    return verdict(compare_checkpoints(correct_a, correct_b, units), str(a), str(b))


def needed(a: Entry, b: Entry, entries: Sequence[Entry]) -> str:
    """Return how many tracks and seeds would tell two architectures apart."""
    seed_variance = pool_seed_variance([entry.values for entry in entries], a.units)
    found = power(a.values, b.values, a.units, seed_variance)
    protocol = a.runs[0].result.protocol
    head = f"{protocol.dataset}, split {protocol.split}: {a.name} or {b.name}"
    nothing = "nothing can be said: that takes two seeds of each and two independent units."
    return f"{head}\n{found or nothing}"
