"""Which files a request to the page may name: those that were uploaded to it, and no others.

Gradio 6.31 takes any path or address from a browser when it is mounted in another application, and
copies what is there to where everybody can read it.
"""

import json
import os
from pathlib import Path
from typing import Any

from zoo.serving.limits import Refused


def checked(body: bytes, uploads: Path) -> bytes:
    """Return the JSON of a request as it was understood here. Raises `Refused` if it is none, or
    names a file that is not in `uploads`."""
    try:
        content = json.loads(body)
        _check(content, uploads)
    except (ValueError, RecursionError):
        raise Refused(422, "The request is not what the page sends.") from None
    return json.dumps(content).encode()


def _check(content: Any, uploads: Path) -> None:
    if isinstance(content, list):
        for item in content:
            _check(item, uploads)
    elif isinstance(content, dict):
        if "path" in content and not is_upload(content["path"], uploads):
            raise Refused(404, "There is no such song; upload it again.")
        for item in content.values():
            _check(item, uploads)


def is_upload(path: Any, uploads: Path) -> bool:
    """Return whether a path is below `uploads`, by its letters alone."""
    return isinstance(path, str) and Path(os.path.normpath(path)).is_relative_to(uploads)
