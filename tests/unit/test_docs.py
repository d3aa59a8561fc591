"""The pages of docs/: what is generated is current, links and commands lead somewhere."""

import re
import subprocess
import sys
from pathlib import Path

import click
import pytest

from fgd.checkout import root
from fgd.cli import main

PAGES = [*sorted((root() / "docs").glob("*.md")), root() / "README.md"]


def test_the_reference_is_made_from_the_schemas_as_they_are():
    script = [sys.executable, root() / "docs/make_reference.py", "-"]
    made = subprocess.run(script, capture_output=True, text=True, check=True).stdout
    assert (root() / "docs/reference.md").read_text() == made, "say `make docs`"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_of_fgd_in_a_page_exists_with_its_options(page):
    text = page.read_text().replace("\\\n", " ")
    lines = re.findall(r"(?:^|`|\s)(?:\.venv/bin/)?fgd ([a-z-]+(?: [^\n`]*)?)", text)
    for line in lines:
        words = line.split()
        command = main
        while isinstance(command, click.Group) and words and words[0] in command.commands:
            command = command.commands[words.pop(0)]
        if command is main:
            assert words[0] not in ("and", "zoo"), line  # prose: "fgd distils"
            continue
        known = {name for option in command.params for name in option.opts + option.secondary_opts}
        for word in words:
            if word.startswith("--"):
                assert word.split("=")[0] in known | {"--help"}, f"{page.name}: fgd {line}"


def test_the_site_is_built_and_every_link_leads_somewhere(tmp_path):
    mkdocs = [Path(sys.executable).with_name("mkdocs"), "build", "--strict"]
    built = subprocess.run(
        [*mkdocs, "--site-dir", tmp_path / "site"], cwd=root(), capture_output=True, text=True
    )
    assert built.returncode == 0, built.stderr
    assert (tmp_path / "site/own_data/index.html").is_file()
