"""Share what a run made on the Hugging Face Hub: its model, its embeddings, its results, or a page around it.

python -m ser_transfer.share outputs/RUN user/name
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal, TypeVar

from ser_transfer import __version__
from ser_transfer._command import CallableModule, SettingsError, as_flags, command
from ser_transfer._setting import setting
from ser_transfer._settings import CorpusSettings, EncoderSettings
from ser_transfer._stored import stored_embeddings
from ser_transfer.cards.corpus import training_corpus
from ser_transfer.cards.model_card import default_title
from ser_transfer.cards.reading import read_card_run, read_recipe
from ser_transfer.embed import EmbedSettings
from ser_transfer.encoders import Encoder, load_encoder
from ser_transfer.fill import keys_by_id
from ser_transfer.hub import push_folder
from ser_transfer.places import is_url, local_folder
from ser_transfer.runs.files import NOT_READ
from ser_transfer.sharing.corpus_rows import dataset_id_of
from ser_transfer.sharing.embeddings import Embedded, embeddings_repository
from ser_transfer.sharing.models import model_repository
from ser_transfer.sharing.results import results_repository
from ser_transfer.sharing.space import space_repository
from ser_transfer.tables import text_table

Part = Literal["model", "adapter", "embeddings", "results"]
REPO_TYPES = {"model": "model", "adapter": "model", "embeddings": "dataset", "results": "dataset"}
Kind = TypeVar("Kind", CorpusSettings, EncoderSettings)

STAGED = "share"  # in the run's folder, where --dry-run writes


@dataclass(frozen=True, kw_only=True)
class ShareSettings:
    """Share what a run made on the Hugging Face Hub: its model, its embeddings, its results, or a page."""

    run_and_id: tuple[str, ...] = setting(
        (), help="folder or URL of a run, then owner/name on the Hub; the same as giving them first"
    )
    part: Part = setting(
        "model",
        help="model, adapter (alone, where the run kept it), embeddings (of its corpus by its encoder, "
        "without audio) or results (its answers and scores); the last two become dataset repositories",
    )
    space: bool = setting(
        False,
        help="a page around the model that is on the Hub as owner/name: a Gradio Space of that name",
    )
    private: bool = setting(False, help="only its owner may read it")
    replace: bool = setting(False, help="make this the next commit of a repository that holds files already")
    dry_run: bool = setting(
        False, help="push nothing: write exactly what would be pushed to --out, and ask the Hub nothing"
    )
    out: str | None = setting(None, help=f"folder for --dry-run; default: {STAGED}/ in the run's folder")
    title: str | None = setting(None, help="of the model; default: its encoder, head and corpus")
    include_encoder: bool = setting(
        False, help="copy the files of the frozen encoder too, so that the model needs no other repository"
    )
    weights: str | None = setting(None, help="file with the weights of that encoder, yamnet or vggish")
    name_speakers: bool = setting(
        False, help="keep the names of speakers of an unpublished corpus; without, digests of them are shared"
    )

    @cached_property
    def run(self) -> Path:
        """The run's folder; of one at a URL, what is read of it."""
        return local_folder(self.run_and_id[0], without=NOT_READ)

    @property
    def repo_id(self) -> str:
        """Its name on the Hub."""
        return self.run_and_id[1]

    @property
    def repo_type(self) -> str:
        """What kind of repository it becomes."""
        return "space" if self.space else REPO_TYPES[self.part]

    def check(self) -> None:
        """Refuse flags that mean nothing together, before anything is read.

        Raises:
            SettingsError: If there are any.
        """
        if len(self.run_and_id) != 2:
            raise SettingsError(
                "give a run and its name on the Hub: python -m ser_transfer.share outputs/RUN user/name"
            )
        if self.dry_run and self.out is None and is_url(self.run_and_id[0]):
            raise SettingsError(f"{self.run_and_id[0]} is a URL: say where --dry-run writes, --out {STAGED}")
        if self.out is not None and not self.dry_run:
            raise SettingsError("--out says where --dry-run writes: add --dry-run, or leave --out away")
        if self.space and self.part != "model":
            raise SettingsError(f"a Space is around a model, not around {self.part}: leave --part away")
        of_models = {
            "include_encoder": self.include_encoder,
            "weights": self.weights is not None,
            "name_speakers": self.name_speakers,
        }
        stray = [f"--{name.replace('_', '-')}" for name, given in of_models.items() if given]
        if stray and (self.space or self.part not in ("model", "adapter")):
            raise SettingsError(f"{stray[0]} is of a model, and none is pushed here: leave it away")
        if self.weights is not None and not self.include_encoder:
            raise SettingsError("--weights names the encoder that --include-encoder copies: add that")


