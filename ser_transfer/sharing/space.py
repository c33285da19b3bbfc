"""A Gradio Space around a model on the Hub: the page, in files that are ready to be pushed."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import ser_transfer
from ser_transfer.cards import limits
from ser_transfer.cards.corpus import training_corpus
from ser_transfer.cards.metadata import TAGS
from ser_transfer.cards.model_card import check_repo_id
from ser_transfer.cards.sections import SOURCE
from ser_transfer.cards.writing import escaped, interval, listed, number, plain
from ser_transfer.sharing.errors import SharingError

if TYPE_CHECKING:
    from huggingface_hub import SpaceCardData

    from ser_transfer.cards.run import CardRun

APP, REQUIREMENTS, README = "app.py", "requirements.txt", "README.md"
HUB = "https://huggingface.co"
# PyPI's torch brings gigabytes of CUDA, and a Space has no GPU unless it is paid for. Of equal versions, pip
# takes the one that this index marks "+cpu".
TORCH_FOR_CPU = "https://download.pytorch.org/whl/cpu"
# What frozen encoders need beyond the package itself; YAMNet's weights are published as HDF5.
EXTRAS = {"yamnet": "h5", "egemaps": "opensmile", "compare": "opensmile", "ge2e": "ge2e"}
DESCRIPTION = "Which emotion a voice carries, and how sure the model is"  # the Hub shows 60 characters

# What is filled in is written as literals of Python, so that no name can become code.
APP_TEMPLATE = '''\
"""A page in the browser: hear what a model on the Hub makes of a voice, beside a baseline on MFCC."""

from ser_transfer.interface import build_demo
from ser_transfer.model import MFCC_MODEL, EmotionModel

MODEL = {model}
REVISION = {revision}  # a commit, tag or branch; None for the newest commit

model = EmotionModel.from_pretrained(MODEL, revision=REVISION)
baseline = EmotionModel.from_pretrained(MFCC_MODEL)
demo = build_demo([model], baseline)

if __name__ == "__main__":
    demo.launch(server_name=None)  # where GRADIO_SERVER_NAME and GRADIO_SERVER_PORT say
'''


def space_repository(
    model_id: str,
    folder: str | Path,
    *,
    title: str,
    run: CardRun | None = None,
    revision: str | None = None,
    private: bool = False,
) -> None:
    """Write a Space that lets visitors hear a model, beside the baseline on MFCC that ships with the package.

    Its score is that of the run, and stands there only if it is one on speakers whom it had not heard.

    Args:
        model_id: Of the model on the Hub, ``user/name``.
        folder: Made if it is not there; to be pushed with ``push_folder(..., repo_type="space")``.
        title: Of the Space.
        run: That the model is from, as `cards.reading.read_card_run` reads it; None leaves its score and its
            training data to the model's own card.
        revision: Commit, tag or branch of the model; None for the newest commit whenever the Space starts.
        private: Whether the model is, so that the Space needs a token to read it.

    Raises:
        CardError: If the id is none.
        SharingError: If the title is empty, or the folder cannot be written.
    """
    check_repo_id(model_id)
    title = plain(title)
    if not title:
        raise SharingError("a Space is shown by its title, and this one is empty: give it a title")
    header = _header(model_id, title).to_yaml()
    files = {
        APP: APP_TEMPLATE.format(model=ascii(model_id), revision=ascii(revision)),
        REQUIREMENTS: _requirements(run),
        README: f"---\n{header}\n---\n\n{_text(model_id, title, run, revision, private)}",
    }
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            (folder / name).write_text(text, encoding="utf-8")
    except OSError as error:
        raise SharingError(f"cannot write the Space to {folder}: {error.strerror}") from error


def _header(model_id: str, title: str) -> SpaceCardData:
    """Configure the Space: https://huggingface.co/docs/hub/spaces-config-reference.

    The licence is left out, as in the cards of models: it is for the maker of the Space to say.
    """
    from huggingface_hub import SpaceCardData

    return SpaceCardData(
        title=title,
        emoji="🎧",
        colorFrom="blue",
        colorTo="yellow",
        sdk="gradio",
        sdk_version=version("gradio"),
        python_version=f"{sys.version_info.major}.{sys.version_info.minor}",
        app_file=APP,
        pinned=False,
        short_description=DESCRIPTION,
        models=[model_id],
        tags=list(TAGS),
    )


def _requirements(run: CardRun | None) -> str:
    """Name what the page needs: this version of the package, and what it needs for the model's encoder."""
    extra = None
    if run is not None and run.model.kind == "frozen":
        extra = EXTRAS.get(run.model.encoder)
    package = f"ser-transfer[{extra}]" if extra else "ser-transfer"
    return f"--extra-index-url {TORCH_FOR_CPU}\n{package} @ git+{SOURCE}@v{ser_transfer.__version__}\n"


