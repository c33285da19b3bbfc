"""What every model promises, whether its encoder was frozen or fine-tuned."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np
import numpy.typing as npt

from ser_transfer.audio import AudioError, duration_seconds, read_audio
from ser_transfer.encoders import Encoder, Waveform
from ser_transfer.encoders.pooled import Recording
from ser_transfer.model.answers import Answer, Prediction
from ser_transfer.model.places import SHIPPED_MODEL
from ser_transfer.model.waveforms import waveform_of

if TYPE_CHECKING:
    from datasets import Dataset

    from ser_transfer.timeline import Timeline, TimelineSettings

Source = Any  # a path, the bytes of a file, a row's {"bytes", "path"}, or an array of samples
Probabilities = npt.NDArray[np.float64]
Attention = tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]

# A recording up to here is heard whole, as the utterances of corpora are. A longer one is no utterance, and
# its states would not fit in memory: it is heard in pieces, and what is said of them averaged.
WHOLE_SECONDS = 60.0
PIECE_SECONDS = 30.0


class EmotionModel(ABC):
    """Recordings in, probabilities of emotions out.

    Attributes:
        name: What tables and the page call it.
        classes: The emotions, in the order of the columns of `predict_proba`.
        sampling_rate: Hz, of the waveforms that it hears.
        min_seconds: The shortest recording that it takes.
        temperature: What its probabilities are calibrated with, fitted on validation speakers; 1 leaves them.
        training: What it was trained on: corpus, speakers, split, UAR on speakers that it had not heard.
            Those speakers can no longer be tested on. Empty where nothing is known.
    """

    name: str
    classes: tuple[str, ...]
    sampling_rate: int
    min_seconds: float
    temperature: float
    training: Mapping[str, Any]

    @property
    @abstractmethod
    def fingerprint(self) -> str:
        """Hexadecimal digits; two models that could answer differently differ in them."""

    @abstractmethod
    def probabilities_of_waveforms(self, waveforms: Sequence[Waveform]) -> Probabilities:
        """Tell how probable each emotion is in waveforms that lie in memory.

        Args:
            waveforms: Mono, float32, full scale 1, at `sampling_rate`, each at least `min_seconds` long.

        Returns:
            Float64 array of shape (n_waveforms, n_classes), calibrated.
        """

    @abstractmethod
    def embeddings_of_waveforms(self, waveforms: Sequence[Waveform]) -> npt.NDArray[np.float32]:
        """Give what is classified: float32 of shape (n_waveforms, dim)."""

    @abstractmethod
    def _answers(self, recordings: Iterable[Recording], n_workers: int | None) -> Iterator[Answer]:
        """Answer recordings that are short enough to be heard whole; see `answers`."""

    @abstractmethod
    def save(self, folder: str | Path, *, include_encoder: bool = False) -> None:
        """Write the model, without a pickle, for `from_pretrained`.

        A model that lies there already stays whole until this one is.

        Args:
            folder: Made if it is not there; or a URL.
            include_encoder: Whether the files of a frozen encoder, which is otherwise found again by its
                name, are copied into it. A fine-tuned network always holds all of itself.

        Raises:
            ModelError: If the folder cannot be written, or the encoder's files may not be copied.
        """

    def push_to_hub(
        self,
        repo_id: str,
        *,
        private: bool = False,
        replace: bool = False,
        include_encoder: bool = False,
        name_speakers: bool = False,
    ) -> str:
        """Share the model on the Hugging Face Hub, with a card of what it knows of itself.

        The full card, with tables and figures, is made of the run that trained it: ``ser-transfer share``.
        The token is that of ``hf auth login``.

        Args:
            repo_id: ``owner/name``; made if it is not there.
            private: Only the owner may read it.
            replace: Whether a repository that holds files already gets this as its next commit.
            include_encoder: See `save`.
            name_speakers: Whether the names of training speakers go with it where their corpus is not a
                published one. Without, digests do, by which `evaluate` refuses speakers that it has heard.

        Returns:
            The commit's URL.

        Raises:
            ModelError: If it cannot be written.
            HubError: See `ser_transfer.hub.push_folder`.
        """
        from ser_transfer.model.pushing import push_model

        return push_model(
            self,
            repo_id,
            private=private,
            replace=replace,
            include_encoder=include_encoder,
            name_speakers=name_speakers,
        )

    def attention(self, waveform: Waveform) -> Attention | None:
        """Tell how much each moment counted, where the model weighs them itself.

        Returns:
            Times in seconds and weights that sum to 1, each of shape (frames,); None where it has no
            attention over time.
        """
        return None

    @classmethod
    def from_pretrained(
        cls,
        name_or_folder: str | Path = SHIPPED_MODEL,
        *,
        revision: str | None = None,
        weights: str | Path | None = None,
        device: str = "auto",
        encoder: Encoder | None = None,
        label_map: Mapping[str, str | None] | None = None,
    ) -> EmotionModel:
        """Read a model. Nothing in its files is run.

        Args:
            name_or_folder: One of `SHIPPED_MODELS`; the folder of a run or of its model, or its URL; the
                folder or Hub id of any checkpoint of transformers for audio classification whose labels are
                emotions.
            revision: Commit, tag or branch of a Hub id.
            weights: File with the weights of its encoder, where that is YAMNet or VGGish.
            device: ``"auto"`` (CUDA, then MPS, then CPU), or a torch device.
            encoder: The encoder itself, where neither its name nor `weights` finds it.
            label_map: Labels of a foreign checkpoint to emotions, None for one that is left out, where the
                labels are no emotions by themselves.

        Raises:
            ModelError: If there is no model, a newer version wrote it, it holds types that are not trusted,
                its labels are no emotions, or the encoder is not the one that it was trained with.
            EncoderError: If the encoder cannot be found or read.
        """
        from ser_transfer.model.loading import load_model

        return load_model(
            name_or_folder,
            revision=revision,
            weights=weights,
            device=device,
            encoder=encoder,
            label_map=label_map,
        )

    @classmethod
    def fit(
        cls,
        corpus: Dataset,
        encoder: Encoder | str = "handcrafted",
        head: str = "logistic_regression",
        *,
        split: str = "speaker-folds",
        store: str | Path | None = None,
        seed: int = 0,
        title: str | None = None,
    ) -> EmotionModel:
        """Train a head on frozen embeddings of a corpus; its score on unheard speakers is in `training`.

        Args:
            corpus: From `ser_transfer.load_corpus`.
            encoder: From `ser_transfer.load_encoder`, or its name.
            head: A name in `ser_transfer.heads.HEADS`.
            split: How speakers are held out to score it and to calibrate it; see
                `ser_transfer.splits.make_split`. The model itself is then trained on all of them.
            store: Folder of an embedding store to keep the embeddings in; None keeps none.
            seed: Of the split and the head.
            title: The corpus's name in what the model says of itself; None for the one it was loaded by.

        Raises:
            SplitError: If the corpus cannot be split so.
            AudioError: If a recording cannot be used.
        """
        from ser_transfer.model.fitting import fit_model

        return fit_model(corpus, encoder, head, split=split, store=store, seed=seed, title=title)

    @overload
    def predict(
        self, sources: list[Source] | tuple[Source, ...], *, sampling_rate: int | None = ...
    ) -> list[Prediction]: ...

    @overload
    def predict(self, sources: Source, *, sampling_rate: int | None = ...) -> Prediction: ...

    def predict(
        self, sources: Source | list[Source], *, sampling_rate: int | None = None
    ) -> Prediction | list[Prediction]:
        """Name the emotion of a recording, or of each of a list.

        Args:
            sources: A path, the bytes of a file, a row's ``{"bytes", "path"}``, an array of samples, or a
                list of them.
            sampling_rate: Hz, of arrays; None for the model's own.

        Returns:
            A `Prediction`, or a list of them for a list.

        Raises:
            AudioError: If a recording cannot be used.
        """
        several = isinstance(sources, list | tuple)
        given = list(sources) if several else [sources]
        probabilities = self.predict_proba(given, sampling_rate=sampling_rate)
        found = [Prediction.of(self.classes, row) for row in probabilities]
        return found if several else found[0]

    def predict_proba(self, sources: Sequence[Source], *, sampling_rate: int | None = None) -> Probabilities:
        """Tell how probable each emotion is in each recording.

        A recording longer than `WHOLE_SECONDS` is heard in pieces of `PIECE_SECONDS`, and the answers are
        averaged over time.

        Args:
            sources: See `predict`.
            sampling_rate: Hz, of arrays; None for the model's own.

        Returns:
            Float64 array of shape (n_recordings, n_classes), in the order given.

        Raises:
            AudioError: If a recording cannot be used.
        """
        found = np.zeros((len(sources), len(self.classes)))
        files = []
        for row, source in enumerate(sources):
            if isinstance(source, np.ndarray):
                found[row] = self._of_pieces(pieces(self._checked(source, sampling_rate), self))[0]
            else:
                files.append(Recording(str(row), source))
        for answer in self.answers(files):
            if answer.error is not None:
                raise answer.error
            assert answer.probabilities is not None
            found[int(answer.key)] = answer.probabilities
        return found

    def embed(
        self, sources: Sequence[Source], *, sampling_rate: int | None = None
    ) -> npt.NDArray[np.float32]:
        """Give what the model classifies of each recording, each heard whole.

        Args:
            sources: See `predict`.
            sampling_rate: Hz, of arrays; None for the model's own.

        Returns:
            Float32 array of shape (n_recordings, dim), in the order given.

        Raises:
            AudioError: If a recording cannot be used.
        """
        rows = []
        for source in sources:
            if isinstance(source, np.ndarray):
                waveform = self._checked(source, sampling_rate)
            else:
                waveform = read_audio(source, self.sampling_rate, min_seconds=self.min_seconds)
            rows.append(self.embeddings_of_waveforms([waveform])[0])
        return np.stack(rows)

    def answers(self, recordings: Iterable[Recording], *, n_workers: int | None = None) -> Iterator[Answer]:
        """Answer many recordings: decoded ahead, spread over cores, in memory that does not grow with them.

        Args:
            recordings: Each with a key of the caller's choice.
            n_workers: Recordings answered at once on a CPU, or decoding threads where a GPU answers; None for
                one per core.

        Yields:
            One `Answer` per recording, not in the order given. A file that cannot be used is yielded with its
            error: stopping or going on is the caller's choice.
        """
        long: list[Recording] = []

        def short() -> Iterator[Recording]:
            for recording in recordings:
                if _seconds(recording) > WHOLE_SECONDS:
                    long.append(recording)
                else:
                    yield recording

        yield from self._answers(short(), n_workers)
        for recording in long:
            yield self._long_answer(recording)

    def timeline(
        self,
        source: Source,
        settings: TimelineSettings | None = None,
        *,
        on_progress: Callable[[float], object] | None = None,
    ) -> Timeline:
        """Follow emotion through a recording of any length, in memory that does not grow with it.

        Args:
            source: A path, the bytes of a file, or a row's ``{"bytes", "path"}``.
            settings: Windows, smoothing and segments; None for the defaults.
            on_progress: Called with the seconds done so far.

        Raises:
            AudioError: If the recording cannot be used.
        """
        from ser_transfer.timeline import TimelineSettings, follow

        return follow(
            self.probabilities_of_waveforms,
            self.classes,
            source,
            self.sampling_rate,
            settings or TimelineSettings(),
            min_seconds=self.min_seconds,
            on_progress=on_progress,
        )

    def _long_answer(self, recording: Recording) -> Answer:
        from ser_transfer.audio import read_blocks

        try:
            if recording.start_seconds is None and recording.end_seconds is None:
                blocks = read_blocks(recording.source, self.sampling_rate, block_seconds=PIECE_SECONDS)
            else:
                waveform = read_audio(
                    recording.source,
                    self.sampling_rate,
                    start_seconds=recording.start_seconds,
                    end_seconds=recording.end_seconds,
                )
                blocks = pieces(waveform, self)
            probabilities, seconds = self._of_pieces(blocks)
        except AudioError as error:
            return Answer(recording.key, 0.0, None, error)
        return Answer(recording.key, seconds, probabilities)

    def _of_pieces(self, blocks: Iterable[Waveform]) -> tuple[Probabilities, float]:
        """Average over time what is said of the pieces of a recording; a last bit too short is left out."""
        total, seconds, heard = np.zeros(len(self.classes)), 0.0, 0.0
        for block in blocks:
            length = len(block) / self.sampling_rate
            seconds += length
            if length >= self.min_seconds:
                heard += length
                total += length * self.probabilities_of_waveforms([block])[0]
        return total / heard, seconds

    def _checked(self, samples: npt.NDArray[Any], sampling_rate: int | None) -> Waveform:
        """Bring an array to what `probabilities_of_waveforms` takes, or say why it cannot be heard."""
        return waveform_of(
            samples, sampling_rate or self.sampling_rate, self.sampling_rate, min_seconds=self.min_seconds
        )


def pieces(waveform: Waveform, model: EmotionModel) -> Iterator[Waveform]:
    """Give a waveform whole where it is an utterance, and in pieces where it is longer."""
    if len(waveform) <= WHOLE_SECONDS * model.sampling_rate:
        yield waveform
        return
    size = int(PIECE_SECONDS * model.sampling_rate)
    for start in range(0, len(waveform), size):
        yield waveform[start : start + size]


def _seconds(recording: Recording) -> float:
    """How long a recording is, as far as can be told; whoever decodes it tells what is wrong with it."""
    if recording.end_seconds is not None:
        return recording.end_seconds - (recording.start_seconds or 0.0)
    try:
        return duration_seconds(recording.source) - (recording.start_seconds or 0.0)
    except AudioError:
        return 0.0
