"""`python -m zoo.serve`, as programs ask it: answers, limits, hostile files, its end."""

import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pandas as pd
import psutil
import pytest
import requests
import soundfile

from hostile import corpus
from servers import Server, error_of, served
from trained import GENRES, RATE, sound, train, write_library
from zoo import create_model
from zoo.errors import InputError
from zoo.library import read_library
from zoo.predict import main as predict
from zoo.recommend import main as recommend
from zoo.serve import main as serve
from zoo.serving.door import GONE

QUEUE = 12
LIMITS = ("--minutes", "0.5", "--megabytes", "2", "--queue", str(QUEUE))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `music`, `run` that was trained on it, `emb.parquet`, and `other`, a model at
    another rate."""
    made = tmp_path_factory.mktemp("serve")
    write_library(made / "music")
    train(made, "precision=fp32")
    command = ["zoo.embed", "run", "music", "--out", "emb.parquet"]
    subprocess.run([sys.executable, "-m", *command], cwd=made, check=True, capture_output=True)
    changes = ["frontend=mel_panns", "clip_seconds=0.5"]
    create_model("linear", num_classes=3, overrides=changes).save_pretrained(made / "other")
    return made


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[Server]:
    with served(folder, "run", "other", "--library", "emb.parquet", *LIMITS) as server:
        yield server


@pytest.fixture
def here(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(folder)
    return folder


def song(folder: Path, name: str, seconds: float, genre: str = "tone", rate: int = 44_100) -> Path:
    soundfile.write(folder / name, sound(genre, seconds, len(name), rate), rate)
    return folder / name


def table(name: str) -> pd.DataFrame:
    return pd.read_csv(name).rename(columns=lambda column: column.removeprefix("p:"))


def test_classes_are_those_of_predict(here, server, tmp_path):
    files = [song(tmp_path, f"{genre}.flac", 3.3, genre) for genre in GENRES]
    predict(["run", *map(str, files), "--out", "said.csv"])
    for file, (_, row) in zip(files, table("said.csv").iterrows(), strict=True):
        answer = server.post("/v1/classify", file).json()
        assert (answer["model"], answer["genre"]) == ("linear", row["genre"])
        assert answer["probabilities"] == pytest.approx(row[list(GENRES)].to_dict(), abs=1e-6)
        assert list(answer["probabilities"].values()) == sorted(row[list(GENRES)])[::-1]
        assert answer["seconds"] == pytest.approx(3.3, abs=0.01)


def test_over_time_is_that_of_predict(here, server, tmp_path):
    file = song(tmp_path, "song.wav", 7)
    predict(["run", str(file), "--over-time", "--out", "steps.csv"])
    answer = server.post("/v1/over-time", file).json()
    assert answer["step_seconds"] == 1
    assert [step["start"] for step in answer["steps"]] == list(range(7))
    for step, (_, row) in zip(answer["steps"], table("steps.csv").iterrows(), strict=True):
        assert step["probabilities"] == pytest.approx(row[list(GENRES)].to_dict(), abs=1e-6)


def test_models_are_compared_each_at_its_rate(here, server, tmp_path):
    first, second = server.get("/v1/models").json()
    assert (first["name"], second["name"]) == ("linear", "linear-2")
    assert (first["sample_rate"], second["sample_rate"]) == (16_000, 32_000)
    assert first["calibrated"] and not second["calibrated"]
    file = song(tmp_path, "song.flac", 2)
    both = server.post("/v1/compare", file).json()["answers"]
    assert both == [
        server.post("/v1/classify", file, model=name).json() for name in ("linear", "linear-2")
    ]


def test_similar_tracks_are_those_of_recommend(here, server, tmp_path):
    file = song(tmp_path, "song.flac", 2)
    recommend(["emb.parquet", "--like", str(file), "-k", "5", "--out", "like.csv"])
    answer = server.post("/v1/similar", file, k=5).json()
    expected, library = pd.read_csv("like.csv"), read_library(Path("emb.parquet")).tracks
    for one, (_, row) in zip(answer["neighbours"], expected.iterrows(), strict=True):
        assert one["similarity"] == pytest.approx(row["similarity"], abs=1e-5)
        assert library["path"][one["track"]] == row["path"]
        assert (one["title"], one["artist"], one["genre"]) == (
            row["title"],
            row["artist"],
            row["genre"],
        )
        assert one["name"] == Path(row["path"]).name and one["reasons"]
        audio = server.get(f"/v1/tracks/{one['track']}/audio")
        assert audio.content == Path(row["path"]).read_bytes()
        assert audio.headers["content-type"] in ("audio/flac", "audio/x-flac")


def test_the_same_recording_by_the_same_artist_is_said_to_be(server, folder):
    nearest = server.post("/v1/similar", folder / "music/hiss/03.flac").json()["neighbours"][0]
    assert nearest["title"] == "hiss 3" and nearest["similarity"] == pytest.approx(1)
    assert nearest["reasons"][0] == "very likely the same recording"
    assert nearest["reasons"][-1] == "by artist3 as well"


def test_a_part_of_a_track_is_sent_for_who_seeks(server):
    headers = {"Range": "bytes=4-9"}
    part = requests.get(server.url + "/v1/tracks/0/audio", headers=headers, timeout=60)
    assert part.status_code == 206
    assert part.content == server.get("/v1/tracks/0/audio").content[4:10]


def test_requests_at_once_get_each_its_own_answer(server, tmp_path):
    files = [
        song(tmp_path, f"{genre}{seconds}.flac", seconds, genre)
        for seconds in (0.4, 1, 6, 20)
        for genre in GENRES
    ]
    alone = [server.post("/v1/classify", file).json() for file in files]
    with ThreadPoolExecutor(QUEUE) as pool:
        together = list(pool.map(lambda file: server.post("/v1/classify", file).json(), files))
    for one, other in zip(alone, together, strict=True):
        assert one["genre"] == other["genre"]
        assert one["probabilities"] == pytest.approx(other["probabilities"], abs=1e-5)


WRONG = {
    "text": ("/v1/classify", b"not audio", {}, 422, r"song\.mp3 cannot be decoded: .*"),
    "empty": ("/v1/classify", b"", {}, 422, "song.mp3 is empty."),
    "no file": ("/v1/classify", None, {}, 422, "Send the song as a file, as the field `file` .*"),
    "a model": ("/v1/classify", b"x", {"model": "liner"}, 404, ".* no model liner; known are .*"),
    "a number": ("/v1/similar", b"x", {"k": "many"}, 422, "k: input should be a valid integer.*"),
    "no number": ("/v1/similar", b"x", {"k": 0}, 422, "k: input should be greater than .*"),
    "a path": ("/v2/classify", b"x", {}, 404, "There is nothing at /v2/classify."),
    "a page": ("/gradio_api/run/predict", b"x", {}, 404, "There is nothing at /gradio_api/run.*"),
}


@pytest.mark.parametrize("what", WRONG)
def test_wrong_requests_get_one_sentence(server, tmp_path, what):
    path, content, values, status, sentence = WRONG[what]
    (tmp_path / "song.mp3").write_bytes(content or b"")
    file = None if content is None else tmp_path / "song.mp3"
    response = server.post(path, file, **values)
    assert response.status_code == status
    assert re.fullmatch(sentence, error_of(response))


def test_other_wrong_requests_get_one_sentence(server):
    response = server.get("/v1/classify")
    assert (response.status_code, error_of(response)) == (
        405,
        "GET is not what /v1/classify takes.",
    )
    response = server.get("/v1/tracks/9999/audio")
    assert (response.status_code, error_of(response)) == (404, "There is no track 9999.")
    headers = {"content-type": "multipart/form-data; boundary=x"}
    broken = requests.post(server.url + "/v1/classify", data=b"--y", headers=headers, timeout=60)
    assert broken.status_code in (400, 422) and error_of(broken)


def test_a_name_is_shown_as_letters(server):
    files = {"file": ("../../<b>\x1b[31m\u202e" + "x" * 500, b"not audio")}
    response = requests.post(server.url + "/v1/classify", files=files, timeout=60)
    sentence = error_of(response)
    assert len(sentence) < 200 and sentence.isprintable()


def test_too_long_audio_is_refused(server, tmp_path):
    response = server.post("/v1/classify", song(tmp_path, "long.flac", 31, rate=RATE))
    assert response.status_code == 422
    assert error_of(response).startswith("long.flac announces more than 0.5 min")


@pytest.mark.parametrize("announced", [True, False])
def test_too_large_uploads_are_refused(server, announced):
    body = b"0" * 3_000_000
    headers = {"content-type": "multipart/form-data; boundary=x"}
    start = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
    data = start + body if announced else islice([start, *[body[:100_000]] * 30], None)
    response = requests.post(server.url + "/v1/classify", data=data, headers=headers, timeout=60)
    assert response.status_code == 413
    assert error_of(response) == "The upload is larger than 2 MB; send a part of it."


def begin(server: Server, file: Path) -> tuple[socket.socket, bytes]:
    """Begin to send a song; return the rest of the request."""
    address = urlsplit(server.url)
    form = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
    body = form + file.read_bytes() + b"\r\n--x--\r\n"
    head = f"POST /v1/classify HTTP/1.1\r\nHost: {address.netloc}\r\n"
    head += f"Content-Length: {len(body)}\r\nContent-Type: multipart/form-data; boundary=x\r\n\r\n"
    sent = socket.create_connection((address.hostname, address.port), timeout=60)
    sent.sendall(head.encode() + body[:100])
    return sent, body[100:]


def wait_for_inside(server: Server, number: int) -> None:
    for _ in range(200):
        if server.measure("genre_zoo_requests_in_house") == number:
            return
        time.sleep(0.05)
    raise AssertionError(f"there are never {number} requests in the house")


def test_more_requests_than_it_takes_are_told_to_come_again(server, tmp_path):
    wait_for_inside(server, 0)
    file = song(tmp_path, "song.flac", 1)
    halves = [begin(server, file) for _ in range(QUEUE)]
    wait_for_inside(server, QUEUE)
    assert server.get("/health/ready").status_code == 503
    response = server.post("/v1/classify", file)
    assert response.status_code == 503 and response.headers["retry-after"] == "1"
    assert error_of(response).startswith("The server is busy")
    assert server.get("/health/live").ok and server.get("/v1/models").ok
    for half, _ in halves:
        half.close()
    wait_for_inside(server, 0)
    assert server.post("/v1/classify", file).ok


def open_things(server: Server) -> tuple[int, list[Path]]:
    process = psutil.Process(server.process.pid)
    files = [file for file in server.temporary.glob("genre-zoo-*/*") if file.is_file()]
    return process.num_fds(), files


def test_nothing_is_done_for_who_has_gone(server, tmp_path):
    wait_for_inside(server, 0)
    before, (_, files) = server.measure("genre_zoo_audio_seconds_total"), open_things(server)
    file = song(tmp_path, "song.flac", 29, rate=8000)
    begun = [begin(server, file) for _ in range(QUEUE)]
    wait_for_inside(server, QUEUE)
    for sent, rest in begun:
        sent.sendall(rest)
        sent.close()
    wait_for_inside(server, 0)
    heard = server.measure("genre_zoo_audio_seconds_total") - before
    assert heard < 29 * QUEUE / 2
    assert set(open_things(server)[1]) <= set(files)
    counted = server.get("/metrics").text
    assert f'{{endpoint="/v1/classify",status="{GONE}"}}' in counted
    assert server.post("/v1/classify", file).ok


def hostile(folder: Path) -> list[Path]:
    """Write 200 files of the corpus, evenly chosen, of those that are small enough to be sent."""
    cases = [case for case in corpus() if isinstance(case.content, bytes)]
    cases = [case for case in cases if len(case.content) < 2_000_000]
    return [cases[i].write(folder) for i in np.linspace(0, len(cases) - 1, 200).astype(int)]


def test_hostile_files_harm_nobody(server, tmp_path):
    good = song(tmp_path, "good.flac", 2)
    before, (descriptors, files) = server.post("/v1/classify", good).json(), open_things(server)

    def send(case: Path) -> tuple[int, str]:
        while (response := server.post("/v1/classify", case)).status_code == 503:
            time.sleep(0.2)
        return response.status_code, "" if response.ok else error_of(response)

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(send, hostile(tmp_path)))
    assert {status for status, _ in answers} == {200, 422}
    assert len({sentence for _, sentence in answers}) > 50
    assert server.post("/v1/classify", good).json() == before
    now, left = open_things(server)
    assert set(left) <= set(files) and now <= descriptors + 8  # connections that are kept
    assert server.process.poll() is None


def test_the_end_of_a_decoder_costs_one_request_at_most(server, tmp_path):
    file = song(tmp_path, "song.flac", 20)
    alone = server.post("/v1/classify", file)
    with ThreadPoolExecutor(8) as pool:
        answers = [pool.submit(server.post, "/v1/classify", file) for _ in range(24)]
        time.sleep(0.1)
        for decoder in server.decoders():
            decoder.kill()
        answers = [answer.result() for answer in answers]
    assert sum(not answer.ok for answer in answers) <= 1
    assert {answer.text for answer in answers if answer.ok} == {alone.text}


def test_what_it_counts(server, tmp_path):
    before = server.measure("genre_zoo_audio_seconds_total")
    server.post("/v1/classify", song(tmp_path, "song.flac", 2, rate=RATE))
    assert server.measure("genre_zoo_audio_seconds_total") == pytest.approx(before + 2)
    name = 'genre_zoo_requests_total{endpoint="/v1/classify",status="200"}'
    counted = server.measure(name)
    server.post("/v1/classify", tmp_path / "song.flac")
    assert server.measure(name) == counted + 1
    clips = server.measure('genre_zoo_batch_clips_sum{model="linear"}')
    batches = server.measure('genre_zoo_batch_clips_count{model="linear"}')
    assert clips > batches > 0
    assert server.get("/nowhere").status_code == 404
    assert "nowhere" not in server.get("/metrics").text


def test_health_and_documentation(server):
    assert server.get("/health/live").json() == {"status": "live"}
    assert server.get("/health/ready").json() == {"status": "ready"}
    described = server.get("/openapi.json").json()
    assert {"/v1/classify", "/v1/over-time", "/v1/compare", "/v1/similar"} <= set(
        described["paths"]
    )
    page = server.get("/docs")
    assert page.ok and "http" not in re.sub(r"<!--.*?-->", "", page.text, flags=re.S)


def test_it_listens_to_this_machine_alone(server):
    process = psutil.Process(server.process.pid)
    listening = [c.laddr.ip for c in process.net_connections() if c.status == psutil.CONN_LISTEN]
    assert listening == ["127.0.0.1"]


def asked(server: Server, song: object, **changes: object) -> requests.Response:
    """Ask the page's server what the page would, about a song."""
    events = server.get("/config").json()["dependencies"]
    number = next(event["id"] for event in events if len(event["inputs"]) == 2)
    body = {"data": [song, "linear"], "fn_index": number, "session_hash": "stranger"} | changes
    return requests.post(server.url + "/gradio_api/queue/join", json=body, timeout=60)


