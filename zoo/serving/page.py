"""The page, by Gradio: a song above, and what is made of it in tabs.

Its environment is set before this is imported (`zoo.serving.application`).
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from html import escape
from pathlib import Path

import gradio as gr
from fastapi import FastAPI, UploadFile
from fastapi.responses import FileResponse, Response
from gradio.components import Component

from zoo.serving.api import played
from zoo.serving.asked import NO_SONG as GONE
from zoo.serving.limits import Refused
from zoo.serving.replies import classified, in_steps, neighbour
from zoo.serving.service import Sent, Service
from zoo.serving.shown import bars, compared, neighbours
from zoo.serving.timeline import timeline

NEIGHBOURS = 10
SESSIONS = 1000  # of browsers, that Gradio keeps
SIMILAR, COMPARE = "Similar", "Compare"
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
    """What the page does with a song; `song` is where it was uploaded to, None before that.

    Similar tracks and comparisons are made for the `tab` that is open alone; the others are empty.
    """

    def __init__(self, service: Service) -> None:
        self._service = service

    async def classify(self, song: str | None, name: str) -> str:
        """Return genres as bars, and over time."""
        if song is None:
            return ""
        async with self._asked():
            model = self._service.model(name)
            about = model.runner.about
            decoded = await self._service.decode(self._sent(song), about.sample_rate)
            whole, steps = await asyncio.gather(
                self._service.hear(model, decoded), self._service.hear_over_time(model, decoded)
            )
            said = in_steps(model, *steps), about.multilabel
            drawn = await asyncio.to_thread(timeline, *said, decoded.samples, about.sample_rate)
            return bars(classified(model, whole)) + drawn

    async def similar(self, song: str | None, tab: str) -> str:
        """Return tracks of the library, with players and reasons."""
        if tab != SIMILAR or song is None:
            return NO_SONG
        async with self._asked():
            _, found = await self._service.similar(self._sent(song), NEIGHBOURS)
        return neighbours(list(map(neighbour, found)))

    async def compare(self, song: str | None, tab: str) -> str:
        """Return what each model says, side by side."""
        if tab != COMPARE or song is None:
            return NO_SONG
        async with self._asked():
            heard = await self._service.compare(self._sent(song))
        return compared([classified(model, one) for model, one in heard])

    def _sent(self, song: str) -> Sent:
        path = self._service.uploads.find(song)
        if path is None:
            raise Refused(404, GONE)
        return Sent(path, path.name)

    @asynccontextmanager
    async def _asked(self) -> AsyncIterator[None]:
        try:
            async with self._service.admitted():
                yield
        except Refused as refused:
            sentence = escape(refused.detail)
            raise gr.Error(sentence, duration=None, print_exception=False) from refused


def add_page(api: FastAPI, service: Service, has_board: bool) -> FastAPI:
    """Return the application with a page at its root."""
    _add_uploads(api, service)
    with gr.Blocks(title="Genre Zoo", analytics_enabled=False) as blocks:
        _lay_out(Page(service), service, has_board)
    service.events |= {number: len(event.inputs) for number, event in blocks.fns.items()}
    blocks.has_launched = True  # or Gradio looks at no path, as `zoo.serving.asked` does as well
    blocks.state_session_capacity = SESSIONS
    blocks.queue(max_size=service.limits.queue, default_concurrency_limit=service.limits.queue)
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
        max_file_size=service.limits.num_bytes,
        theme=gr.themes.Default(font=FONTS, font_mono=["monospace"]),
        css_paths=PARTS / "page.css",
        js=(PARTS / "page.js").read_text("utf-8"),
    )


def _add_uploads(api: FastAPI, service: Service) -> None:
    """Take the places of Gradio's own routes."""
    uploads = service.uploads

    @api.post("/gradio_api/upload", include_in_schema=False)
    async def upload(files: UploadFile) -> list[str]:
        path = await uploads.add(files.file, files.filename or "", files.size or 0)
        return [str(path)]

    @api.get("/gradio_api/upload_progress", include_in_schema=False)
    async def progress() -> Response:
        return Response('data: {"msg": "done"}\n\n', media_type="text/event-stream")

    @api.get("/gradio_api/file={path:path}", include_in_schema=False)
    def song(path: str) -> FileResponse:
        found = uploads.find(path)
        if found is None:
            raise Refused(404, GONE)
        return played(found)


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
    with gr.Tab("Classify") as classify:
        name = gr.Dropdown(names, value=names[0], label="Model", visible=len(names) > 1)
        genres = gr.HTML(elem_id="genres")
    with gr.Tab(SIMILAR) as similar:
        near = gr.HTML(elem_id="similar") if service.shelf else gr.Markdown(NO_LIBRARY)
    with gr.Tab(COMPARE) as compare:
        models = gr.HTML(elem_id="compared") if len(names) > 1 else gr.Markdown(ONE_MODEL)
    with gr.Tab("Leaderboard") as board:
        gr.HTML(LEADERBOARD) if has_board else gr.Markdown(NO_LEADERBOARD)
    gr.HTML(FOOT)

    tab = gr.Textbox("Classify", visible=False)
    for one in (classify, similar, compare, board):
        one.select(None, None, tab, js=f"() => {one.label!r}", api_visibility="private")
    _on([song.change, name.input], page.classify, [song, name], genres)
    if service.shelf:
        _on([song.change, tab.change], page.similar, [song, tab], near)
    if len(names) > 1:
        _on([song.change, tab.change], page.compare, [song, tab], models)


def _on(
    events: list[Callable[..., object]],
    do: Callable[..., Awaitable[str]],
    inputs: list[Component],
    output: Component,
) -> None:
    for event in events:
        event(do, inputs, output, api_visibility="private", show_progress="minimal")
