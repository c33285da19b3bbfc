"""Which encoder, which layer, which head: the honest comparison, in one table and one page.

python -m ser_transfer.compare --corpus ravdess --root DIR --encoders yamnet,handcrafted,yamnet+handcrafted
"""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ser_transfer._bars import steps_bar
from ser_transfer._command import CallableModule, SettingsError, command
from ser_transfer._setting import setting
from ser_transfer._settings import CACHE, CorpusSettings, SplitSettings, StoreSettings
from ser_transfer._stored import computed_embeddings, refused_if_leaky
from ser_transfer.contest import (
    Contender,
    Corpus,
    common_classes,
    cross_corpora,
    restricted,
    run_contest,
    save_crossing,
)
from ser_transfer.corpora import load_corpus
from ser_transfer.cross_validation import HeadChoice, Labels, Search, majority_floor
from ser_transfer.encoders import HANDCRAFTED, Encoder, Precision, load_encoder
from ser_transfer.fill import keys_by_id
from ser_transfer.places import mirrored
from ser_transfer.runs import (
    MAJORITY,
    WANTED_ACCURACY,
    Mapped,
    Role,
    Run,
    RunError,
    SavedRun,
    System,
    provenance,
    ranked,
    save_run,
    saved_run,
    slug,
)
from ser_transfer.splits import Split, make_split
from ser_transfer.store import Embeddings

if TYPE_CHECKING:
    from datasets import Dataset

UNTRAINED = "untrained:"


@dataclass(frozen=True, kw_only=True)
class CompareSettings(StoreSettings, SplitSettings, CorpusSettings):
    """Compare encoders, layers and heads on the same folds, everything chosen on validation speakers."""

    encoders: str = setting(
        "handcrafted",
        help="comma-separated Hub ids (owner/model@revision), folders and names; a plus fuses: "
        "yamnet,handcrafted,yamnet+handcrafted; untrained:yamnet is the same with random weights; none, with "
        "--runs",
    )
    runs: str | None = setting(
        None,
        help="folders of finished runs, with commas between: their systems stand in the table too, if they "
        "were tested on the same folds",
    )
    heads: str = setting(
        "logistic_regression,lda", help="comma-separated; each fold chooses among them on validation speakers"
    )
    baseline: str = setting("mfcc", help="handcrafted encoder that differences are taken to, or none")
    controls: bool = setting(
        True, help="add the untrained control of every pretrained encoder: the floor pretraining must clear"
    )
    weights: dict[str, str] = setting(
        {}, help="files of weights in place of a download: --weights.yamnet FILE"
    )
    precision: Precision = setting("float32", help="float32, or bf16 for matrix products in bfloat16")
    device: str = setting("auto", help="auto (CUDA, then MPS, then CPU), or a torch device such as cuda:1")
    show_leak: bool = setting(
        False, help="score everything under a random split too, speakers on both sides, and print the gap"
    )
    wanted_accuracy: float = setting(
        WANTED_ACCURACY, help="for which the share of recordings is told that can be answered so well"
    )
    speaker_normalise: bool = setting(
        False,
        help="standardise features within each speaker; uses the test speakers' recordings, and is labelled",
    )
    balanced: bool = setting(True, help="weigh the emotions alike in training, as UAR does")
    seed: int = setting(0, help="of every random choice, random weights among them")
    n_jobs: int = setting(os.cpu_count() or 1, help="folds run at once")
    title: str | None = setting(None, help="the corpus's name in tables and plots; default: --corpus")
    out: str | None = setting(
        None, help="run folder, or a URL of one; default: outputs/compare-<corpus>-<split>"
    )
    plots: bool = setting(True, help="draw the figures and the report")
    cross: dict[str, str] = setting(
        {},
        help="train on each of these corpora and test on each, on the emotions they share, in place of "
        "--corpus: --cross.ravdess DIR --cross.emodb DIR",
    )

    @property
    def search(self) -> Search:
        """What each fold may choose from."""
        weight: Any = "balanced" if self.balanced else None
        heads = [
            HeadChoice(name, class_weight=weight, random_state=self.seed) for name in self.heads.split(",")
        ]
        return Search(tuple(heads))

    @property
    def run_folders(self) -> list[str]:
        """The folders of finished runs."""
        return [] if self.runs is None else [folder.strip() for folder in self.runs.split(",")]