def uploaded(server: Server, name: str, content: bytes) -> str:
    files = {"files": (name, content)}
    response = requests.post(server.url + "/gradio_api/upload", files=files, timeout=60)
    (path,) = response.json()
    return path


def filed(path: object) -> dict[str, object]:
    return {"path": path, "meta": {"_type": "gradio.FileData"}}


STRANGE = ["/etc/hostname", "http://127.0.0.1:9/song.wav", ["/etc/hostname"], None, "/tmp/\0", ""]
AROUND = ["{}/x", "{}/..", "{}/../..", "{}/../../../../../etc/hostname", "{}/./", "/{}", "{}\0"]


@pytest.mark.parametrize("path", STRANGE)
def test_no_path_or_address_of_a_stranger_is_opened(server, path):
    for song in (filed(path), [[{"deeper": filed(path)}]]):
        response = asked(server, song)
        assert response.status_code == 404
        assert error_of(response) == "There is no such song any more; upload it again."


@pytest.mark.parametrize("form", AROUND)
def test_not_even_one_beside_an_upload(server, form):
    path = uploaded(server, "song.wav", b"x")
    assert asked(server, filed(path)).status_code == 200
    assert asked(server, filed(form.format(path))).status_code == 404


WRONG_EVENTS = [{"fn_index": 999}, {"fn_index": "0"}, {"data": []}, {"data": "x"}, {"data": None}]
WRONG_EVENTS += [{"session_hash": "x" * 99}, {"session_hash": None}, {"trigger_id": "x"}]


