import json
import shutil
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file, save_file

from ser_transfer.encoders.base import EncoderError
from ser_transfer.encoders.checkpoints import find_checkpoint
from ser_transfer.encoders.transformers_family import load_transformers_encoder

COMMIT = "c" * 40


@pytest.fixture
def folder(tiny_checkpoint, tmp_path):
    """Give a copy of a tiny wav2vec2 that a test may change."""
    return shutil.copytree(tiny_checkpoint("wav2vec2-ctc"), tmp_path / "model")


@pytest.fixture
def hub_cache(tmp_path, monkeypatch):
    """Give an empty local Hub cache, and no network."""

    def unreachable(*args, **kwargs):
        raise ConnectionError("no network in this test")

    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.HfApi.model_info", unreachable)
    return tmp_path / "hub"


def put_into_cache(hub_cache, folder, ref="main"):
    model = hub_cache / "models--someone--tiny"
    shutil.copytree(folder, model / "snapshots" / COMMIT)
    (model / "refs").mkdir()
    (model / "refs" / ref).write_text(COMMIT)


def fingerprint(folder) -> str:
    return load_transformers_encoder(str(folder)).fingerprint


def test_a_moved_folder_keeps_its_fingerprint_and_a_reformatted_config_too(folder, tmp_path):
    before = fingerprint(folder)
    moved = folder.rename(tmp_path / "elsewhere")
    settings = json.loads((moved / "config.json").read_text())
    (moved / "config.json").write_text(json.dumps(dict(reversed(settings.items()))))
    assert fingerprint(moved) == before


def test_other_weights_config_or_preprocessing_are_another_encoder(folder, monkeypatch):
    seen = {fingerprint(folder)}
    weights = load_file(folder / "model.safetensors")
    weights["wav2vec2.feature_projection.projection.bias"][0] += 1e-6
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    seen.add(fingerprint(folder))
    for file, key in (("config.json", "layer_norm_eps"), ("preprocessor_config.json", "do_normalize")):
        settings = json.loads((folder / file).read_text())
        (folder / file).write_text(json.dumps({**settings, key: 0}))
        seen.add(fingerprint(folder))
    monkeypatch.setattr("ser_transfer.encoders.transformers_family.PREPROCESSING_VERSION", -1)
    seen.add(fingerprint(folder))
    assert len(seen) == 5


def test_a_blob_of_the_hub_cache_is_not_hashed_again(folder, tmp_path):
    weights = folder / "model.safetensors"
    by_content = find_checkpoint(str(folder)).content()["weights"][0]
    (tmp_path / "blobs").mkdir()
    blob = weights.rename(tmp_path / "blobs" / by_content)
    weights.symlink_to(blob)
    blob.write_bytes(b"not read")
    assert find_checkpoint(str(folder)).content()["weights"] == [by_content]


def test_missing_weights_are_refused_and_not_drawn_at_random(folder, make_waveform):
    weights = load_file(folder / "model.safetensors")
    kept = {
        key: value for key, value in weights.items() if ".layers.1." not in key and "masked_spec" not in key
    }
    save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(EncoderError, match=r"lacks 16 weights of its encoder \(encoder\.layers\.1\."):
        load_transformers_encoder(str(folder)).encode([make_waveform(0.1)])


