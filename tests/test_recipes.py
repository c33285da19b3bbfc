import json
import re
import shlex
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
import transformers
import yaml
from accelerate.commands.config import load_config_from_file
from accelerate.commands.config.config_args import ClusterConfig
from torch.utils.flop_counter import FlopCounterMode

from ser_transfer._command import parse_settings
from ser_transfer.compare import CompareSettings, parse_encoders
from ser_transfer.corpora import CORPORA
from ser_transfer.embed import EmbedSettings
from ser_transfer.encoders import HANDCRAFTED, NAMED_ENCODERS
from ser_transfer.encoders.audioset_networks import YamnetNetwork
from ser_transfer.finetune import FinetuneSettings, main
from ser_transfer.heads import SEQUENCE_HEADS, make_head, make_sequence_head
from ser_transfer.pretrain import PretrainSettings
from ser_transfer.train import TrainSettings

RECIPES = Path(__file__).parents[1] / "recipes"
ACCELERATE = "accelerate"  # the folder of its configs, which are no recipes
# What a file's name begins with: the settings that it holds.
SETTINGS = {
    "pretrain": PretrainSettings,
    "tapt": PretrainSettings,
    "compare": CompareSettings,
    "embed": EmbedSettings,
    "finetune": FinetuneSettings,
    "head": TrainSettings,
}
FOLDERS = ("ravdess", "crema_d", "tess", "emodb", "iemocap")
# What a file's name ends with: the tiny checkpoint of the same family; None for a network without one.
FAMILIES = {
    "wav2vec2_base": "wav2vec2-base",
    "hubert_base": "hubert-base",
    "wavlm_base_plus": "wavlm-base",
    "whisper_base": "whisper",
    "yamnet": None,
}
FIRST_FOLD = {"ravdess": "1", "crema_d": "1", "tess": "OAF", "emodb": "03", "iemocap": "Ses01"}


def recipes(pattern="*"):
    found = sorted(RECIPES.rglob(f"{pattern}.yaml"))
    return [path for path in found if path.parent.name != ACCELERATE]


def accelerate_configs():
    return sorted((RECIPES / ACCELERATE).glob("*"))


@cache
def settings_of(path):
    verb = path.stem.partition("_")[0]
    return parse_settings(SETTINGS[verb], [str(path)], f"python -m ser_transfer.{verb}")


def name_of(path):
    return f"{path.parent.name}-{path.stem}"


# --- what is there


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_corpus_has_its_readme_and_a_recipe_of_each_kind_for_every_encoder(folder):
    wanted = {
        f"{verb}_{encoder}.yaml" for verb in ("embed", "head") for encoder in (*FAMILIES, "handcrafted")
    }
    wanted |= {f"finetune_{encoder}.yaml" for encoder in FAMILIES} | {"README.md"}
    assert wanted <= {path.name for path in (RECIPES / folder).iterdir()}
    assert f"({folder}/README.md)" in (RECIPES / "README.md").read_text(encoding="utf-8")


def test_every_folder_of_recipes_has_some():
    for folder in (path for path in RECIPES.iterdir() if path.is_dir()):
        assert list(folder.glob("*.yaml")), f"{folder} holds no recipe"


def test_recipes_hold_no_code():
    assert not list(RECIPES.rglob("*.py"))


# --- what they say


