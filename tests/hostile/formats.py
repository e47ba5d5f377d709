"""Audio that is right, in every form that is read: encodings, channels, sample rates."""

import struct
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from hostile import Case, Refused, Tone
from hostile.files import (
    LEVEL,
    WAV_RATE,
    aiff,
    chunk,
    encoded,
    extended,
    fmt,
    pcm16,
    riff,
    tone,
    wav,
)

WAV_KINDS = {"PCM_U8": 0.99, "PCM_16": 1, "PCM_24": 1, "PCM_32": 1, "FLOAT": 1, "DOUBLE": 1}
WAV_KINDS |= {"ALAW": 1, "ULAW": 1, "IMA_ADPCM": 1, "MS_ADPCM": 1, "GSM610": 0.99, "G721_32": 0.99}
WAV_KINDS |= {"NMS_ADPCM_16": 0.99, "NMS_ADPCM_24": 0.99, "NMS_ADPCM_32": 0.99}
OTHERS = {
    "AIFF": "PCM_S8 PCM_U8 PCM_24 PCM_32 FLOAT DOUBLE ULAW ALAW IMA_ADPCM DWVW_16 DWVW_24",
    "AU": "PCM_S8 PCM_24 PCM_32 FLOAT DOUBLE ULAW ALAW G721_32 G723_24 G723_40",
    "FLAC": "PCM_S8 PCM_24",
    "CAF": "PCM_16 ALAC_16 ALAC_20 ALAC_24 ALAC_32 FLOAT",
    "W64": "PCM_16 DOUBLE",
    "RF64": "PCM_24",
    "WAVEX": "PCM_16 FLOAT",
    "OGG": "VORBIS",
}
SUFFIXES = {"AIFF": ".aif", "OGG": ".oga", "RF64": ".wav", "WAVEX": ".wav"}
CONTAINERS = (("WAV", "PCM_16"), ("FLAC", "PCM_16"), ("OGG", "VORBIS"), ("OGG", "OPUS"))
RATES = (10, 100, 1_000, 4_000, 8_000, 11_025, 12_000, 16_000, 24_000, 32_000, 44_100, 48_000)
RATES += (88_200, 96_000, 176_400, 192_000, 352_800, 384_000)


def cases() -> Iterator[Case]:
    yield from _encodings()
    yield from _channels()
    yield from _rates()


def _encodings() -> Iterator[Case]:
    for kind, purity in WAV_KINDS.items():
        rate = 8_000 if kind[:3] in ("GSM", "G72", "NMS") else WAV_RATE
        data = encoded(tone(rate), rate, "WAV", kind)
        fits = Tone(purity=0.999 if purity == 1 else purity, slack=0.06)
        yield Case(f"wav-{kind.lower()}", ".wav", data, fits)
    for container, kinds in OTHERS.items():
        for kind in kinds.split():
            rate = 8_000 if kind.startswith("G7") else WAV_RATE
            data = encoded(tone(rate), rate, container, kind)
            suffix = SUFFIXES.get(container, f".{container.lower()}")
            fits = Tone(purity=0.99, slack=0.05)
            yield Case(f"{container.lower()}-{kind.lower()}", suffix, data, fits)
    whole = np.rint(tone() * 2**63 * 0.999)
    yield Case(
        "wav-pcm-64",
        ".wav",
        wav(whole.astype("<i8").tobytes(), bits=64),
        Refused("cannot be decoded"),
    )
    twelve = (np.rint(tone() * 2**11).astype("<i2") << 4).tobytes()
    yield Case("wav-pcm-12", ".wav", wav(twelve, bits=12), Tone())
    big = riff(fmt(), chunk(b"data", pcm16(tone())))
    yield Case("wav-big-endian", ".wav", _swapped(), Tone())
    yield Case("wav-little-endian-in-rifx", ".wav", b"RIFX" + big[4:], Refused("cannot be decoded"))
    sowt = aiff(pcm16(tone()), kind=b"sowt")
    yield Case("aifc-little-endian", ".aifc", sowt, Tone())
    yield Case(
        "aifc-float32", ".aiff", aiff(tone().astype(">f4").tobytes(), bits=32, kind=b"fl32"), Tone()
    )
    half = aiff(rate=extended(11_025.5))
    yield Case("aiff-fractional-rate", ".aiff", half, Tone(4.0, 220, slack=0.01))


def _swapped() -> bytes:
    """A WAV file with the high bytes first."""
    sound = np.rint(tone() * 32_767).astype(">i2").tobytes()
    head = struct.pack(">4sIHHIIHH", b"fmt ", 16, 1, 1, WAV_RATE, 2 * WAV_RATE, 2, 16)
    body = b"WAVE" + head + b"data" + struct.pack(">I", len(sound)) + sound
    return b"RIFX" + struct.pack(">I", len(body)) + body


def spread(channels: int, rate: int) -> NDArray[np.float64]:
    """The tone, of another loudness in each channel, with the usual mean."""
    weight_C = np.arange(1, channels + 1) * 2 / (channels + 1)
    return tone(rate, level=LEVEL)[:, None] * weight_C


def _channels() -> Iterator[Case]:
    for channels in range(2, 9):
        for container, subtype in CONTAINERS:
            rate = 48_000 if subtype == "OPUS" else WAV_RATE
            data = encoded(spread(channels, rate) * 0.9, rate, container, subtype)
            kind = subtype.lower() if container == "OGG" else container.lower()
            has_bass = subtype == "OPUS" and channels > 5  # a last channel without 440 Hz
            level = 0.45 * ((channels - 1) / (channels + 1) if has_bass else 1)
            fits = Tone(level=level, purity=0.99 if container == "OGG" else 0.999)
            yield Case(
                f"{kind}-of-{channels}-channels", f".{kind}".replace("vorbis", "ogg"), data, fits
            )
    for channels in (16, 255, 1_024):
        data = encoded(np.repeat(tone()[:, None], channels, 1), WAV_RATE, "WAV", "PCM_16")
        yield Case(f"wav-of-{channels}-channels", ".wav", data, Tone())


def _rates() -> Iterator[Case]:
    for rate in RATES:
        hz = min(440.0, rate / 5)
        seconds = 100 / hz if hz < 440 else 2.0
        data = encoded(tone(rate, seconds, hz), rate, "WAV", "FLOAT")
        yield Case(f"wav-at-{rate}-hz", ".wav", data, Tone(seconds, hz, slack=0.01 + 1 / rate))
    for rate in (1, 65_535, 655_350):
        hz, seconds = (0.2, 500) if rate == 1 else (440, 2)
        data = encoded(tone(rate, seconds, hz), rate, "FLAC")
        yield Case(f"flac-at-{rate}-hz", ".flac", data, Tone(seconds, hz, slack=0.01 + 1 / rate))
    for rate in (8_000, 12_000, 16_000, 24_000):
        yield Case(
            f"opus-at-{rate}-hz",
            ".opus",
            encoded(tone(rate), rate, "OGG", "OPUS"),
            Tone(purity=0.99),
        )
    for rate in (8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 48_000):
        yield Case(f"mp3-at-{rate}-hz", ".mp3", encoded(tone(rate), rate, "MP3"), Tone(purity=0.99))
    for rate in (8_000, 96_000, 192_000):
        yield Case(f"ogg-at-{rate}-hz", ".ogg", encoded(tone(rate), rate, "OGG"), Tone(purity=0.99))
