"""Whom `predict` asks about what, and where the answers go."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from ser_transfer._command import SettingsError
from ser_transfer._engine import EngineSettings
from ser_transfer._setting import setting
from ser_transfer._settings import Backend, load_model
from ser_transfer.model import SHIPPED_MODEL, SHIPPED_MODELS, EmotionModel
from ser_transfer.places import Output, is_url, mirrored
from ser_transfer.results import Journal, ResultsError, TimelineFormat, check_table
from ser_transfer.timeline import TimelineSettings

TIMELINES_JOURNAL = "timelines.journal"


@dataclass(frozen=True, kw_only=True)
class _AskingSettings:
    """Whom to ask about what, and where the answers go."""

    files_or_folders: tuple[str, ...] = setting(
        (), help="recordings, and folders to search for them; the same as giving them first"
    )
    model: str = setting(
        SHIPPED_MODEL,
        help="folder of a run or of its model, any folder or Hub id of a checkpoint for audio classification "
        f"whose labels are emotions, a shipped one ({', '.join(SHIPPED_MODELS)}), or an ONNX file of "
        "ser_transfer.export",
    )
    backend: Backend = setting(
        "torch", help="torch, or onnx: the model.onnx that ser_transfer.export wrote into the folder"
    )
    revision: str | None = setting(None, help="commit, tag or branch of the model's Hub id")
    weights: str | None = setting(None, help="file with the weights of the model's encoder, yamnet or vggish")
    baseline: str | None = setting(
        None, help=f"a model to set beside it, such as {SHIPPED_MODELS[-1]}: do they agree?"
    )
    transcribe: str | None = setting(
        None, help="Hub id or folder of a speech-recognition checkpoint: adds the words"
    )
    out: str | None = setting(
        None,
        help="results.csv, .jsonl or .parquet, or its URL; with --timeline a folder. What was answered is "
        "kept beside it in a .journal, and the same command goes on from there. Default: a table on the "
        "screen",
    )
    restart: bool = setting(False, help="throw the results in --out away and start over")
    device: str = setting("auto", help="auto (CUDA, then MPS, then CPU), or a torch device such as cuda:1")
    n_workers: int | None = setting(
        None,
        help="recordings answered at once on a CPU, or decoding threads for a GPU; default: one per core",
    )
    timeline: bool = setting(False, help="follow emotion through each recording, in segments")
    format: TimelineFormat = setting(
        "csv", help="of timelines: csv, json, txt (Audacity's labels) or vtt (WebVTT)"
    )


@dataclass(frozen=True, kw_only=True)
class PredictSettings(EngineSettings, TimelineSettings, _AskingSettings):
    """Name the emotion of recordings, or follow it through them."""

    min_confidence: float | None = setting(
        None,
        help="from 0 to 1: leave the emotion of a recording, or segment, empty where its calibrated "
        "probability is less",
    )

    @property
    def of_timelines(self) -> TimelineSettings:
        """The settings of timelines alone."""
        return TimelineSettings(**{name: getattr(self, name) for name in asdict(TimelineSettings())})

    def loading(self) -> Callable[..., EmotionModel]:
        """Give what reads the model when it is called with a ``device``: here, or on another machine."""
        return partial(
            load_model, self.model, backend=self.backend, revision=self.revision, weights=self.weights
        )

    def check(self) -> None:
        """Refuse flags that mean nothing together, before anything is loaded.

        Raises:
            SettingsError: If there are any.
        """
        if not self.files_or_folders:
            raise SettingsError(
                "no recordings: give files and folders, python -m ser_transfer.predict call.wav"
            )
        if self.timeline and self.baseline is not None:
            raise SettingsError(
                "--timeline follows one model: leave --baseline away, or run it again with that"
            )
        if self.timeline and self.out is not None and Path(self.out).suffix:
            raise SettingsError(
                f"--timeline writes one file per recording, and {self.out} is no folder: give --out "
                f"{Path(self.out).stem} --format vtt"
            )
        only = {**asdict(TimelineSettings()), "format": "csv"}
        stray = [name for name, default in only.items() if getattr(self, name) != default]
        stray = [f"--{name.replace('_', '-')}" for name in stray if name != "min_confidence"]
        if stray and not self.timeline:
            raise SettingsError(f"{', '.join(stray)} says how to follow a recording: add --timeline")
        if self.out is not None and is_url(self.out) and "/" not in self.out.partition("://")[2]:
            raise SettingsError(
                f"{self.out} names no file or folder in a bucket: give --out {self.out}/results"
            )
        if self.out is not None and not self.timeline:
            check_table(Path(self.out))
        self.check_engine(
            n_workers=self.n_workers,
            device=None if self.device == "auto" else self.device,
            timeline=self.timeline or None,
            transcribe=self.transcribe,
        )


@contextmanager
def output_of(settings: PredictSettings) -> Iterator[Output | None]:
    """Give the folder that the answers go to: of timelines the output itself, else the one it lies in."""
    if settings.out is None:
        yield None
        return
    if settings.timeline:
        with mirrored(
            settings.out, reads=(TIMELINES_JOURNAL,), last=(TIMELINES_JOURNAL,), resumes=True
        ) as out:
            yield out
        return
    above, name = os.path.split(settings.out)
    where = above if is_url(settings.out) else Path(settings.out).parent
    journal = f"{name}.journal"
    with mirrored(where, reads=(journal,), names=(journal, name), last=(name,), resumes=True) as out:
        yield out


def journal_of(
    settings: PredictSettings, out: Output | None, files: Sequence[str], parts: Mapping[str, EmotionModel]
) -> Journal:
    """Open the journal beside the output, or one that is not kept."""
    if out is None or settings.out is None:
        return Journal()
    table = out.folder / Path(settings.out).name
    path = out.folder / TIMELINES_JOURNAL if settings.timeline else table.with_name(f"{table.name}.journal")
    is_there = Path(settings.out).is_file() if settings.timeline else table.is_file()
    if is_there and not path.is_file() and not settings.restart:
        raise ResultsError(
            f"{settings.out} is there already, and {path.name}, which would say what of, is not: name "
            "another --out, or write over it with --restart"
        )
    follows_from: dict[str, object] = {
        part: f"{model.name} ({model.fingerprint[:12]})" for part, model in parts.items()
    }
    follows_from |= {"transcribe": settings.transcribe, "min_confidence": settings.min_confidence}
    if settings.timeline:
        follows_from |= {**asdict(settings.of_timelines), "format": settings.format}
    return Journal.open(path, follows_from, settings.files_or_folders, files, restart=settings.restart)