@pytest.mark.parametrize("path", recipes(), ids=name_of)
def test_a_recipe_is_read_by_its_command_and_named_in_its_readme(path):
    settings = settings_of(path)
    if path.parent.name == "seeds":  # whose systems ran on corpora of their own
        assert settings.corpus in CORPORA
    else:
        assert settings.corpus == path.parent.name
    assert f"`{path.name}`" in (path.parent / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("path", recipes(), ids=name_of)
def test_what_a_recipe_asks_of_heads_and_encoders_exists(path):
    verb, settings = path.stem.partition("_")[0], settings_of(path)
    if verb == "compare":
        assert settings.search.heads
        for member in (name for names in parse_encoders(settings.encoders) for name in names):
            assert member in (*NAMED_ENCODERS, *HANDCRAFTED) or "/" in member
    elif verb == "embed":
        settings.copies()
    elif verb in ("finetune", "tapt"):
        assert settings.encoder in NAMED_ENCODERS or "/" in settings.encoder
    elif settings.head in SEQUENCE_HEADS:
        make_sequence_head(settings.head, **settings.head_settings)
    else:
        make_head(settings.head, **settings.head_settings)


@pytest.mark.parametrize("folder", FOLDERS)
def test_frozen_and_fine_tuned_encoders_of_a_corpus_are_scored_on_the_same_clips_and_folds(folder):
    keys = ("root", "label_map", "part", "split", "n_folds", "seed")
    found = [settings_of(path) for verb in ("head", "finetune") for path in recipes(f"{folder}/{verb}_*")]
    assert len({tuple(getattr(settings, key) for key in keys) for settings in found}) == 1
    for encoder in FAMILIES:
        verbs = ("embed", "head", "finetune")
        found = [settings_of(RECIPES / folder / f"{verb}_{encoder}.yaml") for verb in verbs]
        assert len({(settings.encoder, settings.label_map) for settings in found}) == 1


@pytest.mark.parametrize("path", recipes("finetune_*"), ids=name_of)
def test_a_recipe_waits_for_validation_speakers_only_where_there_are_some(path):
    settings = settings_of(path)
    assert settings.precision is None, "the machine decides: one recipe for a laptop and a GPU"
    assert settings.patience is None or path.parent.name != "tess"
    assert settings.patience is None or settings.patience < settings.max_epochs
    assert settings.crop_seconds <= settings.batch_seconds


@pytest.mark.parametrize("path", recipes("finetune_*"), ids=name_of)
def test_a_recipe_makes_steps_of_about_32_clips(path):
    """The mean length of a clip as it is cropped: measured in RAVDESS, from EmoBox's hours elsewhere."""
    mean_seconds = {"ravdess": 3.70, "crema_d": 2.54, "tess": 2.06, "emodb": 2.78, "iemocap": 4.55}
    settings = settings_of(path)
    mean = min(mean_seconds[path.parent.name], settings.crop_seconds)
    if "whisper" in path.stem:
        mean = 30.0  # which every clip is filled up to
    assert 26 < settings.batch_seconds * settings.accumulation / mean < 42


# --- what they cost


def bytes_kept(network, *inputs):
    """What autograd keeps for the backward pass, the weights left out."""
    weights = {weight.untyped_storage()._cdata for weight in network.parameters()}
    kept = {}

    def pack(value):
        storage = value.untyped_storage()
        if storage._cdata not in weights:
            kept[storage._cdata] = storage
        return value

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda value: value):
        network(*inputs)
    return sum(storage.nbytes() for storage in kept.values())


def counted(network, *inputs):
    """Products and sums of a forward pass, and those of its convolutional front end, in GFLOP."""
    with FlopCounterMode(display=False) as counter:
        network(*inputs)
    parts = counter.get_flop_counts().items()
    front_end = sum(sum(of_one.values()) for name, of_one in parts if name.endswith("feature_extractor"))
    return counter.get_total_flops() / 1e9, front_end / 1e9


def table_row(name):
    [row] = re.findall(
        rf"^\| {re.escape(name)}[^|]*\|(.*)\|$", (RECIPES / "README.md").read_text(), re.MULTILINE
    )
    return [cell.strip() for cell in row.split("|")]


def n_million(network):
    return sum(weight.numel() for weight in network.parameters()) / 1e6


