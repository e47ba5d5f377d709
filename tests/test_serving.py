"""The parts of the server: batches, bodies, refusals, pictures, reasons."""

import asyncio
import base64
import io
import os
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing
from html.parser import HTMLParser
from pathlib import Path

import librosa
import numpy as np
import pytest
from PIL import Image
from starlette.types import Message

from zoo.decoder import Decoded
from zoo.inference import Track
from zoo.runners import About, Outputs, Runner
from zoo.serving.batching import Batcher
from zoo.serving.body import Body
from zoo.serving.door import _unless_abandoned
from zoo.serving.limits import Limits, Refused
from zoo.serving.measures import Measures
from zoo.serving.schema import OverTime, Step
from zoo.serving.service import Service, short
from zoo.serving.shelf import reasons
from zoo.serving.spectrogram import FRAME, LOWEST, mel_decibels, mel_filters, picture
from zoo.serving.timeline import timeline
from zoo.serving.uploads import Uploads, tidy
from zoo.stream import Tags

RATE, CLIP = 8000, 100


class Mean(Runner):
    """Says the mean of a clip, and waits in between until it may go on."""

    def __init__(self, streams: int = 1, batch_size: int = 4) -> None:
        self.streams, self.batch_size = streams, batch_size
        self.about = About(
            model="mean",
            frontend="none",
            weights="",
            classes=("a", "b"),
            multilabel=False,
            sample_rate=RATE,
            clip_samples=CLIP,
            min_samples=1,
            num_features=1,
            any_length=True,
            thresholds=None,
            calibration=None,
            licence=None,
        )
        self.batches: list[list[int]] = []  # the means of the clips
        self.may_go_on = threading.Event()
        self.may_go_on.set()

    def run(self, samples_BT: np.ndarray) -> Outputs:
        mean_B = samples_BT.mean(1, dtype=np.float32)
        self.batches.append(mean_B.astype(int).tolist())
        assert self.may_go_on.wait(10)
        if 13 in mean_B:
            raise RuntimeError("thirteen")
        prob_B = mean_B / 100
        return Outputs(np.stack([prob_B, 1 - prob_B], 1), mean_B[:, None])


def track(runner: Mean, value: int, chunks: int = 1) -> Track:
    samples = np.full(CLIP * chunks, value, np.int16)
    starts = np.arange(chunks) * CLIP
    return Track("", ("", 0, 0), Decoded(samples, Tags("", "")), starts, runner.about)


@pytest.fixture
def mean() -> Mean:
    return Mean()


@pytest.fixture
def batcher(mean: Mean) -> Iterator[Batcher]:
    batcher = Batcher(mean, lambda _: None)
    yield batcher
    mean.may_go_on.set()
    batcher.close()


def hold(mean: Mean, batcher: Batcher) -> None:
    """Let the model be at a clip of its own, so that what comes gathers."""
    mean.may_go_on.clear()
    batcher.submit(track(mean, 1))
    while not mean.batches:
        time.sleep(0.001)


def test_what_waits_goes_together_the_oldest_and_the_shortest_first(mean, batcher):
    hold(mean, batcher)
    futures = [batcher.submit(track(mean, value, n)) for value, n in ((50, 6), (60, 1), (70, 2))]
    mean.may_go_on.set()
    for future, value in zip(futures, (50, 60, 70), strict=True):
        heard = future.result(10)
        assert heard.prob_K == pytest.approx([value / 100, 1 - value / 100])
        assert heard.embedding_D == pytest.approx([value])
    assert mean.batches == [[1], [50, 60, 70, 70], [50, 50, 50, 50], [50]]


def test_nobody_waits_for_a_full_batch(mean, batcher):
    assert batcher.submit(track(mean, 50)).result(10).embedding_D == pytest.approx([50])
    assert mean.batches == [[50]]


def test_a_failure_is_of_its_batch_alone(mean, batcher):
    hold(mean, batcher)
    bad, beside = batcher.submit(track(mean, 13, 9)), batcher.submit(track(mean, 20))
    mean.may_go_on.set()
    for future in (bad, beside):
        with pytest.raises(RuntimeError, match="thirteen"):
            future.result(10)
    assert batcher.submit(track(mean, 30)).result(10).embedding_D == pytest.approx([30])
    assert sum(batch.count(13) for batch in mean.batches) == 3  # the rest was not tried


