"""Samples that are odd, in files that are right."""

from collections.abc import Iterator

import numpy as np

from hostile import RATE, Case, Exactly, Refused, Tone
from hostile.files import WAV_RATE, aiff, encoded, tone, wav

NOT_FINITE = Refused("has NaN or infinite samples")
SILENT, SHORT = Refused("is silent"), Refused("is shorter than 0.1 s")


def cases() -> Iterator[Case]:
    yield from _not_finite()
    yield from _loud()
    yield from _quiet()
    yield from _short()


def _not_finite() -> Iterator[Case]:
    odd = {"nan": np.nan, "infinity": np.inf, "minus-infinity": -np.inf}
    places = {"at-the-start": 0, "on-the-way": 20_000, "at-the-end": -1}
    for name, value in odd.items():
        for place, at in places.items():
            x_T = tone()
            x_T[at] = value
            data = encoded(x_T, WAV_RATE, "WAV", "FLOAT")
            yield Case(f"float32-{name}-{place}", ".wav", data, NOT_FINITE)
        yield Case(f"float64-{name}", ".wav", encoded(x_T, WAV_RATE, "WAV", "DOUBLE"), NOT_FINITE)
        floats = aiff(x_T.astype(">f4").tobytes(), bits=32, kind=b"fl32")
        yield Case(f"aifc-{name}", ".aiff", floats, NOT_FINITE)
        x_TC = np.stack([tone(), x_T], 1)
        yield Case(
            f"float32-{name}-in-a-channel",
            ".wav",
            encoded(x_TC, WAV_RATE, "WAV", "FLOAT"),
            NOT_FINITE,
        )
    x_T = tone().astype("<f4")
    signalling = np.frombuffer(b"\x01\x00\x80\x7f", "<f4")
    x_T[7] = signalling[0]
    yield Case("float32-signalling-nan", ".wav", wav(x_T.tobytes(), tag=3, bits=32), NOT_FINITE)
    opposite = np.stack([np.full(20_000, np.inf), np.full(20_000, -np.inf)], 1)
    yield Case(
        "float32-opposite-infinities",
        ".wav",
        encoded(opposite, WAV_RATE, "WAV", "FLOAT"),
        NOT_FINITE,
    )
    yield Case(
        "float32-all-nan",
        ".wav",
        encoded(np.full(20_000, np.nan), WAV_RATE, "WAV", "FLOAT"),
        NOT_FINITE,
    )
    huge = tone() * 1e300
    yield Case(
        "float64-beyond-float32", ".wav", encoded(huge, WAV_RATE, "WAV", "DOUBLE"), NOT_FINITE
    )


def _loud() -> Iterator[Case]:
    x_T = tone(RATE)
    clipped = np.clip(np.rint(x_T * 3 * 2**15), -(2**15), 2**15 - 1).astype(np.int16)
    yield Case(
        "float32-thrice-full-scale",
        ".wav",
        encoded(x_T * 3, RATE, "WAV", "FLOAT"),
        Exactly(clipped),
    )
    square = np.where(x_T >= 0, 2**15 - 1, -(2**15)).astype(np.int16)
    square[x_T == 0] = 0
    huge = encoded(np.where(x_T == 0, 0, x_T) * 1e37, RATE, "WAV", "FLOAT")
    yield Case("float32-of-1e37", ".wav", huge, Exactly(square))
    largest = np.stack([np.full(RATE, 3e38)] * 4, 1)
    yield Case(
        "float32-channels-that-overflow", ".wav", encoded(largest, RATE, "WAV", "FLOAT"), NOT_FINITE
    )
    top = np.tile(np.int16([-(2**15), 2**15 - 1]), RATE)
    yield Case("full-scale", ".wav", encoded(top, RATE, "WAV", "PCM_16"), Exactly(top))
    constant = np.full(RATE, 12_345, np.int16)
    yield Case(
        "direct-current", ".wav", encoded(constant, RATE, "WAV", "PCM_16"), Exactly(constant)
    )
    yield Case("direct-current-flac", ".flac", encoded(constant, RATE, "FLAC"), Exactly(constant))
    click = np.zeros(RATE, np.int16)
    click[777] = 30_000
    yield Case("a-single-click", ".wav", encoded(click, RATE, "WAV", "PCM_16"), Exactly(click))


def _quiet() -> Iterator[Case]:
    for container in ("WAV", "FLAC", "OGG", "MP3", "AU", "AIFF"):
        data = encoded(np.zeros(2 * WAV_RATE), WAV_RATE, container)
        yield Case(f"silence-{container.lower()}", f".{container.lower()}", data, SILENT)
    yield Case("silence-opus", ".opus", encoded(np.zeros(96_000), 48_000, "OGG", "OPUS"), SILENT)
    opposite = np.stack([tone(), -tone()], 1)
    yield Case("channels-that-cancel", ".wav", encoded(opposite, WAV_RATE, "WAV", "FLOAT"), SILENT)
    yield Case("denormal", ".wav", encoded(tone() * 1e-40, WAV_RATE, "WAV", "FLOAT"), SILENT)
    yield Case("below-80-dB", ".wav", encoded(tone(level=0.9e-4), WAV_RATE, "WAV", "FLOAT"), SILENT)
    barely = Tone(level=2e-4, purity=0.98)
    yield Case("above-80-dB", ".wav", encoded(tone(level=2e-4), WAV_RATE, "WAV", "FLOAT"), barely)
    noisy = Tone(level=2e-4, purity=0.98)
    yield Case(
        "above-80-dB-in-24-bits",
        ".flac",
        encoded(tone(level=2e-4), WAV_RATE, "FLAC", "PCM_24"),
        noisy,
    )


def _short() -> Iterator[Case]:
    for container in ("WAV", "FLAC", "OGG", "AU", "AIFF"):
        kind, suffix = container.lower(), f".{container.lower()}"
        yield Case(
            f"no-samples-{kind}",
            suffix,
            encoded(np.zeros(0), WAV_RATE, container),
            Refused("is shorter|cannot be decoded|is cut short|is empty"),
        )
        yield Case(
            f"one-sample-{kind}", suffix, encoded(np.array([0.5]), WAV_RATE, container), SHORT
        )
    yield Case(
        "one-sample-mp3",
        ".mp3",
        encoded(np.array([0.5]), 44_100, "MP3"),
        Refused("is shorter|cannot be decoded"),
    )
    yield Case("0.09-seconds", ".wav", encoded(tone(seconds=0.09), WAV_RATE, "WAV"), SHORT)
    tenth = tone(RATE, 0.1)
    exact = np.rint(tenth * 2**15).astype(np.int16)
    yield Case("0.1-seconds", ".wav", encoded(exact, RATE, "WAV"), Exactly(exact))
