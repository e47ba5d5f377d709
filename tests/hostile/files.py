"""Files written by hand, so that each field can be wrong, and the places of fields in them."""

import io
import struct
from collections.abc import Iterator
from functools import cache

import numpy as np
import soundfile as sf
from numpy.typing import NDArray

SECONDS, HZ, LEVEL = 2.0, 440.0, 0.5
OGG_SECONDS = 8.0
WAV_RATE, MP3_RATE = 22_050, 44_100


def tone(
    rate: int = WAV_RATE, seconds: float = SECONDS, hz: float = HZ, level: float = LEVEL
) -> NDArray[np.float64]:
    return level * np.sin(2 * np.pi * hz * np.arange(round(seconds * rate)) / rate)


def pcm16(x_T: NDArray[np.floating]) -> bytes:
    return np.rint(x_T * (2**15 - 1)).astype("<i2").tobytes()


def encoded(
    x_TC: NDArray[np.floating],
    rate: int,
    container: str,
    subtype: str | None = None,
    **kind: object,
) -> bytes:
    stream = io.BytesIO()
    sf.write(stream, x_TC, rate, format=container, subtype=subtype, **kind)
    return stream.getvalue()


@cache
def good(container: str) -> bytes:
    """A file of that kind with the tone, the same each time; OGG and OPUS have several pages."""
    if container == "OPUS":
        return _numbered(encoded(tone(48_000), 48_000, "OGG", "OPUS"))
    if container == "OGG":
        return _numbered(encoded(tone(WAV_RATE, OGG_SECONDS), WAV_RATE, "OGG"))
    rate = {"MP3": MP3_RATE}.get(container, WAV_RATE)
    return encoded(tone(rate), rate, container)


def _numbered(data: bytes) -> bytes:
    """An Ogg stream with a number that is not drawn at random."""
    return b"".join(ogg_signed(put(page, 14, b"zoo!")) for page in ogg_pages(data))


def chunk(name: bytes, content: bytes, size: int | None = None) -> bytes:
    """A chunk of RIFF, padded to an even length."""
    size = len(content) if size is None else size
    return name + struct.pack("<I", size % 2**32) + content + b"\0" * (len(content) % 2)


