"""Models that are pushed and pulled by the real client, in fresh processes, against a Hub on localhost."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
from hub.server import DROP, READER
from huggingface_hub import ModelCard

import ser_transfer.share
from ser_transfer.model import EmotionModel
from ser_transfer.share import share


def typed(hub_server, home, *arguments, token="hf_ada_may_write", **environment):
    """What a user sees of a command: its exit code, what it prints, and what it complains of."""
    command = [sys.executable, "-m", *arguments]
    done = subprocess.run(
        command,
        env=hub_server.environment(home, token, **environment),
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    return done.returncode, done.stdout, done.stderr


def pulled(hub_server, home, files, name, revision=None):
    """The probabilities of files by a model of the Hub, in a fresh process."""
    script = f"""
import json
from ser_transfer import EmotionModel
model = EmotionModel.from_pretrained({name!r}, revision={revision!r})
print(json.dumps([[each.hex() for each in row] for row in model.predict_proba({files!r}).tolist()]))
"""
    rows = json.loads(hub_server.python(script, home).splitlines()[-1])
    return np.array([[float.fromhex(each) for each in row] for row in rows])


@pytest.fixture
def clips(tones_once):
    return sorted(map(str, tones_once.rglob("*.wav")))[::5]


def contents(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


def test_what_is_pulled_answers_bit_for_bit_and_is_what_a_dry_run_had_written(
    hub_server, run, clips, tmp_path
):
    told = ["ser_transfer.share", str(run), "ada/tone", "--name-speakers", "--private"]
    code, printed, complaints = typed(
        hub_server, tmp_path / "dry", *told, "--dry-run", "--out", str(tmp_path / "staged")
    )
    assert code == 0, complaints
    assert "not pushed" in printed
    assert hub_server.requests == []
    code, printed, complaints = typed(hub_server, tmp_path / "pusher", *told)
    assert code == 0, complaints
    repository = hub_server.repositories["ada/tone"]
    assert repository.private
    assert repository.files() == contents(tmp_path / "staged")
    assert printed.splitlines()[-1].endswith(f"/commit/{repository.at('main').oid}")
    expected = EmotionModel.from_pretrained(run).predict_proba(clips)
    np.testing.assert_array_equal(pulled(hub_server, tmp_path / "puller", clips, "ada/tone"), expected)


def test_the_card_on_the_hub_has_the_numbers_of_the_run_and_passes_the_hubs_own_check(
    hub_server, run, tmp_path
):
    code, _, complaints = typed(hub_server, tmp_path, "ser_transfer.share", str(run), "ada/tone")
    assert code == 0, complaints
    assert any("/api/validate-yaml" in request.path for request in hub_server.requests)
    card = ModelCard(hub_server.repositories["ada/tone"].files()["README.md"].decode())
    card.validate = None
    results = {result.metric_type: result.metric_value for result in card.data.eval_results}
    metrics = json.loads((run / "metrics.json").read_text())["systems"]["mfcc"]
    assert results == {"recall": metrics["uar"], "accuracy": metrics["wa"], "f1": metrics["macro_f1"]}


def test_a_split_that_shares_speakers_puts_no_score_on_the_hub(hub_server, trained_once, tmp_path):
    leaky = trained_once(split="speaker-dependent")
    code, _, complaints = typed(hub_server, tmp_path, "ser_transfer.share", str(leaky), "ada/leaky")
    assert code == 0, complaints
    card = ModelCard(hub_server.repositories["ada/leaky"].files()["README.md"].decode())
    assert card.data.eval_results is None
    assert "model-index" not in card.data.to_dict()
    assert "NOT SPEAKER-INDEPENDENT" in card.text


def test_an_interrupted_push_leaves_the_old_revision_usable(hub_server, run, trained_once, clips, tmp_path):
    typed(hub_server, tmp_path / "home", "ser_transfer.share", str(run), "ada/tone")
    before = hub_server.repositories["ada/tone"].files()
    replace = ["ser_transfer.share", str(trained_once("nearest_centroid")), "ada/tone", "--replace"]
    hub_server.fail_next("POST .*/commit/main", DROP, times=99)
    code, _, complaints = typed(hub_server, tmp_path / "home", *replace)
    assert code == 1
    assert complaints.splitlines()[-1].startswith("error: the Hub cannot be reached")
    assert hub_server.repositories["ada/tone"].files() == before
    expected = EmotionModel.from_pretrained(run).predict_proba(clips)
    np.testing.assert_array_equal(pulled(hub_server, tmp_path / "other", clips, "ada/tone"), expected)
    hub_server.troubles.clear()
    first = hub_server.repositories["ada/tone"].at("main").oid
    assert typed(hub_server, tmp_path / "home", *replace)[0] == 0
    # Both are to be had now: the new one by name, the old one by its revision.
    other = EmotionModel.from_pretrained(trained_once("nearest_centroid")).predict_proba(clips)
    np.testing.assert_array_equal(pulled(hub_server, tmp_path / "other", clips, "ada/tone"), other)
    np.testing.assert_array_equal(pulled(hub_server, tmp_path / "other", clips, "ada/tone", first), expected)


def test_a_model_pushes_itself_with_a_card_of_what_it_knows(hub_server, run, clips, tmp_path):
    script = f"""
