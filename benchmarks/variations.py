"""Variations of composed tracks (`synth`): the same piece with exactly one thing changed.

What makes a genre is changed as `CONTRASTS` pairs genres, so that a variation *is* of the other
genre of its pair; what every genre draws alike (kit, key, tempo, mix, the playing) leaves the genre
as it is. All that is not changed stays: the same score, noise of the drums, timing and velocities.
Where a change gives a bar more or fewer notes (metre, clave, form), the notes after it draw other
timing (within 4 ms) and velocities: what that alone does, `playing` says.
"""

from collections.abc import Iterable, Iterator
from dataclasses import astuple, dataclass, replace
from pathlib import Path

import pandas as pd

from zoo.datasets.base import Manifest
from zoo.datasets.synth import CONTRASTS, GENRES, TEMPO, Track, compose, random_of, write_missing
from zoo.datasets.synth_score import Piece
from zoo.datasets.synth_sounds import Kit, draw_kit

VERSION = 1  # raise it whenever a variation's samples change
DRAWN = ("kit", "key", "tempo", "mix", "playing")  # alike for all genres
TEMPO_RATIO = 1.1  # up where that stays within TEMPO, else down


@dataclass(frozen=True)
class Variation:
    """A track with one thing changed."""

    change: str  # a key of CONTRASTS, or one of DRAWN
    track: Track  # as it was composed
    piece: Piece
    expected: str  # the genre that it is
    noise: str  # whose noise, timing and velocities it has
    lure: str = ""  # the genre whose typical kit it got


def variations(track: Track) -> Iterator[Variation]:
    """Yield each change that a track allows; it is no hybrid."""
    assert not track.hybrid
    for change, pair in CONTRASTS.items():
        if track.label in pair:
            (other,) = set(pair) - {track.label}
            piece = replace(track.piece, factors=GENRES[other])
            yield Variation(change, track, piece, other, track.name)
    random = random_of("variations", track.name)
    lure = str(random.choice([genre for genre in GENRES if genre != track.label]))
    key = (track.piece.key + random.randint(1, 12)) % 12
    mixer = compose(f"mixer of {track.name}", track.label, 0)  # an artist of no data set
    pieces = (with_kit_of(track, lure), replace(track.piece, key=key), at_another_tempo(track))
    for change, piece in zip(DRAWN, (*pieces, with_mix_of(track, mixer), track.piece), strict=True):
        noise = f"{track.name} again" if change == "playing" else track.name
        lured = lure if change == "kit" else ""
        yield Variation(change, track, piece, track.label, noise, lured)


def with_kit_of(track: Track, name: str) -> Piece:
    """Return the piece with the kit of a genre or artist, varied as the track varies its own."""
    own, other = (astuple(draw_kit(random_of("kit", who))) for who in (track.kit_of, name))
    values = zip(astuple(track.piece.kit), own, other, strict=True)
    return replace(track.piece, kit=Kit(*(varied / mine * new for varied, mine, new in values)))


def at_another_tempo(track: Track) -> Piece:
    """Return the piece a tenth faster, or slower by as much where that would be too fast."""
    faster, slower = track.piece.tempo * TEMPO_RATIO, track.piece.tempo / TEMPO_RATIO
    return replace(track.piece, tempo=faster if faster <= TEMPO[1] else slower)


def with_mix_of(track: Track, other: Track) -> Piece:
    """Return the piece with the levels of the instruments, the tilt and the peak of another."""
    voicing = replace(track.piece.voicing, levels=other.piece.voicing.levels)
    return replace(track.piece, voicing=voicing, tilt=other.piece.tilt, peak=other.piece.peak)


def load(cache: Path, tracks: Iterable[Track], seconds: float) -> Manifest:
    """Render what `cache` does not hold yet of all variations of tracks, each `seconds` long.

    The label is the genre that a variation is; columns beside the usual ones are `original` (the
    track), `change` and `lure`.
    """
    name = f"synth-{seconds:g}s-variations-{VERSION}"
    every = [variation for track in tracks for variation in variations(track)]
    paths = [cache / name / v.change / f"{v.track.name}.flac" for v in every]
    write_missing(((v.piece, v.noise, p) for v, p in zip(every, paths, strict=True)), seconds)
    rows = [
        {
            "track": f"{v.track.name} {v.change}",
            "path": str(path),
            "label": v.expected,
            "split": "test",
            "artist": v.track.artist,
            "original": v.track.name,
            "change": v.change,
            "lure": v.lure,
        }
        for v, path in zip(every, paths, strict=True)
    ]
    return Manifest(name, pd.DataFrame(rows), classes=tuple(sorted(GENRES)))