def share(
    run: str | Path,
    repo_id: str,
    *,
    part: Part = "model",
    space: bool = False,
    private: bool = False,
    replace: bool = False,
    title: str | None = None,
    include_encoder: bool = False,
    weights: str | Path | None = None,
    name_speakers: bool = False,
) -> str:
    """Push what a run made; the settings of ``python -m ser_transfer.share --help`` by the same names.

    Args:
        run: Folder of a run.
        repo_id: ``owner/name``.
        part: What of the run is shared.
        space: A page around the model of that name.
        private: Only the owner may read it.
        replace: Whether a repository that holds files already gets this as its next commit.
        title: Of the model.
        include_encoder: Whether a frozen encoder's files go with it.
        weights: File with that encoder's weights, yamnet or vggish.
        name_speakers: Whether speakers of an unpublished corpus keep their names.

    Returns:
        The commit's URL.

    Raises:
        HubError: See `ser_transfer.hub.push_folder`.
        SharingError, CardError, ModelError: If there is nothing of that kind to be shared.
    """
    settings = ShareSettings(
        run_and_id=(str(run), repo_id),
        part=part,
        space=space,
        private=private,
        replace=replace,
        title=title,
        include_encoder=include_encoder,
        weights=None if weights is None else str(weights),
        name_speakers=name_speakers,
    )
    settings.check()
    with tempfile.TemporaryDirectory(prefix="ser_transfer-share-") as temporary:
        folder = Path(temporary) / "repository"
        _stage(settings, folder)
        return _push(settings, folder)


def _stage(settings: ShareSettings, folder: Path) -> None:
    """Write what is pushed, and nothing else; warn of what its owner should know."""
    if settings.space:
        run = read_card_run(settings.run, "model")
        title = settings.title or default_title(run, training_corpus(run))
        space_repository(settings.repo_id, folder, title=title, run=run, private=settings.private)
    elif settings.part == "results":
        results_repository([settings.run], folder, repo_id=settings.repo_id, title=settings.title)
    elif settings.part == "embeddings":
        _stage_embeddings(settings, folder)
    else:
        notes = model_repository(
            settings.run,
            folder,
            repo_id=settings.repo_id,
            title=settings.title,
            part=settings.part,
            include_encoder=settings.include_encoder,
            weights=settings.weights,
            name_speakers=settings.name_speakers,
        )
        for note in notes:
            warnings.warn(note, stacklevel=2)


def _stage_embeddings(settings: ShareSettings, folder: Path) -> None:
    """Write the embeddings that a run of train read: its encoder's, and its baseline's beside them.

    Raises:
        SettingsError: If it is a run of another verb, or was itself trained on shared embeddings.
    """
    recipe = read_recipe(settings.run)
    if recipe.get("embeddings") is not None:
        raise SettingsError(
            f"{settings.run} was trained on shared embeddings, {recipe['embeddings']}: they are on the Hub"
        )
    if "head" not in recipe:
        raise SettingsError(
            f"{settings.run} is no run of train, and has no embeddings in the store: give one of train"
        )
    corpus = _settings_of(CorpusSettings, recipe).load_corpus()
    keys = keys_by_id(corpus)
    flags = as_flags(SimpleNamespace(**recipe), EmbedSettings)

    def embedded(encoder: Encoder, pooling: str | None, weights: str | None) -> Embedded:
        found = stored_embeddings(
            recipe["store"], keys, encoder, pooling=pooling, copies=None, embed_flags=flags
        )
        return Embedded(encoder, found, weights)

    encoder = _settings_of(EncoderSettings, recipe).load_encoder()
    given = [embedded(encoder, recipe["pooling"], recipe["weights"])]
    if recipe["baseline"] not in ("none", recipe["encoder"]):
        given.append(embedded(load_encoder(recipe["baseline"]), None, None))
    embeddings_repository(
        corpus,
        given,
        folder,
        repo_id=settings.repo_id,
        title=settings.title or recipe["title"],
        part=recipe["part"],
        label_map=recipe["label_map"],
        dataset_id=dataset_id_of(recipe["corpus"], recipe["root"]),
        keys=keys,
    )


def _settings_of(kind: type[Kind], recipe: Mapping[str, Any]) -> Kind:
    return kind(**{item.name: recipe[item.name] for item in fields(kind) if item.name in recipe})


def _push(settings: ShareSettings, folder: Path) -> str:
    what = "page" if settings.space else settings.part
    return push_folder(
        folder,
        settings.repo_id,
        private=settings.private,
        repo_type=settings.repo_type,
        message=f"The {what} of {settings.run.resolve().name}, by ser_transfer {__version__}",
        exist_ok=settings.replace,
    )


def _run(settings: ShareSettings) -> int:
    settings.check()
    if settings.dry_run:
        folder = Path(settings.out) if settings.out is not None else settings.run / STAGED
        if settings.out is None:
            shutil.rmtree(folder, ignore_errors=True)  # what an earlier --dry-run left
        _stage(settings, folder)
        print(f"not pushed; exactly this would be {settings.repo_type} {settings.repo_id}, in {folder}:")
        print(_listing(folder))
        return 0
    with tempfile.TemporaryDirectory(prefix="ser_transfer-share-") as temporary:
        folder = Path(temporary) / "repository"
        _stage(settings, folder)
        print(_listing(folder))
        print(f"pushed: {_push(settings, folder)}")
    return 0


def _listing(folder: Path) -> str:
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    rows = [(path.relative_to(folder).as_posix(), f"{path.stat().st_size:,} B") for path in files]
    return text_table([("file", "size"), *rows])


main = command(ShareSettings, _run, words="run_and_id")
sys.modules[__name__].__class__ = CallableModule

if __name__ == "__main__":
    sys.exit(main())
