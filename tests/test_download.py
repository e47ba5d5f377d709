"""Downloads from a real server: with and without ranges, cut, wrong, dead, and evil archives."""

import hashlib
import io
import socket
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from zoo.datasets import download
from zoo.datasets.card import Archive, Card
from zoo.errors import InputError

PAYLOAD = np.random.RandomState(0).bytes(3_000_000)
HOST = "127.0.0.1"


class Server(ThreadingHTTPServer):
    """Serves `files`; `cuts` says after how many bytes each of the next bodies ends."""

    def __init__(self, knows_ranges: bool) -> None:
        super().__init__((HOST, 0), Handler)
        self.knows_ranges = knows_ranges
        self.files: dict[str, bytes] = {}
        self.cuts: list[int] = []
        self.failures: list[int] = []  # status codes of the next answers
        self.asked: list[str | None] = []  # the ranges that came

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        asked, content = self.headers["Range"], self.server.files.get(self.path.partition("?")[0])
        self.server.asked.append(asked)
        if self.server.failures or content is None:
            self.send_error(self.server.failures.pop(0) if self.server.failures else 404)
            return
        start = int(asked[6:-1]) if asked and self.server.knows_ranges else 0
        if start >= len(content):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(content)}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        cut = self.server.cuts.pop(0) if self.server.cuts else len(content)
        self.wfile.write(content[start:][:cut])
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(params=[True, False], ids=["ranges", "no ranges"])
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    with Server(request.param) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def card(*archives: Archive) -> Card:
    return Card(
        name="songs",
        citation="",
        licence="CC0",
        size="small",
        home="https://home.example",
        alternatives=("https://mirror.example",),
        archives=archives,
        layout="songs",
    )


def checksum(content: bytes, method: str = "sha256") -> str:
    return f"{method}:{hashlib.new(method, content).hexdigest()}"


