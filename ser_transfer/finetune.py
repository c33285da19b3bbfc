"""Train an encoder's own weights, and score them on speakers they have never heard.

accelerate launch -m ser_transfer.finetune recipes/ravdess/finetune_yamnet.yaml --root DIR
"""

from __future__ import annotations

import re
import signal
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ser_transfer._bars import training_bar
from ser_transfer._command import CallableModule, command
from ser_transfer._setting import setting
from ser_transfer._settings import (
    RESUMED_FROM,
    CorpusSettings,
    SplitSettings,
    StoreSettings,
    TrainingSettings,
)
from ser_transfer._stored import computed_embeddings, refused_if_leaky
from ser_transfer.cross_validation import Labels, Search, cross_validate, majority_floor, mean_temperature
from ser_transfer.encoders import load_encoder
from ser_transfer.fill import keys_by_id
from ser_transfer.finetuning.settings import (
    BatchSettings,
    Finetuning,
    LossSettings,
    NetworkSettings,
    Optimisation,
)
from ser_transfer.places import Output, mirrored
from ser_transfer.runs import MAJORITY, WANTED_ACCURACY, Role, Run, System, provenance, retire_run, save_run
from ser_transfer.splits import make_split

if TYPE_CHECKING:
    from accelerate import Accelerator
    from datasets import Dataset

    from ser_transfer.finetuning import Step
    from ser_transfer.store import Embeddings


@dataclass(frozen=True, kw_only=True)
class FinetuneSettings(
    StoreSettings,
    TrainingSettings,
    SplitSettings,
    Optimisation,
    LossSettings,
    BatchSettings,
    NetworkSettings,
    CorpusSettings,
):
    """Train an encoder's own weights, and score them on speakers they have never heard."""

    baseline: str = setting("mfcc", help="handcrafted encoder to set beside it, or none")
    wanted_accuracy: float = setting(
        WANTED_ACCURACY, help="for which the share of recordings is told that can be answered so well"
    )
    keep_model: bool = setting(
        True, help="after all folds, train one more network on all utterances and keep it in the run folder"
    )
    name: str | None = setting(
        None, help="of its row in tables, to tell runs apart; default: the encoder and what was done to it"
    )
    title: str | None = setting(None, help="the corpus's name in tables and plots; default: --corpus")
    out: str | None = setting(
        None, help="run folder, or a URL of one; default: outputs/finetune-<corpus>-<encoder>-<split>"
    )
    plots: bool = setting(True, help="draw the figures and the report")

    @property
    def keeps_model(self) -> bool:
        """Whether a network of this run would be of use to anyone."""
        return self.keep_model and self.folds is None and not self.untrained and self.max_steps is None

    @property
    def finetuning(self) -> Finetuning:
        """All that the training follows from."""
        return Finetuning(
            network=self.those_of(NetworkSettings),
            batches=self.those_of(BatchSettings),
            loss=self.those_of(LossSettings),
            optimisation=self.those_of(Optimisation),
        )


def finetune(
    corpus: Dataset,
    settings: Finetuning,
    folder: str | Path,
    *,
    baseline: Embeddings | None = None,
    keys: Mapping[str, str] | None = None,
    split: str = "speaker-folds",
    n_folds: int = 5,
    folds: list[str] | None = None,
    accelerator: Accelerator | None = None,
    keep_model: bool = False,
    wanted_accuracy: float = WANTED_ACCURACY,
    name: str | None = None,
    title: str | None = None,
    resume: bool = False,
    save_steps: int | None = None,
    on_step: Callable[[str, Step], None] = lambda fold, step: None,
) -> Run:
    """Fine-tune and test an encoder on every fold of a corpus, beside the baseline and the majority floor.

    Args:
        corpus: From `ser_transfer.load_corpus`.
        settings: Network, batches, loss and optimisation.
        folder: Of the run: each fold leaves its network in ``folds/<name>/model``.
        baseline: Embeddings of a handcrafted encoder, which a logistic regression reads on the same folds;
            None for none.
        keys: Audio key per utterance id, from `ser_transfer.fill.keys_by_id`: a finished fold of the same
            recordings is not trained again. None has them read for it.
        split: A kind of split; see `ser_transfer.splits.make_split`.
        n_folds: Folds, where the kind has a choice.
        folds: Names of the folds to run; None for all.
        accelerator: From `ser_transfer.finetuning.make_accelerator`; None for one without trackers.
        keep_model: Train one more network on all utterances, into ``model``.
        wanted_accuracy: Share of given answers that shall be right; how many can be given then is told.
        name: Of the row in tables; None for the encoder and what was done to it.
        title: The corpus's name in tables and plots; None for the one it was loaded by.
        resume: Go on with unfinished folds where their last states were saved.
        save_steps: Save a state every so many steps too, not only after each epoch.
        on_step: Called after each step with the fold's name.

    Returns:
        The run; printing it prints its table. The same on every process.

    Raises:
        SplitError: If the corpus cannot be split so, for want of speakers above all.
        FinetuneError: If a fold cannot be trained on, or the training cannot go on.
    """
    from ser_transfer.finetuning import cross_validate_network, finetune_on_all, make_accelerator

    folder = Path(folder)
    labels = Labels.of(corpus)
    corpus_name = corpus.info.dataset_name
    made = make_split(
        corpus, split, n_folds=n_folds, seed=settings.optimisation.seed, corpus_name=corpus_name
    )
    if folds is not None:
        made = made.only(folds)
    accelerator = accelerator or make_accelerator(settings.optimisation, folder)
    facts = {
        "corpus": title or corpus_name or "corpus",
        "corpus_name": corpus_name,
        "split": made.description,
        "speaker_independent": made.speaker_independent,
        "head": "fine-tuned",
    }
    keys = keys_by_id(corpus) if keys is None else keys
    options: dict[str, Any] = {"keys": keys, "resume": resume, "save_steps": save_steps, "on_step": on_step}
    found = cross_validate_network(
        accelerator, corpus, labels, made, settings, folder, training=facts, **options
    )
    role: Role = "untrained" if settings.network.untrained else "encoder"
    known = {str(settings.network.encoder): asdict(settings.network)}
    systems = [
        System.scored(name or system_name(settings.network), role, found, labels, known, wanted_accuracy)
    ]
    if baseline is not None:
        answers = cross_validate(baseline, labels, made, Search(layers=tuple(baseline.layers)))
        origin = provenance([baseline])
        systems.append(System.scored(baseline.encoder, "baseline", answers, labels, origin, wanted_accuracy))
    systems.append(System.scored(MAJORITY, "floor", majority_floor(labels, made), labels))
    if keep_model:
        facts["uar"], facts["uar_interval"] = systems[0].scores.uar, systems[0].interval
        facts["temperature"] = mean_temperature(found)
        finetune_on_all(accelerator, corpus, labels, found, settings, folder, training=facts, **options)
    return Run(title or corpus_name or "corpus", made, None, False, tuple(systems))