from ser_transfer import EmotionModel
print(EmotionModel.from_pretrained({str(run)!r}).push_to_hub("ada/own", private=True))
"""
    url = hub_server.python(script, tmp_path / "home").splitlines()[-1]
    repository = hub_server.repositories["ada/own"]
    assert url.endswith(f"/commit/{repository.at('main').oid}")
    assert repository.private
    card = ModelCard(repository.files()["README.md"].decode())
    [result] = card.data.eval_results
    uar = json.loads((run / "metrics.json").read_text())["systems"]["mfcc"]["uar"]
    assert (result.metric_type, result.metric_value) == ("recall", uar)
    assert b'"p1"' not in repository.files()["config.json"]
    expected = EmotionModel.from_pretrained(run).predict_proba(clips)
    np.testing.assert_array_equal(pulled(hub_server, tmp_path / "other", clips, "ada/own"), expected)


@pytest.mark.parametrize(
    ("name", "token", "environment", "told"),
    [
        ("ada/tone", None, {}, "you are not logged in to the Hub: type hf auth login"),
        ("ada/tone", READER, {}, "ada/tone"),
        ("bob/tone", "hf_ada_may_write", {}, "bob/tone"),
        ("ada/taken", "hf_ada_may_write", {}, "ada/taken is taken, it holds files already"),
        ("tone", "hf_ada_may_write", {}, "'tone' is no id of a model on the Hub: give it as user/name"),
        ("ada/tone", "hf_ada_may_write", {"HF_ENDPOINT": "http://127.0.0.1:9"}, "the Hub cannot be reached"),
        ("ada/tone", "hf_ada_may_write", {"HF_HUB_OFFLINE": "1"}, "HF_HUB_OFFLINE"),
    ],
)
def test_what_goes_wrong_is_one_line(name, token, environment, told, hub_server, run, tmp_path):
    hub_server.plant("ada/taken", {"config.json": b"{}"})
    code, _, complaints = typed(
        hub_server, tmp_path, "ser_transfer.share", str(run), name, token=token, **environment
    )
    errors = [line for line in complaints.splitlines() if not line.startswith("warning:")]
    assert code == 1
    assert len(errors) == 1, complaints
    assert errors[0].startswith("error: ")
    assert told in errors[0]


def test_a_model_of_a_newer_version_of_the_package_is_one_line(hub_server, run, tmp_path):
    files = contents(run / "model")
    config = json.loads(files["config.json"])
    files["config.json"] = json.dumps({**config, "format": config["format"] + 1}).encode()
    hub_server.plant("ada/newer", files)
    code, _, complaints = typed(
        hub_server, tmp_path, "ser_transfer.predict", "clip.wav", "--model", "ada/newer"
    )
    assert code == 1
    assert complaints.strip().splitlines() == [complaints.strip()]
    assert "written by a newer ser_transfer: pip install -U ser-transfer" in complaints


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        ((), "give a run and its name on the Hub"),
        (("RUN", "ada/tone", "--out", "x"), "add --dry-run"),
        (
            ("RUN", "ada/tone", "--space", "--part", "adapter"),
            "a Space is around a model, not",
        ),
        (("RUN", "ada/tone", "--part", "results", "--include-encoder"), "--include-encoder is of a model"),
        (("RUN", "ada/tone", "--weights", "w.safetensors"), "--include-encoder copies: add that"),
        (("RUN", "ada/tone", "--part", "adapter", "--dry-run"), "kept no adapter/"),
        (("nowhere", "ada/tone", "--dry-run"), "no run in nowhere"),
    ],
)
def test_flags_that_mean_nothing_together_are_refused_before_anything_is_asked(flags, told, run, capsys):
    given = [str(run) if word == "RUN" else word for word in flags]
    assert ser_transfer.share.main(given) == 1
    assert told in capsys.readouterr().err


def test_the_function_refuses_what_the_command_refuses(run):
    with pytest.raises(Exception, match="a Space is around a model"):
        share(run, "ada/tone", space=True, part="results")


def test_the_embeddings_of_a_run_train_a_head_of_someone_else_who_has_no_audio(
    hub_server, run, trained_once, tmp_path
):
    told = ["ser_transfer.share", str(run), "ada/vectors", "--part", "embeddings"]
    code, _, complaints = typed(hub_server, tmp_path / "pusher", *told)
    assert code == 0, complaints
    assert "datasets/ada/vectors" in hub_server.repositories
    other = tmp_path / "other"
    train = ["ser_transfer.train", "--embeddings", "ada/vectors", "--head", "lda", "--split", "loso"]
    flags = ["--out", str(other), "--no-plots", "--allow", "near-identical-audio"]
    code, _, complaints = typed(hub_server, tmp_path / "puller", *train, *flags)
    assert code == 0, complaints
    ours, theirs = (
        json.loads((each / "metrics.json").read_text())["systems"]["mfcc"] for each in (run, other)
    )
    assert theirs["uar"] == ours["uar"]
    assert theirs["confusion"] == ours["confusion"]


def test_the_results_of_a_run_are_read_by_datasets(hub_server, run, tmp_path):
    told = ["ser_transfer.share", str(run), "ada/results", "--part", "results"]
    code, _, complaints = typed(hub_server, tmp_path / "pusher", *told)
    assert code == 0, complaints
    script = """
from datasets import load_dataset
rows = load_dataset("ada/results", "leaderboard", split="test").to_list()
print({row["system"]: row["uar"] for row in rows}["mfcc"].hex())
"""
    uar = float.fromhex(hub_server.python(script, tmp_path / "home").splitlines()[-1])
    assert uar == json.loads((run / "metrics.json").read_text())["systems"]["mfcc"]["uar"]


def test_embeddings_of_what_has_none_are_one_line(run, tmp_path, capsys):
    copy = shutil.copytree(run, tmp_path / "run")
    recipe = copy / "recipe.yaml"
    recipe.write_text(recipe.read_text().replace("embeddings: null", "embeddings: ada/vectors"))
    assert ser_transfer.share.main([str(copy), "ada/x", "--part", "embeddings", "--dry-run"]) == 1
    assert "was trained on shared embeddings, ada/vectors" in capsys.readouterr().err
