"""Models on a frozen encoder: its embedding of a recording, or its frames, under a head.

outputs/<name>/model/
  config.json    classes, encoder and its fingerprint, pooling, layers, calibration, what it was trained on
  head.skops     a head on embeddings; skops builds only types that are listed in this file
  head.json, head.safetensors    or a head on frames
  encoder/       the encoder's own files, where they were to be copied
"""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ser_transfer.encoders import Encoder, Waveform
from ser_transfer.encoders.pooled import Pooled, Recording, encode_pooled, encode_waveforms
from ser_transfer.metrics import with_temperature
from ser_transfer.model.answers import Answer
from ser_transfer.model.base import Attention, EmotionModel, Probabilities
from ser_transfer.model.encoder_files import ENCODER, copy_encoder
from ser_transfer.model.errors import ModelError
from ser_transfer.places import put_together

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

    from ser_transfer.heads.sequence.classifier import SequenceHead
    from ser_transfer.store import Embeddings

FORMAT = 2  # of config.json
CONFIG, HEAD = "config.json", "head.skops"

# The types that a head may be built of, besides those that skops trusts by itself.
TRUSTED = frozenset(
    {
        "ser_transfer.heads.boosting.BoostedTrees",
        "ser_transfer.heads.kernel.RBFSVM",
        "ser_transfer.heads.layer_mix.LayerMix",
        "ser_transfer.heads.linear.LinearSVM",
        "ser_transfer.heads.linear.LogisticRegression",
        "ser_transfer.heads.linear.ShrinkageLDA",
        "ser_transfer.heads.neighbors.WeightedKNN",
        "ser_transfer.heads.neighbors.WeightedNearestCentroid",
        "ser_transfer.heads.network.WeightedMLP",
        "ser_transfer.heads.scaling.BlockScaler",
        "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
        "sklearn.metrics._dist_metrics.EuclideanDistance64",
        "sklearn.neighbors._kd_tree.KDTree",
        "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
    }
)


class _OnEncoder(EmotionModel):
    """What models on a frozen encoder share.

    Attributes:
        encoder: What turns a recording into hidden states.
    """

    pooling: str | None
    frame_layers: tuple[str, ...] = ()

    def __init__(
        self, encoder: Encoder, classes: Sequence[str], training: Mapping[str, Any], temperature: float
    ) -> None:
        self.encoder = encoder
        self.classes = tuple(map(str, classes))
        self.training, self.temperature = training, temperature
        self.sampling_rate, self.min_seconds = encoder.sampling_rate, encoder.min_seconds
        corpus = f" ({training['corpus']})" if "corpus" in training else ""
        self.name = f"{encoder.name} + {training.get('head', 'head')}{corpus}"

    @abstractmethod
    def _uncalibrated(self, encoded: Sequence[Pooled]) -> Probabilities:
        """What the head says of encoded waveforms."""

    @cached_property
    def fingerprint(self) -> str:
        """See `EmotionModel.fingerprint`."""
        import joblib

        return str(joblib.hash([self.encoder.definition, self.classes, self.temperature, self._read()]))

    @abstractmethod
    def _read(self) -> Any:
        """Say what is read of the encoder, and all that the head learned."""

    def _described(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "classes": list(self.classes),
            "encoder": {
                "name": self.encoder.name,
                "revision": self.encoder.revision,
                "fingerprint": self.encoder.fingerprint,
                "definition": self.encoder.definition,
                "precision": self.encoder.precision,
            },
            "temperature": self.temperature,
            "training": dict(self.training),
        }

    def _answers(self, recordings: Iterable[Recording], n_workers: int | None) -> Iterator[Answer]:
        encoded = encode_pooled(
            recordings,
            self.encoder,
            self.pooling,
            frame_layers=self.frame_layers,
            n_workers=n_workers,
        )
        for pooled in encoded:
            if pooled.error is not None:
                yield Answer(pooled.recording.key, 0.0, None, pooled.error)
            else:
                yield Answer(pooled.recording.key, pooled.seconds, self._calibrated([pooled])[0])

    def probabilities_of_waveforms(self, waveforms: Sequence[Waveform]) -> Probabilities:
        """See `EmotionModel.probabilities_of_waveforms`."""
        return self._calibrated(self._encoded(waveforms))

    def _encoded(self, waveforms: Sequence[Waveform]) -> list[Pooled]:
        return encode_waveforms(waveforms, self.encoder, self.pooling, frame_layers=self.frame_layers)

    def _calibrated(self, encoded: Sequence[Pooled]) -> Probabilities:
        return with_temperature(self._uncalibrated(encoded), self.temperature)

    def save(self, folder: str | Path, *, include_encoder: bool = False) -> None:
        """Write the model; see `EmotionModel.save`. The encoder is named by id and fingerprint."""
        from safetensors import SafetensorError

        try:
            with put_together(folder, last=CONFIG) as part:
                self._write_head(part)
                if include_encoder:
                    copy_encoder(self.encoder, part / ENCODER)
                text = json.dumps(self._described(), indent=2, ensure_ascii=False)
                (part / CONFIG).write_text(text + "\n", encoding="utf-8")
        except (OSError, SafetensorError) as error:
            told = getattr(error, "strerror", None) or " ".join(str(error).split())
            raise ModelError(f"cannot write the model to {folder}: {told}") from error

    @abstractmethod
    def _write_head(self, folder: Path) -> None:
        """Write what the head learned."""


