from pathlib import Path

import pytest

from ser_transfer._command import parse_settings
from ser_transfer.compare import CompareSettings, parse_encoders
from ser_transfer.corpora import CORPORA
from ser_transfer.embed import EmbedSettings
from ser_transfer.encoders import HANDCRAFTED, NAMED_ENCODERS
from ser_transfer.heads import SEQUENCE_HEADS, make_head, make_sequence_head
from ser_transfer.train import TrainSettings

RECIPES = Path(__file__).parents[1] / "recipes"
SETTINGS = {"compare": CompareSettings, "embed": EmbedSettings, "head": TrainSettings}


def recipes():
    return sorted(RECIPES.rglob("*.yaml"))


@pytest.mark.parametrize("path", recipes(), ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_a_recipe_is_read_by_its_command_and_named_in_its_readme(path):
    verb = path.stem.partition("_")[0]
    settings = parse_settings(SETTINGS[verb], [str(path)], f"python -m ser_transfer.{verb}")
    if path.parent.name == "seeds":  # whose systems ran on corpora of their own
        assert settings.corpus in CORPORA
    else:
        assert settings.corpus == path.parent.name
    assert f"`{path.name}`" in (path.parent / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("path", recipes(), ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_what_a_recipe_asks_of_heads_and_encoders_exists(path):
    verb = path.stem.partition("_")[0]
    settings = parse_settings(SETTINGS[verb], [str(path)], f"python -m ser_transfer.{verb}")
    if verb == "compare":
        assert settings.search.heads
        for member in (name for names in parse_encoders(settings.encoders) for name in names):
            assert member in (*NAMED_ENCODERS, *HANDCRAFTED) or "/" in member
    elif verb == "embed":
        settings.copies()
    elif settings.head in SEQUENCE_HEADS:
        make_sequence_head(settings.head, **settings.head_settings)
    else:
        make_head(settings.head, **settings.head_settings)


def test_every_folder_of_recipes_has_some():
    for folder in RECIPES.iterdir():
        assert list(folder.glob("*.yaml")), f"{folder} holds no recipe"


def test_recipes_hold_no_code():
    assert not list(RECIPES.rglob("*.py"))
