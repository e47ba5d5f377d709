"""What makes a score too good, or says less than it seems to: what `zoo.audit` looks for."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

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

    `duplicates` names near duplicates: rows `a` and `b` of the store, their `correlation`. None:
    nobody has looked for them.
    """
    frame = data.manifest.frame
    hashes = pd.Series(data.store.content_hashes, frame.index, dtype=str)
    seconds = data.store.lengths / data.store.sample_rate
    near = pd.DataFrame(columns=["a", "b", "correlation"]) if duplicates is None else duplicates
    recordings = _recordings(hashes, near)
    return [
        *_across(frame, hashes, "audio", "recordings (the same audio, sample by sample)", {}),
        *_near(frame, hashes, recordings, near),
        *_artists(frame),
        *_across(frame, _albums(frame), "album", "albums"),
        *_across(frame, frame["group"], "group", "groups (such as recording sessions)"),
        *_across(
            frame,
            sources(frame, seconds),
            "chunks",
            "recordings that seem to be cut into pieces (by names and lengths of the files)",
        ),
        *_contradictions(frame, recordings),
        *_missing_classes(data.manifest),
        *_small_classes(data.manifest),
        *_left_out(listed, data.left_out),
    ]


def _across(
    frame: pd.DataFrame,
    keys: pd.Series,
    kind: str,
    what: str,
    names: Mapping[str, str] | None = None,
) -> Iterator[Finding]:
    """Yield a finding if tracks of one key, where it is known, are in several splits.

    `what` the keys are stands in the sentence; `names` replaces theirs.
    """
    splits = frame["split"][keys != ""].groupby(keys[keys != ""]).nunique()
    crossing = splits.index[splits > 1]
    if crossing.empty:
        return
    rows = frame[keys.isin(crossing)]
    affected = _tested(rows)
    sentence = f"{_of(len(crossing), len(splits))} {what} are in more than one split"
    cases = _cases(rows, keys, rows["split"], names)
    yield Finding(kind, sentence if affected else f"{sentence}, but not in test", cases, affected)


def _of(number: int, total: int) -> str:
    return f"{number:,} of {total:,}"


def _tested(rows: pd.DataFrame) -> tuple[str, ...]:
    return tuple(rows["track"][rows["split"] == "test"])


def _cases(
    rows: pd.DataFrame, keys: pd.Series, said: pd.Series, names: Mapping[str, str] | None = None
) -> tuple[Case, ...]:
    """Return a case for each key, with what is said of each of its tracks."""
    paths: dict[str, dict[str, str]] = {}
    for key, path, words in zip(keys[rows.index], rows["path"], said, strict=True):
        paths.setdefault(key, {})[path] = words
    return tuple(
        Case(key if names is None else names.get(key, ""), paths[key]) for key in sorted(paths)
    )


def _recordings(hashes: pd.Series, near: pd.DataFrame) -> pd.Series:
    """Return for each track one name for what is the same audio, exactly or nearly."""
    parent = {name: name for name in hashes}

    def root(name: str) -> str:
        while parent[name] != name:
            name = parent[name]
        return name

    for a, b in zip(hashes.iloc[near["a"]], hashes.iloc[near["b"]], strict=True):
        parent[root(a)] = root(b)
    return hashes.map(root)


def _near(
    frame: pd.DataFrame, hashes: pd.Series, recordings: pd.Series, near: pd.DataFrame
) -> Iterator[Finding]:
    versions = hashes.groupby(recordings).transform("nunique")
    best = near["correlation"].groupby(recordings.iloc[near["a"]].to_numpy()).max()
    names = {str(key): f"correlation {value:.2f}" for key, value in best.items()}
    what = "recordings that are there in several versions (near duplicates)"
    yield from _across(frame, recordings.where(versions > 1, ""), "near duplicates", what, names)


def _artists(frame: pd.DataFrame) -> Iterator[Finding]:
    found = list(_across(frame, frame["artist"], "artist", "artists"))
    unknown = frame[frame["artist"] == ""]
    if unknown.empty:
        yield from found
        return
    num_tested, num_test = len(_tested(unknown)), len(_tested(frame))
    said = (
        f"the artist of {_of(len(unknown), len(frame))} tracks "
        f"({_of(num_tested, num_test)} test tracks) is unknown"
    )
    if found:
        one = found[0]
        yield Finding(one.kind, f"{one.sentence}; {said}", one.cases, one.affected)
    else:
        yield Finding("artist", said, is_note=True)


def _albums(frame: pd.DataFrame) -> pd.Series:
    """Return each track's album, with the artist: many albums have one title."""
    if "album" not in frame:
        return pd.Series("", frame.index)
    album = frame["album"].astype(str).fillna("").str.strip()
    artist = (frame["artist"] + ", ").where(frame["artist"] != "", "")
    return (artist + album).where(album != "", "")


def _contradictions(frame: pd.DataFrame, recordings: pd.Series) -> Iterator[Finding]:
    labels = frame["label"].map(lambda label: "|".join(sorted(label.split("|"))))
    several = labels.groupby(recordings).transform("nunique") > 1
    if not several.any():
        return
    rows = frame[several]
    cases = _cases(rows, recordings, rows["split"] + ", " + rows["label"], {})
    sentence = f"{_of(len(cases), recordings.nunique())} recordings have contradictory labels"
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
    rows = frame[reasons.notna()]
    if rows.empty:
        return
    num_test = len(_tested(frame))
    sentence = (
        f"{_of(len(rows), len(frame))} files cannot be used "
        f"({_of(len(_tested(rows)), num_test)} test tracks)"
    )
    yield Finding("files", sentence, _cases(rows, reasons, rows["split"]), is_note=True)
