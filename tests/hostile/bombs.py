"""Small files with hours in them, files that seem huge, and much metadata with little music."""

import io
import os
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import soundfile as sf

from hostile import Case, Refused, Tone
from hostile.files import (
    WAV_RATE,
    au,
    chunk,
    crc8,
    crc16,
    encoded,
    fmt,
    good,
    ogg_packets,
    ogg_pages,
    ogg_signed,
    put,
    riff,
    tone,
    wav,
)
from zoo.audio import MAX_SECONDS

UNKNOWN, TOO_LONG = Refused("cannot be decoded"), Refused("(announces|has) more than 6 h")
ENDLESS = Refused("has more than 6 h|needs more than")  # whichever limit comes first
HOURS = round(MAX_SECONDS / 3_600) + 1
HUGE = 100 * 10**9  # bytes


def cases() -> Iterator[Case]:
    yield Case("flac-bomb-of-silence", ".flac", flac_bomb(HOURS, 0), ENDLESS)
    yield Case("flac-bomb-that-says-so", ".flac", flac_bomb(HOURS, 0, says=True), TOO_LONG)
    yield Case("flac-bomb-of-sound", ".flac", flac_bomb(HOURS, 9_999), ENDLESS)
    yield Case(
        "flac-an-hour-of-silence", ".flac", flac_bomb(1, 0), Refused("is silent|needs more than")
    )
    yield Case("ogg-bomb", ".ogg", ogg_bomb(), TOO_LONG)
    yield Case("ogg-bomb-that-says-less", ".ogg", ogg_bomb(says=9), Refused("is silent"))
    yield Case("opus-bomb", ".opus", opus_bomb(), TOO_LONG)
    yield from _sparse()
    yield from _metadata()


