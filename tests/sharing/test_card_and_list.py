"""The verbs that show what lies here."""

import ser_transfer.card
import ser_transfer.list
from ser_transfer.cards import card_of_run


def test_the_card_that_is_printed_is_the_one_that_is_written(run, tmp_path, capsys):
    assert ser_transfer.card.main([str(run), "--repo-id", "ada/tone"]) == 0
    printed = capsys.readouterr().out
    assert printed == card_of_run(run, repo_id="ada/tone").text
    assert ser_transfer.card.main([str(run), "--repo-id", "ada/tone", "--out", str(tmp_path / "card")]) == 0
    assert (tmp_path / "card" / "README.md").read_text() == printed
    for figure in (tmp_path / "card").glob("*.png"):
        assert figure.name in printed


def test_the_models_of_a_folder_are_listed_with_their_scores(trained_once, capsys):
    honest, leaky = trained_once(), trained_once(split="speaker-dependent")
    assert ser_transfer.list.main([str(honest.parent)]) == 0
    rows = {line.split()[0]: line for line in capsys.readouterr().out.splitlines() if line}
    assert "1.000" in rows[honest.name]
    assert "NOT SPEAKER-INDEPENDENT" in rows[leaky.name]


def test_what_is_no_run_is_one_line(tmp_path, capsys):
    assert ser_transfer.list.main([str(tmp_path)]) == 1
    assert "no run of one model below" in capsys.readouterr().err
    assert ser_transfer.card.main([str(tmp_path)]) == 1
    assert "no run in" in capsys.readouterr().err
    assert ser_transfer.card.main([]) == 1
    assert "give one run" in capsys.readouterr().err
