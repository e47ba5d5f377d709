"""Headers that contradict themselves, the format or the file."""

import struct
from collections.abc import Iterator

import numpy as np

from hostile import Case, Refused, Tone
from hostile.files import (
    HZ,
    SECONDS,
    WAV_RATE,
    aiff,
    aiff_chunk,
    au,
    chunk,
    encoded,
    extended,
    fmt,
    good,
    ogg_pages,
    ogg_signed,
    pcm16,
    put,
    riff,
    tone,
    wav,
)

UNKNOWN, SHORT = Refused("cannot be decoded"), Refused("is cut short")
DAMAGED = Refused("is cut short or damaged")
NOTHING, TOO_LONG = Refused("is shorter than 0.1 s"), Refused("(announces|has) more than 6 h")


def cases() -> Iterator[Case]:
    yield from _wav_fields()
    yield from _wav_chunks()
    yield from _au()
    yield from _aiff()
    yield from _flac()
    yield from _ogg()
    yield from _mp3()


def _wav_fields() -> Iterator[Case]:
    sound = pcm16(tone())
    rough = Tone(purity=0.99)  # 8 bits
    fast = Tone(SECONDS / 2, HZ * 2)
    lies: dict[str, tuple[bytes, object]] = {
        "0-channels": (wav(channels=0), UNKNOWN),
        "1000-channels": (wav(channels=1000), NOTHING),
        "1025-channels": (wav(channels=1025), UNKNOWN),
        "65535-channels": (wav(channels=65_535), UNKNOWN),
        "0-hz": (wav(rate=0), UNKNOWN),
        "negative-hz": (wav(rate=-44_100), UNKNOWN),
        "4-billion-hz": (wav(rate=2**32 - 1), UNKNOWN),
        "2-billion-hz": (wav(rate=2**31 - 1), NOTHING),
        "1-hz": (wav(rate=1), TOO_LONG),
        "twice-the-rate": (wav(rate=2 * WAV_RATE), fast),
        "0-bits": (wav(bits=0), UNKNOWN),
        "1-bit": (wav((tone() * 127 + 128).astype(np.uint8).tobytes(), bits=1), rough),
        "255-bits": (wav(bits=255), UNKNOWN),
        "65535-bits": (wav(bits=65_535), UNKNOWN),
        "block-0": (wav(block=0), Tone()),
        "block-too-large": (wav(block=999), Tone()),
        "byte-rate-0": (wav(byte_rate=0), Tone()),
        "byte-rate-max": (wav(byte_rate=2**32 - 1), Tone()),
        "tag-0": (wav(tag=0), UNKNOWN),
        "tag-max": (wav(tag=0xFFFF), UNKNOWN),
        "tag-of-mp3": (wav(tag=0x55), UNKNOWN),
        "tag-of-wma": (wav(tag=0x161), UNKNOWN),
        "tag-of-opus": (wav(tag=0x704F), UNKNOWN),
        "extensible-without-more": (wav(tag=0xFFFE), UNKNOWN),
        "extensible-of-no-known-kind": (
            wav(tag=0xFFFE, more=struct.pack("<HHI", 22, 16, 4) + bytes(range(16))), UNKNOWN
        ),
        "fmt-size-0": (riff(fmt(size=0), chunk(b"data", sound)), UNKNOWN),
        "fmt-size-negative": (riff(fmt(size=-16), chunk(b"data", sound)), UNKNOWN),
        "fmt-size-huge": (riff(fmt(size=2**30), chunk(b"data", sound)), UNKNOWN),
        "fmt-size-of-a-byte-more": (riff(fmt(size=17), chunk(b"data", sound)), UNKNOWN),
        "data-size-0": (wav(size=0), NOTHING),
        "data-size-1": (wav(size=1), NOTHING),
        "data-size-half": (wav(size=len(sound) // 2), Tone(SECONDS / 2)),
        "data-size-twice": (wav(size=len(sound) * 2), SHORT),
        "data-size-hours": (wav(size=WAV_RATE * 2 * 5 * 3_600), SHORT),
        "data-size-days": (wav(size=2**31 - 2**17), TOO_LONG),
        "data-size-negative": (wav(size=-(2**31)), Tone()),
        "riff-size-0": (riff(fmt(), chunk(b"data", sound), size=0), Tone()),
        "riff-size-1": (riff(fmt(), chunk(b"data", sound), size=1), Tone()),
        "riff-size-negative": (riff(fmt(), chunk(b"data", sound), size=-1), Tone()),
    }  # fmt: skip
    for lie, (data, expected) in lies.items():
        yield Case(f"wav-{lie}", ".wav", data, expected)


def _wav_chunks() -> Iterator[Case]:
    data = chunk(b"data", pcm16(tone()))
    many = b"".join(chunk(b"junk", bytes(2)) for _ in range(20_000))
    info = chunk(b"LIST", b"INFO" + chunk(b"INAM", b"A" * 100))
    nested = b"INFO"
    for _ in range(200):
        nested = chunk(b"LIST", b"INFO" + nested)
    chunks: dict[str, tuple[bytes, object]] = {
        "no-fmt": (riff(data), UNKNOWN),
        "no-data": (riff(fmt()), UNKNOWN),
        "data-before-fmt": (riff(data, fmt()), UNKNOWN),
        "two-fmt": (riff(fmt(), fmt(rate=8_000), data), UNKNOWN),
        "two-data": (riff(fmt(), data, data), UNKNOWN),
        "empty-data-then-data": (riff(fmt(), chunk(b"data", b""), data), UNKNOWN),
        "unknown-chunk-before": (riff(chunk(b"zzzz", bytes(333)), fmt(), data), Tone()),
        "unknown-chunk-huge": (riff(fmt(), chunk(b"zzzz", b"", 2**30), data), UNKNOWN),
        "unknown-chunk-negative": (riff(fmt(), chunk(b"zzzz", b"", -8), data), UNKNOWN),
        "20000-chunks": (riff(fmt(), many, data), UNKNOWN),
        "list-of-5-MB": (riff(fmt(), chunk(b"LIST", b"INFO" + bytes(5 << 20)), data), Tone()),
        "list-nested": (riff(fmt(), nested, data), Tone()),
        "list-after": (riff(fmt(), data, info), Tone()),
        "fact-lies": (riff(fmt(), chunk(b"fact", bytes([255] * 4)), data), Tone()),
        "fact-short": (riff(fmt(), chunk(b"fact", b"1"), data), UNKNOWN),
        "cue-claims-a-billion": (riff(fmt(), chunk(b"cue ", b"\0\0\0\x40"), data), Tone()),
        "smpl-lies": (riff(fmt(), chunk(b"smpl", bytes([255] * 60)), data), Tone()),
        "bext-short": (riff(fmt(), chunk(b"bext", bytes(50)), data), Tone()),
        "chunk-name-binary": (riff(fmt(), chunk(b"\x01\x02\x03\x04", bytes(10)), data), UNKNOWN),
        "odd-chunk-unpadded": (riff(fmt(), b"zzzz\x03\0\0\0abc", data), UNKNOWN),
    }
    for lie, (content, expected) in chunks.items():
        yield Case(f"wav-{lie}", ".wav", content, expected)


def _au() -> Iterator[Case]:
    note = b"x" * 5_000
    lies: dict[str, tuple[bytes, object]] = {
        "offset-0": (au(offset=0), Tone()),
        "offset-in-header": (au(offset=12), Tone()),
        "offset-past-the-end": (au(offset=10**9), NOTHING),
        "offset-negative": (au(offset=2**32 - 24), UNKNOWN),
        "long-note": (au(offset=24 + len(note), note=note), Tone()),
        "size-unknown": (au(size=-1), Tone()),
        "size-0": (au(size=0), NOTHING),
        "size-days": (au(size=2**31 - 2**17), TOO_LONG),
        "0-channels": (au(channels=0), UNKNOWN),
        "1000-channels": (au(channels=1_000), NOTHING),
        "a-billion-channels": (au(channels=10**9), UNKNOWN),
        "0-hz": (au(rate=0), UNKNOWN),
        "encoding-0": (au(encoding=0), UNKNOWN),
        "encoding-99": (au(encoding=99), UNKNOWN),
        "little-endian-magic": (b"dns." + au()[4:], UNKNOWN),
    }
    for lie, (data, expected) in lies.items():
        yield Case(f"au-{lie}", ".au", data, expected)


def _aiff() -> Iterator[Case]:
    nan, infinite = b"\x7f\xff\xc0" + bytes(7), b"\x7f\xff\x80" + bytes(7)
    lies: dict[str, tuple[bytes, object]] = {
        "0-channels": (aiff(channels=0), UNKNOWN),
        "1000-channels": (aiff(channels=1_000), NOTHING),
        "0-frames": (aiff(frames=0), Tone()),
        "frames-max": (aiff(frames=2**32 - 1), Tone()),
        "0-bits": (aiff(bits=0), UNKNOWN),
        "33-bits": (aiff(bits=33), UNKNOWN),
        "0-hz": (aiff(rate=bytes(10)), TOO_LONG),
        "negative-hz": (aiff(rate=flip_sign(extended(WAV_RATE))), UNKNOWN),
        "nan-hz": (aiff(rate=nan), NOTHING),
        "infinite-hz": (aiff(rate=infinite), NOTHING),
        "1e30-hz": (aiff(rate=extended(1e30)), NOTHING),
        "offset-past-the-end": (aiff(offset=10**9), NOTHING),
        "ssnd-days": (aiff(size=2**31 - 2**17), TOO_LONG),
        "ssnd-negative": (aiff(size=-8), Tone()),
        "unknown-compression": (aiff(kind=b"QDMC"), UNKNOWN),
        "no-comm": (b"FORM\0\0\0\x30AIFF" + aiff_chunk(b"SSND", bytes(40)), UNKNOWN),
    }  # fmt: skip
    for lie, (data, expected) in lies.items():
        yield Case(f"aiff-{lie}", ".aiff", data, expected)


def flip_sign(number: bytes) -> bytes:
    return bytes([number[0] ^ 0x80]) + number[1:]


def _flac() -> Iterator[Case]:
    data = good("FLAC")
    rate = int.from_bytes(data[18:21], "big")  # 20 bits of it are the rate
    audio = data[data.index(b"\xff\xf8") :]
    info = b"fLaC" + data[4:42]
    lies: dict[str, tuple[bytes, object]] = {
        "0-hz": (put(data, 18, (rate & 0xF).to_bytes(3, "big")), UNKNOWN),
        "length-433-h": (put(data, 21, bytes([data[21] | 0x0F, 255, 255, 255, 255])), TOO_LONG),
        "8-channels": (flip_channels(data), DAMAGED),
        "no-streaminfo": (b"fLaC" + b"\x81\0\0\x04" + bytes(4) + audio, UNKNOWN),
        "padding-of-16-MB": (info + b"\x81\xff\xff\xff" + bytes(2**24 - 1) + audio, Tone()),
        "padding-past-the-end": (info + b"\x81\xff\xff\xff" + audio, UNKNOWN),
        "comments-claim-4-billion": (
            info + b"\x84\0\0\x08" + bytes(4) + b"\xff" * 4 + audio, DAMAGED
        ),
        "picture-claims-4-GB": (info + b"\x86\0\0\x20" + b"\xff" * 32 + audio, UNKNOWN),
        "block-of-a-reserved-kind": (info + b"\xfe\0\0\x04abcd" + audio, Tone()),
        "block-of-the-forbidden-kind": (info + b"\xff\0\0\x04abcd" + audio, Tone()),
    }  # fmt: skip
    for lie, (content, expected) in lies.items():
        yield Case(f"flac-{lie}", ".flac", content, expected)


def flip_channels(data: bytes) -> bytes:
    return put(data, 20, bytes([data[20] | 0x0E]))


def _ogg() -> Iterator[Case]:
    vorbis, opus = ogg_pages(good("OGG")), ogg_pages(good("OPUS"))

    def with_head(pages: list[bytes], place: int, new: bytes) -> bytes:
        return b"".join([ogg_signed(put(pages[0], place, new)), *pages[1:]])

    slow = Tone(8 * WAV_RATE / 8_000, HZ * 8_000 / WAV_RATE)
    yield Case("ogg-0-channels", ".ogg", with_head(vorbis, 39, b"\0"), UNKNOWN)
    yield Case("ogg-255-channels", ".ogg", with_head(vorbis, 39, b"\xff"), Refused("is silent"))
    yield Case("ogg-0-hz", ".ogg", with_head(vorbis, 40, bytes(4)), UNKNOWN)
    yield Case("ogg-8000-hz", ".ogg", with_head(vorbis, 40, struct.pack("<I", 8_000)), slow)
    yield Case("ogg-block-sizes", ".ogg", with_head(vorbis, 56, b"\xff"), UNKNOWN)
    yield Case("ogg-version", ".ogg", with_head(vorbis, 35, b"\x07"), UNKNOWN)
    last = ogg_signed(put(vorbis[-1], 6, struct.pack("<q", WAV_RATE * 3_600 * 100)))
    yield Case("ogg-length-100-h", ".ogg", b"".join([*vorbis[:-1], last]), TOO_LONG)
    but_a_page = Tone(struct.unpack("<q", vorbis[-2][6:14])[0] / WAV_RATE)
    last = ogg_signed(put(vorbis[-1], 6, struct.pack("<q", -1)))
    yield Case("ogg-length-negative", ".ogg", b"".join([*vorbis[:-1], last]), but_a_page)
    skipped = Tone(2 - 65_535 / 48_000, slack=0.01)  # less the 312 samples of any other
    yield Case("opus-0-channels", ".opus", with_head(opus, 37, b"\0"), UNKNOWN)
    yield Case("opus-255-channels", ".opus", with_head(opus, 37, b"\xff"), UNKNOWN)
    yield Case("opus-version", ".opus", with_head(opus, 36, b"\xff"), UNKNOWN)
    yield Case("opus-mapping", ".opus", with_head(opus, 46, b"\x7f"), UNKNOWN)
    yield Case(
        "opus-gain", ".opus", with_head(opus, 44, struct.pack("<h", -6 * 256)), Tone(level=0.25)
    )
    yield Case("opus-skips-more-than-it-has", ".opus", with_head(opus, 38, b"\xff\xff"), skipped)


def _mp3() -> Iterator[Case]:
    data = good("MP3")
    place = data.index(b"Xing")
    yield Case("mp3-xing-claims-days", ".mp3", put(data, place + 8, b"\x01\xff\xff\xff"), TOO_LONG)
    yield Case(
        "mp3-xing-of-0-frames",
        ".mp3",
        put(data, place + 8, bytes(4)),
        Tone(slack=0.08, purity=0.99),
    )
    yield Case("mp3-xing-size-lies", ".mp3", put(data, place + 12, b"\x7f\xff\xff\xff"), Tone())
    yield Case(
        "mp3-xing-without-fields",
        ".mp3",
        put(data, place + 7, b"\0"),
        Tone(slack=0.08, purity=0.99),
    )
    reserved = {"rate": (2, 0x0C), "bit-rate": (2, 0xF0), "layer": (1, 0x00)}
    for field, (at, bits) in reserved.items():
        head = data[at] | bits if bits else data[at] & 0xF9
        yield Case(
            f"mp3-reserved-{field}",
            ".mp3",
            put(data, at, bytes([head])),
            Tone(slack=0.08, purity=0.99),
        )
    plain = encoded(tone(44_100), 44_100, "MP3", bitrate_mode="CONSTANT", compression_level=0.5)
    free = plain[:2] + bytes([plain[2] & 0x0F]) + plain[3:]
    yield Case("mp3-free-format-for-a-frame", ".mp3", free, SHORT)
    assert b"Info" in plain[:64]
