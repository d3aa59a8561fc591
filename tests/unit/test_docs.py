"""The pages of docs/: what is generated is current, links and commands lead somewhere."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest

from cluster.cli import main as cluster_main
from fgd.checkout import root
from fgd.cli import main

PAGES = [*sorted((root() / "docs").glob("*.md")), root() / "README.md"]


def test_reference_and_schemas_are_made_from_the_settings_as_they_are():
    script = [sys.executable, root() / "docs/make_reference.py", "--check"]
    made = subprocess.run(script, capture_output=True, text=True)
    assert made.returncode == 0, f"say `make docs`: {made.stderr}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_of_fgd_in_a_page_exists_with_its_options(page):
    text = page.read_text().replace("\\\n", " ")
    # What begins a line or stands between backticks; "fgd distils" in a sentence does neither.
    commands = r"(?:^ *|`)(?:\.venv/bin/)?(fgd(?:-cluster)? [^\n`]+)"
    lines = re.findall(commands, text, re.MULTILINE)
    for line in lines:
        program, *words = shlex.split(line, comments=True)
        command = {"fgd": main, "fgd-cluster": cluster_main}[program]
        while isinstance(command, click.Group):
            assert words and words[0] in {*command.commands, "--help"}, f"{page.name}: {line}"
            if words[0] == "--help":
                break
            command = command.commands[words.pop(0)]
        known = {name for option in command.params for name in option.opts + option.secondary_opts}
        for word in words:
            if word == "--":  # what follows is another program's
                break
            if word.startswith("--"):
                assert word.split("=")[0] in known | {"--help"}, f"{page.name}: {line}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_make_target_in_a_page_exists(page):
    targets = set(re.findall(r"^([a-z0-9-]+):", (root() / "Makefile").read_text(), re.MULTILINE))
    named = re.findall(r"(?:^ {4,}|`)make ([a-z0-9-]+)", page.read_text(), re.MULTILINE)
    assert set(named) <= targets, page.name


def test_every_link_of_the_readme_leads_somewhere():
    links = re.findall(r"\]\(([^)#]+)[^)]*\)", (root() / "README.md").read_text())
    assert [link for link in links if "://" not in link and not (root() / link).is_file()] == []


def test_the_site_is_built_and_every_link_leads_somewhere(tmp_path):
    mkdocs = [Path(sys.executable).with_name("mkdocs"), "build", "--strict"]
    built = subprocess.run(
        [*mkdocs, "--site-dir", tmp_path / "site"], cwd=root(), capture_output=True, text=True
    )
    assert built.returncode == 0, built.stderr
    assert (tmp_path / "site/own_data/index.html").is_file()
