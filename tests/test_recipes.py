from pathlib import Path

import pytest

from ser_transfer._command import parse_settings
from ser_transfer.embed import EmbedSettings
from ser_transfer.train import TrainSettings

RECIPES = Path(__file__).parents[1] / "recipes"
SETTINGS = {"embed": EmbedSettings, "head": TrainSettings}


def recipes():
    return sorted(RECIPES.rglob("*.yaml"))


@pytest.mark.parametrize("path", recipes(), ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_a_recipe_is_read_by_its_command_and_named_in_its_readme(path):
    verb = path.stem.partition("_")[0]
    settings = parse_settings(SETTINGS[verb], [str(path)], f"python -m ser_transfer.{verb}")
    assert settings.corpus == path.parent.name
    assert f"`{path.name}`" in (path.parent / "README.md").read_text(encoding="utf-8")


def test_every_folder_of_recipes_has_some():
    for folder in RECIPES.iterdir():
        assert list(folder.glob("*.yaml")), f"{folder} holds no recipe"


def test_recipes_hold_no_code():
    assert not list(RECIPES.rglob("*.py"))
