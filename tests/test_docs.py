"""The pages of the guide that are made from what is registered."""

from pathlib import Path

import pytest

from zoo.models import page
from zoo.registry import choices

PAGE = Path(__file__).parents[1] / "docs" / "models.md"


@pytest.mark.parametrize("group", ["model", "frontend"])
def test_the_page_of_models_names_them_all(group: str) -> None:
    lines = PAGE.read_text("utf-8").splitlines()
    named = {line.split("|")[1].strip() for line in lines if line.startswith("|")}
    assert set(choices(group)) <= named


@pytest.mark.slow
def test_the_page_of_models_is_the_latest() -> None:
    assert PAGE.read_text("utf-8") == page(markdown=True) + "\n"
