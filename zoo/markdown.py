"""Text in Markdown tables."""

import html


def cell(text: str) -> str:
    """Return text that is shown as it is, and cannot end a cell or a line of a table."""
    text = html.escape(" ".join(text.split()), quote=False)
    return text.replace("\\", "\\\\").replace("|", "\\|")
