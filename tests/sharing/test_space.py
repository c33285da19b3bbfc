"""The files of a Space: what the Hub takes, what the page answers, and what no name can do to them."""

import ast
import json
import re
import socket
import sys
import time
from pathlib import Path

import gradio
import httpx
import numpy as np
import pytest
import soundfile
import yaml
from cards.sample_runs import HONEST, LEAKY, edit, run_of, save_frozen
from gradio_client import Client, handle_file
from hub.server import OWNER
from huggingface_hub import SpaceCard
from packaging.requirements import Requirement

import ser_transfer
from ser_transfer.cards import CardError
from ser_transfer.cards.reading import read_card_run
from ser_transfer.model import MFCC_MODEL, EmotionModel
from ser_transfer.model.places import model_folder
from ser_transfer.sharing.errors import SharingError
from ser_transfer.sharing.space import EXTRAS, space_repository

HOSTILE = (
    'x"); import os; os.system("touch canary"); ("',
    "x'); import os; os.system('touch canary'); ('",
    "'''\nimport os\n'''",
    "---\nsdk: docker\n---\n# owned",
    "title: {a: b} # *[click](javascript:alert(1))* <script>alert(1)</script>",
    "\u202ereversed\x00\r\n\\",
    "yes",
    "🎭 {model} {0}",
)
# https://huggingface.co/docs/hub/spaces-config-reference
COLOURS = ("red", "yellow", "green", "blue", "indigo", "purple", "pink", "gray")
# Where the platform tells the page to listen: not where the page would by itself.
ADDRESS = "127.0.0.2" if sys.platform == "linux" else "127.0.0.1"
SECONDS = 120  # for a page to be there, on a busy machine


def written(folder, model_id="ada/tone", title="Tone", **settings):
    space_repository(model_id, folder, title=title, **settings)
    return {path.name: path.read_text(encoding="utf-8") for path in folder.iterdir()}


def header(readme):
    return yaml.safe_load(re.match(r"---\n(.*?)\n---\n", readme, re.DOTALL)[1])


def assigned(app):
    """The names that an app gives to constants, and its code without them."""
    tree = ast.parse(app)
    found = {
        node.targets[0].id: node.value.value
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
    }
    rest = [node for node in tree.body if not (isinstance(node, ast.Assign) and node.targets[0].id in found)]
    return found, [ast.dump(node) for node in rest]


@pytest.fixture(scope="module")
def honest(tmp_path_factory):
    return run_folder(tmp_path_factory.mktemp("honest"), HONEST)


def run_folder(folder, split, **others):
    from zero_crossings import ZeroCrossings

    return save_frozen(run_of(split, **others), folder / "run", ZeroCrossings())


def test_the_header_is_one_that_the_hub_takes(hub_server, tmp_path):
    readme = written(tmp_path / "space")["README.md"]
    told = header(readme)
    assert told["sdk"], told["app_file"] == ("gradio", "app.py")
    assert told["sdk_version"] == gradio.__version__
    assert told["python_version"] == f"{sys.version_info.major}.{sys.version_info.minor}"
    assert {told["colorFrom"], told["colorTo"]} <= set(COLOURS)
    assert len(told["emoji"]) == 1
    assert not told["emoji"].isascii()
    assert 20 < len(told["short_description"]) <= 60
    assert told["models"] == ["ada/tone"]
    assert told["pinned"] is False
    assert "license" not in told
    assert SpaceCard(readme).data.title == "Tone"
    hub_server.python(
        f"""
from pathlib import Path
from huggingface_hub import SpaceCard
from ser_transfer.hub import push_folder
SpaceCard(Path({str(tmp_path / "space" / "README.md")!r}).read_text()).validate()
push_folder({str(tmp_path / "space")!r}, "ada/page", repo_type="space", message="The Space")
""",
        tmp_path / "home",
    )
    pushed = hub_server.repositories["spaces/ada/page"].files()
    assert set(pushed) == {"README.md", "app.py", "requirements.txt"}
    assert pushed["README.md"] == readme.encode()


@pytest.mark.parametrize("name", HOSTILE)
def test_no_title_and_no_revision_becomes_code_or_a_setting(name, tmp_path):
    plain, hostile = written(tmp_path / "plain"), written(tmp_path / "hostile", title=name, revision=name)
    constants, code = assigned(hostile["app.py"])
    assert constants == {"MODEL": "ada/tone", "REVISION": name}
    assert code == assigned(plain["app.py"])[1]
    harmless, told = header(plain["README.md"]), header(hostile["README.md"])
    assert isinstance(told["title"], str)
    assert told["title"].isprintable()
    assert {**told, "title": "Tone"} == harmless
    body = hostile["README.md"].partition("\n---\n")[2]
    assert "<script" not in body
    assert "[click]" not in body
    assert (
        re.findall(r"^#.*", body, re.MULTILINE)[1:]
        == re.findall(r"^#.*", plain["README.md"].partition("\n---\n")[2], re.MULTILINE)[1:]
    )
    assert hostile["requirements.txt"] == plain["requirements.txt"]


@pytest.mark.parametrize("model_id", ["tone", "a/b/c", "ada/to ne", 'x"); import os; ("', "../tone", ""])
def test_what_is_no_id_is_refused(model_id, tmp_path):
    with pytest.raises(CardError, match="is no id of a model on the Hub: give it as user/name"):
        written(tmp_path, model_id=model_id)
    assert not list(tmp_path.iterdir())


def test_an_empty_title_and_a_folder_that_cannot_be_written_are_refused(tmp_path):
    with pytest.raises(SharingError, match="give it a title"):
        written(tmp_path, title=" \n\u202e")
    (tmp_path / "file").write_text("")
    with pytest.raises(SharingError, match=r"cannot write the Space to .*file"):
        written(tmp_path / "file")


