"""A folder at a URL, written as any other is: what is put there, in which order, and what is kept here."""

# ruff: noqa: PT012 -- what a command does stands within, and the error comes at the end
import subprocess
import sys

import pytest
from object_store.server import DROP_UPLOAD, STORE_SHORT

from ser_transfer.errors import SerTransferError
from ser_transfer.places import PlaceError, fetched, mirrored, place, put_together
from ser_transfer.places.mirrored import Output

RUN = {"metrics.json": "{}", "predictions.parquet": "p", "model/config.json": "c", "model/head.skops": "h"}


def write(folder, files):
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def there(s3, folder):
    return {
        key.removeprefix(f"{folder}/"): s3.content(key).decode()
        for key in s3.keys
        if key.startswith(f"{folder}/")
    }


def test_a_path_is_given_as_it_is_and_nothing_is_kept_elsewhere(machine, tmp_path):
    with mirrored(tmp_path / "run") as out:
        assert type(out) is Output
        assert out.folder == tmp_path / "run"
        assert not out.folder.exists()
        out.commit()
    assert str(out) == str(tmp_path / "run")
    assert not machine.cache.exists()


def test_what_readers_look_for_is_put_last(machine, s3):
    with mirrored(f"{s3.url}/run") as out:
        write(out.folder, RUN)
    puts = [request.key for request in s3.requests if request.method == "PUT"]
    assert puts[1:] == [  # the first asks whether anything may be written
        *("run/model/head.skops", "run/predictions.parquet", "run/model/config.json", "run/metrics.json"),
    ]
    assert there(s3, "run") == RUN
    assert not machine.kept


def test_a_replacement_that_is_cut_short_leaves_no_run_to_be_found(machine, s3):
    with mirrored(f"{s3.url}/run") as out:
        write(out.folder, RUN)
    s3.trouble(403, method="PUT", key=r"head\.skops$", times=99)
    with (
        pytest.raises(PlaceError, match=r"head\.skops .*access is refused"),
        mirrored(f"{s3.url}/run") as out,
    ):
        write(out.folder, {name: f"{text}, anew" for name, text in RUN.items()})
    assert "metrics.json" not in there(s3, "run")
    assert "model/config.json" not in there(s3, "run")


def test_names_are_known_without_their_content_and_what_is_removed_is_removed_there(machine, s3):
    with mirrored(f"{s3.url}/run") as out:
        write(out.folder, RUN)
    s3.forget()
    with mirrored(f"{s3.url}/run", reads=["model/*.json"]) as out:
        assert (out.folder / "metrics.json").is_file()
        assert (out.folder / "model/config.json").read_text() == "c"
        (out.folder / "predictions.parquet").unlink()
        write(out.folder, {"report.html": "r"})
    assert not [request for request in s3.requests if request.method == "GET" and not request.is_listing][1:]
    assert there(s3, "run") == {
        **{name: text for name, text in RUN.items() if name != "predictions.parquet"},
        "report.html": "r",
    }


def test_what_did_not_change_is_not_put_again(machine, s3):
    with mirrored(f"{s3.url}/run", reads=["*"], resumes=True) as out:
        write(out.folder, RUN)
    s3.forget()
    with mirrored(f"{s3.url}/run", reads=["*"], resumes=True) as out:
        write(out.folder, {**RUN, "predictions.parquet": "more"})  # all written, one changed
    assert s3.n_requests("PUT", "run/") == 2  # and the question whether anything may be written
    assert there(s3, "run") == {**RUN, "predictions.parquet": "more"}


def test_an_error_keeps_the_old_run_and_nothing_of_the_new(machine, s3):
    with mirrored(f"{s3.url}/run") as out:
        write(out.folder, RUN)
    with pytest.raises(SerTransferError, match=f"^{s3.url}/run/x is odd$"), mirrored(f"{s3.url}/run") as out:
        write(out.folder, dict.fromkeys(RUN, "new"))
        raise SerTransferError(f"{out.folder}/x is odd")
    assert there(s3, "run") == RUN
    assert not machine.kept


