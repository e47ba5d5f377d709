"""The HTTP API: a file in, JSON out; errors are JSON with one sentence."""

import asyncio
import mimetypes
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path as FilePath
from typing import Annotated

from fastapi import FastAPI, File, Path, Query, Request, UploadFile
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse, PlainTextResponse, Response
from fastapi_offline import FastAPIOffline
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.exceptions import HTTPException
from starlette.routing import Match

from zoo.serving.limits import Refused, busy
from zoo.serving.replies import classified, described, in_steps, neighbour
from zoo.serving.schema import Classified, Compared, Model, OverTime, Problem, Similar
from zoo.serving.service import Sent, Service, short

ABOUT = """\
Send a song as the field `file` of a form (`curl -F file=@song.mp3`). WAV, FLAC, MP3, OGG, Opus,
AIFF and AU of any rate are decoded. A server that is busy answers 503; try again shortly."""
STATUS = {
    404: "There is no such model, track or library.",
    408: "The upload took too long.",
    413: "The upload is too large.",
    422: "The file cannot be decoded, or a value is wrong.",
    503: "The server is busy.",
}
PROBLEMS: dict[int | str, dict[str, object]] = {
    status: {"model": Problem, "description": text} for status, text in STATUS.items()
}
MOST = 100  # neighbours
UNKNOWN = "application/octet-stream"
METHODS = ["DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"]

Song = Annotated[UploadFile, File(description="An audio file.")]
Name = Annotated[str | None, Query(alias="model", description="By default the first.")]


def make_api(service: Service) -> FastAPI:
    """Return the application, without its page."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        sweeping = asyncio.create_task(service.uploads.sweep())
        yield
        sweeping.cancel()

    app = FastAPIOffline(redoc_url=None, title="Genre Zoo", description=ABOUT, lifespan=lifespan)
    app.add_exception_handler(HTTPException, _refused)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(Exception, _failed)
    _add_songs(app, service)
    _add_tracks(app, service)
    _add_state(app, service)
    for place in ("/v1/{path:path}", "/health/{path:path}"):
        app.api_route(place, methods=METHODS, include_in_schema=False)(_nothing)
    return app


def _add_songs(app: FastAPI, service: Service) -> None:
    @app.post("/v1/classify", responses=PROBLEMS)
    async def classify(file: Song, model: Name = None) -> Classified:
        """The genre of a song."""
        chosen = service.model(model)
        async with _kept(service, file) as sent:
            decoded = await service.decode(sent, chosen.runner.about.sample_rate)
        return classified(chosen, await service.hear(chosen, decoded))

    @app.post("/v1/over-time", responses=PROBLEMS)
    async def over_time(file: Song, model: Name = None) -> OverTime:
        """The genre of a song second by second; of long ones in longer steps."""
        chosen = service.model(model)
        async with _kept(service, file) as sent:
            decoded = await service.decode(sent, chosen.runner.about.sample_rate)
        return in_steps(chosen, *await service.hear_over_time(chosen, decoded))

    @app.post("/v1/compare", responses=PROBLEMS)
    async def compare(file: Song) -> Compared:
        """What each model says of a song."""
        async with _kept(service, file) as sent:
            heard = await service.compare(sent)
        return Compared(answers=[classified(model, one) for model, one in heard])

    @app.post("/v1/similar", responses=PROBLEMS)
    async def similar(file: Song, k: Annotated[int, Query(ge=1, le=MOST)] = 10) -> Similar:
        """The tracks of the library that sound most like a song."""
        async with _kept(service, file) as sent:
            model, found = await service.similar(sent, k)
        return Similar(model=model.name, neighbours=list(map(neighbour, found)))


def _add_tracks(app: FastAPI, service: Service) -> None:
    @app.get("/v1/models")
    async def models() -> list[Model]:
        """The models that answer; the first does where none is named."""
        return [described(model) for model in service.models.values()]

    @app.get("/v1/tracks/{track}/audio", responses=PROBLEMS, response_class=FileResponse)
    def audio(track: Annotated[int, Path(ge=0)]) -> FileResponse:
        """The file of a track of the library."""
        file = service.shelf.file(track) if service.shelf else None
        if file is None:
            raise Refused(404, f"There is no track {track}.")
        return played(file)


def _add_state(app: FastAPI, service: Service) -> None:
    @app.get("/health/live")
    async def live() -> dict[str, str]:
        """Whether the process answers at all."""
        return {"status": "live"}

    @app.get("/health/ready", responses={503: PROBLEMS[503]})
    async def ready() -> dict[str, str]:
        """Whether it takes requests now: not while it is full of them."""
        if service.is_full:
            raise busy()
        return {"status": "ready"}

    @app.get("/metrics", response_class=PlainTextResponse)
    async def metrics() -> Response:
        """What was counted, for Prometheus."""
        return Response(service.measures.text(), media_type=CONTENT_TYPE_LATEST)


def played(file: FilePath) -> FileResponse:
    """Return audio, for a browser to play; parts of it, where it asks for those."""
    return FileResponse(file, media_type=mimetypes.guess_type(file.name)[0] or UNKNOWN)


@asynccontextmanager
async def _kept(service: Service, file: UploadFile) -> AsyncIterator[Sent]:
    async with service.keep(file.file, file.filename or "the file") as sent:
        await file.close()  # it may be a file as well
        yield sent


async def _nothing(request: Request) -> None:
    """Refuse what no route takes, before the page does, which takes everything."""
    others = [route.matches(request.scope)[0] for route in request.app.routes]
    raise HTTPException(405 if Match.PARTIAL in others else 404)


def _problem(status: int, sentence: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    return JSONResponse({"error": sentence}, status, headers)


async def _refused(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    sentences = {
        400: "The form cannot be read; send the song as its field `file`.",
        404: f"There is nothing at {short(request.url.path)}.",
        405: f"{request.method} is not what {short(request.url.path)} takes.",
    }
    is_ours = isinstance(error, Refused)
    sentence = error.detail if is_ours else sentences.get(error.status_code, f"{error.detail}.")
    return _problem(error.status_code, sentence, error.headers)


async def _invalid(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    said = {str(one["loc"][-1]): one["msg"] for one in error.errors()}
    if "file" in said:
        return _problem(422, "Send the song as a file, as the field `file` of a form.")
    wrong = [f"{name}: {text[:1].lower()}{text[1:]}" for name, text in said.items()]
    return _problem(422, f"{'; '.join(wrong)}.")


async def _failed(_: Request, error: Exception) -> JSONResponse:
    return _problem(500, "The server failed at this; its log says why.")
