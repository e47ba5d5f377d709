"""What makes a score too good, or says less than it seems to: what `zoo.audit` looks for."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import pandas as pd

from zoo.datasets.base import SPLITS, Manifest, labels_of
from zoo.excerpts import sources
from zoo.prepare import Data

FEW = 5  # test tracks of a class: with fewer, one of them is more than 20 % of its recall


@dataclass(frozen=True)
class Case:
    """One instance of a finding, such as an artist, and its tracks."""

    name: str  # may be empty
    paths: Mapping[str, str]  # path -> its split, or split and label


@dataclass(frozen=True)
class Finding:
    """Something that was found: a sentence about it, where, and the test tracks it affects."""

    kind: str
    sentence: str  # without its full stop
    cases: tuple[Case, ...] = ()
    affected: tuple[str, ...] = ()  # names of test tracks that are scored
    is_note: bool = False  # good to know, but no score is too good by it


def find(listed: Manifest, data: Data, duplicates: pd.DataFrame | None = None) -> list[Finding]:
    """Return what is found in the tracks that were listed and those of them that are usable.

    `duplicates` are the near duplicates: rows `a` and `b` of the store, `overlap` (s) and
    `correlation`. None: nobody has looked for them.
    """
    frame = data.manifest.frame
    equal = frame.assign(key=data.store.content_hashes)
    near = _pairs(frame, duplicates) if duplicates is not None else equal.head(0)
    pieces = sources(frame, data.store.lengths / data.store.sample_rate)
    return [
        *_across(equal, "audio", "recordings (the same audio, sample by sample)"),
        *_across(near, "near duplicates", "pairs of near duplicates (versions of the same audio)"),
        *_artists(frame),
        *_across(frame.assign(key=_albums(frame)), "album", "albums"),
        *_across(frame.assign(key=frame["group"]), "group", "groups (such as recording sessions)"),
        *_across(
            frame.assign(key=pieces),
            "chunks",
            "recordings that seem to be cut into pieces (by names and lengths of the files)",
        ),
        *_contradictions(pd.concat([equal, near], ignore_index=True)),
        *_missing_classes(data.manifest),
        *_small_classes(data.manifest),
        *_left_out(listed, data.left_out),
    ]


def _pairs(frame: pd.DataFrame, duplicates: pd.DataFrame) -> pd.DataFrame:
    """Return the two tracks of each pair, one after the other; the pair is their `key`."""
    rows = frame.iloc[duplicates[["a", "b"]].to_numpy().ravel()].reset_index(drop=True)
    names = [
        f"{number}. correlation {correlation:.2f} over {overlap:.1f} s"
        for number, (correlation, overlap) in enumerate(
            zip(duplicates["correlation"], duplicates["overlap"], strict=True), 1
        )
    ]
    return rows.assign(key=[name for name in names for _ in range(2)])


def _across(rows: pd.DataFrame, kind: str, what: str) -> Iterator[Finding]:
    """Yield a finding if rows of one `key`, where it is not empty, are in several splits; `what`
    the keys stand for is part of the sentence."""
    rows = rows[rows["key"] != ""]
    num_splits = rows.groupby("key")["split"].nunique()
    crossing = num_splits.index[num_splits > 1]
    if len(crossing):
        rows = rows[rows["key"].isin(crossing)]
        sentence = f"{_of(len(crossing), len(num_splits))} {what} are in more than one split"
        tested = _tested(rows)
        end = "" if tested else ", but not in test"
        yield Finding(kind, sentence + end, _cases(rows, rows["split"]), tested)


def _of(number: int, total: int) -> str:
    return f"{number:,} of {total:,}"


def _tested(rows: pd.DataFrame) -> tuple[str, ...]:
    return tuple(rows["track"][rows["split"] == "test"].unique())


def _cases(rows: pd.DataFrame, said: pd.Series) -> tuple[Case, ...]:
    """Return a case for each key, with what is said of each of its tracks."""
    paths: dict[str, dict[str, str]] = {}
    for key, path, words in zip(rows["key"], rows["path"], said, strict=True):
        paths.setdefault(key, {})[path] = words
    return tuple(Case(*case) for case in paths.items())


def _artists(frame: pd.DataFrame) -> Iterator[Finding]:
    found = list(_across(frame.assign(key=frame["artist"]), "artist", "artists"))
    unknown = frame[frame["artist"] == ""]
    if unknown.empty:
        yield from found
        return
    said = (
        f"the artist of {_of(len(unknown), len(frame))} tracks "
        f"({_of(len(_tested(unknown)), len(_tested(frame)))} test tracks) is unknown"
    )
    if found:
        yield replace(found[0], sentence=f"{found[0].sentence}; {said}")
    else:
        yield Finding("artist", said, is_note=True)


def _albums(frame: pd.DataFrame) -> pd.Series:
    """Return each track's album, with the artist: many albums have one title."""
    if "album" not in frame:
        return pd.Series("", frame.index)
    album = frame["album"].astype(str).fillna("").str.strip()
    artist = (frame["artist"] + ", ").where(frame["artist"] != "", "")
    return (artist + album).where(album != "", "")


def _contradictions(rows: pd.DataFrame) -> Iterator[Finding]:
    labels = rows["label"].map(lambda label: "|".join(sorted(label.split("|"))))
    rows = rows[labels.groupby(rows["key"]).transform("nunique") > 1]
    if len(rows):
        cases = _cases(rows, rows["split"] + ", " + rows["label"])
        sentence = f"equal or nearly equal audio has contradictory labels, {len(cases):,} times"
        yield Finding("labels", sentence, cases, _tested(rows))


def _counts(manifest: Manifest) -> pd.DataFrame:
    """Return the number of tracks of each class in each split."""
    labels = labels_of(manifest.frame)
    counts = pd.crosstab(labels.to_numpy(), manifest.frame["split"][labels.index].to_numpy())
    return counts.reindex(index=list(manifest.classes), columns=list(SPLITS), fill_value=0)


def _missing_classes(manifest: Manifest) -> Iterator[Finding]:
    counts = _counts(manifest)
    for split in SPLITS:
        names = counts.index[counts[split] == 0]
        if len(names):
            sentence = f"{_of(len(names), len(counts))} classes have no usable {split} track"
            cases = tuple(Case(name, {}) for name in names)
            yield Finding("classes", sentence, cases, is_note=split == "validation")


def _small_classes(manifest: Manifest) -> Iterator[Finding]:
    test = _counts(manifest)["test"]
    small = test[(test > 0) & (test < FEW)]
    if len(small):
        sentence = f"{_of(len(small), len(test))} classes have fewer than {FEW} test tracks"
        cases = tuple(Case(f"{name}: {number}", {}) for name, number in small.items())
        yield Finding("classes", sentence, cases, is_note=True)


def _left_out(listed: Manifest, left_out: pd.DataFrame) -> Iterator[Finding]:
    frame = listed.frame
    reasons: pd.Series = frame["path"].map(left_out.set_index("path")["reason"])
    rows = frame.assign(key=reasons)[reasons.notna()]
    if len(rows):
        sentence = (
            f"{_of(len(rows), len(frame))} files cannot be used "
            f"({_of(len(_tested(rows)), len(_tested(frame)))} test tracks)"
        )
        yield Finding("files", sentence, _cases(rows, rows["split"]), is_note=True)
