"""The leaderboard's page in a real headless Chromium, opened from disk."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Locator, Page, expect

from benchmarks.comparing import compare_checkpoints
from benchmarks.price import cheapest, price_of
from leaderboard import page as pages
from leaderboard import panels
from leaderboard.board import Board, Section, read_board
from leaderboard.literature import read_literature
from leaderboard.protocols import RESULTS
from tests.runs import make_run

MANY = 2000
LIMIT = 2.0  # seconds
SEEDS = range(3)


@pytest.fixture(scope="module")
def board() -> Board:
    return read_board(RESULTS)


@pytest.fixture(scope="module")
def index() -> Path:
    """The project's own page; `test_kept.py` tests that it is what `build` makes of the board."""
    return RESULTS.parent / "index.html"


@dataclass
class Opened:
    page: Page
    said: list[str]  # errors, warnings, and requests to a network

    def all_sections(self) -> None:
        """Scroll through the page, so that every chart is drawn."""
        for chart in self.page.locator("main .chart").all():
            chart.scroll_into_view_if_needed()
            drawn(chart)


def drawn(chart: Locator) -> Locator:
    expect(chart.locator("svg")).to_be_visible(timeout=15_000)
    return chart


def open_page(browser: Browser, file: Path, **context: Any) -> Opened:
    page = browser.new_context(**context).new_page()
    said: list[str] = []
    page.on("console", lambda m: said.append(m.text) if m.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: said.append(str(error)))
    local = ("file:", "data:", "blob:")
    page.on("request", lambda r: None if r.url.startswith(local) else said.append(r.url))
    page.goto(file.as_uri())
    page.wait_for_selector("html[data-ready]")
    return Opened(page, said)


@pytest.fixture
def opened(browser: Browser, index: Path) -> Iterator[Opened]:
    opened = open_page(browser, index)
    yield opened
    assert opened.said == []
    opened.page.context.close()


def first_section(opened: Opened) -> Locator:
    return opened.page.locator("section.protocol").first


def names(section: Locator) -> list[str]:
    """Return the models of the visible rows."""
    return section.locator(".ranking tbody tr:visible .open").all_inner_texts()


def test_every_chart_is_drawn_without_a_network_or_an_error(opened: Opened) -> None:
    opened.all_sections()
    assert opened.page.locator("main .chart").count() >= 5


def test_rows_are_those_of_the_board_in_its_order(opened: Opened, board: Board) -> None:
    for section, rows in zip(
        board.sections, opened.page.locator("section.protocol").all(), strict=True
    ):
        assert names(rows) == section.rows["name"].tolist()
        notices = rows.locator("> .notice").all_inner_texts()
        assert notices == (
            [] if section.is_real else ["Sanity check: says nothing about real music."]
        )


def test_the_page_alone_answers_what_people_ask(opened: Opened, board: Board) -> None:
    section, one = first_section(opened), board.sections[0]
    answer = section.locator(".answer").inner_text()  # what should I run on a CPU?
    tied = [one.entries[i] for i in one.shown.tied]
    chosen = tied[cheapest([price_of(entry.runs) for entry in tied])]
    assert f"Take {chosen.name}, which of these costs least" in answer
    assert "a million tracks of 30 s take" in answer and "(cpu, 1 thread)" in answer
    confused = section.locator("p", has_text="confuses most often").inner_text()
    assert confused.startswith(one.entries[one.shown.tied[0]].name)


def test_sorts_by_mouse_and_by_keyboard(opened: Opened, board: Board) -> None:
    section, rows = first_section(opened), board.sections[0].rows
    head = section.locator("th", has_text="parameters").first
    head.locator("button").click()
    assert head.get_attribute("aria-sort") == "ascending"
    by_size = rows.sort_values("parameters", kind="stable")["name"].tolist()
    assert names(section) == by_size
    head.locator("button").press("Enter")
    assert head.get_attribute("aria-sort") == "descending"
    assert names(section)[0] == by_size[-1]
    section.locator("th", has_text="model").first.locator("button").click()
    assert [n.lower() for n in names(section)] == sorted(n.lower() for n in rows["name"])


def test_filters_rows_and_their_charts(opened: Opened, board: Board) -> None:
    section, rows = first_section(opened), board.sections[0].rows
    cnns = rows[rows["kind"] == "CNN"]
    section.get_by_label("Kind").select_option("CNN")
    assert names(section) == cnns["name"].tolist()
    expect(section.locator(".count")).to_have_text(f"{len(cnns)} of {len(rows)} rows")
    section.get_by_label("Pretrained").select_option("no")
    left = cnns[~cnns["pretrained"]]
    assert names(section) == left["name"].tolist()
    chart = section.locator("[data-chart=cost]")
    chart.scroll_into_view_if_needed()
    drawn(chart)
    points = chart.locator("svg g.mark-symbol.role-mark path")
    expect(points).to_have_count(int(left["million_hours"].notna().sum()))
    section.get_by_label("Search").fill("no such model")
    expect(section.locator(".count")).to_have_text(f"0 of {len(rows)} rows")
    section.get_by_label("Search").fill("")
    section.locator("[name=parameters]").select_option("up to 1 million")
    assert names(section) == left[left["parameters"] <= 1e6]["name"].tolist()