def fmt(
    tag: int = 1, channels: int = 1, rate: int = WAV_RATE, bits: int = 16,
    block: int | None = None, byte_rate: int | None = None, more: bytes = b"",
    size: int | None = None
) -> bytes:  # fmt: skip
    block = channels * ((bits + 7) // 8) if block is None else block
    byte_rate = rate * block if byte_rate is None else byte_rate
    fields = struct.pack(
        "<HHIIHH", tag, channels, rate % 2**32, byte_rate % 2**32, block % 2**16, bits
    )
    return chunk(b"fmt ", fields + more, size)


def riff(*chunks: bytes, size: int | None = None) -> bytes:
    body = b"WAVE" + b"".join(chunks)
    return b"RIFF" + struct.pack("<I", (len(body) if size is None else size) % 2**32) + body


def wav(payload: bytes | None = None, size: int | None = None, **fields: int | bytes) -> bytes:
    """A WAV file with these fields of its format, right or wrong."""
    payload = pcm16(tone()) if payload is None else payload
    return riff(fmt(**fields), chunk(b"data", payload, size))


def au(
    payload: bytes | None = None, offset: int = 24, size: int | None = None, encoding: int = 3,
    rate: int = WAV_RATE, channels: int = 1, note: bytes = b""
) -> bytes:  # fmt: skip
    payload = (
        np.frombuffer(pcm16(tone()), "<i2").astype(">i2").tobytes() if payload is None else payload
    )
    size = len(payload) if size is None else size
    return (
        b".snd"
        + struct.pack(">5I", offset, size % 2**32, encoding, rate, channels)
        + note
        + payload
    )


def extended(value: float) -> bytes:
    """A positive number as 80-bit float, as AIFF has its rate."""
    exponent = int(np.floor(np.log2(value)))
    return struct.pack(">HQ", 16_383 + exponent, int(value / 2.0**exponent * 2**63))


def aiff_chunk(name: bytes, content: bytes, size: int | None = None) -> bytes:
    size = len(content) if size is None else size
    return name + struct.pack(">I", size % 2**32) + content + b"\0" * (len(content) % 2)


def aiff(
    payload: bytes | None = None, frames: int | None = None, channels: int = 1, bits: int = 16,
    rate: bytes | None = None, kind: bytes = b"", offset: int = 0, size: int | None = None
) -> bytes:  # fmt: skip
    """An AIFF file, or with a `kind` (of compression) an AIFF-C file."""
    payload = (
        np.frombuffer(pcm16(tone()), "<i2").astype(">i2").tobytes() if payload is None else payload
    )
    frames = round(SECONDS * WAV_RATE) if frames is None else frames
    comm = struct.pack(">HIH", channels, frames, bits) + (
        extended(WAV_RATE) if rate is None else rate
    )
    comm += kind + b"\0\0" * bool(kind)
    body = b"AIFC" if kind else b"AIFF"
    body += aiff_chunk(b"COMM", comm)
    body += aiff_chunk(b"SSND", struct.pack(">II", offset, 0) + payload, size)
    return b"FORM" + struct.pack(">I", len(body)) + body


def put(data: bytes, place: int, new: bytes) -> bytes:
    """The file with other bytes at a place."""
    return data[:place] + new + data[place + len(new) :]


def flip(data: bytes, place: int, mask: int = 0x80) -> bytes:
    return put(data, place, bytes([data[place] ^ mask]))


@cache
def _table(polynomial: int, bits: int) -> tuple[int, ...]:
    top, mask, table = 1 << (bits - 1), (1 << bits) - 1, []
    for value in range(256):
        value <<= bits - 8
        for _ in range(8):
            value = (value << 1 ^ (polynomial if value & top else 0)) & mask
        table.append(value)
    return tuple(table)


def _crc(data: bytes, polynomial: int, bits: int) -> int:
    table, mask, crc = _table(polynomial, bits), (1 << bits) - 1, 0
    for byte in data:
        crc = (crc << 8 & mask) ^ table[(crc >> (bits - 8)) ^ byte]
    return crc


def crc8(data: bytes) -> bytes:
    return bytes([_crc(data, 0x07, 8)])


def crc16(data: bytes) -> bytes:
    return _crc(data, 0x8005, 16).to_bytes(2, "big")


def flac_frames(data: bytes) -> list[int]:
    """Where the frames begin: a sync code and a header whose checksum is right."""
    places, place = [], data.index(b"\xff\xf8")
    while place >= 0:
        if any(
            crc8(data[place : place + n]) == data[place + n : place + n + 1] for n in range(5, 12)
        ):
            places.append(place)
        place = data.find(b"\xff\xf8", place + 1)
    return places


def mp3_frames(data: bytes) -> list[int]:
    """Where the frames begin, of MPEG-1 or 2 layer III."""
    rates = {1: (44_100, 48_000, 32_000), 0: (22_050, 24_000, 16_000)}
    kbits = {
        1: (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
        0: (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    }
    places, place = [], 0
    while place + 4 <= len(data):
        version, third = data[place + 1] >> 3 & 1, data[place + 2]
        places.append(place)
        rate = rates[version][third >> 2 & 3]
        place += (144 if version else 72) * kbits[version][third >> 4] * 1000 // rate + (
            third >> 1 & 1
        )
    return places


def ogg_pages(data: bytes) -> list[bytes]:
    pages = []
    while data:
        num = data[26]
        length = 27 + num + sum(data[27 : 27 + num])
        pages.append(data[:length])
        data = data[length:]
    return pages


def ogg_signed(page: bytes) -> bytes:
    """The page with the right checksum."""
    page = put(page, 22, bytes(4))
    return put(page, 22, _crc(page, 0x04C11DB7, 32).to_bytes(4, "little"))


def ogg_packets(page: bytes) -> Iterator[bytes]:
    """The packets of a page that ends with a whole one."""
    place, size = 27 + page[26], 0
    for lace in page[27 : 27 + page[26]]:
        size += lace
        if lace < 255:
            yield page[place : place + size]
            place, size = place + size, 0
