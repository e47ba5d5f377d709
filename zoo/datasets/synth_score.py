"""The scores of `synth`: what is played when, bar by bar, for a point in the space of factors."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.random import RandomState

from zoo.datasets.synth_sounds import SAMPLE_RATE, Array, Kit, Voicing, draw_shots, note

SWING = 0.62  # of a beat: 70 ms late


@dataclass(frozen=True)
class Factors:
    """A point in the space of musical factors; a genre is one."""

    swing: bool = False  # the middle of the beat comes late
    metre: int = 4  # beats in a bar
    syncopated: bool = False  # drums between the beats instead of a backbeat
    clave: str = "3-2"  # of two bars, the one with three strokes comes first (3-2) or second (2-3)
    walking: bool = False  # the bass walks through the chord instead of repeating its root
    minor: bool = False
    bars_per_chord: int = 2
    form: str = "AABB"  # the order of sections of a bar each; AABA differs in the fourth bar alone


@dataclass(frozen=True)
class Piece:
    """All that is drawn for a track but its noise."""

    factors: Factors
    tempo: float  # beats a minute
    key: int  # semitones above A
    loop: tuple[int, ...]  # roots of four chords, semitones above the key
    riffs: dict[str, tuple[tuple[float, int], ...]]  # (position in beats, semitones above the root)
    thin: str  # the section, A or B, in which hat and chords rest
    pause: float  # s before the music begins
    kit: Kit
    voicing: Voicing
    tilt: float  # -0.4 (dark) to 0.6 (bright)
    peak: float  # of full scale


def draw_riffs(random: RandomState) -> dict[str, tuple[tuple[float, int], ...]]:
    """Draw the two riffs: one of five notes, one of two, and one an octave above the other."""
    degrees = (0, 7, 12)  # in every chord, major or minor
    octaves = (0, 12) if random.randint(2) else (12, 0)
    counts = (5, 2) if random.randint(2) else (2, 5)
    riffs = {}
    for name, octave, num_notes in zip("AB", octaves, counts, strict=True):
        places = np.sort(random.permutation(6)[:num_notes]) / 2  # eighths of a bar of three beats
        notes = [degrees[random.randint(3)] + octave for _ in places]
        riffs[name] = tuple(zip(places.tolist(), notes, strict=True))
    return riffs


def swung(position: float, swing: bool) -> float:
    """Move a position in beats: with swing, the middle of each beat comes at `SWING` of it."""
    if not swing:
        return position
    beat, rest = divmod(position, 1.0)
    late = 2 * rest * SWING if rest <= 0.5 else SWING + (2 * rest - 1) * (1 - SWING)
    return beat + late


def drum_positions(factors: Factors, bar: int) -> dict[str, Sequence[float]]:
    """Return the positions, in beats from the start of the bar, of each drum."""
    kick: Sequence[float]
    snare: Sequence[float]
    if factors.metre == 4:
        three, two = [0.0, 1.5, 3.0], [1.0, 2.0]
        kick, snare = ([0, 2.5], [1.5, 3.5]) if factors.syncopated else ([0, 2], [1, 3])
    else:
        three, two = [0.0, 1.0, 2.0], [0.5, 1.5]
        kick, snare = ([0, 1.5], [0.5, 2.5]) if factors.syncopated else ([0], [1, 2])
    three_now = (bar % 2 == 0) == (factors.clave == "3-2")
    hat = [k / 2 for k in range(2 * factors.metre)]
    return {"kick": kick, "snare": snare, "hat": hat, "clave": three if three_now else two}


def pitches(piece: Piece, bar: int) -> tuple[int, list[int], list[int]]:
    """Return the chord's root, its notes and the bass line of a bar, in semitones above A1."""
    factors = piece.factors
    root = piece.key + piece.loop[bar // factors.bars_per_chord % len(piece.loop)]
    third = 3 if factors.minor else 4
    triad = [root + 24 + step for step in (0, third, 7)]
    chord = [p + 12 if i < piece.voicing.inversion else p for i, p in enumerate(triad)]
    line = [0, third, 7, third + 5] if factors.walking else [0]
    return root, chord, [root + 12 + line[beat % len(line)] for beat in range(factors.metre)]


def _events(piece: Piece, bar: int, shots: dict[str, Array]) -> Iterator[tuple[str, float, Array]]:
    """Yield (part, position in beats, sound) for a bar."""
    factors, voicing, beat = piece.factors, piece.voicing, 60.0 / piece.tempo
    section = factors.form[bar % len(factors.form)]
    for drum, positions in drum_positions(factors, bar).items():
        if drum != "hat" or section != piece.thin:
            yield from ((drum, position, shots[drum]) for position in positions)
    root, chord, line = pitches(piece, bar)
    for position, semitone in enumerate(line):
        yield "bass", float(position), note(semitone, 0.9 * beat, voicing.bass_rolloff, 0.4)
    for semitone in chord if section != piece.thin else ():
        length = 0.95 * factors.metre * beat
        yield "chords", 0.0, note(semitone, length, voicing.chord_rolloff, 1.5)
    for place, step in piece.riffs[section]:
        yield "lead", place, note(root + 36 + step, 0.45 * beat, voicing.lead_rolloff, 0.3)


def _add(total: Array, sound: Array, at: int) -> None:
    begin, end = max(at, 0), min(at + len(sound), len(total))
    if begin < end:
        total[begin:end] += sound[begin - at : end - at]


def render(piece: Piece, seconds: float, random: RandomState) -> Array:
    """Render a piece to int16 samples; `random` gives the noise and the human timing."""
    beat, metre = 60.0 / piece.tempo, piece.factors.metre
    total = np.zeros(round(seconds * SAMPLE_RATE))
    gains = {part: 10.0 ** (level / 20.0) for part, level in piece.voicing.levels.items()}
    shots = draw_shots(piece.kit, random)
    num_bars = math.ceil((seconds - piece.pause) / (beat * metre))
    for bar in range(num_bars):
        for part, position, sound in _events(piece, bar, shots):
            when = piece.pause + (bar * metre + swung(position, piece.factors.swing)) * beat
            when += random.uniform(-0.004, 0.004)  # s
            velocity = random.uniform(0.75, 1.0)
            _add(total, gains[part] * velocity * sound, round(when * SAMPLE_RATE))
    total[1:] -= piece.tilt * total[:-1].copy()
    total *= piece.peak * 32767.0 / np.abs(total).max()
    return np.rint(total).astype(np.int16)
