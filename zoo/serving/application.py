"""The whole server: models, library, API, page, and the door before them."""

import os
from collections.abc import Sequence
from pathlib import Path

from fastapi import FastAPI
from fastapi.responses import FileResponse
from starlette.types import ASGIApp

from zoo.errors import InputError
from zoo.runners import Runner
from zoo.serving.api import make_api
from zoo.serving.door import Door
from zoo.serving.limits import Limits
from zoo.serving.measures import Measures
from zoo.serving.service import Service
from zoo.serving.shelf import Shelf


def make_application(
    runners: Sequence[Runner], limits: Limits, library: Path | None, leaderboard: Path | None
) -> ASGIApp:
    """Return what a server of ASGI runs; when that stops, what was begun is finished.

    Raises `InputError` for a library that is none, or of none of the models, and for a folder
    without a leaderboard.
    """
    board = _board(leaderboard) if leaderboard else None
    shelf = Shelf(library) if library else None
    service = Service(runners, limits, Measures(), shelf)
    return Door(_with_page(make_api(service), service, board), service)


def _board(folder: Path) -> Path:
    file = folder / "index.html"
    if not file.is_file():
        raise InputError(
            f"--leaderboard {folder} has no index.html; give what `leaderboard build` wrote."
        )
    return file


def _with_page(api: FastAPI, service: Service, board: Path | None) -> FastAPI:
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # or it asks other machines
    os.environ["GRADIO_TEMP_DIR"] = str(service.uploads)
    from zoo.serving.page import add_page  # imports Gradio, which reads them

    if board:
        api.get("/leaderboard", include_in_schema=False)(lambda: FileResponse(board))
    return add_page(api, service, has_board=board is not None)
