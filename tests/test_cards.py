"""Every data set of others says what it is, who made it, and where to get it."""

import re
from pathlib import Path

import pytest

from zoo.config import compose
from zoo.datasets.card import Card
from zoo.errors import InputError
from zoo.prepare import build_manifest, card_of
from zoo.registry import choices

CARDS = {name: card_of(compose("train", [f"dataset={name}"])) for name in choices("dataset")}
OF_OTHERS = {name: card for name, card in CARDS.items() if card is not None}
GATES = {"hub", "mirdata"}  # to data sets that have names of their own
ONE = [name for name in OF_OTHERS if name not in GATES]
DIGITS = {"md5": 32, "sha1": 40, "sha256": 64, "sha512": 128}


def test_only_ones_own_music_and_synth_have_none() -> None:
    assert set(CARDS) - set(OF_OTHERS) == {"folder", "manifest", "synth"}


@pytest.mark.parametrize("name", OF_OTHERS)
def test_a_card_is_complete(name: str) -> None:
    card: Card = OF_OTHERS[name]
    assert name.startswith(card.name)
    assert re.search(r"\b(19|20)\d\d\b", card.citation), "a citation has a year"
    assert card.licence and card.size and card.layout
    for place in (card.home, *card.alternatives):
        assert place.startswith("https://")
    for archive in card.archives:
        assert all(url.startswith("https://") for url in (archive.url, *archive.more))
        method, _, digits = archive.checksum.partition(":")
        assert not method or re.fullmatch(f"[0-9a-f]{{{DIGITS[method]}}}", digits)


@pytest.mark.parametrize("name", ONE)
@pytest.mark.parametrize("path", [None, "nowhere"])
def test_what_is_not_there_is_said_with_the_place_to_get_it(name: str, path: str | None) -> None:
    arguments = [f"dataset={name}"] + ([f"dataset.path={path}"] if path else [])
    with pytest.raises(InputError) as raised:
        build_manifest(compose("train", arguments))
    said = str(raised.value)
    assert said.startswith(f"dataset.path={path} is not a folder" if path else "dataset.path is no")
    assert OF_OTHERS[name].home in said and said.endswith(".") and "\n" not in said


@pytest.mark.parametrize("name", ONE)
def test_a_folder_of_something_else_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("nothing")
    with pytest.raises(InputError) as raised:
        build_manifest(compose("train", [f"dataset={name}", f"dataset.path={tmp_path}"]))
    assert OF_OTHERS[name].home in str(raised.value)