def test_what_nobody_waits_for_is_not_computed(mean, batcher):
    hold(mean, batcher)
    gone, here = batcher.submit(track(mean, 40, 5)), batcher.submit(track(mean, 50))
    assert gone.cancel()
    mean.may_go_on.set()
    here.result(10)
    assert mean.batches == [[1], [50]]


def test_the_end_finishes_what_was_begun():
    mean = Mean(streams=2)
    batcher = Batcher(mean, lambda _: None)
    futures = [batcher.submit(track(mean, value, 3)) for value in range(20, 40)]
    batcher.close()
    assert [round(future.result(0).embedding_D[0]) for future in futures] == list(range(20, 40))


def parts(*contents: bytes, pause: float = 0) -> Body:
    """Return a body that comes in parts, under limits of 1 MB and 0.2 s."""
    waiting = [*contents]

    async def receive() -> Message:
        await asyncio.sleep(pause)
        content = waiting.pop(0)
        return {"type": "http.request", "body": content, "more_body": bool(waiting)}

    limits = Limits(megabytes=1, upload_seconds=0.2)
    return Body(receive, {"type": "http", "method": "POST", "headers": []}, limits)


def test_a_body_that_is_too_slow():
    async def read() -> None:
        body = parts(b"a", b"b", pause=0.15)
        await body.receive()
        await body.receive()

    with pytest.raises(Refused, match="took longer than") as error:
        asyncio.run(read())
    assert error.value.status_code == 408


def test_a_body_that_is_larger_than_announced():
    async def read() -> None:
        body = parts(b"a" * 600_000, b"b" * 600_000, b"c")
        await body.receive()
        await body.receive()

    with pytest.raises(Refused, match="larger than 1 MB"):
        asyncio.run(read())


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Service]:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    service = Service([Mean()], Limits(queue=2, kept_megabytes=1), Measures())
    yield service
    service.close()


def test_only_so_many_are_let_in(service):
    async def fill() -> None:
        async with service.admitted(), service.admitted():
            with pytest.raises(Refused) as error:
                async with service.admitted():
                    pass
            assert error.value.status_code == 503 and error.value.headers == {"Retry-After": "1"}
        async with service.admitted():
            pass

    asyncio.run(fill())


def queue_of_three(service: Service, is_ending: bool) -> list[str]:
    """Return what three requests see of each other where one is worked on at a time."""
    seen: list[str] = []

    async def request(number: int) -> None:
        try:
            async with service.admitted():
                seen.append(f"{number} begins")
                await asyncio.sleep(0.01)
                service.is_ending = is_ending
                seen.append(f"{number} ends")
        except Refused as refused:
            seen.append(f"{number} {refused.status_code} {refused.detail}")

    async def ask() -> None:
        await asyncio.gather(*(request(number) for number in range(3)))

    asyncio.run(ask())
    return seen


def test_others_wait_in_order(tmp_path):
    with closing(Service([Mean()], Limits(at_work=1), Measures())) as service:
        assert queue_of_three(service, is_ending=False) == [
            f"{number} {what}" for number in range(3) for what in ("begins", "ends")
        ]
        assert not service.is_full


def test_who_waits_is_refused_at_the_end(tmp_path):
    with closing(Service([Mean()], Limits(at_work=1), Measures())) as service:
        said = "503 The server is stopping; try again shortly."
        assert queue_of_three(service, is_ending=True) == [
            "0 begins",
            "0 ends",
            f"1 {said}",
            f"2 {said}",
        ]


def request_of(*messages: Message) -> Body:
    """Return the body of a request: these are received, and then that its sender is gone."""
    parts = iter(messages)

    async def receive() -> Message:
        return next(parts, {"type": "http.disconnect"})

    scope = {"type": "http", "method": "POST", "headers": []}
    return Body(receive, scope, Limits())


