"""`hub`: any audio data set on the Hugging Face Hub, or in a folder of that form."""

import re
import sys
from pathlib import Path

import pandas as pd

from zoo.datasets import hub_audio
from zoo.datasets.base import IDENTITY, SPLIT_ALIASES, SPLITS, Manifest
from zoo.datasets.card import Card
from zoo.datasets.hub_audio import FILE, ORIGIN, Source
from zoo.errors import InputError, nearest

SPLIT = "hub:split"  # as the data set calls it

CARD = Card(
    name="hub",
    citation="Lhoest et al. 2021, Datasets: A Community Library for Natural Language Processing",
    licence="of each data set its own: see its page",
    size="of each data set its own",
    home="https://huggingface.co/datasets?modality=modality:audio",
    layout="what the data set's page holds (Parquet, WebDataset, or audio with metadata.csv)",
)


def load(
    cache: Path,
    *,
    path: Path | None = None,
    audio: str = "audio",
    label: str = "genre",
    artist: str | None = None,
    group: str | None = None,
    track: str | None = None,
    config: str | None = None,
    revision: str | None = None,
    splits: list[str] | None = None,
) -> Manifest:
    """Read the data set `path` (OWNER/NAME, or a folder) through the library `datasets`.

    `audio` to `track` name its columns; those of a struct are `column.part`. `splits` are the
    splits to take, as `name` or `name=ours`; one alone that is not named so is split here. Audio
    is kept below `cache` as it came and is not fetched again: remove its folder there to have a
    newer version. Tracks without a label are left out.

    Raises `InputError` where the data set or a column of it is not to be had.
    """
    source = Source(_name(path), config, revision, audio)
    known = hub_audio.about(source, cache)
    chosen = _ours(source, list(known.shards), splits)
    columns = {"label": label, "artist": artist, "group": group, "track": track}
    named = {key: column for key, column in columns.items() if column is not None}
    for key, column in named.items():
        if column not in known.columns:
            close = nearest(column, known.columns)
            raise InputError(f"dataset.{key}={column} is no column of {source.name}; {close}")
    tables = [
        hub_audio.table(source, cache, split, known.shards[split]).assign(**{SPLIT: split})
        for split in chosen
    ]
    frame = pd.concat(tables, ignore_index=True)
    rows = frame[[name for name in known.columns if name not in IDENTITY]].assign(
        **{"track": _tracks(frame, source), **{key: frame[name] for key, name in named.items()}},
        path=frame[FILE],
        split=frame[SPLIT].map(chosen),
    )
    is_labelled = rows["label"].str.strip("| ") != ""
    if not is_labelled.all():
        num, place = (~is_labelled).sum(), f"column {label} of {source.name}"
        print(f"{num} tracks are left out: {place} is empty", file=sys.stderr)
    return Manifest(
        name="/".join(filter(None, [_short(source), config])),
        frame=rows[is_labelled],
        source=source.name,
        split_name=f"given {','.join(splits)}" if splits else "given",
        licence=known.licence,
        citation=known.citation,
    )


def _short(source: Source) -> str:
    return Path(source.name).name if source.is_local else source.name


def _name(path: Path | None) -> str:
    if path is None:
        raise InputError("dataset.path is not set: dataset=hub needs dataset.path=OWNER/NAME.")
    if Path(path).is_dir():
        return str(Path(path).resolve())
    if not re.fullmatch(r"\w[\w.-]*(/\w[\w.-]*)?", str(path)):
        raise InputError(f"dataset.path={path} is neither a folder nor OWNER/NAME on the Hub.")
    return str(path)


def _ours(source: Source, known: list[str], given: list[str] | None) -> dict[str, str]:
    """Return the splits to take, and what they are called here: nothing where it is one alone."""
    pairs = {name: ours for name, _, ours in (entry.partition("=") for entry in given or known)}
    for name in pairs.keys() - set(known):
        raise InputError(f"dataset.splits: {source.name} has no {name!r}; {nearest(name, known)}")
    if len(pairs) > 1:
        pairs = {name: ours or name for name, ours in pairs.items()}
    for name, ours in pairs.items():
        if ours.lower() not in ("", *SPLITS, *SPLIT_ALIASES):
            raise InputError(
                f"dataset.path={source.name}: split {ours!r} is none of {', '.join(SPLITS)}; "
                f"say what it is, or leave it out, as in dataset.splits=[{name}=test,...]."
            )
    return pairs


def _tracks(frame: pd.DataFrame, source: Source) -> pd.Series:
    """Return the audio's own paths where they tell all tracks apart, else split and number."""
    own = frame[ORIGIN].str.removeprefix(f"{source.name}/")
    is_remote = own.str.contains("://")  # zip://a/b.wav::https://..., hf://.../a/b.wav
    own = own.mask(is_remote, own.str.partition("::")[0].str.rpartition("/")[2])
    if (own != "").all() and own.is_unique:
        return own
    return frame[SPLIT] + "/" + frame.groupby(SPLIT).cumcount().astype(str)
