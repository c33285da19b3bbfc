"""Runs and models at a URL: what train writes there, and whatever reads a run from a folder."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from object_store.server import SLOW_DOWN

import ser_transfer.card
import ser_transfer.compare
import ser_transfer.evaluate
import ser_transfer.list
import ser_transfer.share
from ser_transfer._settings import _onnx_from_url
from ser_transfer.export import _out
from ser_transfer.exporting import find_onnx
from ser_transfer.model import EmotionModel, ModelError
from ser_transfer.places import PlaceError

# They hold seconds, or where they were written to, or (skops) when.
TIMED = ("metrics.json", "recipe.yaml", "leaderboard.csv", "leaderboard.md", "model/head.skops")


def files_of(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def run_there(s3, local_run, machine):
    """A run that lies at a URL."""
    for name in files_of(local_run):
        s3.put(f"outputs/run/{name}", (local_run / name).read_bytes())
    return f"{s3.url}/outputs/run"


def test_train_writes_there_what_it_writes_to_a_folder(machine, s3, train_into, local_run, capsys):
    torn = s3.trouble(SLOW_DOWN, method="PUT", key="predictions", times=2)
    assert train_into(f"{s3.url}/outputs/run") == 0
    assert torn.n_met == 2
    assert f"written to {s3.url}/outputs/run" in capsys.readouterr().out
    assert set(s3.keys) == {f"outputs/run/{name}" for name in files_of(local_run)}
    for name in files_of(local_run) - set(TIMED):
        assert s3.content(f"outputs/run/{name}") == (local_run / name).read_bytes(), name


def test_a_second_training_replaces_the_first_with_its_figures_and_model(machine, s3, run_there, train_into):
    s3.put("outputs/run/leaderboard.png", b"of the first")
    assert train_into(run_there, "--no-keep-model") == 0
    assert not [key for key in s3.keys if "leaderboard.png" in key or "/model/" in key]


def test_a_training_that_cannot_put_its_run_says_where_it_is_kept_and_the_same_command_completes_it(
    machine, s3, train_into, capsys
):
    s3.trouble(403, method="PUT", key="predictions", times=99)
    assert train_into(f"{s3.url}/outputs/run") == 1
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("error: s3://")
    assert "predictions.parquet" in error
    kept = Path(error.rpartition("kept in ")[2])
    assert (kept / "metrics.json").is_file()
    assert "outputs/run/metrics.json" not in s3.keys
    s3.calm()
    assert train_into(f"{s3.url}/outputs/run") == 0
    assert "outputs/run/metrics.json" in s3.keys
    assert not kept.exists()


ASKED = """
import sys, numpy as np
from ser_transfer.model import EmotionModel
sys.stdout.write(EmotionModel.from_pretrained(sys.argv[1]).predict_proba([sys.argv[2]]).tobytes().hex())
"""


def test_a_model_there_answers_in_a_fresh_process_as_the_one_in_the_folder(
    run_there, local_run, tones_at_hand
):
    clip = next(Path(tones_at_hand[3]).rglob("*.wav"))
    told = subprocess.run(
        [sys.executable, "-c", ASKED, run_there, str(clip)], capture_output=True, text=True, check=True
    )
    there = np.frombuffer(bytes.fromhex(told.stdout))
    assert np.array_equal(there, EmotionModel.from_pretrained(local_run).predict_proba([clip])[0])


def test_a_model_is_saved_there_and_read_again(machine, s3, local_run, tones_at_hand):
    model = EmotionModel.from_pretrained(local_run)
    model.save(f"{s3.url}/models/mine")
    puts = [request.key for request in s3.requests if request.method == "PUT"]
    assert puts[-1] == "models/mine/config.json"
    clip = next(Path(tones_at_hand[3]).rglob("*.wav"))
    again = EmotionModel.from_pretrained(f"{s3.url}/models/mine")
    assert np.array_equal(again.predict_proba([clip]), model.predict_proba([clip]))


def test_a_model_beside_a_pickle_is_refused_and_its_pickle_not_fetched(run_there, s3):
    s3.put("outputs/run/model/extra.pkl", b"\x80")
    s3.forget()
    with pytest.raises(ModelError, match=r"extra\.pkl can hold a pickle"):
        EmotionModel.from_pretrained(run_there)
    assert not s3.n_requests("GET", "pkl|skops")


def test_a_run_that_kept_no_model_and_a_url_with_a_revision_are_refused(run_there, s3):
    with pytest.raises(ModelError, match="leave the revision away"):
        EmotionModel.from_pretrained(run_there, revision="main")
    for key in [key for key in s3.keys if "/model/" in key]:
        s3.remove(key)
    with pytest.raises(PlaceError, match="kept no model"):
        EmotionModel.from_pretrained(run_there)


def test_list_and_card_read_what_lies_there(run_there, s3, local_run, capsys):
    assert ser_transfer.list.main([f"{s3.url}/outputs"]) == 0
    there = capsys.readouterr().out
    assert ser_transfer.list.main([str(local_run.parent)]) == 0
    assert there == capsys.readouterr().out
    assert ser_transfer.card.main([run_there]) == 0
    there = capsys.readouterr().out
    assert ser_transfer.card.main([str(local_run)]) == 0
    assert there == capsys.readouterr().out


def test_a_card_is_written_there(run_there, s3):
    assert ser_transfer.card.main([run_there, "--out", f"{s3.url}/card"]) == 0
    assert "card/README.md" in s3.keys


def test_share_reads_it_and_wants_a_folder_to_write_to(run_there, tmp_path, capsys):
    assert ser_transfer.share.main([run_there, "ada/run", "--dry-run"]) == 1
    assert "--out share" in capsys.readouterr().err
    assert ser_transfer.share.main([run_there, "ada/run", "--dry-run", "--out", str(tmp_path / "repo")]) == 0
    assert (tmp_path / "repo" / "config.json").is_file()


def test_compare_sets_a_run_from_there_beside_the_baseline_and_writes_there(run_there, s3, tones_at_hand):
    told = ["--runs", run_there, "--encoders", "none", "--split", "loso", "--no-plots", "--baseline", "none"]
    allowed = ["--allow", "near-identical-audio", "--out", f"{s3.url}/outputs/compared"]
    assert ser_transfer.compare.main([*tones_at_hand, *told, *allowed]) == 0
    assert "outputs/compared/metrics.json" in s3.keys


def test_evaluate_asks_a_model_from_there_and_names_its_folder_after_it(
    run_there, tones_at_hand, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    told = ["--model", run_there, "--allow", "shared-speakers", "--no-plots"]
    assert ser_transfer.evaluate.main([*tones_at_hand, *told]) == 0
    assert (tmp_path / "outputs" / "evaluate-folder-run" / "metrics.json").is_file()


def test_the_page_shows_the_runs_of_a_url(run_there, s3):
    from ser_transfer.demo import TABLES_BELOW
    from ser_transfer.interface.saved_runs import find_runs
    from ser_transfer.places import local_folder

    found = find_runs(local_folder(f"{s3.url}/outputs", TABLES_BELOW))
    assert list(found.runs) == ["run"]
    assert not found.refused


def test_an_onnx_file_is_found_beside_the_model_it_is_of(run_there, s3):
    s3.put("outputs/run/model.onnx", b"graph")
    whole = Path(_onnx_from_url(f"{run_there}/model.onnx"))
    assert whole.read_bytes() == b"graph"
    for name in (run_there, f"{run_there}/model"):
        found = find_onnx(_onnx_from_url(name))
        assert found.read_bytes() == b"graph"
        assert (found.parent / "model" / "config.json").is_file()  # is it still that model's?


def test_an_exported_file_goes_into_the_run_that_has_the_model(run_there):
    assert _out(run_there, None) == _out(f"{run_there}/model/", None) == f"{run_there}/model.onnx"
