"""What is refused, and how it is said: one line each, from the real client in a fresh process."""

import json
import os
import pickle
import re
import subprocess
import sys

import pytest
from hub.client import asked, run, written
from hub.server import OWNER, READER, STRANGER

from ser_transfer.hub import HubError, check_safe

FROZEN = {"format": 2, "kind": "frozen", "encoder": {"name": "yamnet"}}
NETWORK = {"model_type": "wav2vec2", "ser_transfer": {"format": 1}}
FOREIGN = {"model_type": "wav2vec2", "architectures": ["Wav2Vec2ForSequenceClassification"]}
WEIGHTS = ("config.json", "model.safetensors")


@pytest.mark.parametrize("config", [None, FROZEN, NETWORK])
@pytest.mark.parametrize(
    ("planted", "reason"),
    [
        ("pytorch_model.bin", "can hold a pickle"),
        ("sub/HEAD.PKL", "can hold a pickle"),
        ("embeddings.npy", "can hold a pickle"),
        ("model.keras", "can hold layers that run code"),
        ("modeling_tone.py", "is code"),
        ("lib/fast.so", "is code"),
        ("more.zip", "is an archive"),
    ],
)
def test_what_can_run_code_does_not_belong_into_a_repository_of_ours(config, planted, reason):
    check_safe([*WEIGHTS, "README.md", "head.skops", "model.onnx", "card/plot.svg", ".gitattributes"], config)
    with pytest.raises(HubError, match=f"{re.escape(planted)} {reason}.*does not belong here"):
        check_safe([*WEIGHTS, planted], config)


def test_an_adapter_of_ours_is_known_by_the_file_beside_it():
    adapter = {"peft_type": "LORA"}
    check_safe(["adapter_model.safetensors", "run.py"], adapter)
    with pytest.raises(HubError, match=r"run\.py is code"):
        check_safe(["adapter_model.safetensors", "run.py", "training.json"], adapter)


def test_a_foreign_checkpoint_may_keep_a_pickle_beside_its_safetensors_but_not_alone():
    check_safe([*WEIGHTS, "pytorch_model.bin", "convert.py", "tf_model.h5"], FOREIGN)
    check_safe(["config.json", "README.md"], FOREIGN)
    with pytest.raises(HubError, match=r"pytorch_model\.bin can hold a pickle.*no safetensors"):
        check_safe(["config.json", "pytorch_model.bin"], FOREIGN)


@pytest.mark.parametrize("config", [FROZEN, NETWORK, FOREIGN])
@pytest.mark.parametrize(
    "asking",
    [
        {"auto_map": {"AutoModel": "modeling.Planted"}},
        {"trust_remote_code": True},
        {"custom_pipelines": {"x": {"impl": "planted.Pipeline"}}},
        {"text_config": {"layers": [{"auto_map": {"AutoConfig": "eve/other--config.Planted"}}]}},
    ],
)
def test_settings_that_ask_for_code_are_refused_whoever_wrote_them(config, asking):
    with pytest.raises(HubError, match="settings ask for code from the repository"):
        check_safe(WEIGHTS, {**config, **asking})
    check_safe(WEIGHTS, {**config, "auto_map": None, "trust_remote_code": False})