def test_a_row_opens_by_keyboard_and_closes_by_escape(opened: Opened, board: Board) -> None:
    section, entry = first_section(opened), board.sections[0].entries[0]
    button = section.locator(".open").first
    button.press("Enter")
    dialog = opened.page.locator("dialog#row")
    expect(dialog).to_be_visible()
    assert dialog.locator("h2").inner_text() == entry.name
    assert "python -m zoo.train model=" in dialog.locator("pre").first.inner_text()
    drawn(dialog.locator(".chart").first)
    genres = dialog.locator("table").first.locator("tbody th").all_inner_texts()
    assert genres == entry.runs[0].result.protocol.classes
    opened.page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    assert button.evaluate("button => button === document.activeElement")


def test_two_models_track_by_track(opened: Opened, board: Board) -> None:
    section, one = first_section(opened), board.sections[0]
    first, last = 0, len(one.entries) - 1
    section.locator(".compare [name=a]").select_option(str(last))
    section.locator(".compare [name=b]").select_option(str(first))
    said = section.locator(".verdict").inner_text()
    a, b = one.entries[last], one.entries[first]
    right = compare_checkpoints(a.values[0], b.values[0], a.units)
    assert f"A right and B wrong {right.a_only}, B right and A wrong {right.b_only}" in said
    assert f"A less B {right.difference:+.3f}" in said and f"p = {right.p_value:.3f}" in said
    assert one.ranked is not None
    claim = one.ranked.comparisons[first, last]
    assert f"A less B {-claim.difference:+.3f}" in said
    assert f"{-claim.high:+.3f} to {-claim.low:+.3f}" in said
    section.locator(".verdict summary").click()
    shown = section.locator(".verdict tbody tr").count()
    apart = (a.values.mean(0) != b.values.mean(0)).sum()
    assert shown == min(apart, 200)
    section.locator(".compare [name=b]").select_option(str(last))
    assert section.locator(".verdict").inner_text() == "Choose two models."


@pytest.mark.parametrize(("width", "scheme"), [(1400, "light"), (390, "dark")])
def test_wide_and_narrow_light_and_dark(
    browser: Browser, index: Path, width: int, scheme: Any
) -> None:
    viewport: Any = {"width": width, "height": 844}
    opened = open_page(browser, index, viewport=viewport, color_scheme=scheme)
    page = opened.page
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    red, *_ = page.evaluate(
        "getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)"
    )
    assert (red > 128) == (scheme == "light")
    opened.all_sections()
    found = Axe().run(page)  # names, roles, contrast, order of headings, ...
    assert found.violations_count == 0, found.generate_report()
    first_section(opened).locator(".open").first.click()
    drawn(page.locator("dialog .chart").first)
    found = Axe().run(page, "dialog")
    assert found.violations_count == 0, found.generate_report()
    assert opened.said == []
    page.context.close()


HOSTILE = (
    "<img src=x onerror='window.hacked = 1'></script><script>window.hacked = 1</script>{{7*7}}"
)


def test_markup_in_names_is_shown_as_text(browser: Browser, tmp_path: Path) -> None:
    for seed in SEEDS:
        for model, skill in [(HOSTILE, 0.6), ("plain", 0.1)]:
            run = make_run(
                tmp_path / "runs" / f"{skill}{seed}", seed, model, skill=skill, dataset=HOSTILE
            )
            scores = pd.read_parquet(run / "scores.parquet")
            assert len(scores)
    file = tmp_path / "index.html"
    file.write_text(pages.render(read_board(tmp_path / "runs")), "utf-8")
    opened = open_page(browser, file)
    section = first_section(opened)
    assert names(section) == [HOSTILE, "plain"]
    assert section.locator("h2").inner_text() == f"{HOSTILE}, split given, 90 test tracks"
    section.locator(".open").first.click()
    assert opened.page.locator("dialog h2").inner_text() == HOSTILE
    opened.page.keyboard.press("Escape")
    opened.all_sections()
    assert opened.page.evaluate("window.hacked") is None
    assert opened.page.locator("img").count() == 0 and opened.said == []
    opened.page.context.close()


