"""Go on with an encoder's own pretraining on a corpus, without its labels, before it is fine-tuned.

accelerate launch -m ser_transfer.pretrain recipes/ravdess/tapt_wav2vec2_base.yaml --root DIR
"""

from __future__ import annotations

import json
import re
import shlex
import signal
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ser_transfer._bars import training_bar
from ser_transfer._command import CallableModule, SettingsError, as_flags, command
from ser_transfer._setting import setting
from ser_transfer._settings import RESUMED_FROM, CorpusSettings, SplitSettings, TrainingSettings
from ser_transfer._stored import refused_if_leaky
from ser_transfer.fill import keys_by_id
from ser_transfer.finetuning.pretraining import MaskedBatchSettings, ObjectiveSettings, Pretraining
from ser_transfer.finetuning.settings import Optimisation
from ser_transfer.places import Output, mirrored
from ser_transfer.splits import make_split
from ser_transfer.tables import text_table

if TYPE_CHECKING:
    from accelerate import Accelerator
    from datasets import Dataset

    from ser_transfer.finetuning import Step
    from ser_transfer.finetuning.pretraining import Pretrained


@dataclass(frozen=True, kw_only=True)
class PretrainSettings(
    TrainingSettings,
    SplitSettings,
    Optimisation,
    MaskedBatchSettings,
    ObjectiveSettings,
    CorpusSettings,
):
    """Go on with an encoder's own pretraining on a corpus, without its labels, before it is fine-tuned."""

    all_speakers: bool = setting(
        False, help="train one model on every speaker, those of test sides too: its scores are transductive"
    )
    title: str | None = setting(None, help="the corpus's name in tables; default: --corpus")
    out: str | None = setting(
        None,
        help="run folder, or a URL of one; default: outputs/pretrain-<corpus>-<encoder>-<split>, or "
        "-transductive with --all-speakers",
    )

    @property
    def pretraining(self) -> Pretraining:
        """All that the training follows from."""
        return Pretraining(
            objective=self.those_of(ObjectiveSettings),
            batches=self.those_of(MaskedBatchSettings),
            optimisation=self.those_of(Optimisation),
        )


@dataclass(frozen=True)
class PretrainRun:
    """What came of a task-adaptive pretraining.

    Attributes:
        title: The corpus's name.
        encoder: What it started from.
        split: A few words on the split; None where every speaker was heard.
        folds: What came of each fold.
        models: Where the models lie, with ``{fold}`` for the fold: what ``finetune --encoder`` takes.
    """

    title: str
    encoder: str
    split: str | None
    folds: tuple[Pretrained, ...]
    models: str

    @property
    def hears_test_speakers(self) -> bool:
        """Whether the model has heard those on whom it would be tested."""
        return self.split is None

    def metrics(self) -> dict[str, Any]:
        """Give all figures, for JSON."""
        return {
            "task": "task-adaptive pretraining",
            "corpus": self.title,
            "encoder": self.encoder,
            "split": self.split,
            "hears_test_speakers": self.hears_test_speakers,
            "models": self.models,
            "folds": {found.fold: asdict(found) for found in self.folds},
        }

    def __str__(self) -> str:
        header = ("fold", "best epoch", "validation loss", "accuracy", "codes in use")
        rows: list[tuple[str, ...]] = [header]
        for found in self.folds:
            figures = [("-",) * 2] * 3
            if found.before is not None and found.after is not None:
                sides = (found.before, found.after)
                codes = tuple("-" if side.perplexity is None else f"{side.perplexity:.0f}" for side in sides)
                figures = [
                    (f"{sides[0].loss:.3f}", f"{sides[1].loss:.3f}"),
                    (f"{sides[0].accuracy:.3f}", f"{sides[1].accuracy:.3f}"),
                    (codes[0], codes[1]),
                ]
            told = ["-" if set(pair) == {"-"} else f"{pair[0]} to {pair[1]}" for pair in figures]
            rows.append((found.fold, str(found.best_epoch), *told))
        heard = "every speaker, test speakers too: transductive" if self.split is None else self.split
        return f"{self.title}: {self.encoder}, pretrained on {heard}\n\n{text_table(rows)}"


def pretrain(
    corpus: Dataset,
    settings: Pretraining,
    folder: str | Path,
    *,
    keys: Mapping[str, str] | None = None,
    split: str = "speaker-folds",
    n_folds: int = 5,
    folds: list[str] | None = None,
    all_speakers: bool = False,
    accelerator: Accelerator | None = None,
    title: str | None = None,
    resume: bool = False,
    save_steps: int | None = None,
    on_step: Callable[[str, Step], None] = lambda fold, step: None,
    on_clips: Callable[[str, int, int], None] = lambda fold, n_clips, n_all: None,
) -> PretrainRun:
    """Go on with an encoder's own objective on every fold's training recordings, or on all recordings.

    Args:
        corpus: From `ser_transfer.load_corpus`. Its labels are not learned; a split balances them.
        settings: Objective, batches and optimisation.
        folder: Of the run: each fold leaves its model in ``folds/<name>/model``, and all speakers together in
            ``transductive/model``.
        keys: Audio key per utterance id, from `ser_transfer.fill.keys_by_id`: what was finished on the same
            recordings is not trained again. None has them read for it.
        split: A kind of split; see `ser_transfer.splits.make_split`.
        n_folds: Folds, where the kind has a choice.
        folds: Names of the folds to run; None for all.
        all_speakers: Train one model on every recording in place of one per fold. A score on speakers of this
            corpus is transductive then.
        accelerator: From `ser_transfer.finetuning.make_accelerator`; None for one without trackers.
        title: The corpus's name in tables; None for the one it was loaded by.
        resume: Go on with unfinished folds where their last states were saved.
        save_steps: Save a state every so many steps too, not only after each epoch.
        on_step: Called after each step with the fold's name.
        on_clips: Called while HuBERT's hidden units are found, with the fold's name, clips that are done and
            all there are.

    Returns:
        The run; printing it prints its table.

    Raises:
        SplitError: If the corpus cannot be split so, for want of speakers above all.
        FinetuneError: If the encoder has no such objective, or the training cannot go on.
    """
    from ser_transfer.finetuning import make_accelerator
    from ser_transfer.finetuning.pretraining import HEARS_ALL, pretrain_folds, pretrain_on_all

    folder, name = Path(folder), corpus.info.dataset_name
    accelerator = accelerator or make_accelerator(settings.optimisation, folder)
    facts = {"corpus": title or name or "corpus", "corpus_name": name, "split": None}
    options: dict[str, Any] = {"keys": keys, "resume": resume, "save_steps": save_steps}
    options |= {"on_step": on_step, "on_clips": on_clips, "training": facts}
    if all_speakers:
        found = [pretrain_on_all(accelerator, corpus, settings, folder, **options)]
        models = folder / HEARS_ALL / "model"
    else:
        made = make_split(corpus, split, n_folds=n_folds, seed=settings.optimisation.seed, corpus_name=name)
        if folds is not None:
            made = made.only(folds)
        facts["split"] = made.description
        found = pretrain_folds(accelerator, corpus, made, settings, folder, **options)
        models = folder / "folds" / "{fold}" / "model"
    encoder = str(settings.objective.encoder)
    return PretrainRun(str(facts["corpus"]), encoder, facts["split"], tuple(found), str(models))