def test_nothing_planted_is_fetched_or_run(hub_server, tmp_path):
    canary = tmp_path / "canary"

    class Planted:
        def __reduce__(self):
            return os.system, (f"touch {canary}",)

    code = f"open({str(canary)!r}, 'w').close()\n".encode()
    remote = {**FOREIGN, "auto_map": {"AutoModelForAudioClassification": "modeling_planted.Planted"}}
    planted = {"pytorch_model.bin": pickle.dumps(Planted()), "modeling_planted.py": code, "head.pkl": b"x"}
    pickle.loads(planted["pytorch_model.bin"])
    assert canary.exists(), "the canary should be one"
    canary.unlink()

    def plant(name, config, *names, **others):
        files = {each: planted[each] for each in names}
        hub_server.plant(f"eve/{name}", {"config.json": json.dumps(config).encode(), **files, **others})

    plant("ours", FROZEN, "pytorch_model.bin", **{"head.skops": b"x"})
    plant("ours-code", NETWORK, "modeling_planted.py", **{"model.safetensors": b"x"})
    plant("remote", remote, "modeling_planted.py", **{"model.safetensors": b"x"})
    plant("pickle", FOREIGN, "pytorch_model.bin")
    plant(
        "preprocessor",
        FOREIGN,
        **{
            "model.safetensors": b"x",
            "preprocessor_config.json": json.dumps({"auto_map": {"A": "b"}}).encode(),
        },
    )
    hub_server.plant("eve/unmarked", {"model.safetensors": b"x", "head.pkl": b"x"})
    plant("beside", FOREIGN, *planted, **{"model.safetensors": b"weights"})
    names = ("ours", "ours-code", "remote", "pickle", "preprocessor", "unmarked", "beside")
    lines = run(
        hub_server,
        f"""
from ser_transfer.model import EmotionModel
from ser_transfer.errors import SerTransferError
def loaded(name):
    try:
        EmotionModel.from_pretrained("eve/" + name)
    except SerTransferError as error:
        return str(error)
print(json.dumps([loaded(name) for name in {names!r}]))
""",
        tmp_path / "home",
    )
    for name, line, expected in zip(
        names,
        lines,
        (
            r"eve/ours is refused: pytorch_model.bin can hold a pickle",
            r"eve/ours-code is refused: modeling_planted.py is code",
            r"eve/remote is refused: its settings ask for code from the repository \(auto_map\)",
            r"eve/pickle is refused: pytorch_model.bin can hold a pickle",
            r"eve/preprocessor is refused: its settings ask for code from the repository \(auto_map\)",
            r"eve/unmarked is refused: head.pkl can hold a pickle",
            r".",  # let in, and then found to be no model
        ),
        strict=True,
    ):
        assert re.match(expected, line), (name, line)
        assert "\n" not in line
    assert not canary.exists()
    fetched = {request.path.rpartition("/")[2] for request in asked(hub_server, "GET", "/resolve/")}
    assert not fetched & planted.keys()
    weights = {request.path for request in asked(hub_server, "HEAD", "safetensors")}
    assert len(weights) == 1, f"only eve/beside should have come so far: {weights}"