def test_figures_of_others_are_grey_and_never_ranked(browser: Browser, tmp_path: Path) -> None:
    for seed in SEEDS:
        for model, skill in [("good", 0.9), ("bad", 0.2)]:
            make_run(tmp_path / "runs" / f"{model}{seed}", seed, model, skill=skill)
    file = tmp_path / "index.html"
    file.write_text(pages.render(read_board(tmp_path / "runs")), "utf-8")
    opened = open_page(browser, file)
    section = first_section(opened)
    figures = [f for f in read_literature() if (f.dataset, f.metric) == ("gtzan", "accuracy")]
    rows = section.locator(".ranking .literature tr")
    assert rows.count() == len(figures) > 0
    assert rows.first.locator("td").first.inner_text() == ""
    assert rows.first.locator("a").get_attribute("href") == figures[0].url
    grey = "element => getComputedStyle(element.closest('tr')).color"
    measured = section.locator("[data-row] td").first.evaluate(grey)
    assert rows.first.locator("td").first.evaluate(grey) != measured
    section.locator("th", has_text="accuracy").first.locator("button").click()
    assert section.locator(".ranking tr").last.locator("th").inner_text() == figures[-1].model
    opened.page.context.close()


def test_data_efficiency_joins_what_differs_in_the_share_alone(
    browser: Browser, tmp_path: Path
) -> None:
    shares = {0.1: 0.2, 0.5: 0.5, None: 0.9}
    for share, skill in shares.items():
        for epochs in (3, 30) if share is None else (3,):
            config = {"epochs": epochs, "dataset": {"fold": None, "share": share}}
            learned = f"{share} of training"
            folder = tmp_path / "runs" / f"{share} {epochs}"
            skill = 0.7 if epochs > 3 else skill
            make_run(folder, skill=skill, config=config, train_fingerprint=learned, split=learned)
    board = read_board(tmp_path / "runs")
    (curve,) = panels.efficiency(board.sections)
    assert [point["x"] for point in curve["points"]] == ["10%", "50%", "100%"]
    means = {s.rows["mean"].iloc[i] for s in board.sections for i in range(len(s.rows))}
    assert {point["y"] for point in curve["points"]} < {round(mean, 4) for mean in means}
    file = tmp_path / "index.html"
    file.write_text(pages.render(board), "utf-8")
    opened = open_page(browser, file)
    opened.all_sections()
    points = opened.page.locator("#efficiency svg g.mark-symbol.role-mark path")
    expect(points).to_have_count(3)
    titles = opened.page.locator("section.protocol h2").all_inner_texts()
    assert len(set(titles)) == len(titles) == 3
    assert opened.said == []
    opened.page.context.close()


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page of 2,000 rows: real runs, each of whose rows stands there many times."""
    folder = tmp_path_factory.mktemp("many")
    for model, skill in {"a": 0.3, "b": 0.5, "c": 0.7, "d": 0.9}.items():
        for seed in SEEDS:
            make_run(folder / "runs" / f"{model}{seed}", seed, model, skill=skill)
    (section,) = read_board(folder / "runs").sections
    one, times = section.ranked, MANY // len(section.entries)
    assert one is not None
    entries = [replace(e, name=f"{e.name} {i}") for i in range(times) for e in one.entries]
    ranked = replace(one, entries=tuple(entries), comparisons={}, intervals=one.intervals * times)
    rows = pd.concat([section.rows] * times, ignore_index=True)
    rows = rows.assign(name=[e.name for e in entries], parameters=np.arange(MANY) + 1.0)
    html = render_quickly(Section(ranked, None, rows))
    (folder / "index.html").write_text(html, "utf-8")
    return folder / "index.html"


def render_quickly(section: Section) -> str:
    """Render the page; what is the same for the like rows is computed once."""

    def once(compute: Callable[[Any], Any], key: Callable[[Any], str]) -> Callable[[Any], Any]:
        made: dict[str, Any] = {}

        def get(argument: Any) -> Any:
            if (name := key(argument)) not in made:
                made[name] = compute(argument)
            return made[name]

        return get

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pages, "details", once(pages.details, lambda entry: entry.name[0]))
        runs = once(panels.guesses, lambda pooled: str(pooled.runs[0].folder))
        patch.setattr(panels, "guesses", runs)
        return pages.render(Board((section,), ()))


def test_two_thousand_rows_are_usable_at_once(browser: Browser, many: Path) -> None:
    opened = open_page(browser, many)
    page = opened.page
    opening = page.evaluate("performance.now()") / 1000
    assert page.locator(".ranking [data-row]").count() == MANY
    times = {"opening": opening}
    search = "document.querySelector('[name=search]')"
    actions = {
        "sorting": "document.querySelector('.ranking th:nth-child(7) button').click()",
        "filtering": f"{search}.value = '1'; "
        f"{search}.dispatchEvent(new Event('input', {{bubbles: true}}))",
        "a row": "document.querySelector('.open').click()",
    }
    for name, action in actions.items():
        times[name] = page.evaluate(
            "action => { const start = performance.now(); eval(action); "
            "document.body.offsetHeight; return (performance.now() - start) / 1000 }",
            action,
        )
    assert max(times.values()) < LIMIT, times
    page.keyboard.press("Escape")
    section = first_section(opened)
    section.locator("[name=search]").fill("")
    assert len(names(section)) == pages.MOST_ROWS
    section.locator(".more").click()
    assert len(names(section)) == MANY
    expect(section.locator(".more")).to_be_hidden()
    assert opened.said == []
    page.context.close()
