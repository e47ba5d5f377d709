"""What the rows of a leaderboard are called."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from leaderboard.table import differences
from zoo.pooling import Pooled
from zoo.results import Result


def names_of(pooled: Iterable[Pooled]) -> dict[Path, str]:
    """Return what each run is called: its model, how that was fine-tuned from what, and, where
    rows of one protocol share that, the front end and what else sets them apart."""
    groups: dict[str, dict[str, Result]] = {}
    folders: dict[Path, tuple[str, str]] = {}
    for one in pooled:
        for run in one.runs:
            groups.setdefault(one.group, {})[run.result.recipe] = run.result
            folders[run.folder] = one.group, run.result.recipe
    names = {group: _told_apart(recipes) for group, recipes in groups.items()}
    return {folder: names[group][recipe] for folder, (group, recipe) in folders.items()}


def short_name(result: Result) -> str:
    """Return the model, and how it was fine-tuned from what, such as "crnn head from mtat/crnn"."""
    method, checkpoint = _origin(result)
    fine_tuned = [method, f"from {checkpoint}"] if checkpoint else []
    return " ".join([result.model, *fine_tuned])


def _told_apart(recipes: dict[str, Result]) -> dict[str, str]:
    short = {recipe: short_name(result) for recipe, result in recipes.items()}
    full = {
        recipe: f"{short[recipe]} {recipes[recipe].frontend}"
        if _differ([recipes[r].frontend for r in _like(short, recipe)])
        else short[recipe]
        for recipe in recipes
    }
    names = {}
    for recipe in recipes:
        like = _like(full, recipe)
        apart = differences([recipes[r].config for r in like])[like.index(recipe)]
        names[recipe] = f"{full[recipe]} {apart}".strip()
    return {r: n if len(_like(names, r)) == 1 else f"{n} {r[:6]}" for r, n in names.items()}


def _like(names: dict[str, str], recipe: str) -> list[str]:
    """Return the recipes that have the name of this one."""
    return [other for other, name in names.items() if name == names[recipe]]


def _differ(values: Sequence[str]) -> bool:
    return len(set(values)) > 1


def _origin(result: Result) -> tuple[str, str]:
    """Return the fine-tuning method and the checkpoint, both empty where training began at
    random."""
    config = result.config
    backend = config.get("model", {}).get("backend", {})
    checkpoint = config.get("checkpoint") or backend.get("checkpoint")
    if checkpoint is None:
        name = backend.get("name", "pretrained") if backend.get("pretrained") else ""
        return (config.get("finetune", {}).get("name", ""), name) if name else ("", "")
    path = Path(checkpoint)
    where = path.parent if path.suffix else path
    return config.get("finetune", {}).get("name", ""), "/".join(where.parts[-2:])


def is_pretrained(result: Result) -> bool:
    """Tell whether training started from weights that were learned on other data."""
    return bool(_origin(result)[1])
