"""`synth`: music composed here, so that one knows what a model could have heard.

Eight genres are points in a space of eight musical factors (`synth_score.Factors`); six pairs of
genres differ in exactly one of them. Everything else (tempo, key, kit, mix, loudness, spectral
tilt) comes from one distribution for all genres, except that 40 % of the tracks use a kit that is
typical of their genre: a cue in the timbre, like those that real data sets offer. Each track
belongs to an artist (own kit, voicing and mix), and artists do not cross splits. 5 % of the
tracks are hybrids of two genres whose label is drawn, which bounds the accuracy: `CEILING`.

Everything is float64 arithmetic and `numpy.random.RandomState`, so that a track's int16 samples
are the same on every machine.
"""

import io
import zlib
from collections.abc import Iterable
from dataclasses import asdict, astuple, dataclass, fields
from pathlib import Path
from typing import Any

import joblib
import pandas as pd
import soundfile
from numpy.random import RandomState
from tqdm import tqdm

from zoo.datasets.base import SPLITS, Manifest
from zoo.datasets.files import write_once
from zoo.datasets.synth_score import Factors, Piece, draw_riffs, render
from zoo.datasets.synth_sounds import SAMPLE_RATE, Kit, Voicing, draw_kit, draw_voicing

VERSION = 2  # raise it whenever a track's samples change: cached audio is then made anew

GENRES: dict[str, Factors] = {
    "anthem": Factors(form="AABA"),
    "ballad": Factors(minor=True, bars_per_chord=1),
    "funk": Factors(syncopated=True),
    "jazz": Factors(swing=True, walking=True),
    "rock": Factors(),
    "rumba": Factors(syncopated=True, clave="2-3"),
    "shuffle": Factors(swing=True),
    "waltz": Factors(metre=3),
}
CONTRASTS: dict[str, tuple[str, str]] = {  # by the factors in which the two genres differ
    "swing": ("rock", "shuffle"),
    "metre": ("rock", "waltz"),
    "syncopation": ("rock", "funk"),
    "clave": ("funk", "rumba"),
    "walking bass": ("shuffle", "jazz"),
    "form": ("rock", "anthem"),
    "mode and chord rate": ("rock", "ballad"),
}
HYBRIDS = 0.05  # share of tracks
CEILING = 1 - HYBRIDS / 2  # the label of a hybrid is a coin toss between its two genres
TYPICAL_KITS = 0.4  # share of tracks
TEMPO = (92.0, 118.0)  # beats a minute: three bars, after which forms differ, take 6.1 to 7.8 s
LOOPS = ((0, 5, 7, 5), (0, 7, 5, 7), (0, 5, 0, 7))  # semitones above the key
SHARES = {"train": 40 / 64, "validation": 8 / 64, "test": 16 / 64}  # of the artists


@dataclass(frozen=True)
class Track:
    """A composed track: its label, and what it plays."""

    name: str
    label: str
    artist: str
    hybrid: str  # the other genre, if it is a hybrid
    kit_of: str  # the genre whose typical kit it uses, or the artist
    piece: Piece


def random_of(*names: object) -> RandomState:
    """Return the random numbers that belong to names."""
    return RandomState(zlib.crc32("/".join(map(str, (VERSION, *names))).encode()))


def _cross(genre: str, random: RandomState) -> tuple[str, Factors]:
    """Draw another genre, and each factor from either of the two."""
    other = str(random.choice([name for name in GENRES if name != genre]))
    either = (astuple(GENRES[genre]), astuple(GENRES[other]))
    return other, Factors(*(either[random.randint(2)][i] for i in range(len(fields(Factors)))))


