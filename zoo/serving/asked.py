"""What the page may ask of Gradio: its own events, about songs that were uploaded to it.

Gradio 6.31 takes any path or address from a browser when it is mounted in another application, and
copies what is there to where everybody can read it.
"""

import json
from typing import Any

from zoo.serving.limits import Refused
from zoo.serving.uploads import Uploads

MOST_BYTES = 4096
Events = dict[int, int]  # by their numbers: how many values each takes
NO_SONG = "There is no such song any more; upload it again."


def checked(body: bytes, events: Events, uploads: Uploads) -> bytes:
    """Return the JSON of an event as it was understood here, and no more. Raises `Refused` if it is
    none of `events`, or names a file that is none of `uploads`."""
    try:
        content = json.loads(body)
        data, number, session = (content[key] for key in ("data", "fn_index", "session_hash"))
        trigger = content.get("trigger_id")
        is_event = isinstance(data, list) and len(data) == events[number]
        is_session = isinstance(session, str) and session.isalnum() and len(session) < 64
        if not (is_event and is_session and isinstance(trigger, int | None)):
            raise ValueError("no event of the page")
        _check(data, uploads)
    except (LookupError, RecursionError, TypeError, ValueError):
        raise Refused(422, "The request is not what the page sends.") from None
    asked = {"data": data, "fn_index": number, "session_hash": session, "trigger_id": trigger}
    return json.dumps(asked).encode()


def _check(content: Any, uploads: Uploads) -> None:
    if isinstance(content, list):
        for item in content:
            _check(item, uploads)
    elif isinstance(content, dict):
        if "path" in content and uploads.find(content["path"]) is None:
            raise Refused(404, NO_SONG)
        for item in content.values():
            _check(item, uploads)
