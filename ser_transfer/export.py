"""Write a model as one ONNX file, from the waveform to calibrated probabilities, that answers as it does.

python -m ser_transfer.export outputs/RUN --quantise --check recordings/
python -m ser_transfer.predict call.wav --model outputs/RUN --backend onnx
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ser_transfer._bars import steps_bar
from ser_transfer._command import CallableModule, SettingsError, command
from ser_transfer._setting import setting
from ser_transfer.audio import read_audio
from ser_transfer.exporting import (
    ONNX_FILE,
    ONNX_SUFFIX,
    Comparison,
    OnnxModel,
    compare,
    export_onnx,
    place_for,
    quantise,
    require_extra,
    signals,
)
from ser_transfer.model import EmotionModel
from ser_transfer.places import is_url, put_together
from ser_transfer.results import find_recordings

if TYPE_CHECKING:
    from ser_transfer.encoders import Waveform


@dataclass(frozen=True, kw_only=True)
class ExportSettings:
    """Write a model as one ONNX file, from the waveform to probabilities, that answers as it does."""

    model: tuple[str, ...] = setting(
        (), help="folder of a run or of its model, or Hub id; the same as giving it first"
    )
    revision: str | None = setting(None, help="commit, tag or branch of the model's Hub id")
    weights: str | None = setting(None, help="file with the weights of the model's encoder, yamnet or vggish")
    out: str | None = setting(
        None,
        help=f"the file; default: {ONNX_FILE} in the folder of the run or model, where predict looks for it",
    )
    check: str | None = setting(
        None,
        help="a recording, or a folder of them, to compare on, besides made-up signals of several lengths",
    )
    quantise: bool = setting(
        False, help="write a smaller file beside it, too, whose matrix products are computed in 8 bits"
    )


@dataclass(frozen=True)
class Exported:
    """What was written, and how far it answers as the model does.

    Attributes:
        path: Of the float32 file.
        comparison: With PyTorch.
        int8_path: Of the int8 file; None where none was asked for.
        int8_comparison: With the float32 file, on the recordings that were given, or on the made-up signals
            where there are none.
        is_on_recordings: Whether there are.
    """

    path: Path
    comparison: Comparison
    int8_path: Path | None
    int8_comparison: Comparison | None
    is_on_recordings: bool

    def __str__(self) -> str:
        lines = [f"{self.path}: {_megabytes(self.path)}, beside PyTorch {self.comparison}"]
        if self.int8_path is not None and self.int8_comparison is not None:
            told = self.int8_comparison
            lines.append(
                f"{self.int8_path}: {_megabytes(self.int8_path)}, in 8 bits, beside float32 {told}, "
                f"the same emotion for {told.n_agreed} of {told.n_signals}"
            )
            lines.append(
                "what 8 bits cost in UAR: python -m ser_transfer.evaluate --model "
                f"{self.int8_path} --corpus NAME --root DIR, a corpus whose speakers the model has not heard"
            )
            if not self.is_on_recordings:
                lines.append("the signals are made up: --check recordings/ tells how often answers change")
        return "\n".join(lines)


def export(
    model: EmotionModel, out: str | Path, *, check: Sequence[str] = (), quantised: bool = False
) -> Exported:
    """Write a model as an ONNX file, and as an int8 one where wanted.

    Args:
        model: From `EmotionModel.from_pretrained`, on the CPU.
        out: Of the file; what is there is replaced, whole or not at all. The int8 one's name ends in
            ``.int8.onnx``.
        check: Recordings to compare on, besides `ser_transfer.exporting.signals`.
        quantised: Write the int8 one, too.

    Raises:
        ExportError: If the extra ``[onnx]`` is not installed, no graph can hold the model, a probability
            differs from PyTorch's by more than 1e-4 (nothing is written then), or a file cannot be written.
        AudioError: If a recording cannot be used.
    """
    path = Path(out).expanduser()
    comparison = export_onnx(model, path, _heard(model, check))
    if not quantised:
        return Exported(path, comparison, None, None, bool(check))
    int8_path = quantise(path, path.with_suffix(f".int8{ONNX_SUFFIX}"))
    exact = OnnxModel.from_file(path)
    heard = _heard(exact, check) if check else signals(exact)
    of_int8 = compare(exact, OnnxModel.from_file(int8_path), heard)
    return Exported(path, comparison, int8_path, of_int8, bool(check))


def _heard(model: EmotionModel, files: Sequence[str]) -> Iterator[Waveform]:
    with steps_bar("compare") as advance:
        for file in files:
            yield read_audio(file, model.sampling_rate, min_seconds=model.min_seconds)
            advance(len(files), Path(file).name)


def _megabytes(path: Path) -> str:
    return f"{path.stat().st_size / 1e6:.1f} MB"


def _run(settings: ExportSettings) -> None:
    if len(settings.model) != 1:
        given = f"{len(settings.model)} models" if settings.model else "no model"
        raise SettingsError(f"{given}: give one, python -m ser_transfer.export outputs/RUN")
    [name] = settings.model
    out = _out(name, settings.out)
    files = [] if settings.check is None else find_recordings([settings.check])
    if settings.check is not None and not files:
        raise SettingsError(f"no audio files below {settings.check}: give another --check, or leave it away")
    require_extra()
    model = EmotionModel.from_pretrained(
        name, revision=settings.revision, weights=settings.weights, device="cpu"
    )
    if is_url(out):
        above, _, file = out.rpartition("/")
        with put_together(above, last=file) as part:
            made = export(model, part / file, check=files, quantised=settings.quantise)
            told = str(made).replace(str(part), above)
        print(told)
    else:
        print(export(model, out, check=files, quantised=settings.quantise))
    print(f"ask it: python -m ser_transfer.predict call.wav --model {out}")


def _out(name: str, out: str | None) -> str:
    """Say where the file goes."""
    if name.lower().endswith(ONNX_SUFFIX):
        raise SettingsError(f"{name} is an ONNX file already: give the model that it was made of")
    if out is None and is_url(name):
        run, _, last = name.rstrip("/").rpartition("/")  # of a run, the run has the file
        return f"{run if last == 'model' else name.rstrip('/')}/{ONNX_FILE}"
    if out is None:
        place = place_for(name)
        if place is None:
            raise SettingsError(f"{name} is no folder of yours to write to: give --out {ONNX_FILE}")
        return str(place)
    if Path(out).suffix.lower() != ONNX_SUFFIX:
        raise SettingsError(f"{out} is no name of an ONNX file: give --out {out.rstrip('/')}{ONNX_SUFFIX}")
    return out


_main = command(ExportSettings, _run, words="model")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; the model may have its flag or none."""
    given = sys.argv[1:] if arguments is None else arguments
    return _main([word.removeprefix("--model=") for word in given if word != "--model"])


sys.modules[__name__].__class__ = CallableModule

if __name__ == "__main__":
    sys.exit(main())
