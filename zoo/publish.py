"""A model and its card to the Hub."""

import re
import tempfile
from dataclasses import replace
from pathlib import Path

from zoo.card import Scored, write_card
from zoo.errors import InputError
from zoo.model import GenreModel, shown
from zoo.opened import open_run
from zoo.prepare import card_of
from zoo.results import FILE, SCORES, read_scores
from zoo.runners_torch import about

TOKEN = "log in with `hf auth login`, or set HF_TOKEN to a token that may write"
CARD = "README.md"


def check_name(name: str) -> None:
    """Raise `InputError` for what cannot be a name on the Hub."""
    if not re.fullmatch(r"\w[\w.-]*/\w[\w.-]*", name):
        raise InputError(f"--push-to-hub {name} must be a name on the Hub, OWNER/NAME.")


def push(model: GenreModel, source: Path, exported: Path, name: str) -> str:
    """Upload a model, what it was exported to, and its card; return their address.

    `source` is where the model came from: of a run, the card has data, scores and costs. Raises
    `InputError` where the Hub is out of reach or does not let us.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HFValidationError, HTTPError

    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_folder(model, source, exported, name, folder)
        api = HfApi()
        try:
            address = api.create_repo(name, exist_ok=True)
            api.upload_folder(repo_id=name, folder_path=folder, commit_message=f"Upload {name}")
        except (HTTPError, HFValidationError, OSError) as error:
            reason = refusal(error)
            raise InputError(f"--push-to-hub {name} was not possible: {reason}.") from error
    return str(address)


def refusal(error: Exception) -> str:
    """Return why the Hub did not take it, and what would help."""
    response = getattr(error, "response", None)
    status = None if response is None else response.status_code
    if status == 401:
        return f"the Hub wants a token that it knows; {TOKEN}"
    if status == 403:
        return "the token has no right to write there; take a name of your own"
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0].rstrip(". ") or type(error).__name__


def write_folder(model: GenreModel, source: Path, exported: Path, name: str, folder: Path) -> None:
    """Write what is uploaded: config.json, weights, card, and the exported file."""
    base = model.config.base and shown(model.config.base)
    model.config = replace(model.config, base=base)
    model.save_pretrained(folder)
    (folder / exported.name).write_bytes(exported.read_bytes())
    if (source / FILE).is_file():
        run = open_run(source)
        tracks, prob_BK = read_scores(source / SCORES["test"], model.config.classes)
        test, dataset = Scored(tracks.fillna(""), prob_BK), card_of(run.config)
        text = write_card(about(model), run.result, test, name, base, exported.name, dataset)
        (folder / CARD).write_text(text, "utf-8")