class FrozenModel(_OnEncoder):
    """A head on the pooled layers of a frozen encoder.

    Args:
        encoder: What turns a recording into hidden states.
        pooling: What makes one vector per layer of them.
        layers: Names of the layers that the head reads, side by side.
        head: A fitted head; its `classes_` name the columns of the probabilities.
        training: See `EmotionModel`.
        temperature: See `EmotionModel`.
    """

    pooling: str

    def __init__(
        self,
        encoder: Encoder,
        pooling: str,
        layers: Sequence[str],
        head: Pipeline,
        training: Mapping[str, Any],
        temperature: float = 1.0,
    ) -> None:
        super().__init__(encoder, head.classes_, training, temperature)
        self.pooling, self.layers, self.head = pooling, tuple(layers), head

    def embeddings_of_waveforms(self, waveforms: Sequence[Waveform]) -> npt.NDArray[np.float32]:
        """Give the pooled layers that the head reads, side by side: float32 of shape (n_waveforms, dim)."""
        return self._features(self._encoded(waveforms))

    def probabilities_of(self, embeddings: Embeddings) -> Probabilities:
        """Tell how probable each emotion is in recordings that were embedded already.

        Args:
            embeddings: By the model's encoder under its pooling.

        Returns:
            Float64 array of shape (n_utterances, n_classes), in the order of the embeddings.

        Raises:
            ModelError: If they are another encoder's, or pooled otherwise.
        """
        given = (embeddings.fingerprint, embeddings.pooling)
        if given != (self.encoder.fingerprint, self.pooling):
            raise ModelError(
                f"the model reads {self.encoder.name} ({self.encoder.fingerprint[:12]}) by {self.pooling}, "
                f"and was given {embeddings.encoder} ({given[0][:12]}) under {given[1]}"
            )
        features = embeddings.concatenate(self.layers)[0]
        return with_temperature(self.head.predict_proba(features), self.temperature)

    def _features(self, encoded: Sequence[Pooled]) -> npt.NDArray[np.float32]:
        columns = [self.encoder.layer_names.index(name) for name in self.layers]
        return np.stack([np.concatenate([each.layers[column] for column in columns]) for each in encoded])

    def _uncalibrated(self, encoded: Sequence[Pooled]) -> Probabilities:
        found: Probabilities = self.head.predict_proba(self._features(encoded))
        return found

    def _read(self) -> Any:
        return [self.pooling, self.layers, self.head]

    def _described(self) -> dict[str, Any]:
        read = {"kind": "frozen", "pooling": self.pooling, "layers": list(self.layers)}
        return {**super()._described(), **read}

    def _write_head(self, folder: Path) -> None:
        import skops.io

        skops.io.dump(self.head, folder / HEAD)


class SequenceModel(_OnEncoder):
    """A head on the frames of one layer of a frozen encoder.

    Args:
        encoder: What turns a recording into hidden states.
        layer: Name of the layer whose frames the head reads.
        head: Fitted.
        training: See `EmotionModel`.
        temperature: See `EmotionModel`.
    """

    pooling = None

    def __init__(
        self,
        encoder: Encoder,
        layer: str,
        head: SequenceHead,
        training: Mapping[str, Any],
        temperature: float = 1.0,
    ) -> None:
        super().__init__(encoder, head.classes_, training, temperature)
        self.layer, self.head = layer, head
        self.frame_layers = (layer,)

    def embeddings_of_waveforms(self, waveforms: Sequence[Waveform]) -> npt.NDArray[np.float32]:
        """Give the mean of the frames that the head reads: float32 of shape (n_waveforms, dim)."""
        return np.stack([each.frames[0].mean(axis=0) for each in self._encoded(waveforms)])

    def attention(self, waveform: Waveform) -> Attention | None:
        """See `EmotionModel.attention`; only the attentive head weighs its frames."""
        [encoded] = self._encoded([waveform])
        weights = self.head.attention(_as_stored(encoded))
        if weights is None:
            return None
        times = (np.arange(len(weights), dtype=np.float64) + 0.5) / self.encoder.frame_rate
        return times, weights

    def _uncalibrated(self, encoded: Sequence[Pooled]) -> Probabilities:
        return self.head.predict_proba([_as_stored(each) for each in encoded])

    def _read(self) -> Any:
        return [self.layer, self.head.get_params(), self.head.state()]

    def _described(self) -> dict[str, Any]:
        return {**super()._described(), "kind": "sequence", "layer": self.layer}

    def _write_head(self, folder: Path) -> None:
        self.head.save(folder)


def _as_stored(encoded: Pooled) -> npt.NDArray[np.float16]:
    """Give the frames as the store gave them in training: in half precision."""
    return encoded.frames[0].astype(np.float16)
