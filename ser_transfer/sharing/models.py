"""The repository of a model: what the run kept, its card, and nothing else."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from ser_transfer._files import written_together
from ser_transfer.cards import card_of_run
from ser_transfer.hub import check_safe
from ser_transfer.model import EmotionModel
from ser_transfer.model.encoder_files import ENCODER
from ser_transfer.model.pushing import hide_speakers, refuse_paths
from ser_transfer.sharing.errors import SharingError

ModelPart = Literal["model", "adapter"]
ENDINGS = (".json", ".safetensors", ".skops")  # of all that is written of a model


def model_repository(
    run: str | Path,
    folder: str | Path,
    *,
    repo_id: str | None = None,
    title: str | None = None,
    part: ModelPart = "model",
    include_encoder: bool = False,
    weights: str | Path | None = None,
    name_speakers: bool = False,
) -> tuple[str, ...]:
    """Write what is pushed of the model that a run kept: its files, its card, the card's figures.

    Args:
        run: Folder of a run of `train` or `finetune`.
        folder: Empty, or not there yet.
        repo_id: Where the model will be, for the lines that show its use.
        title: Of the model; None for its encoder, head and corpus.
        part: ``"model"``, or ``"adapter"`` for the adapter alone, where the run kept it.
        include_encoder: Whether the files of a frozen encoder are copied into it.
        weights: File with that encoder's weights, where it is YAMNet or VGGish and they were given.
        name_speakers: Whether the names of training speakers stay in it where their corpus is not a published
            one; see `ser_transfer.model.pushing.hide_speakers`.

    Returns:
        What its owner should know before it is pushed, in sentences.

    Raises:
        CardError: If the run has no such model, or says of itself what its files do not bear out.
        ModelError, EncoderError: If the encoder is to be copied, and cannot be; or it is a folder of this
            machine, and is not to be.
        SharingError: If it cannot be written.
        HubError: If a file is among the model's that could run code.
    """
    run, folder = Path(run), Path(folder)
    if folder.is_dir() and any(folder.iterdir()):
        raise SharingError(f"{folder} is there already, and holds files: remove it, or name another")
    card = card_of_run(run, repo_id=repo_id, title=title, part=part, has_encoder=include_encoder)
    files = {path.relative_to(run / part).as_posix(): path for path in _files(run / part)}
    check_safe(files)
    strange = [name for name in files if not name.endswith(ENDINGS)]
    if strange:
        raise SharingError(f"{run / part} holds {strange[0]}, which no model of ours does: remove it")
    try:
        with written_together(folder, last="README.md") as staged:
            if include_encoder:
                model = EmotionModel.from_pretrained(run / part, weights=weights, device="cpu")
                model.save(staged, include_encoder=True)
                if not (staged / ENCODER).is_dir():
                    raise SharingError(
                        f"the model in {run / part} has no encoder to include: it holds all of itself already"
                    )
            else:
                for name, path in files.items():
                    (staged / name).parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(path, staged / name)
            refuse_paths(staged)
            n_hidden = 0 if name_speakers else hide_speakers(staged)
            card.write(staged)
    except OSError as error:
        raise SharingError(f"cannot write to {folder}: {error.strerror}") from error
    notes = []
    if n_hidden:
        notes.append(
            f"the names of its {n_hidden} training speakers are left out (--name-speakers keeps them); "
            "evaluate still knows them by their digests"
        )
    return tuple(notes)


def _files(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not any(name.startswith(".") for name in path.relative_to(folder).parts):
            yield path
