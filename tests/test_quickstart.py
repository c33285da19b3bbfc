import json

import pandas as pd
import pytest

import ser_transfer.quickstart
from ser_transfer.encoders import local, weight_files


@pytest.fixture
def outcome(tmp_path, monkeypatch, capsys):
    """Run the quickstart in an empty folder with three voices, and give its folder and what it printed."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SER_TRANSFER_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(ser_transfer.quickstart, "CACHE", tmp_path / "cache")
    monkeypatch.setattr(local, "CHECKPOINTS", ())
    assert ser_transfer.quickstart.main(["--n-speakers", "3", "--store", str(tmp_path / "store")]) == 0
    return tmp_path / "outputs" / "quickstart", capsys.readouterr().out


def test_the_quickstart_goes_from_nothing_to_a_table_plots_and_what_to_do_next(outcome):
    folder, printed = outcome
    metrics = json.loads((folder / "metrics.json").read_text())
    roles = {name: system["role"] for name, system in metrics["systems"].items()}
    assert roles == {
        "handcrafted": "encoder",
        "wav2vec2 (small, untrained)": "encoder",
        "mfcc": "baseline",
        "majority class": "floor",
    }
    assert metrics["speaker_independent"] is True
    assert set(pd.read_parquet(folder / "predictions.parquet")["speaker"]) == {
        f"synthetic-v0{number}" for number in (1, 2, 3)
    }
    assert {"leaderboard.png", "speakers.png", "confusion_handcrafted.png", "report.html"} <= {
        p.name for p in folder.iterdir()
    }
    assert "synthetic" in metrics["corpus"]
    assert "say nothing about real speech" in printed
    assert "python -m ser_transfer.embed --corpus ravdess" in printed


def test_yamnet_joins_in_where_its_weights_lie_in_the_cache(tmp_path, monkeypatch, shared):
    monkeypatch.setattr(local, "CHECKPOINTS", ())
    monkeypatch.setattr(local, "weights_folder", lambda: tmp_path)
    assert list(local.encoders_at_hand()) == []
    weights = shared / "weights" / "yamnet" / "yamnet.safetensors"
    (tmp_path / "yamnet.safetensors").symlink_to(weights)
    assert [encoder.name for encoder in local.encoders_at_hand()] == ["yamnet"]
    assert weight_files.weights_folder().name == "weights"