def serve_it(work: Callable[[Body], Awaitable[None]]) -> None:
    async def run() -> None:
        body = request_of({"type": "http.request", "body": b"x", "more_body": False})
        await asyncio.wait_for(_unless_abandoned(body, work(body)), 5)

    asyncio.run(run())


def test_work_ends_when_nobody_waits_for_it():
    seen = []

    async def work(body: Body) -> None:
        await body.receive()
        try:
            await asyncio.sleep(60)
        finally:
            seen.append("ended")

    with pytest.raises(Refused, match="has gone"):
        serve_it(work)
    assert seen == ["ended"]


def test_what_has_been_answered_ends_by_itself():
    seen = []

    async def work(body: Body) -> None:
        await body.receive()
        body.is_answered = True
        await asyncio.sleep(0.05)
        seen.append("ended")

    serve_it(work)
    assert seen == ["ended"]


def test_nothing_is_left_and_nobody_else_may_look(service, tmp_path):
    (folder,) = tmp_path.glob("genre-zoo-*")
    assert folder.stat().st_mode & 0o077 == 0
    service.close()
    assert not list(tmp_path.iterdir())


def add(uploads: Uploads, name: str, content: bytes = b"x") -> Path:
    return asyncio.run(uploads.add(io.BytesIO(content), name, len(content)))


def test_an_upload_is_found_by_its_path_until_it_is_old(service):
    uploads = service.uploads
    old, new = add(uploads, "a.wav"), add(uploads, "a.wav")
    assert uploads.find(str(old)) == old and old.read_bytes() == b"x"
    os.utime(old.parent, (1, 1))
    uploads.remove_old(before=2)
    assert uploads.find(str(old)) is None and not old.parent.exists()
    assert uploads.find(str(new)) == new


def test_only_so_much_is_kept_until_it_is_old(service):
    add(service.uploads, "a", bytes(600_000))
    with pytest.raises(Refused) as error:
        add(service.uploads, "b", bytes(600_000))
    assert error.value.status_code == 503
    for folder in service.uploads.folder.iterdir():
        os.utime(folder, (1, 1))
    service.uploads.remove_old(before=2)
    add(service.uploads, "b", bytes(600_000))


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("../../etc/passwd", "passwd"),
        ("Beyoncé - Halo (live).mp3", "Beyoncé - Halo (live).mp3"),
        (".hidden", "hidden"),
        ("a\0b\r\n\x1b<c>.wav", "a_b____c_.wav"),
        ("", "song"),
        ("..", "song"),
        ("x" * 500 + ".mp3", "x" * 96 + ".mp3"),
    ],
)
def test_names_of_uploads(name, kept):
    assert tidy(name) == kept


def test_what_somebody_sent_is_repeated_in_short():
    assert short("a\x1b[31mb\n") == "a?[31mb?"
    assert len(short("x" * 500)) == 80


@pytest.mark.parametrize("rate", [16_000, 22_050, 44_100])
def test_mel_filters_are_those_of_librosa(rate):
    ours = mel_filters(rate, 40)
    options = {"fmin": LOWEST, "htk": True, "norm": None}
    theirs = librosa.filters.mel(sr=rate, n_fft=FRAME, n_mels=40, **options)
    np.testing.assert_allclose(ours, theirs, atol=1e-6)


def test_a_tone_is_where_it_sounds():
    t = np.arange(3 * RATE) / RATE
    samples = (10_000 * np.sin(2 * np.pi * np.where(t < 1.5, 300, 2000) * t)).astype(np.int16)
    level_MN = mel_decibels(samples, RATE)
    centres = librosa.mel_frequencies(level_MN.shape[0] + 2, fmin=LOWEST, fmax=RATE / 2, htk=True)
    loudest = centres[1:-1][level_MN.argmax(0)]
    half = len(loudest) // 2
    assert np.abs(loudest[: half - 10] / 300 - 1).max() < 0.1
    assert np.abs(loudest[half + 10 :] / 2000 - 1).max() < 0.1
    image = Image.open(io.BytesIO(base64.b64decode(picture(level_MN).partition(",")[2])))
    assert image.size == level_MN.shape[::-1]
    brightness = np.asarray(image).sum(2)
    assert brightness[:, 5].argmax() > brightness[:, -5].argmax()  # low tones are below


