"""COCO's archives: a miniature from a real server, and archives that nobody should unpack."""

import json
import random
import stat
import zipfile
from functools import partial
from http.server import SimpleHTTPRequestHandler

import pytest
from http_server import serving

from fgd import download
from fgd.data.archive import Archive, download_coco, unpack
from fgd.errors import FGDError

VAL = Archive("zips/val2017.zip", "val2017", 2, ".jpg", 1 << 20)
MINIATURE = (Archive("annotations/a.zip", "annotations", 1, ".json", 1 << 20), VAL)
IMAGES = {"val2017/1.jpg": b"one" * 100, "val2017/2.jpg": b"two" * 100}


def write_zip(path, files):
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


@pytest.fixture
def site(tmp_path):
    """The archives in a folder that a server shows."""
    folder = tmp_path / "site"
    write_zip(folder / "annotations/a.zip", {"annotations/i.json": json.dumps({})})
    write_zip(folder / "zips/val2017.zip", {"val2017/": b""} | IMAGES)
    return folder


class _Handler(SimpleHTTPRequestHandler):
    def do_GET(self):
        self.server.requests.append(self.path)
        super().do_GET()

    def log_message(self, *args):
        pass


@pytest.fixture
def server(site):
    with serving(partial(_Handler, directory=site)) as running:
        yield running


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch):
    monkeypatch.setattr(download, "_PAUSE_S", 0)


def contents(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and not path.name.startswith(".")
    }


def test_all_archives_are_downloaded_and_unpacked_and_removed(server, tmp_path):
    out = tmp_path / "coco"
    assert download_coco(out, server.address, MINIATURE) == ["annotations", "val2017"]
    assert contents(out) == IMAGES | {"annotations/i.json": b"{}"}
    server.requests.clear()
    assert download_coco(out, server.address, MINIATURE) == []
    assert server.requests == []


def test_archives_of_ones_own_stay_where_they_are(site, tmp_path):
    download_coco(tmp_path / "coco", site.as_uri(), MINIATURE)
    assert (site / "zips/val2017.zip").exists()
    assert contents(tmp_path / "coco").keys() > IMAGES.keys()


def test_a_folder_that_is_there_is_left_alone(server, tmp_path):
    out = tmp_path / "coco"
    (out / "val2017").mkdir(parents=True)
    (out / "val2017/mine.jpg").write_bytes(b"mine")
    assert download_coco(out, server.address, MINIATURE) == ["annotations"]
    assert [path.name for path in (out / "val2017").iterdir()] == ["mine.jpg"]


def test_a_wrong_archive_is_fetched_anew_the_next_time(server, site, tmp_path):
    out = tmp_path / "coco"
    good = (site / "zips/val2017.zip").read_bytes()
    (site / "zips/val2017.zip").write_bytes(good[:-40])
    with pytest.raises(FGDError, match=r"val2017\.zip: damaged"):
        download_coco(out, server.address, MINIATURE)
    assert not (out / "val2017").exists()
    assert not (out / "val2017.zip").exists()
    (site / "zips/val2017.zip").write_bytes(good)
    assert download_coco(out, server.address, MINIATURE) == ["val2017"]


def test_an_address_without_archives(server, tmp_path):
    with pytest.raises(FGDError, match=r"/elsewhere/annotations/a\.zip: the server answers 404"):
        download_coco(tmp_path / "coco", f"{server.address}/elsewhere", MINIATURE)


def link(path):
    info = zipfile.ZipInfo(path)
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    return info


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"../evil.jpg": b"", "val2017/2.jpg": b""}, r"holds '\.\./evil\.jpg'; expected"),
        ({"/evil.jpg": b"", "val2017/2.jpg": b""}, r"holds '/evil\.jpg'"),
        ({"val2017/../../evil.jpg": b"", "val2017/2.jpg": b""}, r"holds 'val2017/\.\./"),
        ({"val2017/deep/1.jpg": b"", "val2017/2.jpg": b""}, r"holds 'val2017/deep/1\.jpg'"),
        ({"val2017/1.sh": b"", "val2017/2.jpg": b""}, r"holds 'val2017/1\.sh'"),
        ({link("val2017/1.jpg"): "/etc/passwd", "val2017/2.jpg": b""}, r"holds 'val2017/1\.jpg'"),
        ({"val2017/1.jpg": b"one"}, r"holds 1 files, expected 2 in val2017/"),
        ({"val2017/1.jpg": b"0" * 900_000, "val2017/2.jpg": b"0"}, r"would become 900001"),
        ({"val2017/1.jpg": bytes(1 << 20), "val2017/2.jpg": b"0"}, r"would become 1048577"),
    ],
)
def test_what_nobody_should_unpack(tmp_path, files, message):
    out = tmp_path / "a" / "b" / "coco"
    out.mkdir(parents=True)
    with pytest.raises(FGDError, match=message):
        unpack(write_zip(tmp_path / "bad.zip", files), out, VAL)
    assert list(out.iterdir()) == []
    assert not list(tmp_path.rglob("evil*"))


def test_a_flipped_bit_is_found_by_its_checksum(site, tmp_path):
    archive = site / "zips/val2017.zip"
    content = bytearray(archive.read_bytes())
    with zipfile.ZipFile(archive) as opened:
        at = opened.getinfo("val2017/2.jpg").header_offset + 30 + len("val2017/2.jpg") + 2
    content[at] ^= 1
    archive.write_bytes(content)
    out = tmp_path / "coco"
    out.mkdir()
    with pytest.raises(FGDError, match="damaged"):
        unpack(archive, out, VAL)
    assert list(out.iterdir()) == []


def test_no_space(site, tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 10}))
    with pytest.raises(FGDError, match=r"have to be unpacked, 0\.0 GB are free"):
        unpack(site / "zips/val2017.zip", tmp_path, VAL)


def test_an_archive_is_fetched_only_where_it_can_be_unpacked(site, server, disk):
    images = {f"val2017/{n}.jpg": random.Random(n).randbytes(30_000) for n in (1, 2)}
    write_zip(site / "zips/val2017.zip", images)
    out = disk("100k")
    with pytest.raises(FGDError, match=rf"{out}: .*val2017\.zip needs"):
        download_coco(out, server.address, (VAL,))
    assert not (out / "val2017.zip.part").exists()
