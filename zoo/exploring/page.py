"""One page that opens from disk, with its data, styles, script, charts and sounds inside."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from zoo import pages

TEMPLATES = Path(__file__).with_name("templates")


def render(content: Mapping[str, Any]) -> str:
    """Return the page; all text in `content` is escaped."""
    environment = pages.environment(TEMPLATES)
    environment.policies["json.dumps_kwargs"]["separators"] = (",", ":")
    return environment.get_template("page.html").render(
        content,
        style=pages.part(TEMPLATES / "page.css"),
        script=pages.part(TEMPLATES / "page.js"),
        library=pages.chart_library(),
    )