def flac_bomb(hours: int, value: int, rate: int = 8_000, says: bool = False) -> bytes:
    """Frames of one constant value: 16 bytes for 65,535 samples."""
    block = 65_535
    total = hours * 3_600 * rate if says else 0
    info = struct.pack(">HH6s", block, block, bytes(6))
    info += ((rate << 44) | (15 << 36) | total).to_bytes(8, "big") + bytes(16)
    frames = []
    for number in range(-(-hours * 3_600 * rate // block)):
        head = b"\xff\xf8\x70\x08" + _coded(number) + struct.pack(">H", block - 1)
        frame = head + crc8(head) + b"\0" + struct.pack(">h", value)
        frames.append(frame + crc16(frame))
    return b"fLaC\x80\0\0\x22" + info + b"".join(frames)


def _coded(number: int) -> bytes:
    """A frame's number, as UTF-8 has that of a character."""
    return chr(number).encode("utf-8", "surrogatepass")


def repeated(pages: list[bytes], packet: bytes, samples: int, rate: int, says: int) -> bytes:
    """Pages of headers, and then hours of one packet."""
    serial, data, granule = pages[0][14:18], [b"".join(pages)], 0
    number = len(pages)
    while granule < HOURS * 3_600 * rate:
        granule += 255 * samples
        is_last = granule >= HOURS * 3_600 * rate
        place = says * rate if says and is_last else granule
        head = b"OggS\0" + bytes([4 * is_last]) + struct.pack("<q", place) + serial
        head += struct.pack("<II", number, 0) + b"\xff" + bytes([len(packet)]) * 255
        data.append(ogg_signed(head + packet * 255))
        number += 1
    return b"".join(data)


def ogg_bomb(says: int = 0) -> bytes:
    rate = 8_000
    pages = ogg_pages(encoded(np.zeros(60 * rate), rate, "OGG"))
    packets = list(ogg_packets(pages[2]))
    packet = packets[len(packets) // 2]
    return repeated(pages[:2], packet, 512, rate, says)


def opus_bomb() -> bytes:
    pages = ogg_pages(encoded(np.zeros(48_000), 48_000, "OGG", "OPUS"))
    six_frames_of_20_ms = b"\xfb\x06"  # each of no bytes: the decoder makes up what is missing
    return repeated(pages[:2], six_frames_of_20_ms, 5_760, 48_000, 0)


def sparse(start: bytes, size: int = HUGE) -> Callable[[Path], None]:
    """Return what writes a file that is huge and takes up nothing."""

    def write(path: Path) -> None:
        path.write_bytes(start)
        os.truncate(path, size)

    return write


def _sparse() -> Iterator[Case]:
    sizes = struct.pack("<QQQI", HUGE - 8, HUGE - 80, HUGE // 2, 0)
    rf64 = b"RF64\xff\xff\xff\xffWAVE" + chunk(b"ds64", sizes) + fmt() + b"data\xff\xff\xff\xff"
    starts = {
        "wav": (riff(fmt(), b"data\xff\xff\xff\xff"), TOO_LONG),
        "wav-of-little": (wav(), Tone()),
        "rf64": (rf64, TOO_LONG),
        "au": (au(b"", size=-1), TOO_LONG),
        "flac": (good("FLAC"), Refused("is cut short or damaged")),
        "mp3": (good("MP3"), Tone(purity=0.99)),
        "text": (b"no music\n", UNKNOWN),
    }
    for kind, (start, expected) in starts.items():
        suffix = f".{kind}" if kind in ("au", "flac", "mp3") else ".wav"
        yield Case(f"sparse-100-GB-of-{kind}", suffix, sparse(start), expected)
    slow = Refused("needs more than")  # libsndfile looks for the last page
    yield Case("sparse-1-TB-of-ogg", ".ogg", sparse(good("OGG"), 10 * HUGE), slow)
    for suffix in (".wav", ".flac", ".ogg", ".mp3"):
        yield Case(f"sparse-100-GB-of-zeros-as-{suffix[1:]}", suffix, sparse(b"\0"), UNKNOWN)


def _metadata() -> Iterator[Case]:
    data = good("FLAC")
    audio = data[data.index(b"\xff\xf8") :]
    picture = b"\x86\xff\xff\xff" + struct.pack(">II", 3, 9) + b"image/png" + bytes(20)
    picture += struct.pack(">I", 2**24 - 1 - 49) + bytes(2**24 - 1 - 45)
    yield Case(
        "flac-picture-of-16-MB",
        ".flac",
        b"fLaC" + data[4:42] + picture[: 2**24 + 3] + audio,
        Refused("cannot be decoded|is cut short or damaged"),
    )
    yield Case(
        "flac-1000-paddings",
        ".flac",
        b"fLaC" + data[4:42] + b"\x01\0\0\x64".ljust(104, b"\0") * 999 + b"\x81\0\0\0" + audio,
        Tone(),
    )
    pages = ogg_pages(good("OGG"))
    note = b"\x03vorbis" + struct.pack("<II", 0, 1) + struct.pack("<I", 2**31) + b"A=" + bytes(60)
    lies = pages[1][:27] + b"\x01" + bytes([len(note)]) + note
    lies = ogg_signed(put(lies, 26, b"\x01\x4d"[:1]))
    yield Case("ogg-comment-claims-2-GB", ".ogg", b"".join([pages[0], lies, *pages[2:]]), UNKNOWN)
    title = b"TIT2" + struct.pack(">I", 2**20) + b"\0\0" + b"\0" + b"A" * (2**20 - 1)
    size = bytes(len(title) >> 7 * i & 0x7F for i in (3, 2, 1, 0))
    yield Case(
        "mp3-title-of-a-megabyte", ".mp3", b"ID3\x03\0\0" + size + title + good("MP3"), Tone()
    )
    many = b"".join(b"TXXX" + struct.pack(">I", 6) + b"\0\0\0a\0b\0c" for _ in range(20_000))
    size = bytes(len(many) >> 7 * i & 0x7F for i in (3, 2, 1, 0))
    yield Case("mp3-of-20000-tags", ".mp3", b"ID3\x03\0\0" + size + many + good("MP3"), Tone())
    stream = io.BytesIO()
    with sf.SoundFile(stream, "w", WAV_RATE, 1, format="WAV") as file:
        file.title = "T" * 60_000
        file.write(tone())
    yield Case("wav-title-of-60-kB", ".wav", stream.getvalue(), Tone())