def _run(settings: PretrainSettings) -> int:
    if settings.all_speakers and settings.folds is not None:
        raise SettingsError("--all-speakers trains one model on everyone: leave --folds out")
    with mirrored(settings.out or default_folder(settings), reads=RESUMED_FROM, resumes=True) as out:
        return _run_into(out, settings)


def _run_into(out: Output, settings: PretrainSettings) -> int:
    from ser_transfer.finetuning import InterruptedTraining, end_training, make_accelerator
    from ser_transfer.finetuning.pretraining import HEARS_ALL

    folder = out.folder
    commit = settings.committing(out)
    accelerator = make_accelerator(
        settings.pretraining.optimisation, folder, device=settings.device, tracker=settings.tracker
    )
    with accelerator.main_process_first():
        if accelerator.is_main_process:
            settings.begin(out, (folder / "folds", folder / HEARS_ALL))
        corpus = settings.load_corpus()
        keys = keys_by_id(corpus)
        if not settings.all_speakers:
            refused_if_leaky(corpus, settings.make_split(corpus, settings.seed), keys, None, settings.allow)
    with training_bar(str(settings.encoder), shown=accelerator.is_main_process) as advance:

        def on_step(fold: str, step: Step) -> None:
            commit(fold, step)
            advance(fold, step.step, step.n_steps, f"loss {step.loss:.3f}", step.n_clips)

        n_done: dict[str, int] = {}

        def on_clips(fold: str, n_clips: int, n_all: int) -> None:
            n_done[fold] = n_done.get(fold, 0) + n_clips
            advance(f"{fold}, hidden units", n_done[fold], n_all, "clips", n_clips)

        try:
            run = pretrain(
                corpus,
                settings.pretraining,
                folder,
                keys=keys,
                split=settings.split,
                n_folds=settings.n_folds,
                folds=settings.fold_names,
                all_speakers=settings.all_speakers,
                accelerator=accelerator,
                title=settings.title,
                resume=settings.resume,
                save_steps=settings.save_steps,
                on_step=on_step,
                on_clips=on_clips,
            )
        except InterruptedTraining as error:
            if accelerator.is_main_process:
                print(f"interrupted: {out.named(error)}", file=sys.stderr)
            out.is_finished = False
            end_training(accelerator)
            return 128 + (error.signal or signal.SIGTERM)
    if accelerator.is_main_process:
        run = replace(run, models=out.named(run.models))
        _write(run, folder, asdict(settings))
        how = "" if settings.all_speakers else " on the same folds"
        print(f"{run}\n\nwritten to {out}; to fine-tune it{how}:\n{_next(run, settings)}")
    end_training(accelerator)
    return 0


def _next(run: PretrainRun, settings: PretrainSettings) -> str:
    """Write the command that fine-tunes: with other folds it would be tested on speakers that were heard."""
    words = [f"python -m ser_transfer.finetune --encoder {shlex.quote(run.models)}"]
    words += [as_flags(settings, kind) for kind in (CorpusSettings, SplitSettings)]
    words += [f"--seed {settings.seed}"] if settings.seed else []
    return " ".join(word for word in words if word)


def _write(run: PretrainRun, folder: Path, recipe: dict[str, Any]) -> None:
    """Write settings and figures of a run beside its models."""
    import yaml

    try:
        (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe, sort_keys=False), encoding="utf-8")
        text = json.dumps(run.metrics(), indent=2, ensure_ascii=False)
        (folder / "metrics.json").write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise SettingsError(f"cannot write to {folder}: {error.strerror}; name another with --out") from error


def default_folder(settings: PretrainSettings) -> Path:
    """Name a run folder after what was asked, and after who is heard."""
    heard = "transductive" if settings.all_speakers else settings.split
    words = ["pretrain", settings.corpus, settings.encoder, heard]
    words += [f"fold-{settings.folds}"] if settings.folds is not None else []
    return Path("outputs") / "-".join(re.sub(r"[^A-Za-z0-9.]+", "_", str(word)).strip("_") for word in words)


main = command(PretrainSettings, _run)
sys.modules[__name__].__class__ = CallableModule

if __name__ == "__main__":
    sys.exit(main())
