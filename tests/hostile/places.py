"""What lies where a file should be, and names that file systems allow."""

import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

from hostile import Case, Refused, Tone
from hostile.files import wav

LINUX = os.path.exists("/proc/self")  # noqa: PTH110
IS_ROOT = hasattr(os, "geteuid") and os.geteuid() == 0
NAMES = {
    "spaces": "a name  with spaces .wav",
    "newline": "a\nb.wav",
    "carriage-return": "a\rb.wav",
    "tab": "a\tb.wav",
    "quotes": 'it\'s "quoted" `here`.wav',
    "backslash": "a\\b.wav",
    "shell": "$(rm -rf x); & | > <.wav",
    "glob": "*[a-z]?.wav",
    "percent": "%s%n%d.wav",
    "braces": "{0}{x!r}.wav",
    "url": "file:?a=b&c#d.wav",
    "dash": "-rf.wav",
    "dots": "...wav",
    "hidden": ".hidden.wav",
    "only-a-suffix": ".wav",
    "comma-and-bar": "a,b|c;d.wav",
    "hydra": "${oc.env:HOME}=x.wav",
    "emoji": "🥁👩‍🎤.wav",
    "accents-composed": "Beyonc\u00e9 1.wav",
    "accents-decomposed": "Beyonce\u0301 2.wav",
    "right-to-left": "موسيقى\u202e.wav",
    "cjk": "音楽.wav",
    "control-characters": "a\x01\x1b[31m\x7f.wav",
    "byte-order-mark": "\ufeffa.wav",
    "windows-device": "CON.wav",
    "trailing-space": "a.wav ",
    "trailing-dot": "a.wav.",
    "longest": "n" * 251 + ".wav",
    "longest-in-bytes": "é" * 125 + ".wav",
    "deep-path": "/".join(["d" * 200] * 15) + "/a.wav",
    "json": '{"reason": "x"}.wav',
    "not-utf-8": os.fsdecode(b"caf\xe9.wav"),
    "surrogate-bytes": os.fsdecode(b"a\xed\xa0\x80.wav"),
}


def cases() -> Iterator[Case]:
    for name, file in NAMES.items():
        yield Case(f"name-{name}", ".wav", wav(), Tone(), f"name-{name}/{file}")
    yield from _no_files()
    yield from _links()
    mode = Tone() if IS_ROOT else Refused("may not be read")
    yield Case("no-permission", ".wav", then(lambda path: path.chmod(0)), mode)
    yield Case("no-permission-to-write", ".wav", then(lambda path: path.chmod(0o444)), Tone())


def then(do: Callable[[Path], None]) -> Callable[[Path], None]:
    """Return what writes a good file, and does something to it."""

    def write(path: Path) -> None:
        path.write_bytes(wav())
        do(path)

    return write


def _no_files() -> Iterator[Case]:
    absent = Refused("does not exist")
    yield Case("directory", ".wav", lambda path: path.mkdir(), Refused("is a directory"))
    yield Case("missing", ".wav", None, absent)
    yield Case("missing-folder", ".wav", None, absent, "missing-folder/nowhere/a.wav")
    too_long = Refused("cannot be opened: File name too long")
    yield Case("name-too-long", ".wav", None, too_long, "n" * 256 + ".wav")
    yield Case("path-too-long", ".wav", None, too_long, "/".join(["d" * 200] * 25) + "/a.wav")
    yield Case(
        "file-as-folder",
        ".wav",
        _file_as_folder,
        Refused("cannot be opened: Not a dir"),
        "a-file.wav/a.wav",
    )
    special = Refused("is not a regular file")
    yield Case("fifo", ".wav", lambda path: os.mkfifo(path), special)
    yield Case("socket", ".wav", _socket, special, "s.wav")
    yield Case("deleted-while-listed", ".wav", then(lambda path: path.unlink()), absent)


def _file_as_folder(path: Path) -> None:
    path.parent.rmdir()
    path.parent.write_bytes(wav())


def _socket(path: Path) -> None:
    folder = os.open(path.parent, os.O_RDONLY)  # names of sockets may have 107 bytes
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(f"/proc/self/fd/{folder}/{path.name}")
    os.close(folder)


def to(target: str) -> Callable[[Path], None]:
    return lambda path: path.symlink_to(target)


def _linked(path: Path) -> None:
    target = path.with_suffix(".target")
    target.write_bytes(wav())
    path.symlink_to(target)


def _circle(path: Path) -> None:
    other = path.with_suffix(".other")
    other.symlink_to(path)
    path.symlink_to(other)


def _hard_link(path: Path) -> None:
    target = path.with_suffix(".target")
    target.write_bytes(wav())
    path.hardlink_to(target)


def _chain(path: Path) -> None:
    """60 links, one to the next: more than Linux follows."""
    last = path.with_suffix(".0")
    last.write_bytes(wav())
    for number in range(1, 60):
        link = path.with_suffix(f".{number}")
        link.symlink_to(last)
        last = link
    path.symlink_to(last)


def _links() -> Iterator[Case]:
    special, circle = Refused("is not a regular file"), Refused("cannot be opened: Too many levels")
    yield Case("link", ".wav", _linked, Tone())
    yield Case("hard-link", ".wav", _hard_link, Tone())
    yield Case("link-to-nowhere", ".wav", to("nowhere"), Refused("does not exist"))
    yield Case("link-to-itself", ".wav", to("link-to-itself.wav"), circle)
    yield Case("link-circle", ".wav", _circle, circle)
    yield Case("link-through-60", ".wav", _chain, circle)
    yield Case("link-to-folder", ".wav", to("/"), Refused("is a directory"))
    yield Case("link-to-zeros-without-end", ".wav", to("/dev/zero"), special)
    yield Case("link-to-noise-without-end", ".mp3", to("/dev/urandom"), special)
    yield Case("link-to-nothing", ".wav", to("/dev/null"), special)
    yield Case("link-to-terminal", ".wav", to("/dev/tty"), special)
    yield Case("link-to-empty-proc", ".wav", to("/proc/cpuinfo"), Refused("cannot be decoded"))
    yield Case("link-to-own-memory", ".wav", to("/proc/self/mem"), Refused("cannot be opened"))
