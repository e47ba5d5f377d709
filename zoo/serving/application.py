"""The whole server: API, page, and the door before them."""

import os
from pathlib import Path

from fastapi.responses import FileResponse
from starlette.types import ASGIApp

from zoo.errors import InputError
from zoo.serving.api import make_api
from zoo.serving.door import Door
from zoo.serving.limits import Refused
from zoo.serving.service import Service


def make_application(service: Service, board: Path | None, is_local: bool) -> ASGIApp:
    """Return what a server of ASGI runs; `board` is the page of a leaderboard, `is_local` whether
    it listens to this machine alone."""
    api = make_api(service)
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # or it asks other machines
    os.environ["GRADIO_TEMP_DIR"] = str(service.uploads.folder)
    from zoo.serving.page import add_page  # imports Gradio, which reads them

    @api.get("/leaderboard", include_in_schema=False)
    def leaderboard() -> FileResponse:
        if board is None:
            raise Refused(404, "This server has no leaderboard.")
        return FileResponse(board)

    return Door(add_page(api, service, has_board=board is not None), service, is_local)


def find_board(folder: Path) -> Path:
    """Return the page of a leaderboard. Raises `InputError` where there is none."""
    file = folder / "index.html"
    if not file.is_file():
        raise InputError(
            f"--leaderboard {folder} has no index.html; give what `leaderboard build` wrote."
        )
    return file
