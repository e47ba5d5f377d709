"""`mirdata`: any data set that the package mirdata loads with genres, styles or tags."""

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd

from zoo.datasets.base import SPLIT_ALIASES, SPLITS, Manifest
from zoo.datasets.card import Card
from zoo.errors import InputError, nearest

CARD = Card(
    name="mirdata",
    citation="Bittner et al. 2019, mirdata: Software for Reproducible Usage of Datasets, ISMIR",
    licence="of each data set its own",
    size="of each data set its own",
    home="https://mirdata.readthedocs.io/en/stable/source/quick_reference.html",
    layout="what mirdata's own download makes of it",
)
LABELS = ("genre", "genres", "style", "tags")  # attributes of tracks: the first that there is
ARTISTS = ("artist", "artists", "artist_id", "performance_artist", "drummer", "singer")
GROUPS = ("album", "album_id", "session")


def load(
    cache: Path,
    *,
    id: str | None = None,
    path: Path | None = None,
    label: str | None = None,
    audio: str = "audio_path",
    download: bool = False,
) -> Manifest:
    """Read the tracks of mirdata's data set `id` in `path` (mirdata's own place if it is not set).

    `label` and `audio` name attributes of its tracks; the label is found where it is not given.
    With `download`, mirdata fetches the index, the metadata and what audio may be fetched. Splits
    whose names say nothing are folds. Tracks without label or audio are left out.

    Raises `InputError` for an unknown data set, one without labels, or files that are missing.
    """
    dataset = _initialize(id, path)
    home = Path(dataset.data_home)
    with _explained(dataset):
        if download:
            dataset.download()
        if not home.is_dir():
            raise FileNotFoundError(f"{home} is not a folder")
        tracks = dataset.load_tracks()
        attributes = sorted(n for n in dir(next(iter(tracks.values()))) if not n.startswith("_"))
        label = _known("label", label or _first(LABELS, attributes) or "genre", attributes, dataset)
        audio = _known("audio", audio, attributes, dataset)
        sources = {
            "path": audio,
            "label": label,
            "artist": _first(ARTISTS, attributes),
            "group": _first(GROUPS, attributes),
        }
        rows = [
            {"track": name} | {k: _text(track, v) for k, v in sources.items() if v is not None}
            for name, track in tracks.items()
        ]
        frame = _with_split(pd.DataFrame(rows), dataset)
    is_usable = (frame["label"] != "") & (frame["path"] != "")
    if not is_usable.all():
        num = (~is_usable).sum()
        print(f"{num} tracks of {id} are left out: no {label} or no {audio}", file=sys.stderr)
    return Manifest(
        name=f"{id}-{dataset.version}",
        frame=frame[is_usable],
        source=f"{id} in {home}",
        licence=(dataset._license_info or "").strip(),  # `license()` only prints it
        citation=(dataset.bibtex or "").strip(),
    )


def _initialize(id: str | None, path: Path | None) -> Any:
    try:
        import mirdata
    except ImportError as error:
        raise InputError(
            "dataset=mirdata needs the package mirdata: pip install genre-zoo[mirdata]."
        ) from error
    known = mirdata.list_datasets()
    if id is None:
        raise InputError(f"dataset.id is not set: mirdata has {', '.join(known)}.")
    if id not in known:
        raise InputError(f"dataset.id={id} is unknown to mirdata; {nearest(id, known)}")
    try:
        return mirdata.initialize(id, str(Path(path).absolute()) if path is not None else None)
    except ImportError as error:
        raise InputError(
            f"dataset.id={id} needs what mirdata leaves out ({error}): pip install 'mirdata[{id}]'."
        ) from error


@contextmanager
def _explained(dataset: Any) -> Iterator[None]:
    """Turn what mirdata raises for files that are missing, or not as it knows them."""
    try:
        yield
    except InputError:
        raise
    except (OSError, AttributeError, LookupError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split()).rstrip(".?!") or type(error).__name__
        raise InputError(
            f"dataset.path={dataset.data_home} is not what mirdata knows as {dataset.name} "
            f"({reason}); let it fetch what it may with dataset.download=true, or see "
            f"{dataset.readme}."
        ) from error


def _first(names: Iterable[str], attributes: list[str]) -> str | None:
    return next((name for name in names if name in attributes), None)


def _known(key: str, name: str, attributes: list[str], dataset: Any) -> str:
    if name not in attributes:
        close = nearest(name, attributes)
        raise InputError(f"dataset.{key}={name} is nothing that {dataset.name} has; {close}")
    return name


def _text(track: Any, name: str) -> str:
    """Return an attribute as text, lists joined by |. Raises ValueError for anything else."""
    value = getattr(track, name)
    if isinstance(value, dict):  # {"genres": [...], "sub_genres": [...]}
        value = value.get(name)
    parts = value if isinstance(value, list | tuple) else [] if value is None else [value]
    if not all(isinstance(part, str | int) for part in parts):
        raise ValueError(f"{name} of track {track.track_id} is neither text nor a list of texts")
    return "|".join(map(str, parts))


def _with_split(frame: pd.DataFrame, dataset: Any) -> pd.DataFrame:
    """Add the data set's splits, if it has some; as column `fold` where they are folds."""
    try:
        splits = dataset.get_track_splits()
    except (AttributeError, NotImplementedError):
        return frame
    splits = {name: tracks for name, tracks in splits.items() if name is not None}
    names = {track: str(name) for name, tracks in splits.items() for track in tracks}
    given = frame["track"].map(names).astype(str).fillna("").str.lower()
    ours = given.str.rpartition("_")[2].replace(SPLIT_ALIASES)  # split01_train
    if not ours.isin(SPLITS).any():
        return frame.assign(fold=given)
    return frame.assign(split=ours.where(ours.isin(SPLITS), ""))