def _text(model_id: str, title: str, run: CardRun | None, revision: str | None, private: bool) -> str:
    """Write what stands below the header."""
    sections = (
        ("", _opening(model_id, run, revision)),
        ("What it is for, and what not", _purpose(run)),
        ("Limits, ethics and law", _limits(run)),
        ("The model is private", _private(model_id) if private else ()),
        ("On another machine", _elsewhere()),
    )
    written = [f"# {escaped(title)}"]
    for heading, paragraphs in sections:
        found = list(paragraphs)
        if found:
            written += [*([f"## {heading}"] if heading else []), *found]
    return "\n\n".join(written) + "\n"


def _opening(model_id: str, run: CardRun | None, revision: str | None) -> Iterator[str]:
    emotions = f" (of {listed(run.system.scores.classes)})" if run is not None else ""
    at = f", at its revision {escaped(revision)}" if revision is not None else ""
    yield (
        f"Record or upload speech, and the page shows how probable each emotion{emotions} is. "
        f"[{escaped(model_id)}]({HUB}/{model_id}) answers{at}; beside it, to compare, a small baseline on "
        f"MFCC that ships with [ser_transfer]({SOURCE}) and was trained on EmoDB."
    )
    if run is None:
        yield "The model's card tells what it was trained on, and how well it recognises new speakers."
    elif not run.is_speaker_independent:
        yield (
            "**NOT SPEAKER-INDEPENDENT.** No score stands here, as none of this model's says how well it "
            "recognises speakers whom it has not heard. Its card tells what was measured."
        )
    else:
        scored, floor = run.system, run.floor
        within = "" if scored.interval is None else f" (95 % interval {interval(scored.interval)})"
        guess = "" if floor is None else f"; always answering one emotion gives {number(floor.scores.uar)}"
        yield (
            "On speakers who were not heard in training, the model reaches an unweighted average recall "
            f"(UAR) of **{number(scored.scores.uar)}**{within}{guess}. Its card tells how that was tested."
        )


def _purpose(run: CardRun | None) -> Iterator[str]:
    if run is not None:
        yield from limits.purpose(training_corpus(run))
        return
    yield "It is for research and teaching on emotion in speech. It is **not** for:"
    yield "\n".join(f"- {use}" for use in limits.NOT_FOR)


def _limits(run: CardRun | None) -> Iterator[str]:
    if run is not None:
        yield from limits.limits(training_corpus(run))
        return
    yield (
        "**An answer is a label, not a state of mind.** Most such models were trained on acted speech, and "
        "lower scores are to be expected on spontaneous speech."
    )
    yield limits.EUROPEAN_LAW


def _private(model_id: str) -> Iterator[str]:
    yield (
        f"To read {escaped(model_id)}, this Space needs a token: make one that may only read it "
        f"({HUB}/settings/tokens), and in the Space's settings, under “Variables and secrets”, add it as a "
        "**secret** named `HF_TOKEN`. It belongs into no file. Whoever may open the Space may ask the model, "
        "so a public Space makes its answers public."
    )


def _elsewhere() -> Iterator[str]:
    yield f"```bash\npip install -r {REQUIREMENTS}\npython {APP}\n```"
