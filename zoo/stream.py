"""A file as a stream of samples and what it announces, also where libsndfile says nothing of it."""

import io
import os
import re
import struct
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
import soundfile as sf
from numpy.typing import NDArray

LONG_NAME = 1_000  # bytes; libsndfile takes no longer ones
BLOCK_FRAMES = 2**16  # 1.5 s at 44.1 kHz; larger blocks leave the processor's cache
BLOCK_CHANNELS = 8  # with more of them a block has fewer frames
BLOCK_SECONDS = 60  # resampling may make much of little

NO_LENGTH = 2**31 - 2**16  # bytes: programs that write to a pipe announce this or more
MP3_RATIO = 320 // 8  # of the highest to the lowest bit rate
MP3_OFFSETS = (13, 21, 36)  # of the mark of a length frame: header, side information by mode
MP3_JUNK = 2**16  # bytes that may come before the first frame
MP3_SLACK = 2**14  # bytes: frames that a length frame may have left out, and tags
OGG_PAGE = 27 + 255 + 255 * 255  # bytes, at most
OGG_JUNK = 2**18  # bytes that may come after the last page
NAN = np.float32(np.nan)
TAG_LENGTH = 500  # characters
MISLEADING_WORDS = {7: "Format not recognised."}  # libsndfile: "File does not exist or is not ..."


class AudioError(Exception):
    """A file cannot be used; the message is the reason and reads on from the file's name."""


class Tags(NamedTuple):
    """Who a file says it is by, and what it is called; empty where it does not."""

    artist: str
    title: str


class Stream(sf.SoundFile):
    """A file read once from start to end.

    In a seekable one soundfile seeks after every block. In MP3 that garbles the next thousand
    samples, because frames borrow bits from frames before them.
    """

    def __init__(self, path: Path) -> None:
        """Open the file. Raises `AudioError` where that is in vain."""
        self._files = ExitStack()
        self._unmeasured: _Unmeasured | None = None
        self._num_read = 0  # frames
        name = os.fsencode(path) if os.name == "posix" else str(path)
        is_long = len(name) >= LONG_NAME
        try:
            super().__init__(self._files.enter_context(path.open("rb")) if is_long else name)
            self.tags = Tags(*(_tidy(getattr(self, kind)) for kind in Tags._fields))
            if self.subtype.startswith("MPEG") and not _has_length_frame(path):
                self.close()
                self._unmeasured = _Unmeasured(self._files.enter_context(path.open("rb")))
                super().__init__(self._unmeasured)
            if self.format == "OGG":
                _check_ogg(path)
        except sf.LibsndfileError as error:
            raise AudioError(f"cannot be decoded: {_words(error)}") from error
        except OSError as error:
            raise AudioError(f"cannot be read: {error.strerror}") from error
        if self.format == "RAW":  # which libsndfile takes some suffixes for
            raise AudioError("cannot be decoded: Format not recognised.")

    def seekable(self) -> bool:
        """Return False."""
        return False

    def close(self) -> None:
        """Close all that is open."""
        super().close()
        self._files.close()

    def read_block(self) -> NDArray[np.float32]:
        """Return the next samples [T, C], none at the end. Raises `AudioError` if damaged."""
        num = BLOCK_FRAMES * BLOCK_CHANNELS // max(BLOCK_CHANNELS, self.channels)
        x_TC = np.full((min(num, BLOCK_SECONDS * self.samplerate), self.channels), NAN)
        try:
            x_TC = self.read(out=x_TC)
        except sf.LibsndfileError as error:
            if not (self._unmeasured and self._unmeasured.is_at_end()):
                raise AudioError(f"is cut short or damaged: {_words(error)}") from error
            x_TC = x_TC[: np.isfinite(x_TC[:, 0]).sum()]  # before a frame that is not all there
        self._num_read += len(x_TC)
        if not len(x_TC):
            self._check_end()
        return x_TC

    def _check_end(self) -> None:
        is_early = self._num_read < self.frames
        if is_early and self._unmeasured and not self._unmeasured.is_at_end():
            raise AudioError("changes its sample rate or its channels on the way")
        if self.format == "OGG" and "reports a hole" in self.extra_info:
            raise AudioError("is damaged: a part is missing on the way")

    def announced_frames(self) -> float:
        """Return how many frames the file's header promises, 0 where it promises nothing."""
        if self._unmeasured:
            return 0
        # libsndfile counts what is there in most formats; its log alone tells what was announced
        names = "data|Data Size|SSND|riff|Riff size"  # WAV, AU, AIFF, W64, RF64
        sizes = re.search(rf"(?:{names})\s*: (\d+) \(should be (\d+)\)", self.extra_info)
        if sizes and self.frames:
            announced, present = map(int, sizes.groups())
            return self.frames * announced / present if announced < NO_LENGTH else 0
        return self.frames if self.frames < 2**62 else 0  # FLAC written to a pipe has no length


