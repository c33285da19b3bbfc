"""Which frames a stretch of samples gives, and where long audio is cut between them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class FrameGrid:
    """The regular grid on which a model lays its frames over the samples.

    Frame i reads the samples from ``i * hop`` to ``i * hop + receptive_field``, and a clip has the frames
    that lie on its own samples.

    Attributes:
        hop: Samples from one frame to the next.
        receptive_field: Samples that the first frame needs. It counts what the convolutions or the
            spectrogram read; the transformer above them sees every frame.
        max_frames: The most frames that are encoded in one window.
    """

    hop: int
    receptive_field: int
    max_frames: int

    def n_frames(self, n_samples: int) -> int:
        """Count the frames of a clip; 0 where it is shorter than `receptive_field`."""
        return max(0, (n_samples - self.receptive_field) // self.hop + 1)

    def windows(self, n_samples: int) -> list[slice]:
        """Cut a clip into equal windows of at most `max_frames` frames.

        Windows overlap by the samples that a frame reads beyond its hop, so their frames, laid end to end,
        are the frames of the whole clip: none is lost, and frame i stays at ``i * hop``. Equal lengths
        leave no sliver at the end, whose few frames would see no context.

        Args:
            n_samples: Samples of the clip.

        Returns:
            Slices of samples, one for a clip that fits a window.
        """
        n_frames = self.n_frames(n_samples)
        n_windows = max(1, -(-n_frames // self.max_frames))
        edges = [i * n_frames // n_windows for i in range(n_windows + 1)]
        overlap = max(0, self.receptive_field - self.hop)
        stops = [edge * self.hop + overlap for edge in edges[1:-1]] + [n_samples]
        return [slice(edge * self.hop, stop) for edge, stop in zip(edges, stops, strict=False)]