@pytest.mark.parametrize(
    ("name", "config_class"),
    [
        ("wav2vec2-base", "Wav2Vec2Config"),
        ("HuBERT-base", "HubertConfig"),
        ("WavLM-base-plus", "WavLMConfig"),
    ],
)
def test_the_costs_in_the_readme_are_those_that_torch_counts(name, config_class):
    seconds = 4
    config = getattr(transformers, config_class)(layerdrop=0.0, apply_spec_augment=False)
    with torch.device("meta"):  # shapes without numbers
        network = transformers.AutoModelForAudioClassification.from_config(config).train()
        clips = torch.empty(2, 16_000 * seconds)
        network.freeze_feature_encoder()
        forward, front_end = (gflop / seconds for gflop in counted(network, clips[:1]))
        kept = bytes_kept(network, clips) - bytes_kept(network, clips[:1])  # without what a batch keeps once
    assert table_row(name) == [
        f"{n_million(network):.1f} M",
        f"{forward:.1f} GFLOP",
        f"{front_end:.1f} GFLOP",
        f"{forward + 2 * (forward - front_end):.1f} GFLOP",
        f"{kept / seconds / 1e6:.0f} MB",
    ]


def test_the_costs_of_whisper_in_the_readme_are_those_that_torch_counts():
    base = {"d_model": 512, "encoder_attention_heads": 8, "encoder_ffn_dim": 2048}
    make = transformers.AutoModelForAudioClassification.from_config
    with torch.device("meta"):
        network = make(transformers.WhisperConfig(**base, encoder_layers=6))
        forward = counted(network, torch.empty(1, 80, 3000))[0] / 30
    # Its attention keeps less on a device than torch counts on none; six layers are five times what one adds.
    small = [make(transformers.WhisperConfig(**base, encoder_layers=n)).train() for n in (1, 2)]
    one, two = (bytes_kept(each, torch.zeros(1, 80, 3000)) for each in small)
    assert table_row("Whisper-base") == [
        f"{n_million(network):.1f} M",
        f"{forward:.1f} GFLOP",
        "",
        f"{3 * forward:.1f} GFLOP",
        f"{(one + 5 * (two - one)) / 30 / 1e6:.0f} MB",
    ]


def test_the_costs_of_yamnet_in_the_readme_are_those_that_torch_counts():
    with torch.device("meta"):
        network = YamnetNetwork()
        patches = torch.empty(8, 96, 64)
        forward = counted(network, patches)[0] / 8
        kept = bytes_kept(network, patches) / 8
    assert table_row("YAMNet") == [
        f"{n_million(network):.1f} M",
        f"{forward:.2f} GFLOP",
        "",
        f"{3 * forward:.2f} GFLOP",
        f"{kept / 1e6:.1f} MB",
    ]


# --- how they are launched


@pytest.mark.parametrize("path", accelerate_configs(), ids=lambda path: path.name)
def test_a_config_is_one_that_accelerate_knows(path):
    loaded = load_config_from_file(str(path))  # refuses unknown keys
    assert isinstance(loaded, ClusterConfig)
    assert loaded.mixed_precision == ("no" if path.stem == "cpu" else "bf16")
    assert loaded.distributed_type == ("MULTI_GPU" if path.stem == "multi_gpu" else "NO")
    assert (loaded.num_processes > 1) == (path.stem == "multi_gpu")
    assert set(yaml.safe_load(path.read_text())) <= set(ClusterConfig.__dataclass_fields__)
    assert f"`{ACCELERATE}/{path.name}`" in (RECIPES / "README.md").read_text(encoding="utf-8")


def test_the_readmes_launch_what_is_there(monkeypatch):
    monkeypatch.chdir(RECIPES.parent)
    pattern = (
        r"^ +accelerate launch --config_file (\S+) (?:--mixed_precision no )?-m ser_transfer\.(\w+)(.*)$"
    )
    found = [
        (document.parent.name, *line)
        for document in RECIPES.rglob("README.md")
        for line in re.findall(pattern, document.read_text(encoding="utf-8"), re.MULTILINE)
    ]
    assert {folder for folder, *_ in found} == {*FOLDERS, RECIPES.name}
    for folder, config, verb, arguments in found:
        assert Path(config).resolve() in accelerate_configs()
        settings = parse_settings(SETTINGS[verb], shlex.split(arguments), verb)
        assert folder in (settings.corpus, RECIPES.name)
        assert settings.fold_names in (None, [FIRST_FOLD[settings.corpus]])


# --- that they run


