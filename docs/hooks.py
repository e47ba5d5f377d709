"""What mkdocs.yml adds to MkDocs: notebooks as pages, and links out of the guide as plain text."""

import json
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File

WIDE = ("models.md",)  # pages whose tables need the room of the table of contents
LINK = re.compile(r"(?<!!)\[([^\]]+)\]\(([^)#:\s]+)((?:#[^)\s]*)?)\)")


def on_files(files: Any, config: Any) -> Any:
    """Add a page for each notebook."""
    for notebook in sorted(Path(config.docs_dir).glob("*.ipynb")):
        text = as_markdown(json.loads(notebook.read_text("utf-8")))
        download = f"\n\n[Download this page as a notebook]({notebook.name}){{ download }}\n"
        files.append(File.generated(config, f"{notebook.stem}.md", content=text + download))
    return files


def as_markdown(notebook: dict[str, Any]) -> str:
    """Return the cells of a notebook as Markdown."""
    return "\n\n".join(map(_cell, notebook["cells"]))


def _cell(cell: dict[str, Any]) -> str:
    source = "".join(cell["source"])
    if cell["cell_type"] == "markdown":
        return source
    if source.startswith("!"):
        return "```bash\n" + re.sub("(?m)^!", "", source) + "\n```"
    return f"```python\n{source}\n```"


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Lead links to notebooks to their pages; of links to files of the repository that the guide
    has not, leave text and name."""
    if page.file.generated_by is not None:
        return markdown
    if page.file.src_uri in WIDE:
        page.meta["hide"] = ["toc"]
    folder, root = Path(page.file.abs_src_path).parent, Path(config.docs_dir).resolve()

    def adapt(match: re.Match[str]) -> str:
        text, target, anchor = match.groups()
        if not (folder / target).resolve().is_relative_to(root):
            return text if Path(target).name in text else f"{text} (`{Path(target).name}`)"
        if target.endswith(".ipynb"):
            return f"[{text}]({target.removesuffix('.ipynb')}.md{anchor})"
        return match[0]

    return LINK.sub(adapt, markdown)
