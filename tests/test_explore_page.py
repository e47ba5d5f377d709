"""The page of `zoo.explore` in a real headless Chromium, opened from disk."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import soundfile
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from trained import GENRES, sound, train, write_library
from zoo import explore
from zoo.models import frontends

EVIL = "<img src=x onerror=alert(1)>{{7*7}}"
NARROW: dict[str, Any] = {"viewport": {"width": 360, "height": 740}}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("explore_page")
    write_library(made / "music", seconds=3)
    train(made)
    return made


@pytest.fixture(scope="module")
def file(folder: Path) -> Path:
    """A page with all sections: several labels, evil names, a file that is gone, and a run."""
    rows = [
        (f"music/{genre}/{i:02d}.flac", f"{genre}|{'odd' if i % 2 else EVIL}", f"artist{i % 4}")
        for genre in GENRES
        for i in range(12)
    ]
    soundfile.write(folder / f"{EVIL}.wav", sound("tone", 3, seed=5), 16_000)
    rows += [(f"{EVIL}.wav", f"hiss|{EVIL}", EVIL), ("gone.wav", "hiss", "artist1")]
    table = pd.DataFrame(rows, columns=["path", "label", "artist"])
    table.to_csv(folder / "tags.csv", index=False)
    out = folder / "page.html"
    data = ("dataset=manifest", f"dataset.path={folder / 'tags.csv'}")
    with contextlib.chdir(folder):  # the run's path is relative
        explore.main([*data, f"--out={out}", "--against=run"])
    return out


@dataclass
class Opened:
    page: Page
    said: list[str]  # errors, warnings, dialogs, and requests to a network

    def scroll(self) -> None:
        """Go through the page, so that every chart is drawn."""
        for chart in self.page.locator(".chart").all():
            chart.scroll_into_view_if_needed()
            expect(chart.locator("svg")).to_be_visible(timeout=15_000)


@pytest.fixture
def opened(browser: Browser, file: Path, request: pytest.FixtureRequest) -> Iterator[Opened]:
    page = browser.new_context(**getattr(request, "param", {})).new_page()
    said: list[str] = []
    page.on("console", lambda m: said.append(m.text) if m.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("dialog", lambda dialog: said.append(dialog.message))
    local = ("data:", "blob:", file.as_uri())
    page.on("request", lambda r: None if r.url.startswith(local) else said.append(r.url))
    page.goto(file.as_uri())
    page.wait_for_selector("html[data-ready]")
    yield Opened(page, said)
    assert said == []
    page.context.close()


def test_every_chart_is_drawn(opened: Opened) -> None:
    opened.scroll()
    names = {c.get_attribute("data-chart") for c in opened.page.locator(".chart").all()}
    wanted = {"balance", "together", "artists", "loudness", "tempo-by-class", "keys", "spectra"}
    assert wanted | {"map", "sure", "against-bandwidth"} <= names
    widths = opened.page.evaluate(
        "[...document.querySelectorAll('.chart svg')].map(svg => svg.clientWidth)"
    )
    assert min(widths) > 200


def test_axes_have_titles_with_units(opened: Opened) -> None:
    opened.scroll()
    for name, title in {
        "loudness": "loudness, LUFS",
        "bandwidth": "bandwidth, kHz",
        "spectra": "frequency, Hz",
        "tempo": "tempo, beats/min",
    }.items():
        chart = opened.page.locator(f".chart[data-chart={name}]")
        expect(chart.locator("text", has_text=title).first).to_be_visible()


def test_contents_lead_to_every_section(opened: Opened) -> None:
    links = opened.page.locator("nav a").all()
    sections = [s.get_attribute("id") for s in opened.page.locator("main section").all()]
    assert [link.get_attribute("href") for link in links] == [f"#{s}" for s in sections]


def test_an_example_of_each_class_plays(opened: Opened) -> None:
    articles = opened.page.locator("#examples article")
    expect(articles).to_have_count(len(GENRES) + 2)
    player = articles.first.locator("audio")
    player.scroll_into_view_if_needed()
    player.evaluate("audio => { audio.muted = true; return audio.play() }")
    opened.page.wait_for_function(
        "document.querySelector('#examples audio').currentTime > 0.2", timeout=10_000
    )
    assert player.evaluate("audio => audio.duration") == pytest.approx(3, abs=0.2)


def test_each_front_end_is_shown(opened: Opened) -> None:
    pictures = opened.page.locator("#examples article").first.locator("img")
    shown = [picture.get_attribute("alt").split()[0] for picture in pictures.all()]
    assert shown == list(frontends("spectrogram"))
    for picture in pictures.all():
        picture.scroll_into_view_if_needed()
        assert picture.evaluate("image => image.decode().then(() => image.naturalWidth)") > 20


def test_a_dot_of_the_map_plays(opened: Opened) -> None:
    chart = opened.page.locator(".chart[data-chart=map]")
    chart.scroll_into_view_if_needed()
    dot = chart.locator(".mark-symbol.role-mark path[stroke='#1c2127']").first
    expect(dot).to_be_visible(timeout=15_000)
    dot.click(force=True)
    expect(opened.page.locator(".playing")).not_to_be_empty()
    opened.page.wait_for_function(
        "[...document.querySelectorAll('audio')].some(audio => audio.currentTime > 0.2)"
    )


def test_names_of_files_are_only_text(opened: Opened) -> None:
    opened.scroll()
    assert opened.page.locator("img[src=x]").count() == 0
    assert opened.page.get_by_text(f"{EVIL}.wav").count() >= 1
    expect(opened.page.locator("#failed tbody tr")).to_have_count(1)


@pytest.mark.parametrize("opened", [NARROW], indirect=True)
def test_a_narrow_page_does_not_run_over(opened: Opened) -> None:
    opened.scroll()
    assert opened.page.evaluate("document.documentElement.scrollWidth") <= 360


def test_the_page_is_accessible(opened: Opened) -> None:
    opened.scroll()
    found = Axe().run(opened.page).response["violations"]
    assert [(rule["id"], rule["help"], rule["nodes"][:2]) for rule in found] == []