def utterance_names():
    """A few names of each corpus, in the layout that it is published in."""
    ravdess = [
        # Every actor, as the published folds want, with one of the eight emotions.
        f"Actor_{actor:02d}/03-01-{actor % 8 + 1:02d}-01-01-01-{actor:02d}.wav"
        for actor in range(1, 25)
    ]
    crema_d = [
        f"AudioWAV/{actor}_IEO_{emotion}_XX.wav"
        for actor in range(1001, 1006)
        for emotion in ("NEU", "HAP", "SAD", "ANG", "FEA", "DIS")
    ]
    emodb = [f"wav/{speaker}a01{letter}a.wav" for speaker in ("03", "08", "09") for letter in "NWLEAFT"]
    tess = [
        f"{speaker}_{emotion}/{speaker}_back_{emotion}.wav"
        for speaker in ("OAF", "YAF")
        for emotion in ("neutral", "happy", "sad", "angry", "fear", "disgust", "ps")
    ]
    iemocap = [
        f"Session{session}/sentences/wav/Ses0{session}F_impro01/Ses0{session}F_impro01_{speaker}{turn:03d}.wav"
        for session in (1, 2, 3)
        for speaker in "FM"
        for turn in range(len(IEMOCAP_CODES))
    ]
    return {"ravdess": ravdess, "crema_d": crema_d, "emodb": emodb, "tess": tess, "iemocap": iemocap}


IEMOCAP_CODES = ("neu", "exc", "sad", "ang")


@pytest.fixture(scope="module")
def trees(tmp_path_factory):
    """One folder for each corpus: clips of 0.6 s of noise, no two alike."""
    root, rng = tmp_path_factory.mktemp("corpora"), np.random.default_rng(0)
    for corpus, names in utterance_names().items():
        for name in names:
            path = root / corpus / name
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, rng.normal(0, 0.1, rng.integers(8_000, 11_000)), 16_000)
    for session in (1, 2, 3):
        lines = [
            f"[1.0000 - 2.0000]\tSes0{session}F_impro01_{speaker}{turn:03d}\t{code}\t[2.5, 2.5, 2.5]"
            for speaker in "FM"
            for turn, code in enumerate(IEMOCAP_CODES)
        ]
        sheet = root / f"iemocap/Session{session}/dialog/EmoEvaluation/Ses0{session}F_impro01.txt"
        sheet.parent.mkdir(parents=True)
        sheet.write_text("\n".join(lines), encoding="utf-8")
    return root


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    """Tiny checkpoints of the families, by the end of a recipe's name."""
    sys.path.insert(0, str(Path(__file__).parent / "encoders"))
    from tiny_checkpoints import save_checkpoint

    folder = tmp_path_factory.mktemp("checkpoints")
    return {end: save_checkpoint(name, folder / name) for end, name in FAMILIES.items() if name is not None}


@pytest.mark.filterwarnings("ignore::ser_transfer.corpora.CorpusWarning")
@pytest.mark.parametrize("path", recipes("finetune_*"), ids=name_of)
def test_a_fine_tuning_runs_for_two_steps(path, trees, checkpoints, tmp_path):
    corpus = path.parent.name
    [family] = [end for end in FAMILIES if path.stem.endswith(end)]
    checkpoint = checkpoints.get(family)
    instead = ["--untrained"] if checkpoint is None else ["--encoder", str(checkpoint)]
    run = tmp_path / "run"
    flags = f"--root {trees / corpus} --out {run} --folds {FIRST_FOLD[corpus]} --max-steps 2 --baseline none"
    flags += " --tracker none --no-plots --no-keep-model --precision float32 --device cpu --n-workers 0"
    assert main([str(path), *instead, *flags.split()]) == 0
    systems = json.loads((run / "metrics.json").read_text(encoding="utf-8"))["systems"]
    [(name, tuned), _] = systems.items()
    assert name.startswith(str(checkpoint or "yamnet"))
    [chosen] = tuned["choices_by_fold"].values()
    assert chosen["settings"]["n_steps"] == 2
    assert (chosen["validation_uar"] is None) == (corpus == "tess"), "which has nobody to validate on"