def compose(artist: str, genre: str, number: int) -> Track:
    """Compose a track: every draw follows from the three names alone."""
    random = random_of(artist, genre, number)
    voicing, kit = draw_voicing(random_of(artist)), draw_kit(random_of("kit", artist))
    kit_of, is_hybrid = artist, random.random_sample() < HYBRIDS
    hybrid, factors = _cross(genre, random) if is_hybrid else ("", GENRES[genre])
    if random.random_sample() < TYPICAL_KITS:
        kit_of = str(random.choice([genre, hybrid or genre]))
        kit = draw_kit(random_of("kit", kit_of))
    piece = Piece(
        factors=factors,
        tempo=random.uniform(*TEMPO),
        key=random.randint(12),
        loop=LOOPS[random.randint(len(LOOPS))],
        riffs=draw_riffs(random),
        thin="AB"[random.randint(2)],
        pause=random.uniform(0, 0.3),
        kit=Kit(*(value * random.uniform(0.5, 1.5) for value in astuple(kit))),
        voicing=Voicing(
            levels={part: db + random.uniform(-2, 2) for part, db in voicing.levels.items()},
            **{k: v for k, v in vars(voicing).items() if k != "levels"},
        ),
        tilt=random.uniform(-0.4, 0.6),
        peak=10 ** (random.uniform(-14, -1) / 20),
    )
    return Track(f"{artist}/{genre}_{number}", genre, artist, hybrid, kit_of, piece)


def _row(track: Track, path: Path, split: str) -> dict[str, Any]:
    piece = track.piece
    return {
        "track": track.name,
        "path": str(path),
        "label": track.label,
        "split": split,
        "artist": track.artist,
        **asdict(piece.factors),
        "hybrid": track.hybrid,
        "kit_of": track.kit_of,
        **{
            name: getattr(piece, name) for name in ("tempo", "key", "pause", "thin", "tilt", "peak")
        },
        **{f"level_{part}": level for part, level in piece.voicing.levels.items()},
    }


def _write(piece: Piece, noise: str, path: Path, seconds: float) -> None:
    samples = render(piece, seconds, random_of("noise", noise))
    flac = io.BytesIO()
    soundfile.write(flac, samples, SAMPLE_RATE, format="FLAC", subtype="PCM_16")
    write_once(path, flac.getvalue())


def write_missing(pieces: Iterable[tuple[Piece, str, Path]], seconds: float) -> None:
    """Render what is not there yet: pieces, whose noise and timing they have, and their files."""
    missing = [(piece, noise, path) for piece, noise, path in pieces if not path.exists()]
    jobs = (joblib.delayed(_write)(*piece, seconds) for piece in missing)
    workers = joblib.Parallel(n_jobs=-1 if len(missing) > 16 else 1, return_as="generator")
    for _ in tqdm(workers(jobs), "composing", len(missing), unit="track", disable=None):
        pass


def artist_splits(num_artists: int) -> dict[str, str]:
    """Return the split of each artist; the order of the artists is drawn once for all sizes."""
    artists = [f"artist{number:02d}" for number in random_of("split").permutation(num_artists)]
    ends = [round(num_artists * sum(list(SHARES.values())[: i + 1])) for i in range(len(SHARES))]
    bounds = zip([0, *ends], ends, SPLITS, strict=False)
    return {artist: split for low, high, split in bounds for artist in artists[low:high]}


def load(cache: Path, *, artists: int = 64, tracks: int = 3, seconds: float = 10.0) -> Manifest:
    """Compose the data set and render what `cache` does not hold yet.

    `tracks` is the number of tracks of each genre by each artist, `seconds` the length of each.
    """
    name = f"synth-{VERSION}-{seconds:g}s"
    folder = cache / name
    splits = artist_splits(artists)
    triples = [(a, g, n) for a in sorted(splits) for g in GENRES for n in range(tracks)]
    composed = [compose(*triple) for triple in triples]
    paths = [folder / f"{track.name}.flac" for track in composed]
    write_missing(((t.piece, t.name, p) for t, p in zip(composed, paths, strict=True)), seconds)
    rows = [_row(t, p, splits[t.artist]) for t, p in zip(composed, paths, strict=True)]
    return Manifest(
        name=name,
        frame=pd.DataFrame(rows),
        split_name="artist",
        contrasts=CONTRASTS,
        licence="MIT (made by this project)",
        citation="Genre Zoo",
    )
