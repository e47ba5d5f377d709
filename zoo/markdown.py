"""Text in Markdown tables."""

import html
import re


def cell(text: str) -> str:
    """Return text that is shown as it is: no markup, link or picture, no end of a cell or line."""
    text = html.escape(" ".join(text.split()), quote=False)
    return re.sub(r"([\\|\[\]])", r"\\\1", text)
