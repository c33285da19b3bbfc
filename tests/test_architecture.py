"""The rules that hold between the rooms of the package, whatever stands in them."""

import ast
import importlib
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest

import ser_transfer

PACKAGE = Path(ser_transfer.__file__).parent

# A module imports only from rows above its own. Modules of one row keep to themselves.
ROWS = (
    {"errors", "_setting", "_interrupts"},
    {"_files"},
    {"places"},
    {"labels", "audio", "pooling", "metrics", "tables", "hub"},
    {"corpora", "encoders", "store", "splits", "heads", "augment", "plots", "pages", "timeline"},
    {"cross_validation", "fill", "exploration"},
    {"runs", "finetuning"},
    {"cards"},
    {"model", "contest"},
    {"transcription", "explanation", "exporting", "sharing"},
    {"results"},
    {"interface", "clusters"},
    {"_bars", "_ranks"},
    {"_together"},
    {"_passes"},
    {"_command"},
    {"_settings", "_stored", "_engine"},
    {"_asking"},
    {"embed", "tidy", "audit", "explore"},
    {
        "train",
        "finetune",
        "pretrain",
        "compare",
        "evaluate",
        "predict",
        "export",
        "demo",
        "list",
        "card",
        "share",
    },
    {"quickstart"},
    {"__init__", "__main__"},
)
VERBS = (
    *("explore", "embed", "tidy", "audit", "train", "pretrain", "finetune", "compare", "evaluate"),
    *("predict", "export", "demo", "list", "card", "share", "quickstart"),
)
HEAVY = ("torch", "transformers", "librosa", "sklearn", "datasets", "matplotlib")


def room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def modules_imported_by(path: Path) -> set[str]:
    """Rooms of ours that a file imports, at any depth of its code."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively; name the room"
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        else:
            continue
        found |= {name.split(".")[1] for name in names if name.startswith("ser_transfer.")}
    rooms = {path.stem for path in PACKAGE.iterdir()}
    return found & rooms


SOURCES = sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_only_point_up(path):
    row_of = {name: number for number, row in enumerate(ROWS) for name in row}
    own = room(path)
    assert own in row_of, f"{own} stands in no row of the design; give it one here and in CONTRIBUTING.md"
    for other in modules_imported_by(path) - {own}:
        assert row_of[other] < row_of[own], f"{own} may not import {other}"


def test_the_layer_rule_sees_imports_inside_functions(tmp_path):
    source = tmp_path / "sample.py"
    source.write_text("def f():\n    from ser_transfer.train import train\n    import ser_transfer.store\n")
    assert modules_imported_by(source) == {"train", "store"}


@pytest.mark.parametrize(
    "name", sorted(info.name for info in pkgutil.walk_packages([str(PACKAGE)], "ser_transfer."))
)
def test_every_module_imports_with_the_core_dependencies(name):
    importlib.import_module(name)


def run_python(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.parametrize("verb", VERBS)
def test_help_answers_without_importing_anything_heavy(verb):
    answer = run_python("-X", "importtime", "-m", f"ser_transfer.{verb}", "--help")
    assert answer.returncode == 0
    assert f"python -m ser_transfer.{verb}" in answer.stdout
    imported = {line.rpartition("|")[2].strip() for line in answer.stderr.splitlines()}
    assert "ser_transfer._command" in imported
    assert not imported & set(HEAVY)


def test_every_verb_has_its_module_and_stands_in_the_console_script():
    answer = run_python("-m", "ser_transfer", "--help")
    assert answer.returncode == 0
    assert set(re.findall(r"^  (\w+)  ", answer.stdout, re.MULTILINE)) == set(VERBS)


@pytest.mark.parametrize("order", ["function first", "module first"])
def test_a_verb_is_callable_whichever_way_it_was_imported(order):
    imports = ["from ser_transfer import embed", "import ser_transfer.embed"]
    if order == "module first":
        imports.reverse()
    check = "import ser_transfer; print(callable(embed), callable(ser_transfer.embed))"
    answer = run_python("-c", "; ".join([*imports, check]))
    assert answer.stdout.strip() == "True True", answer.stderr
