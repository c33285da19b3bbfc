import pytest

from ser_transfer.encoders import HANDCRAFTED, NAMED_ENCODERS, EncoderError, load_encoder
from ser_transfer.encoders.handcrafted import ANALYSES


def test_a_misspelt_name_is_answered_with_the_names():
    with pytest.raises(
        EncoderError, match=r"no encoder named 'yament'.*yamnet, vggish, mfcc, seed180, handcrafted"
    ):
        load_encoder("yament")


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("mfcc", {"untrained": True}),
        ("mfcc", {"revision": "abc"}),
        ("handcrafted", {"precision": "bf16"}),
        ("yamnet", {"revision": "abc"}),
        ("facebook/wav2vec2-base", {"weights": "file.safetensors"}),
    ],
)
def test_an_option_that_means_nothing_to_an_encoder_is_refused(name, options):
    with pytest.raises(EncoderError, match=f"--{next(iter(options))}"):
        load_encoder(name, **options)


def test_an_untrained_encoder_never_passes_for_the_pretrained_one():
    first, second = (load_encoder("yamnet", untrained=True, seed=seed) for seed in (0, 1))
    assert first.name == "yamnet (untrained)"
    assert first.fingerprint != second.fingerprint


def test_every_handcrafted_name_is_known_before_its_module_is_imported():
    assert tuple(ANALYSES) == HANDCRAFTED
    assert not set(NAMED_ENCODERS) & set(HANDCRAFTED)
