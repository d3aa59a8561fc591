"""Downloads from a real server on the loopback device and from files."""

import hashlib
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest

from fgd.download import fetch
from fgd.errors import FGDError

CONTENT = b"weights" * 10_000
HASH = hashlib.sha256(CONTENT).hexdigest()


class _Handler(SimpleHTTPRequestHandler):
    """Serves a folder; `/short` promises more bytes than it sends."""

    def do_GET(self):
        if self.path != "/short":
            return super().do_GET()
        self.send_response(200)
        self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        self.wfile.write(CONTENT[:1000])

    def log_message(self, *args):
        pass


@pytest.fixture
def server(tmp_path):
    """(address of a server, the folder that it serves)."""
    folder = tmp_path / "served"
    folder.mkdir()
    (folder / "good.pth").write_bytes(CONTENT)
    (folder / "wrong.pth").write_bytes(CONTENT[:-1])
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, directory=folder)) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{running.server_address[1]}", folder
        running.shutdown()
        thread.join()


@pytest.fixture
def target(tmp_path):
    return tmp_path / "downloads" / "teacher.pth"


def _assert_nothing_left(target):
    assert list(target.parent.glob("*")) == list(target.parent.glob(".*")) == []


@pytest.mark.parametrize("hash_prefix", [HASH[:8], HASH])
def test_http(server, target, hash_prefix):
    fetch(f"{server[0]}/good.pth", target, hash_prefix)
    assert target.read_bytes() == CONTENT
    assert [path.name for path in target.parent.iterdir()] == ["teacher.pth"]


def test_file(server, target):
    fetch((server[1] / "good.pth").as_uri(), target, HASH[:8])
    assert target.read_bytes() == CONTENT


@pytest.mark.parametrize("name", ["wrong.pth", "short"])
def test_other_bytes_than_promised(server, target, name):
    with pytest.raises(FGDError, match=f"{name}: expected a file with sha256 {HASH[:8]}"):
        fetch(f"{server[0]}/{name}", target, HASH[:8])
    _assert_nothing_left(target)


def test_a_bad_download_leaves_the_earlier_file(server, target):
    fetch(f"{server[0]}/good.pth", target, HASH[:8])
    with pytest.raises(FGDError):
        fetch(f"{server[0]}/wrong.pth", target, HASH[:8])
    assert target.read_bytes() == CONTENT


def test_not_found(server, target):
    with pytest.raises(FGDError, match=r"missing\.pth: the server answers 404"):
        fetch(f"{server[0]}/missing.pth", target, HASH[:8])
    _assert_nothing_left(target)


def test_no_such_file(tmp_path, target):
    address = (tmp_path / "missing.pth").as_uri()
    with pytest.raises(FGDError, match=r"missing\.pth: there is no such file"):
        fetch(address, target, HASH[:8])
    _assert_nothing_left(target)


def test_no_connection(target):
    # Port 9 ("discard") of the loopback device: nothing listens there.
    with pytest.raises(FGDError, match=f"no connection.*place it at {target}"):
        fetch("http://127.0.0.1:9/good.pth", target, HASH[:8])
    _assert_nothing_left(target)
