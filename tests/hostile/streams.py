"""Files with something before, between or after, and several streams in one."""

import struct
from collections.abc import Iterator

import numpy as np

from hostile import Case, Refused, Tone
from hostile.files import (
    MP3_RATE,
    OGG_SECONDS,
    WAV_RATE,
    au,
    chunk,
    encoded,
    flac_frames,
    fmt,
    good,
    mp3_frames,
    ogg_pages,
    ogg_signed,
    put,
    riff,
    tone,
    wav,
)

UNKNOWN = Refused("cannot be decoded")
SEVERAL = Refused("is several")
CHANGES = Refused("changes its sample rate or its channels on the way")
FRAME = 1_152 / MP3_RATE  # seconds


def id3(size: int) -> bytes:
    """An ID3v2 tag with a picture's worth of zeros."""
    return b"ID3\x04\0\0" + bytes(size >> 7 * i & 0x7F for i in (3, 2, 1, 0)) + bytes(size)


def bare(rate: int = MP3_RATE, channels: int = 1, mode: str = "VARIABLE", hz: float = 440) -> bytes:
    """MP3 frames without the first, which would say how many they are."""
    x_TC = np.repeat(tone(rate, hz=hz)[:, None], channels, 1)
    data = encoded(x_TC, rate, "MP3", bitrate_mode=mode, compression_level=0.5)
    return data[mp3_frames(data)[1] :]


def cases() -> Iterator[Case]:
    yield from _around()
    yield from _mp3()
    yield from _ogg()
    yield from _several()


def _around() -> Iterator[Case]:
    junk = np.random.default_rng(0).integers(0, 127, 50_000).astype(np.uint8).tobytes()
    v1 = b"TAG" + bytes(125)
    ape = b"APETAGEX" + bytes(300)
    for kind in ("WAV", "FLAC", "OGG", "OPUS", "MP3", "AU", "AIFF"):
        suffix = f".{kind.lower()}"
        same = Tone(OGG_SECONDS if kind == "OGG" else 2.0, purity=0.99)
        yield Case(f"junk-after-{kind.lower()}", suffix, good(kind) + junk, _junk_after(kind, same))
        before = same if kind == "MP3" else UNKNOWN
        yield Case(f"junk-before-{kind.lower()}", suffix, junk + good(kind), before)
    yield Case("zeros-before-mp3", ".mp3", bytes(700) + good("MP3"), Tone(slack=0.08, purity=0.99))
    yield Case("many-zeros-before-mp3", ".mp3", bytes(70_000) + good("MP3"), UNKNOWN)
    yield Case("junk-before-bare-mp3", ".mp3", junk[:700] + bare(), Tone(slack=0.08, purity=0.99))
    for size in (1_000, 5 << 20):
        yield Case(f"id3-of-{size}-before-mp3", ".mp3", id3(size) + good("MP3"), Tone())
        yield Case(f"id3-of-{size}-before-flac", ".flac", id3(size) + good("FLAC"), Tone())
    yield Case("two-id3-before-mp3", ".mp3", id3(500) + id3(900) + good("MP3"), Tone())
    yield Case("id3-before-wav", ".wav", id3(1_000) + wav(), Tone())
    yield Case("id3-before-ogg", ".ogg", id3(1_000) + good("OGG"), UNKNOWN)
    yield Case("id3-that-claims-256-MB", ".mp3", id3(0)[:6] + b"\x7f" * 4 + good("MP3"), UNKNOWN)
    yield Case(
        "id3-without-an-end-before-flac", ".flac", id3(0)[:6] + b"\x7f" * 4 + good("FLAC"), UNKNOWN
    )
    yield Case("id3v1-after-mp3", ".mp3", good("MP3") + v1, Tone())
    yield Case("ape-after-mp3", ".mp3", good("MP3") + ape + v1, Tone())
    yield Case("ape-after-bare-mp3", ".mp3", bare() + ape + v1, Tone(slack=0.08, purity=0.99))
    yield Case(
        "id3-in-a-chunk-of-wav", ".wav", riff(fmt(), chunk(b"id3 ", id3(5_000)), wav()[36:]), Tone()
    )
    yield Case("line-before-wav", ".wav", b"\n" + wav(), UNKNOWN)
    yield Case("bom-before-wav", ".wav", b"\xef\xbb\xbf" + wav(), UNKNOWN)
    yield Case(
        "http-header-before-mp3",
        ".mp3",
        b"HTTP/1.1 200 OK\r\n\r\n" + good("MP3"),
        Tone(slack=0.08, purity=0.99),
    )


def _junk_after(kind: str, same: Tone) -> Tone | Refused:
    if kind == "FLAC":
        return Refused("is cut short or damaged")
    return same


