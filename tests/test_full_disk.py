"""A full disk in every file that a command writes: one line, what was there stays whole, and it goes on."""

import pytest

pytest.importorskip("resource")

from limits import contents, files_of_at_most

import ser_transfer.embed
import ser_transfer.predict
import ser_transfer.train
from ser_transfer import embed, load_encoder, train
from ser_transfer.runs import RunError, save_run
from ser_transfer.train import model_of


def one_line(capsys):
    """The error, which is one, and no traceback beside it."""
    said = capsys.readouterr().err
    assert "Traceback" not in said
    [line] = [line for line in said.splitlines() if line.startswith("error: ")]
    return line


def test_a_run_wherever_it_is_full_leaves_what_was_there_whole(corpus, tmp_path):
    embeddings = embed(corpus, load_encoder("mfcc"), store=tmp_path / "store", n_workers=1)
    runs = {head: train(corpus, embeddings, split="loso", head=head) for head in ("lda", "nearest_centroid")}
    model = model_of(runs["lda"], corpus, embeddings, load_encoder("mfcc"))

    def save(folder):
        save_run(runs["lda"], folder, {"head": "lda"}, plots=False, write_model=model.save)

    save(tmp_path / "whole")
    whole, folder = contents(tmp_path / "whole"), tmp_path / "run"
    for earlier in (False, True):
        if earlier:
            save_run(runs["nearest_centroid"], folder, {"head": "nearest_centroid"}, plots=False)
        before = contents(folder)
        for n_bytes in sorted({len(content) for content in whole.values()}):
            with files_of_at_most(n_bytes - 1), pytest.raises(RunError, match="File too large") as told:
                save(folder)
            assert str(folder) in str(told.value)
            assert not {"\n", ".part-"} & set(str(told.value).split())
            assert contents(folder) == before
    save(folder)
    assert contents(folder).keys() == whole.keys()
    for name in ("predictions.parquet", "validation.parquet", "recipe.yaml"):
        assert contents(folder)[name] == whole[name]


def test_train_on_a_full_disk_is_one_line(tones, tmp_path, capsys):
    flags = ["--corpus", "folder", "--root", str(tones), "--speaker-pattern", "(?P<speaker>p[0-9])_"]
    flags += ["--encoder", "mfcc", "--store", str(tmp_path / "store")]
    assert ser_transfer.embed.main(flags) == 0
    capsys.readouterr()
    flags += ["--split", "loso", "--allow", "near-identical-audio", "--no-plots", "--head", "lda"]
    with files_of_at_most(2_000):
        assert ser_transfer.train.main([*flags, "--out", str(tmp_path / "run")]) == 1
    assert one_line(capsys).startswith(f"error: cannot write the run to {tmp_path / 'run'}: File too large")
    assert not (tmp_path / "run").exists()


def test_predict_goes_on_from_wherever_its_journal_ended(tones, tmp_path, capsys):
    out, whole = tmp_path / "r.csv", tmp_path / "whole.csv"
    arguments = [str(tones), "--n-workers", "1", "--model", "emodb-mfcc"]
    assert ser_transfer.predict.main([*arguments, "--out", str(whole)]) == 0
    n_table = len(whole.read_bytes())
    n_journal = len((tmp_path / "whole.csv.journal").read_bytes())
    kept = 0
    # In the first answer, in one in the middle, and in the table once all is answered.
    for n_bytes in (600, n_journal // 2, n_table - 1):
        with files_of_at_most(n_bytes if n_bytes < n_table else n_table - 1):
            code = ser_transfer.predict.main([*arguments, "--out", str(out)])
        assert code == 1
        line = one_line(capsys)  # a line that was written in part is a full disk, for all that it knows
        assert "File too large" in line or "No space left" in line
        assert str(out) in line
        assert not out.exists()
        assert not list(tmp_path.glob(".*"))
        journal = (tmp_path / "r.csv.journal").read_bytes()
        assert journal.count(b"\n") >= kept
        kept = journal.count(b"\n")
    assert ser_transfer.predict.main([*arguments, "--out", str(out)]) == 0
    assert out.read_bytes() == whole.read_bytes()


def test_a_training_says_what_it_could_not_write_and_goes_on(tmp_path):
    torch = pytest.importorskip("torch")
    from finetuning.toy import run

    from ser_transfer.finetuning.errors import FinetuneError

    straight, _, _ = run(tmp_path / "straight")
    told = []
    for n_bytes in (100, 1_000, 3_000, 5_000):
        with files_of_at_most(n_bytes):
            try:
                run(tmp_path / "full", resume=True)
            except FinetuneError as error:
                told.append(str(error))
        assert not list((tmp_path / "full").glob("*.part"))
    assert len(told) >= 3
    assert all(str(tmp_path / "full") in line and "\n" not in line for line in told)
    network, _, _ = run(tmp_path / "full", resume=True)
    assert all(
        torch.equal(one, other)
        for one, other in zip(network.parameters(), straight.parameters(), strict=True)
    )


def test_a_tracker_that_may_not_write_is_one_line(tmp_path):
    pytest.importorskip("tensorboard")
    from ser_transfer.finetuning import FinetuneError, make_accelerator
    from ser_transfer.finetuning.accelerated import tracked
    from ser_transfer.finetuning.settings import Optimisation

    (tmp_path / "logs").write_text("no folder")
    accelerator = make_accelerator(Optimisation(), tmp_path, device="cpu", tracker="tensorboard")
    with (
        pytest.raises(FinetuneError, match=r"logs.* cannot be written .*--resume"),
        tracked(accelerator, "fold-1", {}),
    ):
        pytest.fail("it was not refused")
    assert accelerator.trackers == []
