"""The whole server: models, library, API, page, and the door before them."""

from collections.abc import Sequence
from pathlib import Path

from starlette.types import ASGIApp

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

    Raises `InputError` for a library that is none, or of none of the models.
    """
    shelf = Shelf(library) if library else None
    service = Service(runners, limits, Measures(), shelf)
    return Door(make_api(service), service)