def test_a_weight_that_only_pretraining_uses_may_be_missing(folder, make_waveform):
    weights = load_file(folder / "model.safetensors")
    del weights["wav2vec2.masked_spec_embed"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    load_transformers_encoder(str(folder)).encode([make_waveform(0.1)])


@pytest.mark.parametrize("content", [b"", b"half a file"])
def test_weights_that_cannot_be_read_are_refused_in_one_line(folder, content, make_waveform):
    (folder / "model.safetensors").write_bytes(content)
    with pytest.raises(EncoderError, match=r"cannot be loaded \(.*fetch or save the model again") as refusal:
        load_transformers_encoder(str(folder)).encode([make_waveform(0.1)])
    assert "\n" not in str(refusal.value)


def test_safetensors_are_preferred_and_a_torch_file_is_read_without_running_code(
    folder, make_waveform, capsys
):
    expected = load_transformers_encoder(str(folder)).encode([make_waveform(0.2)]).layers[-1]
    weights = load_file(folder / "model.safetensors")
    torch.save(weights, folder / "pytorch_model.bin")
    assert [file.name for file in find_checkpoint(str(folder)).weights] == ["model.safetensors"]
    (folder / "model.safetensors").unlink()
    assert [file.name for file in find_checkpoint(str(folder)).weights] == ["pytorch_model.bin"]
    layer = load_transformers_encoder(str(folder)).encode([make_waveform(0.2)]).layers[-1]
    torch.testing.assert_close(layer, expected, rtol=0, atol=0)

    class Exploit:
        def __reduce__(self):
            return print, ("code of the file ran",)

    torch.save({"weight": Exploit()}, folder / "pytorch_model.bin")
    with pytest.raises(EncoderError, match="holds more than tensors"):
        load_transformers_encoder(str(folder)).encode([make_waveform(0.2)])
    assert "code of the file ran" not in capsys.readouterr().out


def test_shards_are_hashed_and_loaded_together(folder, make_waveform):
    expected = load_transformers_encoder(str(folder)).encode([make_waveform(0.2)]).layers[-1]
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    parts = {"a.safetensors": sorted(weights)[::2], "b.safetensors": sorted(weights)[1::2]}
    for file, keys in parts.items():
        save_file({key: weights[key] for key in keys}, folder / file, metadata={"format": "pt"})
    weight_map = {key: file for file, keys in parts.items() for key in keys}
    (folder / "model.safetensors.index.json").write_text(
        json.dumps({"metadata": {}, "weight_map": weight_map})
    )
    checkpoint = find_checkpoint(str(folder))
    assert [file.name for file in checkpoint.weights] == ["a.safetensors", "b.safetensors"]
    layer = load_transformers_encoder(str(folder)).encode([make_waveform(0.2)]).layers[-1]
    torch.testing.assert_close(layer, expected, rtol=0, atol=0)
    (folder / "b.safetensors").unlink()
    with pytest.raises(EncoderError, match=r"neither model\.safetensors nor"):
        find_checkpoint(str(folder))


def test_a_processors_file_holds_the_feature_extractors_settings_too(folder):
    alone = find_checkpoint(str(folder)).preprocessor
    (folder / "preprocessor_config.json").rename(folder / "old")
    (folder / "processor_config.json").write_text(json.dumps({"feature_extractor": alone}))
    assert find_checkpoint(str(folder)).preprocessor == alone
    (folder / "processor_config.json").unlink()
    with pytest.raises(EncoderError, match=r"no preprocessor_config\.json"):
        load_transformers_encoder(str(folder))


def test_a_copy_in_the_local_hub_cache_needs_no_network(folder, hub_cache):
    put_into_cache(hub_cache, folder)
    encoder = load_transformers_encoder("someone/tiny")
    assert encoder.fingerprint == fingerprint(folder)
    assert encoder.revision == COMMIT
    assert load_transformers_encoder("someone/tiny", revision=COMMIT).fingerprint == encoder.fingerprint
    with pytest.raises(EncoderError, match="no whole copy of it at revision 'v2'"):
        load_transformers_encoder("someone/tiny", revision="v2")


@pytest.mark.parametrize("name", ["someone/tiny", "wav2vec2-base"])
def test_no_hub_and_no_copy_is_one_line(name, hub_cache):
    with pytest.raises(
        EncoderError, match="the Hub cannot be reached: connect once, or give a folder"
    ) as refusal:
        load_transformers_encoder(name)
    assert "\n" not in str(refusal.value)


def test_only_the_files_that_are_needed_are_downloaded(folder, hub_cache, monkeypatch):
    files = ("README.md", "config.json", "preprocessor_config.json", "pytorch_model.bin", "model.safetensors")
    fetched = []

    def listing(self, name, **options):
        return SimpleNamespace(siblings=[SimpleNamespace(rfilename=file) for file in files])

    def download(name, file, *, revision):
        fetched.append((file, revision))
        snapshot = hub_cache / COMMIT
        snapshot.mkdir(parents=True, exist_ok=True)
        return shutil.copy(folder / file, snapshot)

    monkeypatch.setattr("huggingface_hub.HfApi.model_info", listing)
    monkeypatch.setattr("huggingface_hub.hf_hub_download", download)
    checkpoint = find_checkpoint("someone/tiny", revision="v1")
    assert dict(fetched) == {
        "config.json": "v1",  # the cache notes which commit v1 is
        "preprocessor_config.json": COMMIT,
        "model.safetensors": COMMIT,
    }
    assert checkpoint.revision == COMMIT
    fetched.clear()
    find_checkpoint("someone/tiny", with_weights=False)
    assert [file for file, _ in fetched] == ["config.json", "preprocessor_config.json"]


@pytest.mark.parametrize(
    ("name", "message"),
    [("./no/such/folder", "there is no folder './no/such/folder'"), ("a b", "there is no folder 'a b'")],
)
def test_a_name_that_is_neither_folder_nor_hub_id_is_refused(name, message):
    with pytest.raises(EncoderError, match=message):
        find_checkpoint(name)


def test_a_folder_has_no_revision(folder):
    with pytest.raises(EncoderError, match="leave the revision away"):
        find_checkpoint(str(folder), revision="main")


@pytest.mark.parametrize(("content", "message"), [("{", "is not JSON"), ("[]", "holds no settings")])
def test_a_broken_config_is_refused_by_its_path(folder, content, message):
    (folder / "config.json").write_text(content)
    with pytest.raises(EncoderError, match=f"config.json {message}"):
        find_checkpoint(str(folder))


def test_a_folder_without_a_model_is_refused(tmp_path):
    with pytest.raises(EncoderError, match=r"has no config\.json"):
        find_checkpoint(str(tmp_path))