@pytest.mark.parametrize("end", [SerTransferError, KeyboardInterrupt])
def test_what_is_gone_on_with_is_there_after_an_error_on_another_machine_too(machine, s3, end):
    with pytest.raises(end), mirrored(f"{s3.url}/run", reads=["state-*"], resumes=True) as out:
        write(out.folder, {"state-1/model": "m", "state-1/progress.json": "1"})
        raise end
    machine.move("two")
    with mirrored(f"{s3.url}/run", reads=["state-*"], resumes=True) as out:
        assert (out.folder / "state-1/model").read_text() == "m"


KILLED = """
import os, sys
from ser_transfer.places import mirrored
with mirrored(sys.argv[1], reads=["*"], resumes=True) as out:
    out.folder.joinpath("journal").write_text("1")
    out.commit()
    out.folder.joinpath("journal").write_text("1 2")
    os.kill(os.getpid(), 9)
"""


def test_a_killed_process_finds_its_own_state_here_and_its_last_commit_elsewhere(machine, s3):
    url = f"{s3.url}/out"
    assert subprocess.run([sys.executable, "-c", KILLED, url]).returncode == -9
    assert s3.content("out/journal") == b"1"
    with pytest.raises(ZeroDivisionError), mirrored(url, reads=["*"], resumes=True) as out:
        assert (out.folder / "journal").read_text() == "1 2"
        s3.trouble(403, method="PUT", key="journal", times=99)
        raise ZeroDivisionError
    s3.calm()
    machine.move("two")
    with mirrored(url, reads=["*"], resumes=True) as out:
        assert (out.folder / "journal").read_text() == "1"
        (out.folder / "journal").write_text("1 2 3")
    machine.move("one")
    with mirrored(url, reads=["*"], resumes=True) as out:  # the other one went further
        assert (out.folder / "journal").read_text() == "1 2 3"


def test_a_commit_that_was_cut_short_is_known_as_our_own(machine, s3):
    url = f"{s3.url}/out"
    with pytest.raises(PlaceError, match="kept in"), mirrored(url, reads=["*"], resumes=True) as out:
        write(out.folder, {"a": "a1", "b": "b1"})
        s3.trouble(403, method="PUT", key="out/b", times=99)
    assert there(s3, "out") == {"a": "a1"}
    s3.calm()
    with mirrored(url, reads=["*"], resumes=True) as out:
        assert (out.folder / "b").read_text() == "b1"
    assert there(s3, "out") == {"a": "a1", "b": "b1"}


def test_a_commit_in_between_that_fails_is_a_warning_and_is_made_up_for(machine, s3):
    with mirrored(f"{s3.url}/out", resumes=True) as out:
        write(out.folder, {"state": "1"})
        s3.trouble(403, method="PUT", key="out/state", times=99)
        with pytest.warns(UserWarning, match="meanwhile it is kept in"):
            out.commit()
        s3.calm()
    assert there(s3, "out") == {"state": "1"}


@pytest.mark.parametrize("what", [DROP_UPLOAD, 500])
def test_a_request_that_fails_once_is_sent_again(machine, s3, what):
    met = s3.trouble(what, method="PUT", key="out/a")
    with mirrored(f"{s3.url}/out") as out:
        write(out.folder, {"a": "a" * 10_000})
    assert met.n_met == 1
    assert there(s3, "out") == {"a": "a" * 10_000}


def test_an_upload_that_arrives_short_is_noticed_before_the_run_can_be_found(machine, s3):
    s3.trouble(STORE_SHORT, method="PUT", key="predictions")
    with (
        pytest.raises(PlaceError, match=r"predictions.parquet did not arrive whole, 1 of 2 bytes.* kept in"),
        mirrored(f"{s3.url}/run") as out,
    ):
        write(out.folder, {**RUN, "predictions.parquet": "pp"})
    assert "metrics.json" not in there(s3, "run")


