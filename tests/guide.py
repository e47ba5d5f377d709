"""The pages of the guide as its tests see them: what is run of them, and where they lead."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
NOTEBOOK = DOCS / "first-hour.ipynb"
WRITTEN = [*PAGES, ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
SAID = re.compile(r"<!-- test: (\w+) ?(.*?) *-->")
LINK = re.compile(r"\]\(([^)\s]+)\)|(?:src|href)=\"([^\"]+)\"|<(https?://[^>\s]+)>")


@dataclass(frozen=True)
class Block:
    """A fenced block of a page, and what the comment before it says."""

    language: str
    text: str
    exit: int = 0
    needs: str = ""  # a module; without it the block is skipped

    def run(self, folder: Path) -> subprocess.CompletedProcess[str]:
        """Run it as a reader would who has activated the environment."""
        command = ["bash", "-euo", "pipefail", "-c", self.text]
        if self.language == "python":
            command = [sys.executable, "-c", self.text]
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        env = {**os.environ, "PATH": path, "MPLBACKEND": "agg", "OMP_NUM_THREADS": "1"}
        env.pop("RAY_ADDRESS", None)
        return subprocess.run(
            command, cwd=folder, env=env, capture_output=True, text=True, timeout=600
        )


def blocks(page: Path) -> Iterator[Block]:
    """Yield the fenced blocks of a page in their order."""
    text, said = page.read_text("utf-8"), {}
    for match in re.finditer(rf"(?ms){SAID.pattern}|^```(\S+)\n(.*?)^```$", text):
        name, value, language, inside = match.groups()
        if name:
            said[name] = value
            continue
        yield Block(language, inside, int(said.pop("exit", 0)), said.pop("needs", ""))


def shown(page: Path) -> Iterator[tuple[str, list[str]]]:
    """Yield module and arguments of the commands that a page only shows, in a line of text or in
    blocks that are not run."""
    text = page.read_text("utf-8")
    inline = re.findall(r"`([^`\n]+)`", re.sub(r"(?ms)^```.*?^```$", "", text))
    others = [block.text for block in blocks(page) if block.language in ("text", "slurm")]
    for line in "\n".join([*inline, *others]).replace("\\\n", " ").splitlines():
        if match := re.search(r"-m ((?:zoo|leaderboard|benchmarks)\b[\w.]*)(.*)", line):
            yield match[1], match[2].rstrip("&").split()


def is_slow(page: Path) -> bool:
    """Whether a page says that its commands take long."""
    return ("slow", "") in SAID.findall(page.read_text("utf-8"))


def prose(file: Path) -> str:
    """Return the text of a page or a notebook without code."""
    text = file.read_text("utf-8")
    if file.suffix == ".ipynb":
        cells = [cell for cell in json.loads(text)["cells"] if cell["cell_type"] == "markdown"]
        text = "\n\n".join("".join(cell["source"]) for cell in cells)
    return re.sub(r"`[^`\n]*`", "", re.sub(r"(?ms)^```.*?^```$", "", text))


def links(file: Path) -> list[str]:
    """Return where a page leads."""
    return [next(filter(None, found)) for found in LINK.findall(prose(file))]


def anchors(file: Path) -> set[str]:
    """Return the names of a page's headings in addresses."""
    text = re.sub(r"(?ms)^```.*?^```$", "", file.read_text("utf-8"))
    headings = re.findall(r"(?m)^#+ (.*)$", text)
    bare = (re.sub(r"[^\w\s-]", "", heading).strip().lower() for heading in headings)
    return {re.sub(r"[-\s]+", "-", heading) for heading in bare}
