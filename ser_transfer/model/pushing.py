"""A model on its way to the Hub: what is written beside it, and what is left out of it."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from ser_transfer.cards import card_of_model
from ser_transfer.corpora import CORPUS_CARDS
from ser_transfer.encoders.heard import DIGESTS, digests
from ser_transfer.hub import push_folder
from ser_transfer.model.base import EmotionModel

CONFIG, TRAINING = "config.json", "training.json"


def push_model(
    model: EmotionModel,
    repo_id: str,
    *,
    private: bool,
    replace: bool,
    include_encoder: bool,
    name_speakers: bool,
) -> str:
    """Push a model with a card of its own; see `EmotionModel.push_to_hub`."""
    with tempfile.TemporaryDirectory(prefix="ser_transfer-push-") as temporary:
        folder = Path(temporary)
        model.save(folder, include_encoder=include_encoder)
        if not name_speakers:
            hide_speakers(folder)
        has_encoder = (folder / "encoder").is_dir()
        card_of_model(folder, repo_id=repo_id, has_encoder=has_encoder).write(folder)
        return push_folder(
            folder, repo_id, private=private, message=f"{model.name}, by ser_transfer", exist_ok=replace
        )


def hide_speakers(folder: Path) -> int:
    """Take the names of training speakers out of a model's files, unless their corpus is a published one.

    Published corpora number their speakers. In recordings of someone's own, names may be those of people:
    digests stay in their place, by which `evaluate` still refuses speakers that the model has heard.

    Args:
        folder: Of a copy of the model: its files are changed.

    Returns:
        How many names there were; 0 where they stay.
    """
    n_hidden = 0
    for name in (CONFIG, TRAINING):
        path = folder / name
        if not path.is_file():
            continue
        content = json.loads(path.read_text(encoding="utf-8"))
        facts = content.get("training", {}) if name == CONFIG else content
        speakers = facts.get("speakers")
        if speakers and facts.get("corpus_name") not in CORPUS_CARDS:
            facts["speakers"] = []
            facts[DIGESTS] = digests(map(str, speakers))
            n_hidden = len(speakers)
            path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return n_hidden
