"""What `zoo.recommend` answers, as a table to read and as a file: CSV, JSON, Parquet or a playlist.

Answers have the columns rank, similarity, path, artist, title, genre and seconds.
"""

from collections.abc import Callable
from pathlib import Path

import pandas as pd


def m3u(answers: pd.DataFrame) -> str:
    """Return an extended M3U playlist, to be written as UTF-8."""
    lines = ["#EXTM3U"]
    for path, artist, title, seconds in answers[["path", "artist", "title", "seconds"]].to_numpy():
        name = " - ".join(filter(None, [artist, title or Path(path).stem]))
        lines += [f"#EXTINF:{seconds:.0f},{_on_one_line(name)}", _address(path)]
    return "\n".join([*lines, ""])


def _address(path: str) -> str:
    """Return the path, or a file's URI where a line would not hold it as it is."""
    return path if path.strip().splitlines() == [path] else Path(path).as_uri()


def _on_one_line(text: str) -> str:
    return " ".join(text.split())


WRITERS: dict[str, Callable[[pd.DataFrame], bytes]] = {
    ".csv": lambda answers: answers.to_csv(index=False).encode(),
    ".json": lambda answers: answers.to_json(
        orient="records", force_ascii=False, indent=2
    ).encode(),
    ".parquet": lambda answers: answers.to_parquet(index=False),
    ".m3u8": lambda answers: m3u(answers).encode(),
}


def show(answers: pd.DataFrame) -> str:
    """Return a table, without columns that are empty everywhere."""
    table = pd.DataFrame(
        {
            "rank": answers["rank"].map(str),
            "similarity": answers["similarity"].map("{:.3f}".format),
            **{name: answers[name].map(_on_one_line) for name in ("path", "artist", "title")},
            "genre": answers["genre"].map(_on_one_line),
            "length": answers["seconds"].map(_minutes),
        }
    )
    shown = table.loc[:, (table != "").any()]
    return shown.to_markdown(index=False, disable_numparse=True, tablefmt="simple")


def _minutes(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d}"