def compare(
    corpus: Dataset,
    contenders: Sequence[Contender],
    *,
    saved: Sequence[SavedRun] = (),
    split: str = "speaker-folds",
    n_folds: int = 5,
    folds: Sequence[str] | None = None,
    search: Search | None = None,
    show_leak: bool = False,
    speaker_normalise: bool = False,
    wanted_accuracy: float = WANTED_ACCURACY,
    seed: int = 0,
    title: str | None = None,
    cache: Path | None = None,
    n_jobs: int = 1,
    on_fold: Callable[[int, str], None] = lambda n_folds, name: None,
) -> Run:
    """Score encoders and fusions on the same folds; layer, pooling, head and settings are chosen in each.

    Args:
        corpus: From `ser_transfer.load_corpus`.
        contenders: What to score; one whose role is ``"baseline"`` is what differences are taken to.
        saved: Finished runs on the same test folds, from `ser_transfer.runs.saved_run`; their systems join
            the table, all but baseline and floor.
        split: A kind of split; see `ser_transfer.splits.make_split`.
        n_folds: Folds, where the kind has a choice.
        folds: Names of the folds to run; None for all.
        search: What each fold may choose from; None for logistic regression and LDA.
        show_leak: Score all of it on a speaker-dependent split as well, to show what the leak is worth.
        speaker_normalise: Standardise features within each speaker; a setting of its own, stamped on the run.
        wanted_accuracy: Share of given answers that shall be right; how many can be given then is told.
        seed: Of the split.
        title: The corpus's name in tables and plots; None for the one it was loaded by.
        cache: Folder of finished folds; None keeps none.
        n_jobs: Folds run at once.
        on_fold: Called after each fold with how many there are in all, and the contender's name.

    Returns:
        The run; printing it prints its table.

    Raises:
        SplitError: If the corpus cannot be split so, for want of speakers above all.
        TrainingError: If a fold cannot be trained on.
        RunError: If a finished run was tested on other folds, or a name is there twice.
    """
    labels = Labels.of(corpus)
    searched = search or Search((HeadChoice(), HeadChoice("lda")))
    name = corpus.info.dataset_name

    def run(made: Split, saved: Sequence[SavedRun]) -> Run:
        answers = run_contest(
            contenders,
            labels,
            made,
            searched,
            speaker_normalise=speaker_normalise,
            cache=cache,
            n_jobs=n_jobs,
            on_fold=on_fold,
        )
        systems = [
            System.scored(
                each.name, each.role, answers[each.name], labels, provenance(each.members), wanted_accuracy
            )
            for each in contenders
        ]
        systems += [system for each in saved for system in each.entrants]
        systems.append(System.scored(MAJORITY, "floor", majority_floor(labels, made), labels))
        return Run(
            title or name or "corpus",
            made,
            searched if contenders else None,
            speaker_normalise,
            tuple(ranked(systems)),
        )

    made = make_split(corpus, split, n_folds=n_folds, seed=seed, corpus_name=name)
    if folds is not None:
        made = made.only(folds)
    for each in saved:
        each.refuse_unlike(made, labels, speaker_normalised=speaker_normalise)
    _refuse_repeated([each.name for each in contenders], saved)
    if not show_leak:
        return run(made, saved)
    leaky = make_split(corpus, "speaker-dependent", n_folds=n_folds, seed=seed, corpus_name=name)
    leaks = [each.leak for each in saved if each.leak is not None]
    alike = [
        each for each in leaks if each.unlike(leaky, labels, speaker_normalised=speaker_normalise) is None
    ]
    return replace(run(made, saved), leak=run(leaky, alike))