def test_a_second_process_of_this_machine_is_refused(machine, s3):
    again = "import sys; from ser_transfer.places import mirrored; mirrored(sys.argv[1]).__enter__()"
    with mirrored(f"{s3.url}/run"):
        done = subprocess.run(
            [sys.executable, "-c", again, f"{s3.url}/run"], capture_output=True, text=True, check=False
        )
        assert "another process of this machine is writing to" in done.stderr
        with mirrored(f"{s3.url}/other"):
            pass


def test_names_say_which_files_of_a_large_folder_are_meant(machine, s3):
    s3.put("shared/others.bin", b"others")
    s3.put("shared/results.csv.journal", b"1")
    names = ("results.csv", "results.csv.journal")
    with mirrored(f"{s3.url}/shared", reads=["*.journal"], names=names, last=names[:1], resumes=True) as out:
        assert [path.name for path in out.folder.iterdir()] == ["results.csv.journal"]
        write(out.folder, {"results.csv": "r", "results.csv.journal": "1 2"})
    assert there(s3, "shared") == {
        "others.bin": "others",
        "results.csv": "r",
        "results.csv.journal": "1 2",
    }
    assert all("max-keys=1&" in listing.query for listing in s3.listings)


def test_whoever_may_only_read_is_told_before_the_work(machine, s3):
    s3.trouble(403, method="PUT", times=99)
    with pytest.raises(PlaceError, match="credentials or permissions"), mirrored(f"{s3.url}/run"):
        raise AssertionError("the work has begun")


def test_a_bucket_that_is_not_there_is_told_before_the_work(machine, s3):
    with pytest.raises(PlaceError, match="it is not there"), mirrored("s3://no-such-bucket-here/run"):
        raise AssertionError("the work has begun")


def test_no_credentials_are_told_before_the_work(machine, s3, monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    begun = "import sys; from ser_transfer.places import mirrored; mirrored(sys.argv[1]).__enter__()"
    # In a process of its own: botocore remembers for a while that there are none.
    done = subprocess.run(
        [sys.executable, "-c", begun, f"{s3.url}/run"], capture_output=True, text=True, check=False
    )
    assert (
        done.stderr.strip()
        .splitlines()[-1]
        .endswith("there are no credentials for it; set them as its own tools want them")
    )


def test_processes_of_several_machines_are_refused(machine, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "4")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    with pytest.raises(PlaceError, match="one machine"), mirrored("memory://run"):
        pass


def test_a_later_process_of_a_launch_writes_here_and_leaves_the_rest_to_the_first(machine, s3, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    with mirrored(f"{s3.url}/run") as later:
        pass
    assert not s3.requests
    monkeypatch.delenv("RANK")
    with mirrored(f"{s3.url}/run") as first:
        assert first.folder == later.folder


def test_other_file_systems_do_as_well(machine, tmp_path):
    for url in ("memory://test-mirrored/run", f"file://{tmp_path}/deep/run"):
        for text in ("old", "new"):
            with mirrored(url) as out:
                write(out.folder, {**RUN, "predictions.parquet": text})
        assert (place(url) / "predictions.parquet").read_text() == "new"


def test_what_is_fetched_lies_here_until_it_changes(machine, s3):
    s3.put("run/metrics.json", b"1")
    s3.put("run/model/weights.bin", b"2")
    first = fetched(f"{s3.url}/run", ["*.json"])
    assert [path.name for path in first.rglob("*")] == ["metrics.json"]
    s3.forget()
    assert fetched(f"{s3.url}/run", ["*.json"]) == first
    assert s3.n_requests("GET", "run/") == 0
    s3.put("run/metrics.json", b"one")
    assert (fetched(f"{s3.url}/run") / "metrics.json").read_text() == "one"
    assert (first / "metrics.json").read_text() == "1"


def test_nothing_there_is_told(machine, s3):
    with pytest.raises(PlaceError, match="there is nothing at"):
        fetched(f"{s3.url}/run")


def test_files_are_put_together_with_the_one_they_are_found_by_last(machine, s3):
    with put_together(f"{s3.url}/model", last="config.json") as part:
        write(part, {"config.json": "c", "zzz.safetensors": "w"})
    puts = [request.key for request in s3.requests if request.method == "PUT"]
    assert puts == ["model/zzz.safetensors", "model/config.json"]
