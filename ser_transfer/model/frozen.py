"""A trained model: encoder, pooling and head in one, on disk without a pickle.

outputs/<name>/model/
  config.json    classes, encoder and its fingerprint, pooling, layers, what it was trained on
  head.skops     the fitted head; skops builds only types that are listed in this file
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ser_transfer.encoders import Encoder, load_encoder
from ser_transfer.encoders.pooled import Recording, encode_pooled
from ser_transfer.errors import SerTransferError
from ser_transfer.metrics import with_temperature
from ser_transfer.store import Embeddings

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

FORMAT = 1  # of config.json; a reader refuses what is newer
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


class ModelError(SerTransferError):
    """A model that cannot be saved, or a folder that holds none that can be trusted."""


@dataclass(frozen=True)
class EmotionModel:
    """Recordings in, probabilities of emotions out.

    Attributes:
        encoder: What turns a recording into hidden states.
        pooling: What makes one vector per layer of them.
        layers: Names of the layers that the head reads, side by side.
        head: A fitted head; its `classes_` name the columns of the probabilities.
        training: What it was trained on: corpus, utterances, speakers, settings. Those speakers can no
            longer be tested on.
        temperature: What its probabilities are calibrated with, fitted on validation speakers; 1 leaves them.
    """

    encoder: Encoder
    pooling: str
    layers: tuple[str, ...]
    head: Pipeline
    training: Mapping[str, Any]
    temperature: float = 1.0

    @property
    def classes(self) -> tuple[str, ...]:
        """The emotions, in the order of the columns of `predict_proba`."""
        return tuple(str(emotion) for emotion in self.head.classes_)

    def predict_proba(self, sources: Sequence[Any]) -> npt.NDArray[np.float64]:
        """Tell how probable each emotion is in each recording.

        Args:
            sources: Paths, bytes of files, or rows' ``{"bytes", "path"}``.

        Returns:
            Float64 array of shape (n_recordings, n_classes), in the order given.

        Raises:
            AudioError: If a recording cannot be used.
        """
        recordings = [Recording(str(row), source) for row, source in enumerate(sources)]
        features: dict[int, npt.NDArray[np.float32]] = {}
        for pooled in encode_pooled(recordings, self.encoder, self.pooling):
            if pooled.error is not None:
                raise pooled.error
            by_layer = dict(zip(self.encoder.layer_names, pooled.layers, strict=True))
            features[int(pooled.recording.key)] = np.concatenate([by_layer[name] for name in self.layers])
        return self._probabilities(np.stack([features[row] for row in range(len(sources))]))

    def probabilities_of(self, embeddings: Embeddings) -> npt.NDArray[np.float64]:
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
        return self._probabilities(embeddings.concatenate(self.layers)[0])

    def _probabilities(self, features: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        return with_temperature(self.head.predict_proba(features), self.temperature)

    def predict(self, sources: Sequence[Any]) -> list[str]:
        """Name the most probable emotion in each recording; see `predict_proba`."""
        return [self.classes[column] for column in self.predict_proba(sources).argmax(axis=1)]

    def save(self, folder: str | Path) -> None:
        """Write the model; the encoder is named by id and fingerprint, not copied.

        Raises:
            ModelError: If the folder cannot be written.
        """
        import skops.io

        config = {
            "format": FORMAT,
            "classes": list(self.classes),
            "encoder": {
                "name": self.encoder.name,
                "revision": self.encoder.revision,
                "fingerprint": self.encoder.fingerprint,
                "precision": self.encoder.precision,
            },
            "pooling": self.pooling,
            "layers": list(self.layers),
            "temperature": self.temperature,
            "training": dict(self.training),
        }
        folder = Path(folder)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            skops.io.dump(self.head, folder / HEAD)
            (folder / CONFIG).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
        except OSError as error:
            raise ModelError(f"cannot write the model to {folder}: {error.strerror}") from error

    @classmethod
    def load(cls, folder: str | Path, encoder: Encoder | None = None) -> EmotionModel:
        """Read a model that `save` wrote. Nothing in it is run: the head is built of trusted types only.

        Args:
            folder: The model's folder.
            encoder: The encoder, where its name does not find it, such as one from a file of weights.

        Raises:
            ModelError: If there is no model, a newer version wrote it, it holds types that are not trusted,
                or the encoder is not the one that it was trained with.
        """
        import skops.io

        folder = Path(folder)
        config = _config(folder)
        try:
            untrusted = set(skops.io.get_untrusted_types(file=folder / HEAD)) - TRUSTED
        except OSError as error:
            raise ModelError(f"{folder} holds no model: {error.strerror}: {error.filename}") from error
        if config["format"] > FORMAT:
            raise ModelError(f"{folder} was written by a newer ser_transfer: pip install -U ser-transfer")
        if untrusted:
            raise ModelError(
                f"{folder / HEAD} holds types that are not trusted: {', '.join(sorted(untrusted))}"
            )
        described = config["encoder"]
        if encoder is None:
            encoder = load_encoder(
                described["name"], revision=described["revision"], precision=described["precision"]
            )
        if encoder.fingerprint != described["fingerprint"]:
            raise ModelError(
                f"{encoder.name} is not the encoder that {folder} was trained with: its fingerprint is "
                f"{encoder.fingerprint[:12]}, not {described['fingerprint'][:12]}, so its weights, its "
                "configuration or our preprocessing changed. Train again, or give the encoder as it was"
            )
        head = skops.io.load(folder / HEAD, trusted=sorted(TRUSTED))
        layers, temperature = tuple(config["layers"]), config["temperature"]
        return cls(encoder, config["pooling"], layers, head, config["training"], temperature)


def encoder_name(folder: str | Path) -> str:
    """Say which encoder a saved model reads, such as to find its weights.

    Raises:
        ModelError: If there is no model.
    """
    return str(_config(Path(folder))["encoder"]["name"])


def _config(folder: Path) -> dict[str, Any]:
    try:
        config: dict[str, Any] = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    except OSError as error:
        raise ModelError(f"{folder} holds no model: {error.strerror}: {error.filename}") from error
    return config