def zipped(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def tarred(files: dict[str, bytes], mode: str = "w:gz", **member: str | bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            for key, value in member.items():
                setattr(info, key, value)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def refusal(archive: Archive, folder: Path) -> str:
    with pytest.raises(InputError) as caught:
        download.fetch(card(archive), folder)
    message = str(caught.value)
    assert "\n" not in message and message.endswith(".")
    return message


def names(folder: Path) -> list[str]:
    return sorted(str(f.relative_to(folder)) for f in folder.rglob("*") if f.is_file())


# --- what goes well


def test_archives_are_unpacked_and_files_put_where_they_belong(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    music = {"songs/a/1.wav": PAYLOAD, "songs/é/2 ü.wav": b"two", "songs/empty": b""}
    kinds = {"/x.zip": zipped(music), "/x.tar": tarred(music, "w"), "/x.tgz": tarred(music)}
    kinds |= {"/x.tar.bz2": tarred(music, "w:bz2"), "/the%20list.csv": b"a,b\n"}
    server.files = kinds
    methods = ("md5", "sha1", "sha256", "sha256", "sha512")
    archives = [
        Archive(f"{server.url}{path}?download=1", checksum(content, method), folder=f"to/{i}")
        for i, ((path, content), method) in enumerate(zip(kinds.items(), methods, strict=True))
    ]
    target = tmp_path / "new" / "folder"
    download.fetch(card(*archives), target)
    for i in range(4):
        for name, content in music.items():
            assert (target / "to" / str(i) / name).read_bytes() == content
    assert (target / "to" / "4" / "the list.csv").read_bytes() == b"a,b\n"
    assert not list(target.rglob("*.part")) and not list(target.rglob("*.zip"))
    num_asked = len(server.asked)
    capsys.readouterr()
    download.fetch(card(*archives), target)
    assert len(server.asked) == num_asked
    assert "x.zip was fetched before; remove" in capsys.readouterr().out


def test_the_parts_of_an_archive_are_joined(server: Server, tmp_path: Path) -> None:
    whole = zipped({"1.wav": PAYLOAD, "2.wav": b"two"})
    at = [0, 1_000_000, 1_000_001, len(whole)]
    server.files = {f"/x.zip.00{i + 1}": whole[at[i] : at[i + 1]] for i in range(3)}
    server.cuts = [400_000]
    urls = [server.url + name for name in server.files]
    archive = Archive(urls[0], checksum(whole), more=tuple(urls[1:]))
    download.fetch(card(archive), tmp_path)
    assert names(tmp_path) == [".download.lock", "1.wav", "2.wav", "x.zip.fetched"]
    assert (tmp_path / "1.wav").read_bytes() == PAYLOAD


def test_a_cut_download_continues(server: Server, tmp_path: Path) -> None:
    server.files = {"/x.bin": PAYLOAD}
    server.cuts = [1_100_000] if not server.knows_ranges else [1_100_000, 500_000, 200_000]
    download.fetch(card(Archive(f"{server.url}/x.bin", checksum(PAYLOAD))), tmp_path)
    assert (tmp_path / "x.bin").read_bytes() == PAYLOAD
    if server.knows_ranges:
        starts = [int((asked or "bytes=0-")[6:-1]) for asked in server.asked]
        assert starts == sorted(starts) and len(starts) == 4 and starts[1] > 1_000_000
    else:
        assert len(server.asked) == 2


def test_it_continues_in_another_process_too(server: Server, tmp_path: Path) -> None:
    server.files = {"/x.bin": PAYLOAD}
    (tmp_path / "x.bin.part").write_bytes(PAYLOAD[:2_000_000])
    download.fetch(card(Archive(f"{server.url}/x.bin", checksum(PAYLOAD))), tmp_path)
    assert (tmp_path / "x.bin").read_bytes() == PAYLOAD and server.asked == ["bytes=2000000-"]


@pytest.mark.parametrize("excess", [0, 10])
def test_what_was_whole_is_taken_and_what_is_too_long_is_not(
    server: Server, tmp_path: Path, excess: int
) -> None:
    server.files = {"/x.bin": PAYLOAD}
    (tmp_path / "x.bin.part").write_bytes(PAYLOAD + b"x" * excess)
    download.fetch(card(Archive(f"{server.url}/x.bin", checksum(PAYLOAD))), tmp_path)
    assert (tmp_path / "x.bin").read_bytes() == PAYLOAD


def test_a_server_that_is_busy_is_asked_again(server: Server, tmp_path: Path) -> None:
    server.files, server.failures = {"/x.bin": b"music"}, [503, 500]
    download.fetch(card(Archive(f"{server.url}/x.bin")), tmp_path)
    assert (tmp_path / "x.bin").read_bytes() == b"music" and len(server.asked) == 3


# --- what goes wrong


def test_a_wrong_checksum(server: Server, tmp_path: Path) -> None:
    server.files = {"/x.zip": zipped({"a.wav": b"other"})}
    archive = Archive(f"{server.url}/x.zip", checksum(PAYLOAD, "md5"))
    message = refusal(archive, tmp_path)
    assert message.startswith(f"{server.url}/x.zip: md5 is ") and "as published" in message
    assert names(tmp_path) == [".download.lock"]


def test_a_link_that_is_dead(server: Server, tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind((HOST, 0))
        closed = f"http://{HOST}:{free.getsockname()[1]}/x.zip"
    dead = {
        f"{server.url}/x.zip": "404 Not Found",
        closed: "there was no connection",
        "http://songs.invalid/x.zip": "its host is unknown, or there is no network",
    }
    for url, reason in dead.items():
        message = refusal(Archive(url), tmp_path)
        assert message == (
            f"{url} cannot be fetched ({reason}); songs may be had at https://home.example or "
            "https://mirror.example, and dataset.path must hold songs."
        )


def test_a_server_that_stays_busy(server: Server, tmp_path: Path) -> None:
    server.failures = [503] * 4
    assert "(503 Service Unavailable)" in refusal(Archive(f"{server.url}/x.zip"), tmp_path)
    assert server.failures == []


def test_a_server_that_says_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "TIMEOUT", 0.2)
    with socket.create_server((HOST, 0)) as silent:
        message = refusal(Archive(f"http://{HOST}:{silent.getsockname()[1]}/x.zip"), tmp_path)
    assert "no answer within 0.2 s" in message


def test_a_server_that_cuts_each_time(server: Server, tmp_path: Path) -> None:
    server.files, server.cuts = {"/x.bin": PAYLOAD}, [1_500_000, *[0] * 9]
    message = refusal(Archive(f"{server.url}/x.bin"), tmp_path)
    assert "the connection was cut" in message
    assert 0 < (tmp_path / "x.bin.part").stat().st_size < len(PAYLOAD) or not server.knows_ranges
    server.cuts = []
    download.fetch(card(Archive(f"{server.url}/x.bin", checksum(PAYLOAD))), tmp_path)
    assert (tmp_path / "x.bin").read_bytes() == PAYLOAD


def test_a_full_disk(server: Server, tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    server.files = {"/x.zip": zipped({"a.wav": PAYLOAD})}
    archive = Archive(f"{server.url}/x.zip")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000, limits[1]))
    try:
        message = refusal(archive, tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert f"{tmp_path} cannot be written (File too large): make room" in message
    download.fetch(card(archive), tmp_path)
    assert (tmp_path / "a.wav").read_bytes() == PAYLOAD


def test_a_folder_that_is_a_file(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    archive = Archive(f"{server.url}/x.zip")
    assert f"{tmp_path / 'file'} cannot be written" in refusal(archive, tmp_path / "file")


# --- archives

EVIL = ("../evil", "a/../../evil", "/evil", "..\\evil", "C:\\evil", "\\\\host\\share\\evil")


@pytest.mark.parametrize("name", EVIL)
@pytest.mark.parametrize("pack", [zipped, tarred])
def test_no_member_leaves_the_folder(pack, name: str, tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "folder"
    folder.mkdir(parents=True)
    file = tmp_path / ("x.zip" if pack is zipped else "x.tar.gz")
    file.write_bytes(pack({"good.wav": b"good", name: b"evil"}))
    with pytest.raises(InputError, match="leads out of the folder"):
        download.unpack(file, folder)
    assert names(tmp_path) == ["deep/folder/good.wav", file.name]


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE]
)
def test_no_member_is_a_link_or_a_device(kind: bytes, tmp_path: Path) -> None:
    file = tmp_path / "x.tar"
    file.write_bytes(tarred({"out": b""}, "w", type=kind, linkname="/etc"))
    with pytest.raises(InputError, match="out in it is a link or a device"):
        download.unpack(file, tmp_path)
    assert names(tmp_path) == ["x.tar"]


def test_damaged_archives_are_named_and_removed(tmp_path: Path) -> None:
    content = {"a.wav": PAYLOAD}
    whole = {
        "x.zip": zipped(content),
        "x.tar.gz": tarred(content),
        "x.tar.bz2": tarred(content, "w:bz2"),
    }
    whole |= {"x.tar.xz": tarred(content, "w:xz"), "x.tar": tarred(content, "w")}
    for name, packed in whole.items():
        half = len(packed) // 2
        flipped = packed[:half] + bytes([packed[half] ^ 255]) + packed[half + 1 :]
        faults = [packed[:half], b"", b"<html>404</html>"] + ([flipped] if name != "x.tar" else [])
        for fault in faults:
            (tmp_path / name).write_bytes(fault)
            with pytest.raises(InputError, match=f"{name} is damaged"):
                download.unpack(tmp_path / name, tmp_path)
            assert not (tmp_path / name).exists()
