"""get_file: the cache, hashes, and archives that want to write elsewhere."""
import hashlib
import io
import tarfile
import zipfile

import pytest

from fastnn import utils
from fastnn.utils import file_utils


@pytest.fixture
def origin(tmp_path):
    source = tmp_path / "far" / "data.txt"
    source.parent.mkdir()
    source.write_text("one")
    return source


def tar_of(path, **members):
    with tarfile.open(path, "w:gz") as archive:
        for name, text in members.items():
            info = tarfile.TarInfo(name.replace("__", "/").replace("up", ".."))
            info.size = len(text)
            archive.addfile(info, io.BytesIO(text.encode()))
    return path


def test_a_file_is_fetched_once(origin, tmp_path):
    def get(**options):
        return utils.get_file("here.txt", origin.as_uri(), cache_dir=tmp_path / "cache", **options)

    path = get()
    assert path == str(tmp_path / "cache" / "datasets" / "here.txt") and open(path).read() == "one"
    origin.write_text("two")
    assert open(get()).read() == "one" and open(get(force_download=True)).read() == "two"
    origin.write_text("three")
    new = hashlib.sha256(b"three").hexdigest()
    assert open(get(file_hash=new)).read() == "three"  # what the cache had was another file
    assert open(get(md5_hash=hashlib.md5(b"three").hexdigest())).read() == "three"
    origin.write_text("spoiled")
    with pytest.raises(ValueError, match="Incomplete or corrupted file"):
        get(file_hash=new, force_download=True)
    assert open(path).read() == "three" and len(list((tmp_path / "cache" / "datasets").iterdir())) == 1


@pytest.mark.parametrize("kind", ["tar", "zip"])
def test_archives_are_unpacked(tmp_path, kind):
    archive = tmp_path / f"things.{kind}"
    if kind == "tar":
        tar_of(archive, a__b="text")
    else:
        with zipfile.ZipFile(archive, "w") as z:
            z.writestr("a/b", "text")
    for name, folder in (("things", "things"), (None, f"things.{kind}"), (f"things.{kind}", "things_extracted")):
        path = utils.get_file(name, archive.as_uri(), extract=True, cache_dir=tmp_path / f"cache {name}")
        assert path.endswith(folder) and open(f"{path}/a/b").read() == "text"


def test_nothing_is_written_outside(tmp_path):
    inside = tmp_path / "inside"
    with pytest.warns(UserWarning, match="Skipping invalid path"):
        assert file_utils.extract_archive(tar_of(tmp_path / "evil.tar", up__escaped="x", fine="y"), inside)
    assert [p.name for p in inside.iterdir()] == ["fine"] and not (tmp_path / "escaped").exists()
    with tarfile.open(tmp_path / "link.tar", "w") as archive:
        link = tarfile.TarInfo("out")
        link.type, link.linkname = tarfile.SYMTYPE, "../.."
        archive.addfile(link)
    with pytest.warns(UserWarning, match="Skipping invalid path"):
        file_utils.extract_archive(tmp_path / "link.tar", inside)
    assert not (inside / "out").exists()
    with zipfile.ZipFile(tmp_path / "evil.zip", "w") as z:
        z.writestr("../escaped", "x")
    with pytest.warns(UserWarning, match="Skipping invalid path"):
        file_utils.extract_archive(tmp_path / "evil.zip", inside)
    assert not (tmp_path / "escaped").exists()


def test_errors_say_what_to_do(tmp_path):
    with pytest.raises(OSError, match=r"Without a network, put the file here: .*nothing.txt"):
        utils.get_file("nothing.txt", (tmp_path / "nothing").as_uri(), cache_dir=tmp_path)
    with pytest.raises(ValueError, match="origin"):
        utils.get_file("a.txt")
    with pytest.raises(ValueError, match="without folders"):
        utils.get_file("../a.txt", (tmp_path / "a").as_uri(), cache_dir=tmp_path)
    text = tmp_path / "text.txt"
    text.write_text("no archive")
    with pytest.warns(UserWarning, match="Could not extract"):
        utils.get_file("text", text.as_uri(), extract=True, cache_dir=tmp_path)
