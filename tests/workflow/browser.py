"""A page in a real browser: headless Chromium, its requests and its console."""

import os
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from functools import cache, partial
from http.server import SimpleHTTPRequestHandler
from pathlib import Path
from urllib.parse import urlsplit

from http_server import serving

_NAMES = ("chromium", "chromium-browser", "google-chrome")
_OPTIONS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--disable-extensions", "--hide-scrollbars", "--enable-logging=stderr",
)  # fmt: skip
# The page in a frame: a window of Chromium's is never as narrow as a phone.
_FRAME = """<!doctype html><link rel="icon" href="data:,"><body style="margin:0">
<iframe src="{page}" style="border:0; width:{width}px; height:{height}px"></iframe>
<script>
onload = () => {{
  const page = document.querySelector("iframe").contentDocument.documentElement;
  document.body.dataset.width = page.scrollWidth;
  document.body.dataset.loaded = [...page.querySelectorAll("img")].every(i => i.naturalWidth > 0);
}};
</script>"""


@dataclass(frozen=True)
class Visit:
    """What a page did.

    Attributes:
        requests: paths and foreign addresses that were asked for, beside the page itself.
        console: what the browser's console said.
        width: pixels that the page needs, beyond its own width if it scrolls sideways.
        images: whether every image was loaded.
    """

    requests: list[str]
    console: list[str]
    width: int
    images: bool


@cache
def find() -> str | None:
    """The browser, installed if this is root on a Debian machine; None on another without one.

    Raises:
        CalledProcessError: apt-get is there and cannot install it.
    """
    found = next(filter(None, map(shutil.which, _NAMES)), None)
    if found is None and os.geteuid() == 0 and shutil.which("apt-get"):
        subprocess.run(["apt-get", "update", "-qq"])
        install = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", "chromium"]
        quiet = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
        subprocess.run(install, check=True, stdout=subprocess.DEVNULL, env=quiet)
        found = next(filter(None, map(shutil.which, _NAMES)), None)
    return found


def visit(browser: str, page: Path, width: int, height: int, screenshot: Path) -> Visit:
    """Open a page `width` pixels wide and take a screenshot.

    Everything that the browser asks for goes to a server of our own, which serves the page's folder
    and is the proxy for all other hosts as well.
    """
    asked: list[str] = []

    class Handler(SimpleHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            if urlsplit(self.path).path == "/frame.html":
                content = _FRAME.format(page=page.name, width=width, height=height).encode()
                self.send_response(200)
                self.send_header("Content-Type", "text/html; charset=utf-8")
                self.end_headers()
                self.wfile.write(content)
            else:
                super().do_GET()

        def do_CONNECT(self):
            asked.append(self.path)
            self.send_error(502)

        def log_message(self, *_):
            pass

    with (
        serving(partial(Handler, directory=page.parent)) as server,
        tempfile.TemporaryDirectory() as profile,
    ):
        result = subprocess.run(
            [
                browser, *_OPTIONS, f"--user-data-dir={profile}",
                f"--proxy-server={server.address}", f"--window-size={max(width, 500)},{height}",
                f"--screenshot={screenshot}", "--dump-dom", f"{server.address}/frame.html",
            ],
            capture_output=True, text=True, timeout=300,
        )  # fmt: skip
    own = {"/frame.html", f"/{page.name}"}
    return Visit(
        requests=[path for path in asked if path not in own and not _browsers_own(path)],
        console=[line for line in result.stderr.splitlines() if "CONSOLE" in line],
        width=int(re.search(r'data-width="(\d+)"', result.stdout)[1]),
        images='data-loaded="true"' in result.stdout,
    )


def _browsers_own(address: str) -> bool:
    """What Chromium asks of its maker, whatever page is open."""
    host = urlsplit(address if "//" in address else f"//{address}").hostname or ""
    return host.endswith((".google.com", ".googleapis.com", ".gvt1.com"))