def system_name(settings: NetworkSettings) -> str:
    """Name the row of a table: the encoder, and what was done to it."""
    done = [*(["untrained"] if settings.untrained else []), "fine-tuned"]
    done += [settings.adapter] if settings.adapter else []
    done += [f"{settings.trained} only"] if settings.trained != "all" and not settings.adapter else []
    return f"{settings.encoder} ({', '.join(done)})"


def _run(settings: FinetuneSettings) -> int:
    with mirrored(settings.out or default_folder(settings), reads=RESUMED_FROM, resumes=True) as out:
        return _run_into(out, settings)


def _run_into(out: Output, settings: FinetuneSettings) -> int:
    from ser_transfer.finetuning import InterruptedTraining, end_training, make_accelerator

    folder = out.folder
    commit = settings.committing(out)
    accelerator = make_accelerator(
        settings.finetuning.optimisation, folder, device=settings.device, tracker=settings.tracker
    )
    with accelerator.main_process_first():
        if accelerator.is_main_process:
            settings.begin(out, (folder / "folds",))
        corpus = settings.load_corpus()
        keys = keys_by_id(corpus)
        baseline = None
        if settings.baseline != "none":
            baseline = computed_embeddings(
                settings.store, corpus, load_encoder(settings.baseline), title=settings.title
            )
    audit = refused_if_leaky(
        corpus, settings.make_split(corpus, settings.seed), keys, baseline, settings.allow
    )
    with training_bar(str(settings.encoder), shown=accelerator.is_main_process) as advance:

        def on_step(fold: str, step: Step) -> None:
            if accelerator.is_main_process:
                retire_run(folder)  # of other settings, or started over: its networks are being replaced
            commit(fold, step)
            uar = "" if step.best_score is None else f", validation UAR {step.best_score:.3f}"
            advance(fold, step.step, step.n_steps, f"loss {step.loss:.3f}{uar}", step.n_clips)

        try:
            run = finetune(
                corpus,
                settings.finetuning,
                folder,
                baseline=baseline,
                keys=keys,
                split=settings.split,
                n_folds=settings.n_folds,
                folds=settings.fold_names,
                accelerator=accelerator,
                keep_model=settings.keeps_model,
                wanted_accuracy=settings.wanted_accuracy,
                name=settings.name,
                title=settings.title,
                resume=settings.resume,
                save_steps=settings.save_steps,
                on_step=on_step,
            )
        except InterruptedTraining as error:
            if accelerator.is_main_process:
                print(f"interrupted: {out.named(error)}", file=sys.stderr)
            out.is_finished = False
            end_training(accelerator)
            return 128 + (error.signal or signal.SIGTERM)
    if accelerator.is_main_process:
        run = replace(run, audit=str(audit))
        save_run(run, folder, asdict(settings), plots=settings.plots, keep_model=settings.keeps_model)
        print(f"{run}\n\nwritten to {out}")
    end_training(accelerator)
    return 0


def default_folder(settings: FinetuneSettings) -> Path:
    """Name a run folder after what was asked: corpus, encoder, split, and what sets the run apart."""
    words = ["finetune", settings.corpus, settings.encoder, settings.split]
    words += [settings.adapter] if settings.adapter else []
    words += ["untrained"] * settings.untrained
    words += [f"fold-{settings.folds}"] if settings.folds is not None else []
    return Path("outputs") / "-".join(re.sub(r"[^A-Za-z0-9.]+", "_", str(word)).strip("_") for word in words)


main = command(FinetuneSettings, _run)
sys.modules[__name__].__class__ = CallableModule

if __name__ == "__main__":
    sys.exit(main())
