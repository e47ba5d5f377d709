"""Audio and metadata of a data set in the form of the Hub, written below the cache folder once.

`<folder>/about.json` tells splits, shards, licence and citation; `<folder>/<split>/` holds the
audio as it came, and of each shard that is complete a table `<shard>-of-<shards>.parquet`: as text
the columns of the data set, `ORIGIN` (the path that it gives its audio) and `FILE` (ours).
"""

import hashlib
import json
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import astuple, dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

import pandas as pd
from tqdm import tqdm

from zoo.audio import AUDIO_SUFFIXES
from zoo.datasets.files import write_whole
from zoo.errors import InputError, nearest

FILE, ORIGIN = "audio:file", "audio:path"
MAX_SHARDS = 256  # tables of a split
AT_ONCE = 16  # tracks in memory, read by as many threads: a file of the Hub is mostly waited for
MAGIC = [  # of the first bytes, by suffix
    (".wav", rb"(RIFF|RF64|RIFX)....WAVE"),
    (".flac", rb"fLaC"),
    (".opus", rb"OggS.{24,280}OpusHead"),
    (".ogg", rb"OggS"),
    (".mp3", rb"ID3|\xff[\xe2-\xff]"),
    (".au", rb"\.snd"),
    (".aiff", rb"FORM....AIF[FC]"),
    (".m4a", rb"....ftyp"),
]


@dataclass(frozen=True)
class Source:
    """A data set by name (OWNER/NAME) or the absolute path of its folder; which configuration and
    revision of it, and which column is the audio. Raises `InputError` where it is not to be had."""

    name: str
    config: str | None
    revision: str | None
    audio: str

    @property
    def is_local(self) -> bool:
        """Whether it is a folder here."""
        return Path(self.name).is_dir()

    def folder(self, cache: Path) -> Path:
        """Return where it is kept: another place once a local folder's files are others."""
        parts: list[object] = [*astuple(self)]
        if self.is_local:
            files = sorted(file for file in Path(self.name).rglob("*") if file.is_file())
            parts += [(str(f), f.stat().st_size, f.stat().st_mtime_ns) for f in files]
        key = hashlib.sha256(repr(parts).encode()).hexdigest()[:16]
        name = re.sub(r"[^\w.-]+", "--", self.name.strip("/"))[-60:]
        return cache / "hub" / f"{name}-{key}"

    @cached_property
    def streams(self) -> dict[str, Any]:
        """Each split as an `IterableDataset`, its audio undecoded."""
        try:
            import datasets
        except ImportError as error:
            raise InputError(
                "dataset=hub needs the package datasets: pip install genre-zoo[hub]."
            ) from error
        with self.explained():
            builder = datasets.load_dataset_builder(self.name, self.config, revision=self.revision)
            builder.config.decode_num_threads = 0  # or remote audio is decoded before we see it
            streams = builder.as_streaming_dataset()
        features = next(iter(streams.values())).features or {}
        if self.audio not in features:
            raise InputError(
                f"dataset.audio={self.audio} is no column of {self.name}; "
                f"{nearest(self.audio, features)}"
            )
        # Encoding an example's Audio asks for torchcodec; binary leaves it as the builder gives it
        is_table = isinstance(builder, datasets.ArrowBasedBuilder)
        undecoded = datasets.Audio(decode=False) if is_table else datasets.Value("binary")
        texts = [name for name, feature in features.items() if _is_text(feature)]
        columns = list(dict.fromkeys([self.audio, *texts]))
        return {
            split: stream.cast_column(self.audio, undecoded).select_columns(columns)
            for split, stream in streams.items()
        }

    def card(self) -> tuple[str, str]:
        """Return licence and citation, empty where its README.md does not give them."""
        from huggingface_hub import DatasetCard
        from huggingface_hub.errors import EntryNotFoundError

        readme = Path(self.name) / "README.md"
        if self.is_local and not readme.is_file():
            return "", ""
        with self.explained():
            try:
                card = DatasetCard.load(readme if self.is_local else self.name)
            except EntryNotFoundError:
                return "", ""
        stated = card.data.get("license") or ""
        licence = stated if isinstance(stated, str) else ", ".join(map(str, stated))
        bibtex = re.search(r"```\w*\s*(@\w+\{.*?)```", card.text, re.DOTALL)
        return licence, bibtex[1].strip() if bibtex else ""

    @contextmanager
    def explained(self) -> Iterator[None]:
        """Turn what the libraries raise into an `InputError`."""
        from datasets.exceptions import DatasetsError
        from huggingface_hub.errors import HfHubHTTPError

        http_error: Any = HfHubHTTPError.__mro__[1]  # of httpx or httpx2, as its version has it
        try:
            yield
        except InputError:
            raise
        except (DatasetsError, http_error, OSError, RuntimeError, ValueError) as error:
            reason = " ".join(str(error).split())[:300].rstrip(".") or type(error).__name__
            advice = (
                f"fetch it beforehand with `hf download {self.name} --repo-type dataset "
                "--local-dir DIR` and give DIR"
            )
            if self.is_local:
                advice = "give a folder in the form of the Hub (Parquet, or audio and metadata.csv)"
            if "config" in reason.lower():
                advice = "name one with dataset.config=NAME"
            if "scripts are no longer supported" in reason:
                advice = "the Hub's own copy may do: dataset.revision=refs/convert/parquet"
            what = f"dataset.path={self.name} cannot be read as a data set"
            raise InputError(f"{what} ({reason}); {advice}.") from error


