from dataclasses import dataclass
from typing import Any, Literal

import pytest

from ser_transfer._command import SettingsError, as_flags, command, parse_settings
from ser_transfer._setting import setting
from ser_transfer.errors import SerTransferError


@dataclass(frozen=True, kw_only=True)
class Sample:
    """A command for these tests."""

    corpus: str = setting(help="a required text")
    rate: float = setting(1e-4, help="a number")
    n_folds: int = setting(5, help="a count")
    precision: Literal["float32", "bf16"] = setting("float32", help="a choice")
    head_settings: dict[str, Any] = setting({}, help="a mapping")
    skip_bad: bool = setting(False, help="a switch")


def parse(*arguments):
    return parse_settings(Sample, arguments, "python -m ser_transfer.sample")


@pytest.fixture
def recipe(tmp_path):
    def write(text):
        path = tmp_path / "recipe.yaml"
        path.write_text(text)
        return str(path)

    return write


def test_flags_go_over_the_recipe_and_the_recipe_over_defaults(recipe):
    path = recipe("corpus: ravdess\nrate: 0.5\nskip_bad: true\n")
    assert parse(path, "--rate", "0.25") == Sample(corpus="ravdess", rate=0.25, skip_bad=True)


def test_a_number_written_1e_minus_3_is_a_number(recipe):
    assert parse(recipe("corpus: x\nrate: 1e-3\n")).rate == 0.001


def test_settings_of_the_head_are_given_one_by_one():
    assert parse("--corpus", "x", "--head-settings.C", "10").head_settings == {"C": 10}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "corpus: x\nrates: 1\n",
            "unknown setting rates; known are corpus, head_settings, n_folds, precision",
        ),
        ("corpus: x\nn_folds: many\n", "n_folds"),
        ("corpus: 5\n", "corpus"),
        ("- corpus\n", "holds no mapping"),
        ("corpus: [\n", "not valid YAML"),
    ],
)
def test_a_wrong_recipe_is_refused_with_what_is_wrong(recipe, text, message):
    with pytest.raises(SettingsError, match=message):
        parse(recipe(text))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--corpus", "x", "--folds", "3"), "--folds.*known are --corpus, --rate, --n-folds"),
        (("--corpus", "x", "--precision", "fp8"), "precision.*float32.*bf16"),
        ((), "corpus"),
        (("nowhere.yaml",), "no recipe at nowhere.yaml"),
    ],
)
def test_wrong_flags_are_refused_with_what_is_allowed(arguments, message):
    with pytest.raises(SettingsError, match=message):
        parse(*arguments)


@dataclass(frozen=True, kw_only=True)
class Taking:
    """A command that takes files."""

    files: tuple[str, ...] = setting((), help="words without a flag")
    out: str | None = setting(None, help="a text")
    time: float = setting(1.0, help="a number, and the beginning of the name of a switch")
    timeline: bool = setting(False, help="a switch")
    head_settings: dict[str, Any] = setting({}, help="a mapping")


def taken(*arguments):
    return parse_settings(Taking, arguments, "python -m ser_transfer.taking", words="files")


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("a.wav b.wav --out o.csv", Taking(files=("a.wav", "b.wav"), out="o.csv")),
        ("--timeline a.wav", Taking(files=("a.wav",), timeline=True)),
        ("--no-timeline a.wav", Taking(files=("a.wav",))),
        ("--time 2 a.wav", Taking(files=("a.wav",), time=2.0)),
        ("a.wav --time=2 b.wav", Taking(files=("a.wav", "b.wav"), time=2.0)),
        ("--head-settings.C 3 a.wav", Taking(files=("a.wav",), head_settings={"C": 3})),
        ("a.wav -- --out", Taking(files=("a.wav", "--out"))),
        ("a.wav b.yaml", Taking(files=("a.wav", "b.yaml"))),
        ("--out o.csv b.yaml", Taking(files=("b.yaml",), out="o.csv")),
        ("--files [x,y]", Taking(files=("x", "y"))),
        ("", Taking()),
    ],
)
def test_words_without_a_flag_are_found_wherever_they_stand(typed, expected):
    assert taken(*typed.split()) == expected


def test_a_recipe_goes_before_words_and_they_go_over_its_own(recipe):
    path = recipe("files: [a.wav]\nout: o.csv\n")
    assert taken(path) == Taking(files=("a.wav",), out="o.csv")
    assert taken(path, "b.wav", "--out", "p.csv") == Taking(files=("b.wav",), out="p.csv")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nowhere.yaml", "a.wav"), "no recipe at nowhere.yaml"),
        (("a.wav", "--outt", "x"), "unrecognized.*known are --files, --out"),
        (("a.wav", "--out"), "--out"),
    ],
)
def test_wrong_flags_beside_words_are_refused(arguments, message):
    with pytest.raises(SettingsError, match=message):
        taken(*arguments)


def test_settings_are_written_back_as_the_flags_that_give_them():
    given = Sample(corpus="my corpus", rate=0.5, skip_bad=True, head_settings={"C": 3})
    flags = as_flags(given, Sample)
    assert flags == "--corpus 'my corpus' --rate 0.5 --head-settings '{\"C\": 3}' --skip-bad"


@pytest.mark.parametrize(
    ("outcome", "code", "said"),
    [
        (None, 0, ""),
        (1, 1, ""),
        (SerTransferError("bad thing; do this"), 1, "error: bad thing; do this\n"),
        (KeyboardInterrupt(), 130, "interrupted"),
    ],
)
def test_the_exit_code_is_0_only_when_all_was_done(outcome, code, said, capsys):
    def run(settings):
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    assert command(Sample, run)(["--corpus", "x"]) == code
    assert said in capsys.readouterr().err


def test_a_defect_of_ours_keeps_its_traceback():
    def run(settings):
        raise KeyError("ours")

    with pytest.raises(KeyError):
        command(Sample, run)(["--corpus", "x"])
