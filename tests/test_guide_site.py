"""The guide as a site: built strictly and without a network, and looked at in a browser."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.guide import DOCS, PAGES, ROOT

NOWHERE = "http://127.0.0.1:9"  # nobody listens there
SIZES = {"wide": (1280, 900), "narrow": (390, 844)}
PLAYER = "learn/mel-cqt-mfcc-chroma.html"


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site."""
    folder = tmp_path_factory.mktemp("site")
    proxies = dict.fromkeys(("http_proxy", "https_proxy", "all_proxy"), NOWHERE)
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    env = {**os.environ, **proxies, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    said = done.stdout + done.stderr
    assert "WARNING" not in said and "Doc file" not in said, said
    return folder


@pytest.fixture(scope="module")
def address(site: Path) -> Iterator[str]:
    """Where the site is served."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=site))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()


@dataclass
class Looked:
    page: Page
    said: list[str]  # errors, and requests to other machines


@pytest.fixture(params=list(SIZES))
def looked(browser: Browser, address: str, request: pytest.FixtureRequest) -> Iterator[Looked]:
    width, height = SIZES[request.param]
    page = browser.new_context(viewport={"width": width, "height": height}).new_page()
    said: list[str] = []
    page.on("console", lambda m: said.append(m.text) if m.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: said.append(str(error)))
    ours = (address, "data:", "blob:")
    page.on("request", lambda r: None if r.url.startswith(ours) else said.append(r.url))
    page.goto(address)
    yield Looked(page, said)
    assert said == []
    page.context.close()


def fits(page: Page) -> bool:
    """Whether nothing is wider than the window."""
    return bool(page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"))


def test_every_page_is_built(site: Path) -> None:
    names = [str(page.relative_to(DOCS).with_suffix(".html")) for page in PAGES]
    for name in [*names, "first-hour.html"]:
        assert (site / name).is_file(), name
    assert (site / "first-hour.ipynb").is_file()
    assert not list(site.rglob("*.py"))


def test_pages_name_no_other_host_as_a_source(site: Path) -> None:
    for file in site.rglob("*.html"):
        for part in file.read_text("utf-8").split("<")[1:]:
            tag = part.partition(">")[0]
            if tag.startswith(("script", "link", "img", "audio", "iframe")):
                assert "//" not in tag.replace("http://www.w3.org", ""), f"{file.name}: <{tag}>"


def test_the_reference_has_its_names(site: Path) -> None:
    text = (site / "reference.html").read_text("utf-8")
    for name in ("zoo.create_model", "zoo.model.GenreModel.embed", "zoo.inference.hear"):
        assert f'id="{name}"' in text


def test_the_start_shows_its_picture_and_finds(looked: Looked) -> None:
    page = looked.page
    expect(page.locator("h1")).to_contain_text("Genre Zoo")
    picture = page.locator("article img").first
    picture.scroll_into_view_if_needed()
    assert picture.evaluate("image => image.complete && image.naturalWidth") > 0
    assert fits(page)
    if page.viewport_size and page.viewport_size["width"] < 600:
        page.locator("label[for=__search].md-header__button").click()
    page.locator("input.md-search__input").press_sequentially("chroma", delay=50)
    expect(page.locator(".md-search-result__item").first).to_be_visible()


def test_a_player_plays(looked: Looked, address: str) -> None:
    page = looked.page
    page.goto(address + PLAYER)
    assert fits(page)
    players = page.locator("audio")
    assert players.count() == 5
    for player in players.all():
        player.evaluate("player => { player.muted = true; return player.play(); }")
        page.wait_for_function("p => p.currentTime > 0.1", arg=player.element_handle())
        assert player.evaluate("player => player.duration") == pytest.approx(5, abs=0.2)
