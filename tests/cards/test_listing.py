from pathlib import Path

import yaml
from sample_runs import HONEST, LEAKY, RECIPE, edit, run_of

from ser_transfer.cards import list_text, runs_in
from ser_transfer.runs import save_run


def test_the_runs_of_one_model_are_listed_best_first_and_a_leak_says_so(tmp_path):
    weak, strong = run_of(HONEST, strength=0.3), run_of(HONEST, strength=2.0)
    save_run(weak, tmp_path / "weak", RECIPE, plots=False)
    save_run(strong, tmp_path / "paper" / "strong", RECIPE, plots=False)
    save_run(run_of(LEAKY, strength=3.0), tmp_path / "leaky", {**RECIPE, "trained": "all"}, plots=False)
    save_run(strong, tmp_path / "many", {"corpus": "ravdess", "encoders": "a,b"}, plots=False)
    save_run(strong, tmp_path / "pretrained", {"corpus": "ravdess", "encoder": "a"}, plots=False)
    save_run(weak, tmp_path / "broken", RECIPE, plots=False)
    (tmp_path / "broken" / "metrics.json").write_text("{")
    (tmp_path / "weak" / "model").mkdir()
    found = runs_in(tmp_path)
    assert [run.name for run in found] == ["paper/strong", "weak", "leaky", "broken"]
    assert [run.uar for run in found[:2]] == [each.systems[0].scores.uar for each in (strong, weak)]
    assert found[0].interval == strong.systems[0].interval
    assert [run.has_model for run in found[:3]] == [False, True, False]
    assert [run.head for run in found[:3]] == ["lda", "lda", "fine-tuned"]
    assert found[0].folder == tmp_path / "paper" / "strong"
    lines = list_text(found).splitlines()
    assert len(lines) == 2 + 4
    assert "NOT SPEAKER-INDEPENDENT" in lines[4]
    assert not any("NOT" in line for line in lines[:4])
    assert lines[5] == "broken: cannot be read (JSONDecodeError): run it again"


def test_the_folder_of_one_run_lists_that_run(tmp_path):
    save_run(run_of(HONEST), tmp_path / "one", RECIPE, plots=False)
    assert [run.name for run in runs_in(tmp_path / "one")] == ["one"]


def test_a_folder_that_is_not_there_has_no_runs(tmp_path):
    assert runs_in(tmp_path / "nowhere") == []
    assert list_text([]) == ""


def test_a_name_of_several_lines_stays_in_its_row(tmp_path):
    save_run(run_of(HONEST), tmp_path / "one", {**RECIPE, "encoder": "a\nb"}, plots=False)
    edit(tmp_path / "one" / "metrics.json", lambda told: told.update(corpus="x\n\x1b[31m"))
    assert yaml.safe_load((tmp_path / "one" / "recipe.yaml").read_text())["encoder"] == "a\nb"
    assert len(list_text(runs_in(Path(tmp_path))).splitlines()) == 3