def test_the_requirements_are_what_pip_reads_with_this_version_and_torch_for_cpu(tmp_path, honest):
    for number, (encoder, extra) in enumerate({"zero_crossings": None, **EXTRAS}.items()):
        edit(honest / "model" / "config.json", lambda told, name=encoder: told["encoder"].update(name=name))
        text = written(tmp_path / str(number), run=read_card_run(honest))["requirements.txt"]
        option, line = text.splitlines()
        assert option == "--extra-index-url https://download.pytorch.org/whl/cpu"
        required = Requirement(line)
        assert required.name == "ser-transfer"
        assert required.extras == ({extra} if extra else set())
        assert required.url.endswith(f"/ser_transfer@v{ser_transfer.__version__}")
    edit(honest / "model" / "config.json", lambda told: told["encoder"].update(name="zero_crossings"))


def test_the_extras_are_those_of_the_package():
    pyproject = Path(ser_transfer.__file__).parents[1] / "pyproject.toml"
    known = re.search(r"\[project.optional-dependencies\]\n(.*?)\n\n", pyproject.read_text(), re.DOTALL)[1]
    assert set(EXTRAS.values()) <= {line.split(" =")[0] for line in known.splitlines()}


def test_the_score_is_that_of_the_run_with_its_interval(tmp_path, honest):
    body = written(tmp_path, run=read_card_run(honest))["README.md"]
    scored = json.loads((honest / "metrics.json").read_text())["systems"]["/home/someone/secret/encoder"]
    low, high = scored["intervals"]["uar"]
    assert f"(UAR) of **{scored['uar']:.3f}** (95 % interval {low:.3f} to {high:.3f})" in body
    assert "(of neutral, anger and fear)" in body
    assert "secret/encoder" not in body


def test_a_run_that_shares_speakers_puts_no_score_there(tmp_path):
    run = read_card_run(run_folder(tmp_path, LEAKY))
    body = written(tmp_path / "space", run=run)["README.md"].partition("\n---\n")[2]
    assert "NOT SPEAKER-INDEPENDENT" in body
    assert not re.search(r"\d\.\d{3}", body)


@pytest.mark.parametrize("with_run", [True, False])
def test_it_says_what_such_models_may_not_be_used_for(with_run, tmp_path, honest):
    body = written(tmp_path, run=read_card_run(honest) if with_run else None)["README.md"]
    for words in ("acted speech", "not a lie detector", "workplace and education", "prohibited", "2024/1689"):
        assert words in body


def test_a_private_model_wants_a_token_among_the_secrets(tmp_path):
    assert "HF_TOKEN" in written(tmp_path / "private", private=True)["README.md"]
    assert "HF_TOKEN" not in written(tmp_path / "public")["README.md"]


def test_its_page_answers_as_the_model_does_where_the_platform_says(hub_server, tmp_path):
    """A fresh process, as a Space starts it: a private model, pushed, read with the token of the secrets."""
    source = model_folder("emodb-handcrafted")
    push = 'push_folder(sys.argv[1], "ada/tone", private=True, message="The model")'
    script = f"import sys; sys.argv = ['', {str(source)!r}]; from ser_transfer.hub import push_folder; {push}"
    hub_server.python(script, tmp_path / "pusher")
    commit = hub_server.repositories["ada/tone"].at("main").oid
    other = {path.name: path.read_bytes() for path in model_folder(MFCC_MODEL).iterdir() if path.is_file()}
    hub_server.plant("ada/tone", other)  # a newer commit, not the one that is asked for
    written(tmp_path / "space", private=True, revision=commit)
    with socket.socket() as free:
        free.bind((ADDRESS, 0))
        port = free.getsockname()[1]
    platform = {"GRADIO_SERVER_NAME": ADDRESS, "GRADIO_SERVER_PORT": str(port), "GRADIO_NUM_PORTS": "1"}
    platform |= {"SYSTEM": "spaces", "SPACE_ID": "ada/page", "NO_PROXY": "*"}
    app = str(tmp_path / "space" / "app.py")
    start = f"import runpy; runpy.run_path({app!r}, run_name='__main__')"
    page = hub_server.start(start, tmp_path / "home", OWNER, **platform)
    try:
        address = f"http://{ADDRESS}:{port}/"
        wait_for(address, page)
        clip = tmp_path / "clip.wav"
        rng = np.random.default_rng(0)
        tone = np.sin(2 * np.pi * 220 * np.arange(24_000) / 16_000) * np.linspace(0.1, 0.5, 24_000)
        soundfile.write(clip, tone + rng.normal(0, 0.01, 24_000), 16_000)
        client = Client(address, verbose=False, analytics_enabled=False)
        readings = client.predict(handle_file(clip), api_name="/predict")["readings"]
    finally:
        page.terminate()
        page.communicate(timeout=60)
    assert [each["baseline"] for each in readings] == [False, True]
    for reading, model in zip(readings, (EmotionModel.from_pretrained(source), mfcc()), strict=True):
        expected = dict(model.predict(str(clip)).probabilities)
        assert reading["probabilities"] == pytest.approx(expected, abs=1e-9)
    asked = [request for request in hub_server.requests if "/resolve/" in request.path]
    assert asked
    assert all(commit in request.path for request in asked)


def mfcc():
    return EmotionModel.from_pretrained(MFCC_MODEL)


def wait_for(address, process):
    for _ in range(4 * SECONDS):
        assert process.poll() is None, process.communicate()[1][-2000:]
        try:
            if httpx.get(address, trust_env=False).status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.25)
    raise AssertionError(f"no page at {address} after {SECONDS} s")
