"""One page that opens from disk, with its data, styles, script, charts and sounds inside."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
from markupsafe import Markup

from zoo.exploring import charts

TEMPLATES = Path(__file__).with_name("templates")


def render(content: Mapping[str, Any]) -> str:
    """Return the page; all text in `content` is escaped."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=select_autoescape(default=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.policies["json.dumps_kwargs"] = {"separators": (",", ":")}
    return environment.get_template("page.html").render(
        content,
        style=_part("page.css"),
        script=_part("page.js"),
        library=Markup(charts.bundle()),
    )


def _part(name: str) -> Markup:
    return Markup((TEMPLATES / name).read_text("utf-8"))