def _refuse_repeated(names: Sequence[str], saved: Sequence[SavedRun]) -> None:
    """Stop before two rows of one name; a table tells systems apart by it."""
    there = {*names, MAJORITY}
    for each in saved:
        for system in each.entrants:
            if system.name in there:
                raise RunError(
                    f"{system.name} is there twice, the second time in {each.folder}: leave that one out of "
                    "--runs, or the other out of --encoders (--encoders none, --baseline none)"
                )
            there.add(system.name)


def parse_encoders(text: str) -> list[tuple[str, ...]]:
    """Read ``"yamnet,handcrafted,yamnet+handcrafted"``: systems, each of one encoder or several.

    Raises:
        SettingsError: If a name is empty, or a fusion names an encoder twice.
    """
    systems = [tuple(member.strip() for member in entry.split("+")) for entry in text.split(",")]
    for members in systems:
        if "" in members or len(set(members)) < len(members):
            raise SettingsError(
                f"{'+'.join(members)!r} in --encoders is no encoder and no fusion: give names with commas "
                "between them, and a plus between those to be fused: yamnet,handcrafted,yamnet+handcrafted"
            )
    return list(dict.fromkeys(systems))


def load_named(name: str, settings: CompareSettings) -> Encoder:
    """Find an encoder by what `--encoders` calls it: ``untrained:`` before, ``@revision`` behind."""
    plain = name.removeprefix(UNTRAINED)
    plain, _, revision = plain.partition("@")
    if plain in HANDCRAFTED:
        return load_encoder(plain, untrained=name.startswith(UNTRAINED))
    return load_encoder(
        plain,
        revision=revision or None,
        weights=None if name.startswith(UNTRAINED) else settings.weights.get(plain),
        untrained=name.startswith(UNTRAINED),
        seed=settings.seed,
        device=settings.device,
        precision=settings.precision,
    )


def _systems(settings: CompareSettings) -> dict[tuple[str, ...], Role]:
    """List what is compared: what was asked for, the baseline, and the untrained controls."""
    if settings.encoders == "none" and (settings.runs is None or settings.cross):
        raise SettingsError("nothing to compare: --encoders none goes with --runs, folders of finished runs")
    asked = [] if settings.encoders == "none" else parse_encoders(settings.encoders)
    systems: dict[tuple[str, ...], Role] = {}
    for members in asked:
        is_control = all(member.startswith(UNTRAINED) for member in members)
        systems[members] = "fusion" if len(members) > 1 else "untrained" if is_control else "encoder"
    if settings.controls:
        for member, *others in asked:
            if not others and member not in HANDCRAFTED and not member.startswith(UNTRAINED):
                systems.setdefault((UNTRAINED + member,), "untrained")
    if settings.baseline != "none":
        systems[(settings.baseline,)] = "baseline"
    return systems


def _run(settings: CompareSettings) -> int:
    return _run_cross(settings) if settings.cross else _run_one(settings)


