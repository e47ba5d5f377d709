"""The page, by Gradio: a song above, and what is made of it in tabs.

Its environment is set before this is imported (`zoo.serving.application`).
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from html import escape
from pathlib import Path

import gradio as gr
from fastapi import FastAPI
from gradio.components import Component

from zoo.serving.limits import Refused
from zoo.serving.paths import is_upload
from zoo.serving.replies import classified, in_steps, neighbour
from zoo.serving.service import Sent, Service
from zoo.serving.shown import bars, compared, neighbours
from zoo.serving.timeline import timeline

NEIGHBOURS = 10
KEPT_SECONDS = 900  # of an upload, for its player
FONTS = ["system-ui", "sans-serif"]  # those of whose machine it is
PARTS = Path(__file__).parent

LEADERBOARD = '<iframe class="leaderboard" src="leaderboard" title="Leaderboard"></iframe>'
FOOT = '<p class="foot"><a href="docs">The same for programs: the API</a></p>'
NO_SONG = "<p>Choose a song above.</p>"
NO_LIBRARY = """\
This server has no library. Make one with `python -m zoo.embed MODEL FOLDER --out emb.parquet`, and
start it with `--library emb.parquet`."""
ONE_MODEL = "This server has one model; start it with several: `python -m zoo.serve MODEL MODEL`."
NO_LEADERBOARD = """\
This server has no leaderboard. Make one with `python -m leaderboard build`, and start it with
`--leaderboard DIR`."""


class Page:
    """What the page does with a song; `song` is where Gradio keeps it, None before there is one."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def classify(self, song: str | None, name: str) -> str:
        """Return genres as bars, and over time."""
        if song is None:
            return ""
        with self._asked():
            model = self._service.model(name)
            about = model.runner.about
            decoded = await self._service.decode(self._sent(song), about.sample_rate)
            whole = classified(model, await self._service.hear(model, decoded))
            steps = in_steps(model, *await self._service.hear_over_time(model, decoded))
            drawn = steps, about.multilabel, decoded.samples, about.sample_rate
            return bars(whole) + await asyncio.to_thread(timeline, *drawn)

    async def similar(self, song: str | None) -> str:
        """Return tracks of the library, with players and reasons."""
        if song is None:
            return NO_SONG
        with self._asked():
            _, found = await self._service.similar(self._sent(song), NEIGHBOURS)
        return neighbours(list(map(neighbour, found)))

    async def compare(self, song: str | None) -> str:
        """Return what each model says, side by side."""
        if song is None:
            return NO_SONG
        with self._asked():
            heard = await self._service.compare(self._sent(song))
        return compared([classified(model, one) for model, one in heard])

    def _sent(self, song: str) -> Sent:
        assert is_upload(song, self._service.uploads)
        return Sent(Path(song), Path(song).name)

    @contextmanager
    def _asked(self) -> Iterator[None]:
        try:
            with self._service.admitted():
                yield
        except Refused as refused:
            sentence = escape(refused.detail)
            raise gr.Error(sentence, duration=None, print_exception=False) from refused


def add_page(api: FastAPI, service: Service, has_board: bool) -> FastAPI:
    """Return the application with a page at its root."""
    limits = service.limits
    blocks = gr.Blocks(title="Genre Zoo", analytics_enabled=False, delete_cache=(60, KEPT_SECONDS))
    with blocks:
        _lay_out(Page(service), service, has_board)
    blocks.has_launched = True  # or Gradio looks at no path, as `zoo.serving.paths` does as well
    blocks.queue(max_size=limits.queue, default_concurrency_limit=limits.queue)
    return gr.mount_gradio_app(
        api,
        blocks,
        path="/",
        footer_links=[],
        run_history=False,
        enable_monitoring=False,
        mcp_server=False,
        pwa=False,
        ssr_mode=False,
        max_file_size=limits.num_bytes,
        theme=gr.themes.Default(font=FONTS, font_mono=["monospace"]),
        css_paths=PARTS / "page.css",
        js=(PARTS / "page.js").read_text("utf-8"),
    )


def _lay_out(page: Page, service: Service, has_board: bool) -> None:
    names, limits = list(service.models), service.limits
    gr.Markdown("# What does this song sound like?")
    song = gr.Audio(
        label=f"A song of up to {limits.minutes:g} minutes and {limits.megabytes:g} MB",
        sources=["upload", "microphone"],
        type="filepath",
        editable=False,
        buttons=[],
        waveform_options=gr.WaveformOptions(show_recording_waveform=False),  # a plain player
        elem_id="song",
    )
    with gr.Tab("Classify"):
        name = gr.Dropdown(names, value=names[0], label="Model", visible=len(names) > 1)
        genres = gr.HTML(elem_id="genres")
        _on(song.change, page.classify, [song, name], genres)
        _on(name.input, page.classify, [song, name], genres)
    with gr.Tab("Similar") as similar:
        if service.shelf:
            _on(similar.select, page.similar, [song], gr.HTML(elem_id="similar"))
        else:
            gr.Markdown(NO_LIBRARY)
    with gr.Tab("Compare") as compare:
        if len(names) > 1:
            _on(compare.select, page.compare, [song], gr.HTML(elem_id="compared"))
        else:
            gr.Markdown(ONE_MODEL)
    with gr.Tab("Leaderboard"):
        if has_board:
            gr.HTML(LEADERBOARD)
        else:
            gr.Markdown(NO_LEADERBOARD)
    gr.HTML(FOOT)


def _on(
    event: Callable[..., object],
    do: Callable[..., Awaitable[str]],
    inputs: list[Component],
    output: Component,
) -> None:
    event(do, inputs, output, api_visibility="private", show_progress="minimal")
