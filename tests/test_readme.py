"""What the documents tell a reader to type is what the commands understand."""

import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile

from ser_transfer import quickstart
from ser_transfer._command import parse_settings
from ser_transfer.audit import AuditSettings
from ser_transfer.card import CardSettings
from ser_transfer.compare import CompareSettings
from ser_transfer.demo import DemoSettings
from ser_transfer.embed import EmbedSettings
from ser_transfer.evaluate import EvaluateSettings
from ser_transfer.explore import ExploreSettings
from ser_transfer.export import ExportSettings
from ser_transfer.finetune import FinetuneSettings
from ser_transfer.list import ListSettings
from ser_transfer.predict import PredictSettings
from ser_transfer.pretrain import PretrainSettings
from ser_transfer.share import ShareSettings
from ser_transfer.tidy import TidySettings
from ser_transfer.train import TrainSettings

ROOT = Path(__file__).parents[1]
SETTINGS = {
    "audit": AuditSettings,
    "card": CardSettings,
    "compare": CompareSettings,
    "demo": DemoSettings,
    "embed": EmbedSettings,
    "evaluate": EvaluateSettings,
    "explore": ExploreSettings,
    "export": ExportSettings,
    "finetune": FinetuneSettings,
    "list": ListSettings,
    "predict": PredictSettings,
    "pretrain": PretrainSettings,
    "quickstart": quickstart.QuickstartSettings,
    "share": ShareSettings,
    "tidy": TidySettings,
    "train": TrainSettings,
}
WORDS = {  # the setting of words without a flag
    "card": "run",
    "demo": "model",
    "export": "model",
    "list": "folder",
    "predict": "files_or_folders",
    "share": "run_and_id",
}
DOCUMENTS = {path.relative_to(ROOT).as_posix(): path.read_text() for path in ROOT.glob("*.md")}
DOCUMENTS |= {path.relative_to(ROOT).as_posix(): path.read_text() for path in ROOT.glob("[rbd]*/**/*.md")}
DOCUMENTS["what the quickstart prints"] = quickstart.NEXT


def commands():
    for name, text in DOCUMENTS.items():
        joined = text.replace("\\\n", " ")
        for verb, arguments in re.findall(r"^ +python -m ser_transfer\.(\w+)(.*)$", joined, re.MULTILINE):
            yield pytest.param(verb, arguments, id=f"{name}: {verb}{arguments}"[:90])


@pytest.mark.parametrize(("verb", "arguments"), list(commands()))
def test_a_command_in_a_document_is_understood(verb, arguments, monkeypatch):
    monkeypatch.chdir(ROOT)
    parse_settings(SETTINGS[verb], shlex.split(arguments, comments=True), verb, words=WORDS.get(verb))


def test_the_files_that_the_documents_link_to_are_there():
    for name, text in DOCUMENTS.items():
        for target in re.findall(r"\]\(([^)#:]+)\)", text):
            assert (ROOT / Path(name).parent / target).exists(), f"{name} links to {target}"


def test_the_python_of_the_readme_runs(shared, tmp_path, monkeypatch, capsys):
    blocks = re.findall(r"```python\n(.*?)```", DOCUMENTS["README.md"], re.DOTALL)
    for actor in ("Actor_07", "Actor_17", "Actor_24"):
        for path in sorted((shared / "corpora" / "ravdess" / actor).glob("*-01-*.flac"))[::4]:
            (tmp_path / "data" / "ravdess" / actor).mkdir(parents=True, exist_ok=True)
            shutil.copy(path, tmp_path / "data" / "ravdess" / actor)
    samples, rate = soundfile.read(path)
    soundfile.write(tmp_path / "call.wav", samples, rate)
    soundfile.write(tmp_path / "interview.mp3", np.tile(samples, 3), rate)
    monkeypatch.chdir(tmp_path)
    with pytest.warns(UserWarning, match="1440"):
        exec("\n".join(blocks), {})
    printed = capsys.readouterr().out
    assert "WEBVTT" in printed
    assert "handcrafted" in printed
    assert "mfcc (baseline)" in printed
