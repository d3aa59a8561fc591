"""Downloads from a real server on the loopback device, from the cache and from files."""

import hashlib
import os
import stat
import subprocess
import sys
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from http_server import serving

from fgd import download
from fgd.download import fetch
from fgd.errors import FGDError

CONTENT = b"weights" * 10_000
HASH = hashlib.sha256(CONTENT).hexdigest()
BREAKS_AFTER = 1000


class _Handler(BaseHTTPRequestHandler):
    """Serves `good.pth`; `wrong.pth` has other bytes, `page.pth` is a web page.

    `breaks.pth` and `stops.pth` break off: the first is continued where a client asks for the rest,
    the second never gets further. `whole.pth` breaks off once, and is always sent from its
    beginning. `waits.pth` stops after some bytes, until the server's `go_on` is set. `busy.pth` is
    refused twice before it is sent, `down.pth` always; `drips.pth` comes a tenth at a time;
    `huge.pth` is announced and never sent.
    """

    def do_GET(self):
        name = self.path.rsplit("/", 1)[-1]
        self.server.requests.append((name, self.headers["Range"]))
        if name == "missing.pth":
            return self.send_error(404)
        if name == "down.pth":
            return self.send_error(503)
        if name == "busy.pth" and len(self.server.requests) <= 2:
            return self.send_error((429, 502)[len(self.server.requests) - 1])
        if name == "huge.pth":
            self.send_response(200)
            self.send_header("Content-Length", str(10**18))
            return self.end_headers()
        content = CONTENT[:-1] if name == "wrong.pth" else CONTENT
        content = b"<!DOCTYPE html>" if name == "page.pth" else content
        first = 0 if name == "whole.pth" else int((self.headers["Range"] or "bytes=0-")[6:-1])
        self.send_response(206 if first else 200)
        self.send_header("Content-Length", str(len(content) - first))
        self.end_headers()
        if name == "stops.pth" or (name == "breaks.pth" and not first):
            content = content[: first + BREAKS_AFTER] if name == "breaks.pth" else b""
        if name == "drips.pth":
            content = content[: first + len(CONTENT) // 10]
        if name == "whole.pth" and len(self.server.requests) == 1:
            content = content[:BREAKS_AFTER]
        if name == "waits.pth" and not first:
            self.wfile.write(content[:BREAKS_AFTER])
            self.wfile.flush()
            self.server.go_on.wait(60)
            first = BREAKS_AFTER
        self.wfile.write(content[first:])

    def log_message(self, *args):
        pass


@pytest.fixture
def server():
    """A server with the list of `requests` that it had."""
    with serving(_Handler) as running:
        running.go_on = threading.Event()
        yield running
        running.go_on.set()


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """The cache's folder of checkpoints; tries follow each other at once."""
    monkeypatch.setenv("FGD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(download, "_PAUSE_S", 0)
    return tmp_path / "cache" / "checkpoints"


@pytest.fixture
def target(tmp_path):
    return tmp_path / "downloads" / "teacher.pth"


@pytest.mark.parametrize("hash_prefix", [HASH[:8], HASH])
def test_http(server, target, hash_prefix):
    fetch(f"{server.address}/good.pth", target, hash_prefix)
    assert target.read_bytes() == CONTENT
    assert [path.name for path in target.parent.iterdir()] == ["teacher.pth"]


def test_a_file_is_downloaded_once_for_all_who_want_it(server, tmp_path):
    targets = [tmp_path / f"{n}.pth" for n in range(4)]
    with ThreadPoolExecutor(4) as pool:
        done = [pool.submit(fetch, f"{server.address}/good.pth", t, HASH[:8]) for t in targets]
        [job.result() for job in done]
    assert [target.read_bytes() for target in targets] == [CONTENT] * 4
    assert server.requests == [("good.pth", None)]


def test_without_a_hash_a_file_is_kept_by_its_whole_address(server, target, cache):
    for folder in ("one", "other", "one"):
        fetch(f"{server.address}/{folder}/../good.pth", target, "")
        assert target.read_bytes() == CONTENT
    assert len(server.requests) == 2
    assert sorted(path.relative_to(cache) for path in cache.rglob("good.pth")) == [
        Path("127.0.0.1", folder, "good.pth") for folder in ("one", "other")
    ]


def test_without_a_hash_a_web_page_is_still_no_checkpoint(server, target, cache):
    with pytest.raises(FGDError, match=r"page\.pth: what is there is a web page"):
        fetch(f"{server.address}/page.pth", target, "")
    assert not target.exists()
    assert not [path for path in cache.rglob("page.pth*") if not path.name.endswith(".lock")]


def test_a_broken_download_is_continued(server, target):
    fetch(f"{server.address}/breaks.pth", target, HASH[:8])
    assert target.read_bytes() == CONTENT
    assert server.requests == [("breaks.pth", None), ("breaks.pth", f"bytes={BREAKS_AFTER}-")]


def test_a_server_that_knows_no_ranges_sends_it_anew(server, target):
    fetch(f"{server.address}/whole.pth", target, HASH[:8])
    assert target.read_bytes() == CONTENT
    assert server.requests == [("whole.pth", None), ("whole.pth", f"bytes={BREAKS_AFTER}-")]


def test_who_waits_for_a_download_goes_on_with_it_when_it_is_killed(server, tmp_path, cache):
    """Two workflows with one cache, of which one dies."""
    address = f"{server.address}/waits.pth"
    code = "import sys; from fgd.download import fetch; fetch(*sys.argv[1:])"
    command = [sys.executable, "-W", "ignore", "-c", code, address]
    first, second = (
        subprocess.Popen([*command, tmp_path / f"{n}.pth", HASH[:8]], stderr=subprocess.PIPE)
        for n in (1, 2)
    )
    part = cache / "waits.pth.part"
    while not (part.exists() and part.stat().st_size == BREAKS_AFTER):
        assert first.poll() is second.poll() is None
    downloading = first if _holds(first, part) else second
    waiting = second if downloading is first else first
    assert b"waits.pth: another process is downloading it" in waiting.stderr.readline()
    downloading.kill()
    downloading.wait()
    assert waiting.wait(60) == 0
    done = tmp_path / ("2.pth" if waiting is second else "1.pth")
    assert done.read_bytes() == CONTENT
    assert server.requests == [("waits.pth", None), ("waits.pth", f"bytes={BREAKS_AFTER}-")]
    assert sorted(path.name for path in tmp_path.glob("*.pth")) == [done.name]


def _holds(process, path):
    """Whether a process has a file open."""
    files = Path(f"/proc/{process.pid}/fd").iterdir()
    return any(os.path.realpath(file) == str(path) for file in files)


def test_a_later_run_continues_what_an_earlier_one_left(server, target, cache):
    cache.mkdir(parents=True)
    (cache / "good.pth.part").write_bytes(CONTENT[:500])
    fetch(f"{server.address}/good.pth", target, HASH[:8])
    assert target.read_bytes() == CONTENT
    assert server.requests == [("good.pth", "bytes=500-")]


def test_a_connection_that_always_breaks_says_what_to_do(server, target, cache):
    with pytest.raises(FGDError, match=f"broke after .* place it at {cache / 'stops.pth'}"):
        fetch(f"{server.address}/stops.pth", target, HASH[:8])
    assert not target.exists()


def test_a_file_placed_in_the_cache_by_hand_needs_no_network(target, cache):
    cache.mkdir(parents=True)
    (cache / "good.pth").write_bytes(CONTENT)
    fetch("http://127.0.0.1:9/zoo/good.pth", target, HASH[:8])
    assert target.read_bytes() == CONTENT


def test_another_suites_download_leaves_this_ones_file_as_it_is(tmp_path, cache):
    """Snakemake would train anew what began with a file whose time is new."""
    cache.mkdir(parents=True)
    (cache / "good.pth").write_bytes(CONTENT)
    first, second = tmp_path / "1.pth", tmp_path / "2.pth"
    fetch("http://127.0.0.1:9/good.pth", first, HASH[:8])
    files = (first, cache / "good.pth")
    before = [_identity(file) for file in files]
    fetch("http://127.0.0.1:9/good.pth", second, HASH[:8])
    assert [_identity(file) for file in files] == before
    times = [file.stat().st_mtime_ns for file in (cache / "good.pth", first, second)]
    assert times == sorted(times)  # each newer than what it was made from


def _identity(file):
    status = file.stat()
    return status.st_ino, status.st_nlink, status.st_mode, status.st_mtime_ns


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become another user")
def test_another_user_finds_what_one_has_downloaded(server, monkeypatch):
    with tempfile.TemporaryDirectory() as folder:
        monkeypatch.setenv("FGD_CACHE", folder)
        Path(folder).chmod(0o755)
        fetch(f"{server.address}/good.pth", Path(folder) / "mine" / "a.pth", HASH[:8])
        locks = list(Path(folder).glob("checkpoints/.*.lock"))
        assert [stat.S_IMODE(lock.stat().st_mode) for lock in locks] == [0o666]
        Path(folder, "theirs").mkdir()
        os.chown(Path(folder, "theirs"), 65534, 65534)
        said = _as_nobody(lambda: fetch("http://a/good.pth", f"{folder}/theirs/a.pth", HASH[:8]))
        assert said == ""
        assert Path(folder, "theirs/a.pth").read_bytes() == CONTENT
        said = _as_nobody(lambda: fetch("http://a/x.pth", f"{folder}/theirs/x.pth", HASH[:8]))
        assert said.startswith("FGDError")
        assert "you may not write there, and the cache lacks x.pth" in said


def _as_nobody(act) -> str:
    """What another user is told, in a process of its own."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        said = ""
        try:
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
            os.umask(0o002)
            act()
        except BaseException as error:
            said = f"{type(error).__name__}: {error}"
        os.write(writer, said.encode())
        os._exit(0)
    os.close(writer)
    os.waitpid(child, 0)
    with os.fdopen(reader) as pipe:
        return pipe.read()


def test_a_wrong_file_placed_in_the_cache_is_refused(target, cache):
    cache.mkdir(parents=True)
    (cache / "good.pth").write_bytes(CONTENT[:-1])
    with pytest.raises(FGDError, match=rf"cache/checkpoints/good\.pth: expected .* {HASH[:8]}"):
        fetch("http://127.0.0.1:9/good.pth", target, HASH[:8])
    assert not target.exists()


def test_file(tmp_path, target, cache):
    source = tmp_path / "a b#c.pth"
    source.write_bytes(CONTENT)
    fetch(source.as_uri(), target, HASH[:8])
    assert target.read_bytes() == CONTENT
    assert not cache.exists()


def test_other_bytes_than_promised(server, target, cache):
    with pytest.raises(FGDError, match=rf"wrong\.pth: expected a file with sha256 {HASH[:8]}"):
        fetch(f"{server.address}/wrong.pth", target, HASH[:8])
    assert not target.exists()
    assert list(cache.glob("[!.]*")) == []


def test_a_bad_download_leaves_the_earlier_file(server, target):
    fetch(f"{server.address}/good.pth", target, HASH[:8])
    with pytest.raises(FGDError):
        fetch(f"{server.address}/wrong.pth", target, HASH[:8])
    assert target.read_bytes() == CONTENT


def test_not_found(server, target):
    with pytest.raises(FGDError, match=r"missing\.pth: the server answers 404"):
        fetch(f"{server.address}/missing.pth", target, HASH[:8])
    assert not target.exists()
    assert len(server.requests) == 1


def test_a_busy_server_is_asked_again(server, target):
    fetch(f"{server.address}/busy.pth", target, HASH[:8])
    assert target.read_bytes() == CONTENT
    assert len(server.requests) == 3
    with pytest.raises(FGDError, match=r"down\.pth: the server answers 503"):
        fetch(f"{server.address}/down.pth", target, HASH[:8])
    assert len(server.requests) == 3 + 5


def test_a_download_that_gets_further_is_not_given_up(server, target):
    fetch(f"{server.address}/drips.pth", target, HASH[:8])
    assert target.read_bytes() == CONTENT
    assert len(server.requests) == 10


def test_a_disk_that_is_full_is_not_called_a_broken_connection(server, cache, target):
    cache.mkdir(parents=True)
    (cache / "good.pth.part").symlink_to("/dev/full")
    with pytest.raises(OSError, match=r"No space left on device: '.*good\.pth\.part'"):
        fetch(f"{server.address}/good.pth", target, HASH[:8])
    assert len(server.requests) == 1


def test_what_does_not_fit_is_not_begun(server, cache, target):
    with pytest.raises(FGDError, match=rf"{cache}: .*huge\.pth needs 1000000000\.0 GB, .* free"):
        fetch(f"{server.address}/huge.pth", target, HASH[:8])
    assert list(cache.glob("*.part")) == []
    assert len(server.requests) == 1


def test_no_such_file(tmp_path, target):
    with pytest.raises(FGDError, match=r"missing\.pth: there is no such file"):
        fetch((tmp_path / "missing.pth").as_uri(), target, HASH[:8])
    assert not target.exists()


def test_no_connection(target, cache):
    # Port 9 ("discard") of the loopback device: nothing listens there.
    with pytest.raises(FGDError, match=f"no connection.*place it at {cache / 'good.pth'}"):
        fetch("http://127.0.0.1:9/good.pth", target, HASH[:8])
    assert not target.exists()