@dataclass(frozen=True)
class About:
    """What is known of a data set before its audio is read."""

    columns: list[str]  # that can be read as text
    shards: dict[str, int]  # by split
    licence: str
    citation: str


def about(source: Source, cache: Path) -> About:
    """Return the data set's splits and card, from the cache if they are there."""
    file = source.folder(cache) / "about.json"
    if not file.exists():
        streams = source.streams
        features = next(iter(streams.values())).features
        columns = [name for k in features if k != source.audio for name in _names(k, features[k])]
        shards = {split: min(stream.num_shards, MAX_SHARDS) for split, stream in streams.items()}
        write_whole(file, json.dumps(vars(About(columns, shards, *source.card()))).encode())
    return About(**json.loads(file.read_text("utf-8")))


def table(source: Source, cache: Path, split: str, num_shards: int) -> pd.DataFrame:
    """Return the tracks of a split; what is not in the cache yet is read from the data set."""
    folder = source.folder(cache) / split
    files = [folder / f"{i:05d}-of-{num_shards:05d}.parquet" for i in range(num_shards)]
    for shard, file in enumerate(files):
        if not file.exists():
            _extract(source, split, shard, num_shards, file)
    return pd.concat(map(pd.read_parquet, files), ignore_index=True)


def _extract(source: Source, split: str, shard: int, num_shards: int, file: Path) -> None:
    """Write the audio of a shard, what is there already excepted, and then its table."""
    stream = source.streams[split]
    rows: list[dict[str, str]] = []
    there = {audio.stem: audio for audio in file.parent.glob(f"{shard}-*")}

    def save(number: int, row: dict[str, Any]) -> dict[str, str]:
        stem = f"{shard}-{number:06d}"
        origin, place = _save(row.pop(source.audio), file.with_name(stem), there.get(stem))
        texts = {k: t for c, v in row.items() for k, t in _texts(c, stream.features[c], v)}
        return {**texts, ORIGIN: origin, FILE: place}

    with source.explained(), ThreadPoolExecutor(AT_ONCE) as pool:
        part = stream.shard(num_shards, shard)
        name = f"reading {split} {shard + 1}/{num_shards}"
        tracks = enumerate(tqdm(part, name, unit="track", disable=None))
        while some := list(islice(tracks, AT_ONCE)):
            rows += pool.map(save, *zip(*some, strict=True))
    write_whole(file, pd.DataFrame(rows, dtype="str").to_parquet(index=False))


def _save(audio: Any, stem: Path, there: Path | None) -> tuple[str, str]:
    """Return the path that the data set gives an audio file, and where it lies on this machine: at
    that path, else below the cache."""
    import fsspec

    audio = audio if isinstance(audio, dict) else {"path": audio}
    data, origin = audio.get("bytes"), audio.get("path") or ""
    if data is None and Path(origin).is_file():
        return origin, str(Path(origin).absolute())
    if there is None and data is None and origin:
        with fsspec.open(origin) as remote:
            data = remote.read()
    if there is None and data is not None:
        there = stem.with_name(stem.name + _suffix(data, origin))
        write_whole(there, data)
    return origin, str(there or stem)


def _suffix(data: bytes, origin: str) -> str:
    for suffix, magic in MAGIC:
        if re.match(magic, data[:512], re.DOTALL):
            return suffix
    named = Path(origin).suffix.lower()
    return named if named in AUDIO_SUFFIXES else ".audio"


def _is_text(feature: Any) -> bool:
    """Tell whether a column can be written as text: numbers, names, and lists of them."""
    if isinstance(feature, dict):
        return any(map(_is_text, feature.values()))
    inner = getattr(feature, "feature", None)
    return _is_text(inner) if inner else "binary" not in str(getattr(feature, "dtype", "binary"))


def _names(name: str, feature: Any) -> list[str]:
    """Return a column's name; of a struct those of its parts, as `column.part`."""
    if isinstance(feature, dict):
        return [full for key, part in feature.items() for full in _names(f"{name}.{key}", part)]
    return [name] if _is_text(feature) else []


def _texts(name: str, feature: Any, value: Any) -> Iterator[tuple[str, str]]:
    """Yield the `_names` of a column, each with its text."""
    if isinstance(feature, dict):
        for key, part in feature.items():
            yield from _texts(f"{name}.{key}", part, (value or {}).get(key))
    elif _is_text(feature):
        yield name, _text(feature, value)


def _text(feature: Any, value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, list):
        return "|".join(filter(None, (_text(feature.feature, part) for part in value)))
    if hasattr(feature, "int2str"):  # ClassLabel; -1 where the label is kept secret
        return feature.int2str(value) if value >= 0 else ""
    return str(value)
