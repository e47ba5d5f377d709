"""The page of `python -m zoo.serve` in a real headless Chromium."""

import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import soundfile
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from servers import Server, served
from trained import GENRES, RATE, sound, train, write_library
from zoo import create_model

EVIL = "<img src=x onerror=alert(1)>{{7*7}}${7*7}"
PLAYING = "audio => audio.currentTime > 0.2"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model, a library in which a title is not a title, and another model."""
    made = tmp_path_factory.mktemp("page")
    write_library(made / "music", seconds=2)
    with soundfile.SoundFile(made / "music/tone/evil.flac", "w", RATE, 1) as file:
        file.artist, file.title = EVIL, EVIL
        file.write(sound("tone", 2, seed=5))
    train(made)
    command = ["zoo.embed", "run", "music", "--out", "emb.parquet"]
    subprocess.run([sys.executable, "-m", *command], cwd=made, check=True, capture_output=True)
    other = create_model("fcn", num_classes=12, overrides=["clip_seconds=2"])
    other.save_pretrained(made / "other")
    (made / "board").mkdir()
    (made / "board/index.html").write_text("<h1>The leaderboard</h1>")
    return made


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[Server]:
    options = ("--library", "emb.parquet", "--leaderboard", "board", "--minutes", "0.5")
    with served(folder, "run", "other", *options) as server:
        yield server


@dataclass
class Opened:
    page: Page
    said: list[str]  # errors, and requests to other machines

    def upload(self, file: Path) -> None:
        self.page.set_input_files("#song input[type=file]", file)

    def tab(self, name: str) -> None:
        tab = self.page.get_by_role("tab", name=name)
        if not tab.is_visible():  # there is no room for it
            self.page.get_by_role("button", name="More tabs").click()
            tab = self.page.get_by_role("button", name=name)
        tab.click()


@pytest.fixture
def opened(browser: Browser, server: Server, request: pytest.FixtureRequest) -> Iterator[Opened]:
    context = browser.new_context(**getattr(request, "param", {}))
    page, said = context.new_page(), []
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("console", lambda line: said.append(line.text) if line.type == "error" else None)
    page.on("dialog", lambda dialog: said.append(dialog.message))
    ours = urlsplit(server.url).netloc
    page.on("request", lambda r: said.append(r.url) if _is_elsewhere(r.url, ours) else None)
    page.goto(server.url)
    page.get_by_role("tab", name="Classify").wait_for()
    yield Opened(page, said)
    assert said == []
    context.close()


def _is_elsewhere(url: str, ours: str) -> bool:
    return urlsplit(url).scheme not in ("data", "blob") and urlsplit(url).netloc != ours


@pytest.fixture
def song(tmp_path: Path) -> Path:
    soundfile.write(tmp_path / "song.wav", sound("hiss", 6, seed=3, rate=44_100), 44_100)
    return tmp_path / "song.wav"


def test_a_song_is_classified_and_its_player_moves_the_cursor(opened, server, song):
    said = server.post("/v1/classify", song).json()
    page = opened.page
    opened.upload(song)
    expect(page.locator("#genres .genre")).to_have_text(said["genre"], timeout=20_000)
    expect(page.locator("#genres .bars li")).to_have_count(len(GENRES))
    expect(page.locator("#genres .bars .name").first).to_have_text(said["genre"])
    chart = page.get_by_role("img", name="Genre over time")
    expect(chart).to_be_visible()
    assert chart.locator("path").count() == len(GENRES)
    spectrogram = page.locator(".timeline img")
    assert spectrogram.evaluate("image => image.naturalWidth") > 100
    above, below = chart.bounding_box(), spectrogram.bounding_box()
    assert above["x"] == below["x"] and above["width"] == below["width"]
    assert above["y"] + above["height"] <= below["y"]

    player = page.locator("#song audio")
    assert player.evaluate("audio => audio.duration") == pytest.approx(6, abs=0.1)
    player.evaluate("audio => { audio.muted = true; audio.play() }")
    page.wait_for_function(PLAYING, arg=player.element_handle())
    expect(page.locator(".timeline .cursor")).to_be_visible()
    player.evaluate("audio => audio.pause()")
    page.locator(".timeline .plot").click(position={"x": 0.75 * above["width"], "y": 20})
    assert player.evaluate("audio => audio.currentTime") == pytest.approx(4.5, abs=0.1)
    cursor = page.locator(".timeline .cursor").bounding_box()
    assert cursor["x"] == pytest.approx(above["x"] + 0.75 * above["width"], abs=4)


def test_another_model_is_asked(opened, song):
    opened.upload(song)
    expect(opened.page.locator("#genres .bars li")).to_have_count(len(GENRES), timeout=20_000)
    opened.page.get_by_label("Model").click()
    opened.page.get_by_role("option", name="fcn").click()
    expect(opened.page.locator("#genres .bars li")).to_have_count(8, timeout=20_000)
    expect(opened.page.locator(".legend li")).to_have_count(9)
    expect(opened.page.locator(".legend li").last).to_contain_text("others")


def test_a_neighbour_is_played(opened, server, folder):
    file = folder / "music/tone/evil.flac"
    opened.upload(file)
    opened.tab("Similar")
    first = opened.page.locator(".neighbours li").first
    expect(first.locator("strong")).to_have_text(f"{EVIL} \u2013 {EVIL}", timeout=20_000)
    expect(opened.page.locator(".neighbours li")).to_have_count(10)
    expect(first.locator(".reasons")).to_contain_text("very likely the same recording")
    player = first.locator("audio")
    player.evaluate("audio => { audio.muted = true; return audio.play() }")
    opened.page.wait_for_function(PLAYING, arg=player.element_handle())


def test_models_are_compared(opened, song):
    opened.upload(song)
    expect(opened.page.locator("#genres .genre")).to_be_visible(timeout=20_000)
    opened.tab("Compare")
    expect(opened.page.locator(".compared section")).to_have_count(2, timeout=20_000)
    names = opened.page.locator(".compared h2").all_text_contents()
    assert names == ["linear", "fcn"]
    left, right = (part.bounding_box() for part in opened.page.locator(".compared section").all())
    assert left["y"] == right["y"] and left["x"] < right["x"]


def test_no_answer_is_shown_for_another_song(opened, server, song, folder):
    opened.upload(song)
    expect(opened.page.locator("#genres .genre")).to_be_visible(timeout=20_000)
    opened.tab("Similar")
    first = opened.page.locator(".neighbours li").first
    expect(first).to_be_visible(timeout=20_000)
    opened.page.get_by_label("Clear").click()
    expect(opened.page.locator("#similar")).to_have_text("Choose a song above.")
    opened.page.wait_for_timeout(500)  # the field for files is another one now
    opened.upload(folder / "music/bass/02.flac")
    expect(first.locator("strong")).to_have_text("artist2 \u2013 bass 2", timeout=20_000)
    opened.tab("Classify")
    said = server.post("/v1/classify", folder / "music/bass/02.flac").json()
    expect(opened.page.locator("#genres .genre")).to_have_text(said["genre"])


def test_the_leaderboard_is_shown(opened):
    opened.tab("Leaderboard")
    board = opened.page.frame_locator("iframe.leaderboard")
    expect(board.get_by_role("heading", name="The leaderboard")).to_be_visible()


@pytest.mark.parametrize("content", [b"this is text", b""])
def test_a_file_that_cannot_be_heard(opened, tmp_path, content):
    (tmp_path / "<b>bad.wav").write_bytes(content)
    opened.upload(tmp_path / "<b>bad.wav")
    message = opened.page.get_by_test_id("toast-body")
    expect(message).to_contain_text("bad.wav", timeout=20_000)
    opened.said[:] = [
        line for line in opened.said if "416" not in line
    ]  # of an empty file's player


def test_a_song_that_is_too_long(opened, tmp_path):
    soundfile.write(tmp_path / "long.wav", sound("hiss", 31, seed=1, rate=8000), 8000)
    opened.upload(tmp_path / "long.wav")
    message = opened.page.get_by_test_id("toast-body")
    expect(message).to_contain_text("announces more than 0.5 min", timeout=20_000)


def test_what_the_microphone_hears(opened):
    opened.page.context.grant_permissions(["microphone"])
    opened.page.get_by_label("Record audio").click()
    opened.page.get_by_role("button", name="Record", exact=True).click()
    opened.page.wait_for_timeout(2500)
    opened.page.get_by_role("button", name="Stop").click()
    expect(opened.page.locator("#genres .genre")).to_be_visible(timeout=20_000)


NARROW: dict[str, Any] = {"viewport": {"width": 360, "height": 740}, "color_scheme": "dark"}


@pytest.mark.parametrize("opened", [NARROW], indirect=True)
def test_a_narrow_page_does_not_run_over(opened, song):
    opened.upload(song)
    expect(opened.page.locator(".timeline")).to_be_visible(timeout=20_000)
    for tab in ("Classify", "Similar", "Compare"):
        opened.tab(tab)
        opened.page.wait_for_timeout(1000)
        width = opened.page.evaluate("document.documentElement.scrollWidth")
        assert width <= 360, tab


def test_our_part_of_the_page_is_accessible(opened, song):
    opened.upload(song)
    expect(opened.page.locator(".timeline")).to_be_visible(timeout=20_000)
    found = Axe().run(opened.page, context="#genres").response["violations"]
    assert [(rule["id"], rule["help"]) for rule in found] == []


def test_an_open_page_does_not_hold_up_the_end(browser, folder, song):
    with served(folder, "run") as server:
        page = browser.new_page()
        page.goto(server.url)
        page.set_input_files("#song input[type=file]", song)
        expect(page.locator(".timeline")).to_be_visible(timeout=20_000)
        began = time.monotonic()
        assert server.stop() == 0
        assert time.monotonic() - began < 10
        page.close()
    assert not (folder / "server.log").read_text()
