"""A model on its way to the Hub: what is written beside it, and what is left out of it."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from ser_transfer.cards import card_of_model
from ser_transfer.cards.kept import shown_encoder
from ser_transfer.corpora import CORPUS_CARDS
from ser_transfer.encoders import HANDCRAFTED, NAMED_ENCODERS
from ser_transfer.encoders.heard import DIGESTS, digests
from ser_transfer.hub import push_folder
from ser_transfer.model.base import EmotionModel
from ser_transfer.model.encoder_files import ENCODER
from ser_transfer.model.errors import ModelError

CONFIG, ADAPTER, TRAINING = "config.json", "adapter_config.json", "training.json"


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
        refuse_paths(folder)
        has_encoder = (folder / ENCODER).is_dir()
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


def refuse_paths(folder: Path) -> None:
    """See that others can load a model: its encoder goes by a name that they know, or goes with it.

    An encoder that was read from a folder of this machine is called by the last part of its path afterwards.

    Args:
        folder: Of a copy of the model: its files are changed.

    Raises:
        ModelError: If the encoder is a folder of this machine, and does not go with it.
    """
    config, adapter = folder / CONFIG, folder / ADAPTER
    if adapter.is_file():
        name = str(json.loads(adapter.read_text(encoding="utf-8"))["base_model_name_or_path"])
        if _is_folder(name):
            raise ModelError(
                f"the adapter is for an encoder in a folder of this machine, {name}, which others do not "
                "have: share the model, into which it is merged"
            )
        return
    content = json.loads(config.read_text(encoding="utf-8"))
    described = content.get("encoder", content.get("ser_transfer"))
    if not isinstance(described, dict) or not _is_folder(described["name"]):
        return
    if "encoder" in content and not (folder / ENCODER).is_dir():
        raise ModelError(
            f"the model reads an encoder in a folder of this machine, {described['name']}, which others do "
            "not have: add --include-encoder (include_encoder=True), which copies it"
        )
    described["name"] = shown_encoder(described["name"])
    config.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _is_folder(name: str) -> bool:
    if name in (*NAMED_ENCODERS, *HANDCRAFTED):
        return False
    return shown_encoder(name) != name or Path(name).is_dir()
