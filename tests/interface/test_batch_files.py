"""Uploads and archives: what is taken, what is refused and why, and that nothing lands elsewhere."""

import random
import stat
import struct
import zipfile
from zipfile import ZIP_DEFLATED, ZIP_LZMA, ZipFile, ZipInfo

import pytest

from ser_transfer.interface import batch_files
from ser_transfer.interface.batch_files import MAX_DIRECTORY_BYTES, collect, shown_name

MAX_BYTES = 10_000


@pytest.fixture
def folder(tmp_path):
    """Where members are unpacked: a folder in a folder, so that what leads out of it is seen."""
    inside = tmp_path / "temporary" / "members"
    inside.mkdir(parents=True)
    return inside


def pack(path, members):
    with ZipFile(path, "w", ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def refusals(files):
    return {file.name: file.refusal for file in files if file.refusal is not None}


def test_files_and_members_are_listed_in_their_order_with_their_bytes(tmp_path, folder):
    loose = tmp_path / "z.wav"
    loose.write_bytes(b"loose")
    archive = pack(tmp_path / "a.zip", {"b/two.wav": b"two", "b/one.flac": b"one"})
    files = collect([loose, archive], folder, MAX_BYTES)
    assert [file.name for file in files] == ["z.wav", "a.zip/b/two.wav", "a.zip/b/one.flac"]
    assert [file.path.read_bytes() for file in files] == [b"loose", b"two", b"one"]
    assert [file.path.suffix for file in files] == [".wav", ".wav", ".flac"]
    assert files[0].path == loose


@pytest.mark.parametrize(
    "name",
    [
        "../evil.wav",
        "a/../../evil.wav",
        "/tmp/evil.wav",
        "..\\evil.wav",
        "C:\\evil.wav",
        "C:/evil.wav",
        "//host/evil.wav",
        "..",
    ],
)
def test_a_path_out_of_the_archive_is_refused_and_written_nowhere(name, tmp_path, folder):
    archive = tmp_path / "a.zip"
    with ZipFile(archive, "w") as file:
        info = ZipInfo("placeholder")
        info.filename = name  # as a hostile archive has it: ZipInfo's own would be mended
        file.writestr(info, b"evil")
        file.writestr("good.wav", b"good")
    before = {path for path in tmp_path.rglob("*") if folder not in path.parents}
    files = collect([archive], folder, MAX_BYTES)
    assert [file.refusal is None for file in files] == [False, True]
    assert "leads out of the archive" in files[0].refusal
    assert {path for path in tmp_path.rglob("*") if folder not in path.parents} == before
    assert [path.read_bytes() for path in folder.iterdir()] == [b"good"]


def test_members_are_written_under_numbers_whatever_they_are_called(tmp_path, folder):
    names = ["a b;c.wav", "x" * 180 + ".wav", "ü/é.wav", "con.wav", "a.w/av", "b.äöü", "c.verylongending"]
    files = collect([pack(tmp_path / "a.zip", dict.fromkeys(names, b"x"))], folder, MAX_BYTES)
    assert all(file.path.parent == folder and file.path.stem.isdecimal() for file in files)
    assert [file.path.suffix for file in files] == [".wav"] * 4 + ["", "", ""]


def test_links_and_special_files_are_refused(tmp_path, folder):
    archive = tmp_path / "a.zip"
    with ZipFile(archive, "w") as file:
        for name, kind in (
            ("link.wav", stat.S_IFLNK),
            ("pipe.wav", stat.S_IFIFO),
            ("plain.wav", stat.S_IFREG),
        ):
            info = ZipInfo(name)
            info.create_system = 3  # Unix
            info.external_attr = (kind | 0o777) << 16
            file.writestr(info, "/etc/passwd")
    files = collect([archive], folder, MAX_BYTES)
    assert refusals(files) == {
        "a.zip/link.wav": "it is a link, not a file",
        "a.zip/pipe.wav": "it is not a plain file",
    }
    assert [path.is_symlink() for path in folder.iterdir()] == [False]


@pytest.mark.parametrize(
    "inner", [b"PK\x03\x04", b"\x1f\x8b\x08", b"Rar!\x1a", b"7z\xbc\xaf\x27\x1c", b"BZh9"]
)
def test_an_archive_in_an_archive_is_refused_whatever_it_is_called(inner, tmp_path, folder):
    files = collect([pack(tmp_path / "a.zip", {"speech.wav": inner + b"rest"})], folder, MAX_BYTES)
    assert "archive inside an archive" in files[0].refusal
    assert not list(folder.iterdir())


def test_a_member_or_file_above_the_limit_is_refused_and_one_at_the_limit_is_taken(tmp_path, folder):
    members = {"large.wav": bytes(MAX_BYTES + 1), "fits.wav": bytes(MAX_BYTES)}
    loose = tmp_path / "loose.wav"
    loose.write_bytes(bytes(MAX_BYTES + 1))
    files = collect([pack(tmp_path / "a.zip", members), loose], folder, MAX_BYTES)
    assert [file.refusal is None for file in files] == [False, True, False]
    assert "0.01 MB are taken at most" in files[0].refusal


def declare(path, name, size):
    """Change the size that an archive claims of a member, in its header and in its directory."""
    data = bytearray(path.read_bytes())
    for signature, offset in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        place = data.index(signature)
        data[place + offset : place + offset + 4] = struct.pack("<I", size)
    path.write_bytes(data)


def test_a_member_that_is_larger_than_it_claims_is_not_kept(tmp_path, folder):
    archive = pack(tmp_path / "bomb.zip", {"bomb.wav": bytes(50 * MAX_BYTES)})
    declare(archive, "bomb.wav", 100)
    (file,) = collect([archive], folder, MAX_BYTES)
    assert file.refusal is not None
    assert not list(folder.iterdir())


def test_archives_are_unpacked_until_they_have_cost_what_they_may(tmp_path, folder, monkeypatch):
    monkeypatch.setattr(batch_files, "MAX_UNPACKED_BYTES", 2 * MAX_BYTES)
    members = {f"{number}.wav": bytes(MAX_BYTES) for number in range(2)}
    first = pack(tmp_path / "a.zip", members)
    second = pack(tmp_path / "b.zip", members)
    files = collect([first, second], folder, MAX_BYTES)
    assert [file.refusal is None for file in files] == [True, True, False, False]
    assert sum(path.stat().st_size for path in folder.iterdir()) == 2 * MAX_BYTES


def test_too_many_files_are_refused_the_archive_as_a_whole(tmp_path, folder, monkeypatch):
    monkeypatch.setattr(batch_files, "MAX_FILES", 3)
    loose = [tmp_path / f"{number}.wav" for number in range(5)]
    for path in loose:
        path.write_bytes(b"x")
    archive = pack(tmp_path / "a.zip", {f"{number}.wav": b"x" for number in range(4)})
    assert list(refusals(collect([archive], folder, MAX_BYTES))) == ["a.zip"]
    assert not list(folder.iterdir())
    assert list(refusals(collect(loose, folder, MAX_BYTES))) == ["3.wav", "4.wav"]


def test_a_directory_beyond_any_decent_archive_is_not_read_into_memory(tmp_path, folder):
    archive = tmp_path / "a.zip"
    with ZipFile(archive, "w") as file:
        for number in range(2 * MAX_DIRECTORY_BYTES // 60_000):
            entry = zipfile.ZipInfo(f"{number:04d}" + "x" * 60_000)
            file.writestr(entry, b"")
    (found,) = collect([archive], folder, MAX_BYTES)
    assert "directory" in found.refusal


def test_encrypted_and_unusual_members_are_refused_with_what_to_do(tmp_path, folder):
    archive = tmp_path / "a.zip"
    with ZipFile(archive, "w") as file:
        file.writestr("lzma.wav", b"x" * 100, compress_type=ZIP_LZMA)
        file.writestr("locked.wav", b"x")
    data = bytearray(archive.read_bytes())
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.rindex(signature) + offset] |= 1
    archive.write_bytes(data)
    told = refusals(collect([archive], folder, MAX_BYTES))
    assert "pack it again as an ordinary zip" in told["a.zip/lzma.wav"]
    assert "encrypted" in told["a.zip/locked.wav"]


def test_what_systems_leave_in_archives_is_passed_over(tmp_path, folder):
    members = {
        "__MACOSX/._a.wav": b"x",
        ".DS_Store": b"x",
        "clips/": b"",
        "clips/.hidden.wav": b"x",
        "a.wav": b"x",
    }
    assert [file.name for file in collect([pack(tmp_path / "a.zip", members)], folder, MAX_BYTES)] == [
        "a.zip/a.wav"
    ]


def test_an_archive_of_nothing_says_so(tmp_path, folder):
    (file,) = collect([pack(tmp_path / "a.zip", {"clips/": b""})], folder, MAX_BYTES)
    assert file.refusal == "this archive holds no file"


def test_a_member_that_is_damaged_is_refused_and_the_others_are_taken(tmp_path, folder):
    archive = tmp_path / "a.zip"
    with ZipFile(archive, "w") as file:
        file.writestr("damaged.wav", b"A" * 500)
        file.writestr("sound.wav", b"B" * 500)
    data = archive.read_bytes()
    archive.write_bytes(data.replace(b"A" * 500, b"A" * 499 + b"C"))
    files = collect([archive], folder, MAX_BYTES)
    assert [file.refusal is None for file in files] == [False, True]
    assert "CRC" in files[0].refusal
    assert [path.read_bytes() for path in folder.iterdir()] == [b"B" * 500]


def test_mutated_archives_raise_nothing_and_write_nothing_elsewhere(tmp_path, folder):
    whole = pack(
        tmp_path / "a.zip", {f"clips/{number}.wav": bytes([number]) * 300 for number in range(5)}
    ).read_bytes()
    random_ = random.Random(0)
    archive = tmp_path / "mutated.zip"
    before = {path for path in tmp_path.rglob("*") if folder not in path.parents} | {archive}
    for _ in range(300):
        data = bytearray(whole)
        for _ in range(random_.randint(1, 8)):
            data[random_.randrange(4, len(data))] = random_.randrange(256)
        archive.write_bytes(data[: random_.choice([len(data), random_.randrange(4, len(data))])])
        for file in collect([archive], folder, MAX_BYTES):
            assert (file.path is None) != (file.refusal is None)
            assert file.path is None or file.path.parent == folder
        for path in folder.iterdir():
            path.unlink()
    assert {path for path in tmp_path.rglob("*") if folder not in path.parents} == before


def test_a_shown_name_is_printable_and_not_endless():
    assert shown_name("a\nb\x1b[31m\u202e.wav") == "a\ufffdb\ufffd[31m\ufffd.wav"
    assert len(shown_name("x" * 5000)) < 300
    assert shown_name("Grüße 日本.wav") == "Grüße 日本.wav"