def _tidy(tag: str) -> str:
    """Return a tag in one line and not endless; encodings differ, so it may hold anything."""
    return " ".join(tag.replace("\0", " ").split())[:TAG_LENGTH]


class _Unmeasured:
    """An MP3 that does not say its length, as a file that seems much longer than it is.

    libsndfile guesses the length from the file's size and the first frame, and reads no further.
    """

    def __init__(self, file: io.BufferedReader) -> None:
        self._start = _first_frame(file)  # what begins otherwise is not taken for an MP3
        self._size = file.seek(0, os.SEEK_END) - self._start
        self._file, self.readinto = file, file.readinto
        self.seek(0, os.SEEK_SET)

    def tell(self) -> int:
        return self._file.tell() - self._start

    def seek(self, offset: int, whence: int) -> None:
        if whence == os.SEEK_END:  # asks for the length, or for a tag in the last 128 bytes
            offset = max(0, self._size * (1 if offset else MP3_RATIO) + offset)
        origin = self._file.tell() if whence == os.SEEK_CUR else self._start
        self._file.seek(origin + offset)

    def is_at_end(self) -> bool:
        return self.tell() >= self._size


def _has_length_frame(path: Path) -> bool:
    """Whether an MP3 opens with a Xing or Info frame.

    Raises `AudioError` where that frame is about a part of the file.
    """
    with path.open("rb") as file:
        place = _after_tags(file, 0)
        start = file.read(MP3_JUNK)
        mark = max(start.find(b"Xing"), start.find(b"Info"))
        frames = [start[mark - offset :] for offset in MP3_OFFSETS if mark >= offset]
        if not any(map(_is_frame, frames)):
            return False
        num_frames, num_bytes = struct.unpack(">II", start[mark + 8 : mark + 16])
        flags = start[mark + 7]  # which of the two are there
        if flags & 3 == 3:
            place = _after_tags(file, place + num_bytes)
            is_more = file.seek(0, os.SEEK_END) - place > MP3_SLACK
            file.seek(place)
            if is_more and _is_frame(file.read(4)):
                raise AudioError("is several MP3s one after the other")
    return bool(flags & 1 and num_frames)


def _after_tags(file: BinaryIO, place: int) -> int:
    """Go to where ID3 tags from `place` on end, and return that place."""
    file.seek(place)
    head = file.read(10)
    if head.startswith(b"TAG"):  # ID3v1
        return _after_tags(file, place + 128)
    if head.startswith(b"ID3") and len(head) == 10:  # ID3v2: its size in four times seven bits
        size = sum(byte << 7 * i for i, byte in enumerate(head[:5:-1]))
        return _after_tags(file, place + 10 + size)
    return file.seek(place)


def _first_frame(file: BinaryIO) -> int:
    place = _after_tags(file, 0)
    start = file.read(MP3_JUNK)
    found = (i for i in range(len(start)) if _is_frame(start[i : i + 4]))
    return place + next(found, 0)


def _is_frame(start: bytes) -> bool:
    """Whether a frame header of MP3 stands there: the sync bits and nothing that is reserved."""
    if len(start) < 4 or start[0] != 0xFF or start[1] & 0xE0 != 0xE0:
        return False
    version, layer, bit_rate, rate = start[1] & 0x18, start[1] & 6, start[2] >> 4, start[2] & 12
    return version != 8 and layer != 0 and bit_rate != 15 and rate != 12


def _check_ogg(path: Path) -> None:
    """Raise `AudioError` for an Ogg file that does not end, or ends with another stream."""
    with path.open("rb") as file:
        head, serials, place = file.read(OGG_PAGE), [], 0
        while head[place : place + 6] == b"OggS\0\2":  # first pages of streams side by side
            serials.append(head[place + 14 : place + 18])
            place += _page_length(head[place:])
        file.seek(max(0, path.stat().st_size - OGG_PAGE - OGG_JUNK))
        tail = file.read()
    page = tail[max(0, tail.rfind(b"OggS\0")) :]
    if page.startswith(b"OggS\0"):
        if len(page) >= 27 and page[14:18] not in serials:
            raise AudioError("is several Ogg streams one after the other")
        if _page_length(page) > len(page) or not page[5] & 4:
            raise AudioError("is cut short: its last page is missing")


def _page_length(page: bytes) -> int:
    """Return the length of a page that begins like this: header, lengths of segments, segments."""
    num_segments = int.from_bytes(page[26:27], "big")
    return 27 + num_segments + sum(page[27 : 27 + num_segments])


def _words(error: sf.LibsndfileError) -> str:
    words = MISLEADING_WORDS.get(error.code, error.error_string)
    return " ".join(words.removeprefix("Error : ").split())
