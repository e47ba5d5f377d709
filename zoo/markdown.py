"""Text of others in tables: in Markdown files, and in a terminal."""

import html
import re


def cell(text: str) -> str:
    """Return text that is shown as it is: no markup, link or picture, no end of a cell or line."""
    text = html.escape(" ".join(text.split()), quote=False)
    return re.sub(r"([\\|\[\]])", r"\\\1", text)


def plain(text: str) -> str:
    """Return text in one line in which nothing controls the terminal that shows it."""
    return "".join(char if char.isprintable() else "?" for char in text)
