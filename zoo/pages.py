"""What pages are made of that open from disk, without a network, with everything inside."""

from functools import cache
from pathlib import Path

import vl_convert
from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
from markupsafe import Markup


def environment(templates: Path) -> Environment:
    """Return what renders a folder of templates: text is escaped, keys keep their order."""
    made = Environment(
        loader=FileSystemLoader(templates),
        autoescape=select_autoescape(default=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.policies["json.dumps_kwargs"] = {"sort_keys": False}
    return made


def part(file: Path) -> Markup:
    """Return a style sheet or a script of ours as it stands."""
    return Markup(file.read_text("utf-8"))


@cache
def chart_library() -> Markup:
    """Return Vega, Vega-Lite and vega-embed as one script."""
    text = vl_convert.javascript_bundle()  # type: ignore[call-arg]  # its stub asks for a snippet
    return Markup(text.replace("</script", "<\\/script"))
