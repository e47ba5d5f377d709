"""A tree of genres above a model's classes: `rock: [metal, punk]`, in YAML, as deep as one likes.

K classes, M nodes of a level. Level 1 holds the roots; the last level holds the classes. A class
that the tree leaves out is a root of its own.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from zoo.errors import InputError, nearest

DEEPEST = 20  # levels; YAML can refer to itself
SEPARATOR = " > "


@dataclass(frozen=True)
class Level:
    """The nodes at one depth, and the classes below each."""

    names: tuple[str, ...]  # from the root down
    member_KM: np.ndarray  # booleans
    parent_M: np.ndarray  # of each node its place in the level above; in level 1 zeros

    def roll_up(self, prob_BK: np.ndarray, multilabel: bool) -> np.ndarray:
        """Return probabilities `[B,M]`: sums for one label; of several the most probable tag, less
        than which no union of them can be."""
        if not multilabel:
            return prob_BK @ self.member_KM
        return np.where(self.member_KM, prob_BK[:, :, None], 0.0).max(1)


def levels_of(paths: Sequence[tuple[str, ...]]) -> list[Level]:
    """Return the levels of a tree in which each class has that path, from root to class."""
    levels, above = [], np.zeros(len(paths), int)
    for depth in range(1, max(map(len, paths)) + 1):
        cut = [path[:depth] for path in paths]
        nodes = list(dict.fromkeys(cut))
        node_K = np.array([nodes.index(path) for path in cut])
        member_KM = node_K[:, None] == np.arange(len(nodes))
        parent_M = above[member_KM.argmax(0)]
        levels.append(Level(tuple(map(SEPARATOR.join, nodes)), member_KM, parent_M))
        above = node_K
    return levels


def flat(classes: Sequence[str]) -> list[Level]:
    """Return the one level of classes without a tree."""
    return levels_of([(name,) for name in classes])


def read_tree(file: Path, classes: Sequence[str]) -> list[Level]:
    """Read a tree. Raises `InputError` for what is none, or not one of these classes."""
    try:
        content = yaml.safe_load(file.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = (getattr(error, "strerror", None) or str(error)).splitlines()[0]
        raise InputError(f"--tree {file} cannot be read as YAML: {reason}.") from error
    if not isinstance(content, dict):
        raise InputError(f"--tree {file} must hold lines of the form `genre: [class, class]`.")
    found: dict[str, tuple[str, ...]] = {}
    for path in _paths(content, (), file):
        name = path[-1]
        if name not in classes:
            raise InputError(
                f"--tree {file}: the model has no class {name!r}; {nearest(name, classes)}"
            )
        if name in found:
            raise InputError(f"--tree {file} has {name!r} twice; each class has one place.")
        found[name] = path
    inner = {node for path in found.values() for node in path[:-1]}
    for name in inner & set(classes) - found.keys():  # tracks of `rock` that are none of its kinds
        found[name] = next(p[: p.index(name) + 1] for p in found.values() if name in p)
    return levels_of([found.get(name, (name,)) for name in classes])


def _paths(node: Any, above: tuple[str, ...], file: Path) -> Iterator[tuple[str, ...]]:
    if len(above) > DEEPEST:
        raise InputError(f"--tree {file} is deeper than {DEEPEST} levels, or contains itself.")
    if isinstance(node, dict):
        for name, below in node.items():
            yield from _paths(str(name) if below is None else below, (*above, str(name)), file)
    elif isinstance(node, list):
        for below in node:
            path = above if isinstance(below, dict | list) else (*above, str(below))
            yield from _paths(below, path, file)
    else:
        yield above