@pytest.mark.parametrize("num_samples", [1, FRAME - 1, FRAME, 10 * FRAME, 1_000_000])
def test_a_spectrogram_of_any_length(num_samples):
    level_MN = mel_decibels(np.ones(num_samples, np.int16), RATE)
    assert np.isfinite(level_MN).all() and 1 <= level_MN.shape[1] <= 800


class Parsed(HTMLParser):
    """The tags of a piece of HTML, each closed where it should be."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self._open: list[str] = []
        self.feed(text)
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag not in ("img", "br"):
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.found if name == tag]


def steps(prob_NK: np.ndarray, names: list[str]) -> OverTime:
    said = [
        Step(
            start=2 * n,
            genre=names[int(prob_K.argmax())],
            probability=prob_K.max(),
            probabilities=dict(zip(names, prob_K.tolist(), strict=True)),
        )
        for n, prob_K in enumerate(prob_NK)
    ]
    return OverTime(model="mean", seconds=2 * len(said), step_seconds=2, steps=said)


def corners(path: str | None) -> np.ndarray:
    assert path
    words = path.replace("M", " ").replace("L", " ").replace("Z", "").split()
    return np.array(words, float).reshape(-1, 2)


def test_probabilities_are_stacked_up_to_the_top():
    prob_NK = np.array([[0.7, 0.2, 0.1], [0.1, 0.3, 0.6]])
    figure = Parsed(timeline(steps(prob_NK, ["a", "<b>", "c"]), False, np.ones(99, np.int16), RATE))
    shapes = [corners(path["d"]) for path in figure.of("path")]
    assert len(shapes) == 3
    np.testing.assert_allclose(shapes[-1][:4, 1], 0, atol=0.01)
    order = np.argsort(-prob_NK.mean(0), kind="stable")
    tops = 100 * (1 - np.cumsum(prob_NK[:, order], 1))
    for k, shape in enumerate(shapes):
        np.testing.assert_allclose(shape[[0, 2], 1], tops[:, k], atol=0.01)
        np.testing.assert_array_equal(shape[:4, 0], [0, 1, 1, 2])
    (chart,) = figure.of("svg")
    assert chart["aria-label"] == "Genre over time: a from 0:00, c from 0:02, to 0:04"


def test_tags_are_lines_and_too_many_classes_are_others():
    names = [f"tag{k}" for k in range(11)]
    prob_NK = np.random.default_rng(0).dirichlet(np.ones(11), 5)
    lines = Parsed(timeline(steps(prob_NK, names), True, np.ones(99, np.int16), RATE))
    assert [path["fill"] for path in lines.of("path")] == ["none"] * 8
    layers = Parsed(timeline(steps(prob_NK, names), False, np.ones(99, np.int16), RATE))
    assert len(layers.of("path")) == 9
    np.testing.assert_allclose(corners(layers.of("path")[-1]["d"])[:10, 1], 0, atol=0.01)


CLASSES = ("funk", "jazz", "rock")


@pytest.mark.parametrize(
    ("ours", "theirs", "similarity", "said"),
    [
        ([0.6, 0.3, 0.1], [0.5, 0.2, 0.3], 0.9, ["both funk", "both jazz"]),
        ([0.9, 0.05, 0.05], [0.1, 0.8, 0.1], 0.9, ["but funk differs (90% here, 10% there)"]),
        ([0.8, 0.1, 0.1], [0.8, 0.1, 0.1], 0.99999, ["very likely the same", "both funk"]),
        ([0.35, 0.33, 0.32], [0.1, 0.1, 0.1], 0.5, ["sounds alike in what no genre names"]),
    ],
)
def test_reasons(ours, theirs, similarity, said):
    found = reasons(CLASSES, np.array(ours), np.array(theirs), similarity)
    assert len(found) == len(said)
    assert all(text.startswith(start) for text, start in zip(found, said, strict=True))