def _mp3() -> Iterator[Case]:
    near = Tone(slack=0.08, purity=0.99)
    yield Case("mp3-variable-without-a-length", ".mp3", bare(), near)
    yield Case("mp3-constant-without-a-length", ".mp3", bare(mode="CONSTANT"), near)
    frames = mp3_frames(bare())
    inside = bare()[frames[10] + 50 :]
    yield Case(
        "mp3-that-starts-in-a-frame", ".mp3", inside, Tone(2 - 9 * FRAME, slack=0.1, purity=0.97)
    )
    without = bare()[: frames[30]] + bare()[frames[31] :]
    yield Case("mp3-without-a-frame", ".mp3", without, Tone(2 - FRAME, slack=0.1, purity=0.85))
    gap = bare()[: frames[30]] + bytes(5_000) + bare()[frames[30] :]
    yield Case("mp3-with-zeros-on-the-way", ".mp3", gap, Refused("is cut short or damaged"))
    hiccup = bare()[: frames[30]] + bytes(500) + bare()[frames[30] :]
    yield Case("mp3-with-few-zeros-on-the-way", ".mp3", hiccup, Tone(slack=0.1, purity=0.97))
    yield Case("mp3-changes-rate", ".mp3", bare() + bare(48_000), CHANGES)
    yield Case("mp3-changes-version", ".mp3", bare() + bare(22_050), CHANGES)
    yield Case("mp3-changes-channels", ".mp3", bare() + bare(channels=2), CHANGES)
    yield Case(
        "mp3-changes-bit-rate",
        ".mp3",
        bare() + bare(mode="CONSTANT"),
        Tone(4.0, slack=0.15, purity=0.99),
    )
    yield Case(
        "mp3-in-wav",
        ".wav",
        riff(
            fmt(0x55, bits=0, more=struct.pack("<HHIHHH", 12, 1, 2, 417, 1, 1_393)),
            chunk(b"data", bare()),
        ),
        near,
    )


def _ogg() -> Iterator[Case]:
    first, second = encoded(tone(), WAV_RATE, "OGG"), encoded(tone(hz=600), WAV_RATE, "OGG")
    other_rate = encoded(tone(44_100), 44_100, "OGG")
    stereo = encoded(np.stack([tone()] * 2, 1), WAV_RATE, "OGG")
    yield Case("ogg-chain", ".ogg", first + second, SEVERAL)
    yield Case("ogg-chain-changes-rate", ".ogg", first + other_rate, SEVERAL)
    yield Case("ogg-chain-changes-channels", ".ogg", first + stereo, SEVERAL)
    yield Case("ogg-chain-changes-codec", ".ogg", first + good("OPUS"), SEVERAL)
    yield Case(
        "opus-chain", ".opus", good("OPUS") + encoded(tone(24_000), 24_000, "OGG", "OPUS"), SEVERAL
    )
    a, b = ogg_pages(first), ogg_pages(second)
    both = [page for pair in zip(a, b, strict=True) for page in pair]
    yield Case("ogg-side-by-side", ".ogg", b"".join(both), Tone(purity=0.99))
    pages = ogg_pages(good("OGG"))
    opus = ogg_pages(good("OPUS"))
    damaged = Refused("is damaged|is cut short")
    yield Case("ogg-without-a-page", ".ogg", b"".join([*pages[:3], *pages[4:]]), damaged)
    yield Case("opus-without-a-page", ".opus", b"".join([*opus[:3], *opus[4:]]), damaged)
    yield Case(
        "ogg-pages-swapped", ".ogg", b"".join([*pages[:2], pages[3], pages[2], *pages[4:]]), damaged
    )
    yield Case("ogg-page-twice", ".ogg", b"".join([*pages[:3], *pages[2:]]), damaged)
    endless = ogg_signed(put(pages[-1], 5, b"\0"))
    yield Case(
        "ogg-without-an-end", ".ogg", b"".join([*pages[:-1], endless]), Refused("is cut short")
    )
    early = ogg_signed(put(pages[3], 5, b"\x04"))
    yield Case("ogg-ends-twice", ".ogg", b"".join([*pages[:3], early, *pages[4:]]), damaged)
    gap = b"".join([*pages[:3], bytes(9_000), *pages[3:]])
    yield Case("ogg-with-zeros-between-pages", ".ogg", gap, Tone(OGG_SECONDS, purity=0.99))
    yield Case("ogg-headers-twice", ".ogg", b"".join([*pages[:2], *pages]), damaged)


def _several() -> Iterator[Case]:
    yield Case("two-wavs", ".wav", wav() + wav(), UNKNOWN)
    yield Case("two-aus", ".au", au() + au(), Tone())
    yield Case("two-flacs", ".flac", good("FLAC") * 2, Refused("is cut short or damaged"))
    long = encoded(np.concatenate([tone(MP3_RATE, 30)]), MP3_RATE, "MP3")
    yield Case("two-mp3s", ".mp3", long + long, SEVERAL)
    yield Case(
        "two-mp3s-with-tags",
        ".mp3",
        id3(500) + long + b"TAG" + bytes(125) + id3(700) + long,
        SEVERAL,
    )
    yield Case("mp3-then-flac", ".mp3", good("MP3") + good("FLAC"), Tone())
    data = good("FLAC")
    frames = flac_frames(data)
    without = data[: frames[4]] + data[frames[5] :]
    swapped = (
        data[: frames[4]]
        + data[frames[5] : frames[6]]
        + data[frames[4] : frames[5]]
        + data[frames[6] :]
    )
    hole = Tone(purity=0.8)  # libFLAC puts silence in its place
    yield Case("flac-without-a-frame", ".flac", without, hole)
    yield Case("flac-frames-swapped", ".flac", swapped, hole)
    zeros = data[: frames[4]] + bytes(3_000) + data[frames[4] :]
    yield Case("flac-with-zeros-between-frames", ".flac", zeros, Refused("is cut short or damaged"))
    stereo = encoded(np.stack([tone()] * 2, 1), WAV_RATE, "FLAC")
    yield Case(
        "flac-changes-channels",
        ".flac",
        data[: frames[4]] + stereo[flac_frames(stereo)[4] :],
        Refused("is cut short or damaged"),
    )