@pytest.mark.parametrize("changes", WRONG_EVENTS)
def test_an_event_that_is_not_the_pages(server, changes):
    response = asked(server, None, **changes)
    assert response.status_code == 422
    assert error_of(response) == "The request is not what the page sends."


@pytest.mark.parametrize("body", [b"[" * 4000, b"\xff", b"{", b"[]", b" " * 5000])
def test_a_request_to_the_page_that_is_not_the_pages(server, body):
    response = requests.post(server.url + "/gradio_api/queue/join", data=body, timeout=60)
    assert response.status_code in (413, 422) and error_of(response)


@pytest.mark.parametrize(
    "path",
    [
        *("gradio_api/file=/etc/hostname", "gradio_api/file=http://127.0.0.1:9/x"),
        *("gradio_api/proxy=http://127.0.0.1:9/", "gradio_api/info", "gradio_api/heartbeat/x"),
        *("login", "monitoring", "health/nothing", "leaderboard", "?page=" + "x" * 300),
    ],
)
def test_the_page_fetches_and_tells_nothing_beside(server, path):
    response = server.get(f"/{path}")
    assert response.status_code == 404 and error_of(response)


def test_it_answers_to_its_own_name_alone(server):
    headers = {"host": "evil.example"}
    response = requests.get(server.url + "/v1/models", headers=headers, timeout=60)
    assert response.status_code == 421
    assert error_of(response) == "This server is not evil.example; --host lets others in."


