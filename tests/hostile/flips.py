"""Files with single bits turned over."""

from collections.abc import Iterator

import numpy as np

from hostile import Case, Exactly, Refused, Tone
from hostile.files import (
    HZ,
    MP3_RATE,
    SECONDS,
    aiff,
    au,
    flac_frames,
    flip,
    good,
    mp3_frames,
    ogg_pages,
    pcm16,
    put,
    tone,
    wav,
)

EMPTY = Refused("is shorter than 0.1 s")
UNKNOWN = Refused("cannot be decoded")
DAMAGED = Refused("is cut short or damaged|is damaged")


def cases() -> Iterator[Case]:
    yield from _wav()
    yield from _au_and_aiff()
    yield from _flac()
    yield from _ogg()
    yield from _mp3()


def _wav() -> Iterator[Case]:
    data = wav()
    places = {
        "riff": (0, 0x01, UNKNOWN),
        "riff-size": (6, 0x80, Tone()),
        "wave": (8, 0x01, UNKNOWN),
        "fmt-name": (12, 0x01, UNKNOWN),
        "fmt-size": (17, 0x10, UNKNOWN),
        "fmt-tag": (20, 0x40, UNKNOWN),
        "byte-rate": (29, 0x80, Tone()),
        "data-name": (36, 0x01, UNKNOWN),
        "data-size-up": (42, 0x80, Refused("is cut short")),
    }
    for place, (where, mask, expected) in places.items():
        yield Case(f"flip-wav-{place}", ".wav", flip(data, where, mask), expected)
    samples = np.frombuffer(pcm16(tone(16_000)), "<i2").copy()
    samples[9_000] ^= 0x4000
    loud = flip(wav(pcm16(tone(16_000)), rate=16_000), 44 + 18_001, 0x40)
    yield Case("flip-wav-sample", ".wav", loud, Exactly(samples))


def _au_and_aiff() -> Iterator[Case]:
    yield Case("flip-au-magic", ".au", flip(au(), 1, 1), UNKNOWN)
    yield Case("flip-au-encoding", ".au", flip(au(), 15, 0x40), UNKNOWN)
    yield Case("flip-au-offset", ".au", flip(au(), 4, 0x40), EMPTY)
    yield Case("flip-aiff-form", ".aiff", flip(aiff(), 2, 1), UNKNOWN)
    yield Case("flip-aiff-comm-name", ".aiff", flip(aiff(), 12, 1), UNKNOWN)
    yield Case("flip-aiff-ssnd-size", ".aiff", flip(aiff(), 43, 0x02), Refused("is cut short"))
    yield Case("flip-aiff-frames", ".aiff", flip(aiff(), 24, 0x80), Tone())


def _flac() -> Iterator[Case]:
    data = good("FLAC")
    frame = flac_frames(data)[4]
    slower = 22_050 / 5_666  # the rate that the header then has
    as_it_says = Tone(SECONDS * slower, HZ / slower)
    places = {
        "magic": (1, 0x01, UNKNOWN),
        "block-size": (7, 0x04, UNKNOWN),
        "rate": (18, 0x04, as_it_says),
        "length-up": (24, 0x02, Refused("is cut short")),
        "md5": (30, 0x01, Tone()),
        "frame-sync": (frame, 0x10, DAMAGED),
        "frame-header": (frame + 3, 0x10, DAMAGED),
        "frame-header-checksum": (frame + 5, 0x01, DAMAGED),
        "residual": (frame + 900, 0x10, DAMAGED),
        "frame-checksum": (flac_frames(data)[5] - 1, 0x01, DAMAGED),
    }
    for place, (where, mask, expected) in places.items():
        yield Case(f"flip-flac-{place}", ".flac", flip(data, where, mask), expected)


def _ogg() -> Iterator[Case]:
    data = good("OGG")
    pages = ogg_pages(data)
    page = len(pages[0]) + len(pages[1]) + len(pages[2])
    places = {
        "capture-pattern": (page, DAMAGED),
        "version": (page + 4, DAMAGED),
        "granule": (page + 9, DAMAGED),
        "serial": (page + 14, DAMAGED),
        "sequence": (page + 18, DAMAGED),
        "checksum": (page + 22, DAMAGED),
        "segments": (page + 26, DAMAGED),
        "packet": (page + 1_000, DAMAGED),
        "identification": (28 + 10, UNKNOWN),
        "codebook": (len(pages[0]) + 2_000, UNKNOWN),
    }
    for place, (where, expected) in places.items():
        yield Case(f"flip-ogg-{place}", ".ogg", flip(data, where, 0x01), expected)
    yield Case("flip-opus-head", ".opus", flip(good("OPUS"), 30, 1), UNKNOWN)
    yield Case("flip-opus-packet", ".opus", flip(good("OPUS"), 4_000, 1), DAMAGED)


def _mp3() -> Iterator[Case]:
    data = good("MP3")
    frames = mp3_frames(data)
    middle = frames[len(frames) // 2]
    garbled = Tone(slack=0.06, purity=0.9)
    places = {
        "first-sync": (0, 0x10, garbled),
        "sync": (middle, 0x10, garbled),
        "bit-rate": (middle + 2, 0x40, garbled),
        "rate": (middle + 2, 0x04, Refused("is cut short")),
        "side-information": (middle + 6, 0x08, garbled),
        "main-data": (middle + 60, 0x10, garbled),
    }
    for place, (where, mask, expected) in places.items():
        yield Case(f"flip-mp3-{place}", ".mp3", flip(data, where, mask), expected)
    count = data.index(b"Xing") + 8
    few, many = (n.to_bytes(4, "big") for n in (40, 4_000))
    as_it_says = Tone(40 * 1_152 / MP3_RATE, slack=0.05)
    yield Case("flip-mp3-xing-frames-up", ".mp3", put(data, count, many), Refused("is cut short"))
    yield Case("flip-mp3-xing-frames-down", ".mp3", put(data, count, few), as_it_says)
