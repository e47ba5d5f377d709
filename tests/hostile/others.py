"""Files under another's suffix, and files that are no audio at all."""

import gzip
import io
import pickle
import struct
import zipfile
import zlib
from collections.abc import Iterator

import numpy as np

from hostile import Case, Refused, Tone
from hostile.files import OGG_SECONDS, aiff, chunk, good, wav

UNKNOWN = Refused("cannot be decoded")
SUFFIXES = [".wav", ".flac", ".ogg", ".opus", ".mp3", ".au", ".aiff"]
BOX = b"\0\0\0\x20ftyp%s\0\0\0\0isommp42%s\0\0\0\0"  # of MP4 and its kin


def cases() -> Iterator[Case]:
    for i, suffix in enumerate(SUFFIXES):
        container = suffix[1:].upper()
        seconds = OGG_SECONDS if container == "OGG" else 2.0
        other = SUFFIXES[(i + 3) % len(SUFFIXES)]
        as_ever = Tone(seconds, purity=0.99)
        yield Case(
            f"{container.lower()}-as{other.replace('.', '-')}", other, good(container), as_ever
        )
    yield Case("upper-case-suffix", ".WAV", wav(), Tone())
    yield Case("no-suffix", "", wav(), Tone())
    yield Case("two-suffixes", ".mp3.flac.wav", wav(), Tone())
    yield Case("unknown-suffix", ".xyz", good("FLAC"), Tone())
    yield Case("wav-as-raw", ".raw", wav(), UNKNOWN)
    for suffix in (".au", ".snd", ".vox", ".gsm", ".ub"):  # libsndfile takes these as they come
        yield Case(f"noise-as{suffix.replace('.', '-')}", suffix, b"noise" * 9_000, UNKNOWN)
    for kind, (data, suffix) in NO_AUDIO.items():
        yield Case(f"no-audio-{kind}", suffix, data, UNKNOWN)


def _zip() -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("track.wav", wav())
    return stream.getvalue()


def _png() -> bytes:
    def part(name: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content))
            + name
            + content
            + struct.pack(">I", zlib.crc32(name + content))
        )

    head = struct.pack(">IIBBBBB", 64, 64, 8, 0, 0, 0, 0)
    pixels = zlib.compress(bytes(65 * 64))
    return b"\x89PNG\r\n\x1a\n" + part(b"IHDR", head) + part(b"IDAT", pixels) + part(b"IEND", b"")


NO_AUDIO = {
    "text": (b"this is no music\n" * 500, ".mp3"),
    "html": (b"<!DOCTYPE html><html><title>404 Not Found</title></html>" * 50, ".mp3"),
    "json": (b'{"error": "quota exceeded"}' * 50, ".ogg"),
    "csv": (b"path,label\na.wav,rock\n" * 500, ".wav"),
    "playlist": (b"#EXTM3U\n#EXTINF:123,Artist - Title\ntrack.mp3\n" * 50, ".mp3"),
    "git-lfs-pointer": (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", ".flac"),
    "utf-16-text": ("﻿Kein Ton".encode("utf-16") * 900, ".mp3"),
    "png": (_png(), ".flac"),
    "jpeg": (
        b"\xff\xd8\xff\xe0\0\x10JFIF\0\1\1\0\0\1\0\1\0\0" + bytes(5_000) + b"\xff\xd9",
        ".mp3",
    ),
    "gif": (b"GIF89a\x01\0\x01\0\x80\0\0" + bytes(900), ".ogg"),
    "pdf": (b"%PDF-1.7\n1 0 obj\n<<>>\nendobj\n" * 90, ".wav"),
    "zip": (_zip(), ".wav"),
    "gzip": (gzip.compress(wav()), ".wav"),
    "executable": (b"\x7fELF\x02\x01\x01" + bytes(5_000), ".au"),
    "python-pickle": (pickle.dumps(list(range(5_000))), ".wav"),
    "numpy-array": (b"\x93NUMPY\x01\0v\0{'descr': '<i2'}" + bytes(5_000), ".wav"),
    "sqlite": (b"SQLite format 3\0" + bytes(5_000), ".wav"),
    "midi": (b"MThd\0\0\0\x06\0\1\0\1\1\xe0MTrk\0\0\0\x04\0\xff\x2f\0", ".wav"),
    "mp4": (BOX % (b"isom", b"mp41") + bytes(5_000), ".mp3"),
    "m4a": (BOX % (b"M4A ", b"M4A ") + bytes(5_000), ".aiff"),
    "webm": (b"\x1a\x45\xdf\xa3\x9f\x42\x86\x81\x01" + bytes(5_000), ".opus"),
    "windows-media": (bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c") + bytes(5_000), ".mp3"),
    "aac-adts": (b"\xff\xf1\x50\x80\x02\x1f\xfc" + bytes(5_000), ".mp3"),
    "amr": (b"#!AMR\n" + bytes(5_000), ".wav"),
    "ape": (b"MAC \x96\x0f\0\0" + bytes(5_000), ".wav"),
    "wavpack": (b"wvpk" + bytes(5_000), ".wav"),
    "dsf": (b"DSD \x1c" + bytes(5_000), ".wav"),
    "riff-avi": (b"RIFF\xf0\x0f\0\0AVI LIST" + bytes(5_000), ".wav"),
    "riff-webp": (b"RIFF\xf0\x0f\0\0WEBPVP8 " + bytes(5_000), ".wav"),
    "riff-midi": (b"RIFF\xf0\x0f\0\0RMIDdata" + bytes(5_000), ".wav"),
    "iff-image": (b"FORM\0\0\x13\x88ILBMBMHD" + bytes(5_000), ".aiff"),
    "ogg-theora": (b"OggS\0\x02" + bytes(20) + b"\x01\x2a\x80theora" + bytes(35), ".ogg"),
    "ogg-skeleton": (b"OggS\0\x02" + bytes(20) + b"\x01\x40fishead\0" + bytes(56), ".ogg"),
    "ogg-speex": (b"OggS\0\x02" + bytes(20) + b"\x01\x50Speex   " + bytes(72), ".ogg"),
    "zeros": (bytes(50_000), ".wav"),
    "zeros-mp3": (bytes(50_000), ".mp3"),
    "ones": (b"\xff" * 50_000, ".mp3"),
    "sync-bytes-only": (b"\xff\xfb" * 25_000, ".mp3"),
    "noise": (np.random.default_rng(0).bytes(50_000), ".wav"),
    "noise-mp3": (np.random.default_rng(1).bytes(50_000), ".mp3"),
    "riff-of-noise": (b"RIFF\xff\xff\0\0WAVE" + np.random.default_rng(2).bytes(50_000), ".wav"),
    "form-of-noise": (b"FORM\0\0\xff\xffAIFF" + np.random.default_rng(3).bytes(50_000), ".aiff"),
    "flac-of-noise": (b"fLaC" + np.random.default_rng(4).bytes(50_000), ".flac"),
    "wav-in-list": (chunk(b"LIST", wav()), ".wav"),
    "wav-backwards": (wav()[::-1], ".wav"),
    "wav-as-hex": (wav().hex().encode(), ".wav"),
    "wav-with-line-ends-changed": (wav().replace(b"\0", b"\r\n"), ".wav"),
    "aiff-without-form": (aiff()[8:], ".aiff"),
}
