"""Downloads of what a `Card` offers: continued where they were cut, verified, unpacked."""

import hashlib
import lzma
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO
from urllib.parse import unquote, urlsplit

import filelock
import requests
from requests.adapters import HTTPAdapter
from tqdm import tqdm
from urllib3 import Retry
from urllib3.exceptions import NameResolutionError, NewConnectionError, TimeoutError

from zoo.datasets.card import Archive, Card
from zoo.errors import InputError

TIMEOUT = 30  # seconds without a byte
BLOCK = 2**16  # bytes; of a block that is cut nothing is kept
RETRY = Retry(  # before a body has begun; waits 0, 1 and 2 s
    total=3, backoff_factor=0.5, status_forcelist=(429, 500, 502, 503, 504), raise_on_status=False
)
CUT = (requests.exceptions.ChunkedEncodingError, requests.ConnectionError, requests.Timeout)
ZIP, TAR = (".zip",), (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
DAMAGED = (  # what Python raises for archives that are; RuntimeError: encrypted
    *(zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, RuntimeError),
    OSError,  # without a number: of gzip and bz2
)


def fetch(card: Card, folder: Path) -> None:
    """Download the card's archives and unpack them below `folder`, but for those of earlier calls.

    `<name>.part` holds what has come so far, and an empty `<name>.fetched` stands for what has been
    unpacked. One process at a time. Raises `InputError` for a dead link (with the other places that
    have the data set), a wrong checksum, an unsafe or damaged archive, and a full disk.
    """
    with _explained(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(folder / ".download.lock"):
            for archive in card.archives:
                _fetch_one(archive, card, folder / archive.folder)


def _fetch_one(archive: Archive, card: Card, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    urls = (archive.url, *archive.more)
    name = _name(archive.url).removesuffix(".001")
    part, done = folder / f"{name}.part", folder / f"{name}.fetched"
    if done.exists():
        print(f"{name} was fetched before; remove {done} to fetch it again")
        return
    pieces = [folder / f"{_name(url)}.part" for url in urls]
    for url, piece in zip(urls, pieces, strict=True):
        try:
            _download(url, piece)
        except requests.RequestException as error:
            raise InputError(
                f"{url} cannot be fetched ({_reason(error)}); {card.name} may be had at "
                f"{card.places}, and dataset.path must hold {card.layout}."
            ) from error
    if pieces != [part]:
        _join(pieces, part)
    _verify(archive, part)
    if name.endswith((*ZIP, *TAR)):
        unpack(part, folder)
        part.unlink()
    else:
        part.replace(folder / name)
    done.touch()


def _name(url: str) -> str:
    return unquote(PurePosixPath(urlsplit(url).path).name)


def _join(pieces: list[Path], whole: Path) -> None:
    """Put the pieces one after the other into a file, and remove them."""
    with whole.open("wb") as out:
        for piece in pieces:
            with piece.open("rb") as stream:
                shutil.copyfileobj(stream, out, 2**20)
    for piece in pieces:
        piece.unlink()


def _download(url: str, part: Path) -> None:
    """Add to `part` until it is whole; go on as long as each attempt brings it further."""
    with requests.Session() as session:
        for scheme in ("http://", "https://"):
            session.mount(scheme, HTTPAdapter(max_retries=RETRY))
        furthest, whole = _size(part), False
        while not whole:
            try:
                whole = _attempt(session, url, part)
            except CUT:
                if _size(part) <= furthest:
                    raise
                furthest = _size(part)


def _size(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0


def _attempt(session: requests.Session, url: str, part: Path) -> bool:
    """Ask for what `part` lacks; tell whether it is whole now."""
    have = _size(part)
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
    with session.get(url, headers=headers, stream=True, timeout=TIMEOUT) as response:
        served = response.headers.get("Content-Range", "")
        if have and response.status_code == requests.codes.requested_range_not_satisfiable:
            if served != f"bytes */{have}":
                part.unlink()  # it is longer than the file is now
            return part.exists()
        response.raise_for_status()
        if not served.startswith(f"bytes {have}-"):
            have = 0  # the server knows no ranges and sends all of it
        rest = int(response.headers.get("Content-Length", 0))
        bar = tqdm(
            desc=part.stem,
            total=have + rest if rest else None,
            initial=have,
            unit="B",
            unit_scale=True,
            disable=None,
        )
        with part.open("ab" if have else "wb") as file, bar:
            for block in response.iter_content(BLOCK):
                file.write(block)
                bar.update(len(block))
    return True


def _reason(error: requests.RequestException) -> str:
    if error.response is not None:
        return f"{error.response.status_code} {error.response.reason}"
    outer = error.args[0] if error.args else None
    cause = getattr(outer, "reason", outer)
    if isinstance(cause, NameResolutionError):
        return "its host is unknown, or there is no network"
    if isinstance(cause, NewConnectionError):  # a TimeoutError too
        return "there was no connection"
    if isinstance(cause, TimeoutError):
        return f"no answer within {TIMEOUT} s"
    return "the connection was cut" if isinstance(error, CUT) else str(error)


def _verify(archive: Archive, file: Path) -> None:
    method, _, published = archive.checksum.partition(":")
    if not published:
        return
    with file.open("rb") as stream:
        found = hashlib.file_digest(stream, method).hexdigest()
    if found != published:
        file.unlink()
        raise InputError(
            f"{archive.url}: {method} is {found}, not {published} as published; what came is "
            "removed: try again, and if that repeats, the file is not the published one."
        )


def unpack(file: Path, folder: Path) -> None:
    """Write the files of a zip or tar below `folder`.

    Raises `InputError` at a member whose path leads out of the folder, or that is a link or a
    device, and for an archive that is damaged, which is removed.
    """
    members = tqdm(_members(file), f"unpacking {file.stem}", unit="file", disable=None)
    try:
        for name, stream in members:
            _check_path(name, file)
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            with stream, target.open("wb") as out:
                shutil.copyfileobj(stream, out, BLOCK)
    except DAMAGED as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        file.unlink()
        raise InputError(f"{file} is damaged ({error}) and removed: fetch it again.") from error


def _members(file: Path) -> Iterator[tuple[str, IO[bytes]]]:
    if file.name.removesuffix(".part").endswith(ZIP):
        with zipfile.ZipFile(file) as zipped:
            for info in zipped.infolist():
                if not info.is_dir():
                    yield info.filename, zipped.open(info)
        return
    with tarfile.open(file) as tarred:
        for member in tarred:
            stream = tarred.extractfile(member) if member.isfile() else None
            if stream is not None:
                yield member.name, stream
            elif not member.isdir():
                raise InputError(f"{file} is unsafe: {member.name} in it is a link or a device.")
        while tarred.fileobj.read(BLOCK):  # to the end, where compression keeps its checksum
            pass


def _check_path(name: str, file: Path) -> None:
    """Refuse what leads out of the folder, by the rules of Windows, which knows both slashes."""
    path = PureWindowsPath(name)
    if path.anchor or ".." in path.parts or "\0" in name:
        raise InputError(f"{file} is unsafe: {name} in it leads out of the folder.")


@contextmanager
def _explained(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InputError(
            f"{error.filename or folder} cannot be written ({error.strerror or error}): make room, "
            "or name another dataset.path; what has come is kept, and added to by the next call."
        ) from error
