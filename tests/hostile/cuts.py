"""Files that end too early, at every kind of place."""

from collections.abc import Iterator

from hostile import Case, Refused, Tone
from hostile.files import (
    MP3_RATE,
    aiff,
    au,
    encoded,
    flac_frames,
    good,
    mp3_frames,
    ogg_pages,
    tone,
    wav,
)

UNKNOWN, SHORT = Refused("cannot be decoded"), Refused("is cut short")
EMPTY = Refused("is shorter than 0.1 s|is cut short|cannot be decoded")  # a header and no sound

WAV_PLACES = {
    "magic": 3, "riff-size": 6, "wave": 10, "riff-header": 12, "fmt-name": 14, "fmt-size": 18,
    "fmt-tag": 21, "fmt-channels": 23, "fmt-rate": 26, "fmt-byte-rate": 30, "fmt-block": 33,
    "fmt-bits": 35, "fmt-end": 36, "data-name": 38, "data-size": 42,
}  # fmt: skip
AU_PLACES = {"magic": 2, "offset": 6, "size": 10, "encoding": 14, "rate": 18, "channels": 22}
AIFF_PLACES = {
    "form": 2, "form-size": 6, "kind": 10, "comm-name": 14, "comm-size": 18, "channels": 21,
    "frames": 24, "bits": 27, "rate": 33, "ssnd-name": 40, "ssnd-size": 44, "ssnd-offset": 48,
    "ssnd-block": 52,
}  # fmt: skip
FLAC_PLACES = {
    "magic": 3, "streaminfo-header": 6, "block-sizes": 10, "frame-sizes": 15, "rate-and-length": 22,
    "md5": 33, "second-block-header": 44,
}  # fmt: skip


def cases() -> Iterator[Case]:
    yield Case("cut-to-nothing", ".wav", b"", Refused("is empty"))
    yield Case("cut-to-one-byte", ".wav", b"R", UNKNOWN)
    yield from _headers()
    yield from _pcm()
    yield from _flac()
    yield from _ogg()
    yield from _mp3()


def _headers() -> Iterator[Case]:
    kinds = [
        ("wav", wav(), WAV_PLACES),
        ("au", au(), AU_PLACES),
        ("aiff", aiff(), AIFF_PLACES),
        ("flac", good("FLAC"), FLAC_PLACES),
    ]
    for kind, data, places in kinds:
        for place, end in places.items():
            yield Case(f"cut-{kind}-in-{place}", f".{kind}", data[:end], EMPTY)


def _pcm() -> Iterator[Case]:
    for kind, data, start in [("wav", wav(), 44), ("au", au(), 24), ("aiff", aiff(), 54)]:
        half = start + (len(data) - start) // 4 * 2
        yield Case(f"cut-{kind}-before-samples", f".{kind}", data[:start], EMPTY)
        yield Case(f"cut-{kind}-between-samples", f".{kind}", data[:half], SHORT)
        yield Case(f"cut-{kind}-in-a-sample", f".{kind}", data[: half + 1], SHORT)
        yield Case(f"cut-{kind}-last-byte", f".{kind}", data[:-1], Tone())
    stereo = encoded(tone().repeat(2).reshape(-1, 2), 22_050, "WAV", "PCM_24")
    yield Case("cut-wav-between-channels", ".wav", stereo[: 44 + 6 * 20_000 + 3], SHORT)
    for kind, suffix in (("W64", ".w64"), ("RF64", ".wav"), ("CAF", ".caf")):
        data = good(kind)
        yield Case(f"cut-{kind.lower()}-in-header", suffix, data[:30], UNKNOWN)
        half = UNKNOWN if kind == "CAF" else SHORT
        yield Case(f"cut-{kind.lower()}-in-half", suffix, data[: len(data) // 2], half)
    adpcm = encoded(tone(), 22_050, "WAV", "IMA_ADPCM")
    yield Case("cut-wav-in-an-adpcm-block", ".wav", adpcm[: len(adpcm) // 2 + 7], SHORT)


def _flac() -> Iterator[Case]:
    data = good("FLAC")
    frames = flac_frames(data)
    ends = {
        "before-the-first-frame": frames[0],
        "in-the-first-frame-header": frames[0] + 3,
        "in-the-first-subframe": frames[0] + 100,
        "between-frames": frames[5],
        "in-a-later-frame-header": frames[5] + 4,
        "in-a-later-subframe": frames[5] + 900,
        "in-a-frame-checksum": frames[6] - 1,
        "before-the-last-frame": frames[-1],
        "in-the-last-checksum": len(data) - 1,
    }
    for place, end in ends.items():
        yield Case(f"cut-flac-{place}", ".flac", data[:end], EMPTY)


def _ogg() -> Iterator[Case]:
    data = good("OGG")
    pages = ogg_pages(data)
    start = len(pages[0]) + len(pages[1])
    ends = {
        "in-the-capture-pattern": 3,
        "in-the-first-page-header": 20,
        "in-the-identification-header": 40,
        "before-the-comments": len(pages[0]),
        "in-the-comments": len(pages[0]) + 60,
        "in-the-codebooks": len(pages[0]) + 2_000,
        "before-the-first-page": start,
        "in-a-page-header": start + 15,
        "in-a-segment-table": start + 40,
        "in-a-page": start + len(pages[2]) // 2,
        "between-pages": start + len(pages[2]),
        "before-the-last-page": len(data) - len(pages[-1]),
        "last-byte": len(data) - 1,
    }
    for place, end in ends.items():
        yield Case(f"cut-ogg-{place}", ".ogg", data[:end], EMPTY)
    data = good("OPUS")
    pages = ogg_pages(data)
    ends = {
        "in-its-head": 40,
        "in-its-tags": len(pages[0]) + 60,
        "in-a-page": len(data) // 2,
        "between-pages": len(data) - len(pages[-1]),
    }
    for place, end in ends.items():
        yield Case(f"cut-opus-{place}", ".opus", data[:end], EMPTY)


def _mp3() -> Iterator[Case]:
    data = good("MP3")
    frames = mp3_frames(data)
    half = len(frames) // 2
    ends = {
        "in-the-first-frame-header": 3,
        "in-the-length-frame": 100,
        "after-the-length-frame": frames[1],
        "between-frames": frames[half],
        "in-a-frame-header": frames[half] + 2,
        "in-side-information": frames[half] + 20,
        "in-main-data": frames[half] + 70,
    }
    for place, end in ends.items():
        yield Case(f"cut-mp3-{place}", ".mp3", data[:end], EMPTY)
    tag = b"ID3\x04\x00\x00\x00\x00\x08\x00" + bytes(1_024)
    yield Case("cut-mp3-in-the-id3-header", ".mp3", tag[:7], UNKNOWN)
    yield Case("cut-mp3-in-the-id3-tag", ".mp3", tag[:500], UNKNOWN)
    plain = encoded(tone(MP3_RATE), MP3_RATE, "MP3", bitrate_mode="CONSTANT")
    plain = plain[mp3_frames(plain)[1] :]  # its length is not said
    end = mp3_frames(plain)[40]
    seconds = 40 * 1_152 / MP3_RATE
    what_is_there = Tone(seconds, slack=0.1, purity=0.99)
    yield Case("cut-mp3-that-does-not-say-its-length", ".mp3", plain[:end], what_is_there)