def test_an_uploaded_page_is_no_page(server):
    path = uploaded(server, "evil.html", b"<script>alert(1)</script>")
    response = server.get(f"/gradio_api/file={path}")
    assert response.headers["content-security-policy"] == "sandbox"


def test_it_finishes_what_it_began(folder, tmp_path):
    file = song(tmp_path, "song.flac", 5)
    with served(folder, "run", *LIMITS) as server:
        begun = [begin(server, file) for _ in range(5)]
        wait_for_inside(server, 5)
        assert list(server.temporary.glob("genre-zoo-*"))
        server.process.terminate()
        time.sleep(1)
        with pytest.raises(requests.ConnectionError):
            server.get("/health/ready")
        for half, rest in begun:
            half.sendall(rest)
        for half, _ in begun:
            assert half.recv(12) == b"HTTP/1.1 200"
        assert server.process.wait(60) == 0
        assert not list(server.temporary.glob("genre-zoo-*"))
    assert not (folder / "server.log").read_text()


def wrong(*arguments: str) -> str:
    with pytest.raises(InputError) as error:
        serve([*arguments])
    return str(error.value)


def test_wrong_commands_get_one_sentence(here, server, tmp_path):
    port = str(urlsplit(server.url).port)
    assert wrong("runs", "--port", "0").startswith("runs ")
    assert "cannot be listened on" in wrong("run", "--port", port)
    assert "--port 99999" in wrong("run", "--port", "99999")
    assert "--host no.such.host" in wrong("run", "--host", "no.such.host")
    most = "must be more than 0, and 2,880 at most."
    assert wrong("run", "--minutes", "0") == f"--minutes 0 {most}"
    assert wrong("run", "--minutes", "inf") == f"--minutes inf {most}"
    missing = wrong("run", "--port", "0", "--library", "no.parquet")
    assert missing.startswith("no.parquet does not exist")
    other = wrong("other", "--port", "0", "--library", "emb.parquet")
    assert "serve it too, or embed the library with a model that is" in other
    assert "has no index.html" in wrong("run", "--port", "0", "--leaderboard", str(tmp_path))


def test_a_wrong_command_ends_with_2(python, folder):
    done = python("zoo.serve", "no", cwd=folder)
    assert done.returncode == 2 and done.stderr.startswith("error: no ")
    assert len(done.stderr.splitlines()) == 1


def test_without_a_library_there_is_nothing_similar_and_ctrl_c_is_a_good_end(folder, tmp_path):
    with served(folder, "run") as server:
        response = server.post("/v1/similar", song(tmp_path, "song.flac", 1))
        assert response.status_code == 404 and "no library" in error_of(response)
        server.process.send_signal(signal.SIGINT)
        assert server.process.wait(60) == 0


def test_a_library_whose_files_are_gone(server, folder, tmp_path):
    (folder / "music").rename(folder / "gone")
    try:
        response = server.post("/v1/similar", song(tmp_path, "song.flac", 1))
        assert response.status_code == 503
        assert error_of(response) == "The tracks of the library cannot be reached now."
        assert server.get("/v1/tracks/0/audio").status_code == 404
    finally:
        (folder / "gone").rename(folder / "music")
