"""What a data set is, in the words of those who made it, and where its files come from."""

from dataclasses import dataclass
from pathlib import Path

from zoo.errors import InputError


class MissingError(InputError):
    """A data set is not where `dataset.path` says: what `dataset.download=true` may mend."""


@dataclass(frozen=True)
class Archive:
    """A file that may be downloaded; archives are unpacked below `dataset.path`."""

    url: str
    checksum: str = ""  # as published, such as "sha256:21559f..."; empty: none is published
    folder: str = ""  # below dataset.path, where it is unpacked or put
    more: tuple[str, ...] = ()  # URLs of its other parts, where it is published in several


@dataclass(frozen=True)
class Card:
    """The card of a data set: `CARD` in its file. Everything but `archives` is for people."""

    name: str  # as in dataset=NAME
    citation: str
    licence: str
    size: str  # such as "1,000 tracks of 30 s, 1.2 GB"
    home: str  # the page where to get it
    layout: str  # what dataset.path must hold
    alternatives: tuple[str, ...] = ()  # other places that have it
    archives: tuple[Archive, ...] = ()  # what dataset.download=true fetches; none: the licence or
    # the publisher does not allow it, or there is no link that works

    @property
    def about(self) -> str:
        """What people should know of it, in a few lines."""
        lines = [f"{self.name}: {self.size}", f"cite {self.citation}", f"licence: {self.licence}"]
        return "\n".join([*lines, f"from {self.places}"])

    @property
    def places(self) -> str:
        """Where to get it."""
        return " or ".join((self.home, *self.alternatives))

    @property
    def where(self) -> str:
        """Where to get it and how to lay it out; ends a message."""
        offer = " (or let dataset.download=true fetch it)" if self.archives else ""
        return f"get it at {self.places}{offer}; dataset.path must hold {self.layout}."

    @property
    def refusal(self) -> str:
        """Why `dataset.download=true` fetches nothing, where it does not."""
        return (
            f"dataset.download=true knows no link of {self.name} that may be fetched (licence: "
            f"{self.licence}); {self.where}"
        )

    def root(self, path: Path | None) -> Path:
        """Return `dataset.path`. Raises `InputError` that says where to get the data set."""
        if path is None:
            raise InputError(
                f"dataset.path is not set: dataset={self.name} needs dataset.path=DIR; {self.where}"
            )
        if not Path(path).is_dir():
            raise MissingError(f"dataset.path={path} is not a folder; {self.where}")
        return Path(path)

    def missing(self, root: Path, file: str) -> InputError:
        """Return the error for a file of the data set's own that `dataset.path` lacks."""
        return MissingError(f"dataset.path={root} has no {file}; {self.where}")
