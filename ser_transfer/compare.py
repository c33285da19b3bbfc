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

from ser_transfer._command import CallableModule, SettingsError, command, progress_bar, setting, steps_bar
from ser_transfer._settings import CACHE, CorpusSettings, SplitSettings, StoreSettings
from ser_transfer._stored import refused_if_leaky
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
from ser_transfer.fill import fill_store, keys_by_id, part_of
from ser_transfer.runs import (
    MAJORITY,
    WANTED_ACCURACY,
    Mapped,
    Role,
    Run,
    System,
    provenance,
    ranked,
    save_run,
    slug,
)
from ser_transfer.splits import make_split
from ser_transfer.store import Embeddings, EmbeddingStore

if TYPE_CHECKING:
    from datasets import Dataset

UNTRAINED = "untrained:"


@dataclass(frozen=True, kw_only=True)
class CompareSettings(StoreSettings, SplitSettings, CorpusSettings):
    """Compare encoders, layers and heads on the same folds, everything chosen on validation speakers."""

    encoders: str = setting(
        "handcrafted",
        help="comma-separated Hub ids (owner/model@revision), folders and names; a plus fuses: "
        "yamnet,handcrafted,yamnet+handcrafted; untrained:yamnet is the same with random weights",
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
    out: str | None = setting(None, help="run folder; default: outputs/compare-<corpus>-<split>")
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


def compare(
    corpus: Dataset,
    contenders: Sequence[Contender],
    *,
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
    """
    labels = Labels.of(corpus)
    search = search or Search((HeadChoice(), HeadChoice("lda")))
    name = corpus.info.dataset_name
    runs = []
    for kind in (split, "speaker-dependent") if show_leak else (split,):
        made = make_split(corpus, kind, n_folds=n_folds, seed=seed, corpus_name=name)
        if folds is not None and kind == split:
            made = made.only(folds)
        answers = run_contest(
            contenders,
            labels,
            made,
            search,
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
        systems.append(System.scored(MAJORITY, "floor", majority_floor(labels, made), labels))
        runs.append(Run(title or name or "corpus", made, search, speaker_normalise, tuple(ranked(systems))))
    return replace(runs[0], leak=runs[1]) if show_leak else runs[0]


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
    asked = parse_encoders(settings.encoders)
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


def _embedded(settings: CompareSettings, corpus: Dataset, encoder: Encoder) -> Embeddings:
    """Read an encoder's embeddings, computing what the store lacks."""
    store, part = EmbeddingStore(settings.store), part_of(encoder)
    with progress_bar(f"{settings.title or corpus.info.dataset_name}: {encoder.name}") as advance:
        report = fill_store(corpus, encoder, store, part, on_recording=advance)
    if report.n_encoded:
        print(report.summary(encoder.name, str(store.root)))
    return store.embeddings(part, list(report.keys), list(report.keys.values()))


def _run(settings: CompareSettings) -> int:
    return _run_cross(settings) if settings.cross else _run_one(settings)


def _run_one(settings: CompareSettings) -> int:
    corpus = settings.load_corpus()
    systems = _systems(settings)
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
    made = settings.make_split(corpus, settings.seed)
    audit = refused_if_leaky(corpus, made, keys, embeddings.get(settings.baseline), settings.allow)
    with steps_bar("folds") as on_fold:
        run = compare(
            corpus,
            contenders,
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
    folder = Path(settings.out or f"outputs/compare-{slug(str(settings.corpus))}-{slug(settings.split)}")
    run = replace(run, audit=str(audit))
    shown = next(each for each in contenders if each.name == run.leading.name).members[0]
    mapped = Mapped(shown, tuple(shown.layers), Labels.of(corpus))
    save_run(run, folder, asdict(settings), plots=settings.plots, mapped=mapped)
    print(f"{run}\n\nwritten to {folder}")
    return 0


def _run_cross(settings: CompareSettings) -> int:
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
    with steps_bar("folds") as on_fold:
        crossing = cross_corpora(
            crossed,
            {"+".join(names[m] for m in members): [names[m] for m in members] for members in systems},
            settings.search,
            cache=CACHE / "folds",
            n_jobs=settings.n_jobs,
            on_fold=on_fold,
        )
    folder = Path(settings.out or f"outputs/cross-{'-'.join(map(slug, settings.cross))}")
    save_crossing(crossing, folder, asdict(settings), plots=settings.plots)
    print(f"\n{crossing}\n\nwritten to {folder}")
    return 0


def _all_embedded(
    settings: CompareSettings, corpus: Dataset, systems: Iterable[tuple[str, ...]]
) -> dict[str, Embeddings]:
    names = dict.fromkeys(member for members in systems for member in members)
    return {name: _embedded(settings, corpus, load_named(name, settings)) for name in names}


main = command(CompareSettings, _run)
sys.modules[__name__].__class__ = CallableModule

if __name__ == "__main__":
    sys.exit(main())