def _run_one(settings: CompareSettings) -> int:
    systems = _systems(settings)
    corpus = settings.load_corpus()
    made = settings.make_split(corpus, settings.seed)
    saved = _saved(settings, Labels.of(corpus), made)
    embeddings = _all_embedded(settings, corpus, systems)
    contenders = [
        Contender(
            "+".join(embeddings[member].encoder for member in members),
            role,
            tuple(embeddings[member] for member in members),
        )
        for members, role in systems.items()
    ]
    keys = keys_by_id(corpus)
    audit = refused_if_leaky(
        corpus,
        made,
        keys,
        embeddings.get(settings.baseline),
        settings.allow,
        {member: settings.weights.get(member) for member in embeddings},
    )
    mapped = None
    members = {each.name: each.members[0] for each in contenders}
    name = settings.out or f"outputs/compare-{slug(str(settings.corpus))}-{slug(settings.split)}"
    with mirrored(name) as out:
        with steps_bar("folds") as on_fold:
            run = compare(
                corpus,
                contenders,
                saved=saved,
                split=settings.split,
                n_folds=settings.n_folds,
                folds=settings.fold_names,
                search=settings.search,
                show_leak=settings.show_leak,
                speaker_normalise=settings.speaker_normalise,
                wanted_accuracy=settings.wanted_accuracy,
                seed=settings.seed,
                title=settings.title,
                cache=CACHE / "folds",
                n_jobs=settings.n_jobs,
                on_fold=on_fold,
            )
        run = replace(run, audit=str(audit))
        shown = next(
            (members[each.name] for each in (run.leading, *run.systems) if each.name in members), None
        )
        if shown is not None:  # systems of finished runs have no embeddings here
            mapped = Mapped(shown, tuple(shown.layers), Labels.of(corpus))
        save_run(run, out.folder, asdict(settings), plots=settings.plots, mapped=mapped)
    print(f"{run}\n\nwritten to {out}")
    return 0


def _saved(settings: CompareSettings, labels: Labels, made: Split) -> list[SavedRun]:
    """Read the finished runs, and refuse those that do not fit before hours of embedding."""
    found = [saved_run(folder, labels, settings.wanted_accuracy) for folder in settings.run_folders]
    for each in found:
        each.refuse_unlike(made, labels, speaker_normalised=settings.speaker_normalise)
    _refuse_repeated([], found)
    return found


def _run_cross(settings: CompareSettings) -> int:
    if settings.runs is not None:
        raise SettingsError("--runs goes with one --corpus, not with --cross: leave one of them out")
    if len(settings.cross) < 2:
        raise SettingsError("--cross wants two corpora or more: --cross.ravdess DIR --cross.emodb DIR")
    systems = _systems(settings)
    loaded = {
        name: load_corpus(name, root, label_map=settings.label_map) for name, root in settings.cross.items()
    }
    labels = {name: Labels.of(corpus) for name, corpus in loaded.items()}
    classes = common_classes(list(labels.values()))
    crossed, names = [], {}
    for name, corpus in loaded.items():
        embeddings = _all_embedded(settings, corpus, systems)
        names = {member: found.encoder for member, found in embeddings.items()}
        kept = restricted(labels[name], classes)
        left_out = Counter(e for id_, e in labels[name].emotions.items() if id_ not in kept.emotions)
        told = ", ".join(f"{emotion} ({n})" for emotion, n in left_out.items()) or "nothing"
        print(f"{name}: {len(kept.emotions)} utterances; left out: {told}")
        rows = [row for row, id_ in enumerate(corpus["utterance_id"][:]) if id_ in kept.emotions]
        split = settings.make_split(corpus.select(rows), settings.seed)
        crossed.append(Corpus(name, kept, split, {found.encoder: found for found in embeddings.values()}))
    print(f"label map: {settings.label_map or 'none'}")
    with mirrored(settings.out or f"outputs/cross-{'-'.join(map(slug, settings.cross))}") as out:
        with steps_bar("folds") as on_fold:
            crossing = cross_corpora(
                crossed,
                {"+".join(names[m] for m in members): [names[m] for m in members] for members in systems},
                settings.search,
                cache=CACHE / "folds",
                n_jobs=settings.n_jobs,
                on_fold=on_fold,
            )
        save_crossing(crossing, out.folder, asdict(settings), plots=settings.plots)
    print(f"\n{crossing}\n\nwritten to {out}")
    return 0


def _all_embedded(
    settings: CompareSettings, corpus: Dataset, systems: Iterable[tuple[str, ...]]
) -> dict[str, Embeddings]:
    names = dict.fromkeys(member for members in systems for member in members)
    return {
        name: computed_embeddings(settings.store, corpus, load_named(name, settings), title=settings.title)
        for name in names
    }


main = command(CompareSettings, _run)
sys.modules[__name__].__class__ = CallableModule

if __name__ == "__main__":
    sys.exit(main())
