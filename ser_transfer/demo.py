"""The page in the browser: hear, see and compare what models make of a voice.

python -m ser_transfer.demo
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ser_transfer._command import CallableModule, SettingsError, command
from ser_transfer._setting import setting
from ser_transfer._settings import CorpusSettings
from ser_transfer.interface.limits import InterfaceError, Limits
from ser_transfer.places import local_folder

if TYPE_CHECKING:
    import gradio as gr

MFCC = "mfcc"  # short for the shipped baseline
NO_BASELINE = "none"
TABLES_BELOW = ("*metrics.json", "*predictions.parquet")
LOCAL = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True, kw_only=True)
class DemoSettings(CorpusSettings):
    """The page in the browser: hear, see and compare what models make of a voice."""

    model: tuple[str, ...] = setting(
        (),
        help="models, as in: --model A B; each the folder of a model or run, a Hub id or the name of a "
        "shipped model; default: emodb-handcrafted",
    )
    baseline: str = setting(
        MFCC, help="model shown beside them: mfcc for the shipped one on MFCC, a folder, or none"
    )
    weights: str | None = setting(None, help="file with the weights of the models' encoder, yamnet or vggish")
    device: str = setting("auto", help="auto (CUDA, then MPS, then CPU), or a torch device such as cuda:1")
    runs: str | None = setting(
        None,
        help="folder of finished runs for the tab Compare, such as outputs/; of one at a URL "
        "the page shows what lies there when it starts",
    )
    host: str = setting("127.0.0.1", help="address to listen on; 0.0.0.0 opens the page to the network")
    port: int | None = setting(None, help="default: the first free one from 7860 on")
    max_seconds: float = setting(
        Limits.max_seconds, help="longest recording, and longest use of the microphone"
    )
    max_megabytes: float = setting(Limits.max_megabytes, help="largest upload, in units of 10^6 bytes")


def demo(settings: DemoSettings) -> gr.Blocks:
    """Build the page that the settings describe; ``.launch()`` serves it.

    Raises:
        ModelError: If a model cannot be read.
        InterfaceError: If a limit is not above 0.
    """
    from ser_transfer.interface import build_demo
    from ser_transfer.model import MFCC_MODEL, SHIPPED_MODEL, EmotionModel

    limits = Limits(max_seconds=settings.max_seconds, max_megabytes=settings.max_megabytes)
    corpus = None if settings.corpus is None else settings.load_corpus()
    runs = None if settings.runs is None else local_folder(settings.runs, TABLES_BELOW)
    if runs is not None and not runs.is_dir():
        raise SettingsError(
            f"there is no folder {settings.runs} of runs: leave --runs away, or make a run with: "
            "python -m ser_transfer.quickstart"
        )
    models = [
        EmotionModel.from_pretrained(name, weights=settings.weights, device=settings.device)
        for name in settings.model or (SHIPPED_MODEL,)
    ]
    baseline = None
    if settings.baseline != NO_BASELINE:
        name = MFCC_MODEL if settings.baseline == MFCC else settings.baseline
        baseline = EmotionModel.from_pretrained(name, device=settings.device)
    return build_demo(models, baseline, runs=runs, corpus=corpus, limits=limits)


def _run(settings: DemoSettings) -> int:
    page = demo(settings)
    if settings.host not in LOCAL:
        print(
            f"warning: --host {settings.host} lets everyone who reaches this machine use the page",
            file=sys.stderr,
        )
    try:
        _, address, _ = page.launch(
            server_name=settings.host, server_port=settings.port, quiet=True, prevent_thread_lock=True
        )
    except (OSError, OverflowError) as error:
        raise InterfaceError(
            f"cannot listen on {settings.host}, port {settings.port or '7860 to 7959'} ({error}): give "
            "another --port or --host"
        ) from error
    print(f"The page is at {address}  (Ctrl-C ends it)", flush=True)
    page.block_thread()
    return 0


_main = command(DemoSettings, _run, words="model")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command."""
    return _main(without_model_flag(sys.argv[1:] if arguments is None else arguments))


def without_model_flag(arguments: Sequence[str]) -> list[str]:
    """Leave ``--model`` away, as several names may follow it: names without a flag are the models."""
    return [word.removeprefix("--model=") for word in arguments if word != "--model"]


sys.modules[__name__].__class__ = CallableModule

if __name__ == "__main__":
    sys.exit(main())