def test_every_refusal_is_one_line_that_says_what_to_type(hub_server, tmp_path):
    model = written(tmp_path / "model", {"config.json": b"{}"})
    card = written(tmp_path / "card", {"README.md": b"---\ntags: [\n---\n"})
    pickled = written(tmp_path / "pickled", {"config.json": b"{}", "head.pkl": b""})
    (tmp_path / "empty").mkdir()
    hub_server.plant("ada/public", {"config.json": b"{}"})
    hub_server.plant("ada/private", {"config.json": b"{}"}, private=True)
    hub_server.plant("eve/gated", {"config.json": b"{}"}, gated=True)
    hub_server.plant("ada/bare", {"README.md": b"#"})
    hub_server.fail_next("POST /api/models/ada/raced/commit/", 412)
    script = f"""
from huggingface_hub import file_download
def by(token, call, *given, **named):
    os.environ.pop("HF_TOKEN", None)
    if token:
        os.environ["HF_TOKEN"] = token
    return line(call, *given, **named)
def push(token, name, folder={str(model)!r}, **named):
    return by(token, push_folder, folder, name, message="x", **named)
def pull(token, name, **named):
    return by(token, fetch, name, **{{"patterns": ["*.json"], **named}})
said = dict(
    nobody=push(None, "ada/tone"),
    unknown_token=push("hf_unknown", "ada/tone"),
    may_only_read=push({READER!r}, "ada/tone"),
    of_others=push({STRANGER!r}, "ada/public", exist_ok=True),
    namespace=push({OWNER!r}, "bob/tone"),
    taken=push({OWNER!r}, "ada/public"),
    made_public=push({OWNER!r}, "ada/public", exist_ok=True, private=True),
    bare_name=push({OWNER!r}, "tone"),
    bad_name=push({OWNER!r}, "ada/to ne"),
    no_folder=push({OWNER!r}, "ada/tone", {str(tmp_path / "none")!r}),
    no_files=push({OWNER!r}, "ada/tone", {str(tmp_path / "empty")!r}),
    bad_card=push({OWNER!r}, "ada/card", {str(card)!r}),
    pickled=push({OWNER!r}, "ada/pickled", {str(pickled)!r}),
    raced=push({OWNER!r}, "ada/raced"),
    read_private=pull({READER!r}, "ada/private").name,
    private_of_others=pull({STRANGER!r}, "ada/private"),
    private_to_nobody=pull(None, "ada/private"),
    gated=pull({OWNER!r}, "eve/gated"),
    missing=pull({OWNER!r}, "ada/none"),
    missing_or_folder=pull({OWNER!r}, "ada/none", instead="try this"),
    bad_id=pull({OWNER!r}, "a/b/c", instead="try this"),
    revision=pull({OWNER!r}, "ada/public", revision="v9"),
    refused_token=pull("hf_unknown", "ada/public"),
    nothing_of_it=pull({OWNER!r}, "ada/bare", patterns=["*.json", "*.safetensors"]),
)
def full(*_, **__):
    raise OSError(28, "No space left on device")
file_download.http_get = full
said["full"] = pull({OWNER!r}, "ada/public")
print(json.dumps(said))
"""
    said = run(hub_server, script, tmp_path / "home", token=None)
    rights = r"your token may not do this with {}: log in with one that may \(hf auth login\)"
    missing = r"there is no Hub model '{}'; a private one needs: hf auth login$"
    expected = {
        "nobody": r"you are not logged in to the Hub: type hf auth login, with a token that has the right",
        "unknown_token": r"the Hub does not accept your token: type hf auth login",
        "may_only_read": rights.format("ada/tone"),
        "of_others": rights.format("ada/public"),
        "namespace": rights.format("bob/tone"),
        "taken": r"ada/public is taken, it holds files already: give another name",
        "made_public": r"ada/public is there already, for all to read: make it private",
        "bare_name": r"'tone' is no Hub id: give owner/model",
        "bad_name": r"'ada/to ne' is no Hub id \(owner/model\)",
        "no_folder": r"there is no folder .*none to push",
        "no_files": r"the folder .*empty is empty",
        "bad_card": r"the Hub refuses the card README.md: Invalid metadata",
        "pickled": r".*pickled is not pushed: head.pkl can hold a pickle",
        "raced": r"ada/raced was changed by somebody else meanwhile: push again",
        "read_private": hub_server.repositories["ada/private"].at("main").oid,
        "private_of_others": missing.format("ada/private"),
        "private_to_nobody": missing.format("ada/private"),
        "gated": r"eve/gated is gated: accept its terms on its page, then type: hf auth login",
        "missing": missing.format("ada/none"),
        "missing_or_folder": r"there is no folder and no Hub model 'ada/none'; .*hf auth login; try this$",
        "bad_id": r"there is no folder 'a/b/c', and it is no Hub id either \(owner/model\); try this$",
        "revision": r"ada/public has no revision 'v9' on the Hub",
        "refused_token": r"the Hub does not accept your token",
        "nothing_of_it": r"ada/bare holds none of \*.json, \*.safetensors",
        "full": r"the disk is full, and ada/public is not here whole: make room where .*HF_HOME",
    }
    assert said.keys() == expected.keys()
    for situation, line in said.items():
        assert re.match(expected[situation], line), (situation, line)
        assert "\n" not in line, situation
    assert hub_server.repositories["ada/public"].files() == {"config.json": b"{}"}
    assert "ada/pickled" not in hub_server.repositories


def test_nothing_heavy_is_imported_with_the_room():

    script = (
        "import sys, ser_transfer.hub; print([m for m in ('huggingface_hub', 'torch') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True).stdout == "[]\n"
