"""What a maintainer keeps beside the code: it names what is there, in one version."""

import re
import tomllib

import pytest
import yaml

from fgd.checkout import root

PROJECT = tomllib.loads((root() / "pyproject.toml").read_text())["project"]


def read(path: str):
    return yaml.safe_load((root() / path).read_text())


def test_the_version_is_one():
    assert read("CITATION.cff")["version"] == PROJECT["version"]
    assert f"\n## {PROJECT['version']}\n" in (root() / "CHANGELOG.md").read_text()


def test_the_licence_is_one():
    assert PROJECT["license"] == read("CITATION.cff")["license"] == "Apache-2.0"
    text = (root() / PROJECT["license-files"][0]).read_text()
    assert re.search(r"Apache License\s+Version 2\.0, January 2004", text)


def test_the_hooks_before_a_commit_run_what_make_lint_runs():
    rule = re.search(r"^lint:.*\n((?:\t.*\n)+)", (root() / "Makefile").read_text(), re.M)[1]
    (repository,) = read(".pre-commit-config.yaml")["repos"]
    hooks = [hook["entry"].removesuffix(" --force-exclude") for hook in repository["hooks"]]
    # What make names the folders of, the hooks are given as files.
    for line, hook in zip(rule.splitlines(), hooks, strict=True):
        assert line.strip().startswith(hook)


def test_the_workflow_of_github_runs_the_tests_that_a_machine_of_ours_runs():
    steps = read(".github/workflows/ci.yml")["jobs"]["tests"]["steps"]
    assert steps[-1]["run"].splitlines()[-1] == ".ci/run"
    assert (root() / ".ci/run").is_file()


@pytest.mark.parametrize("key", ["name", "description", "body"])
def test_the_form_of_an_issue_has_what_github_wants(key):
    assert read(".github/ISSUE_TEMPLATE/bug.yml")[key]


def test_the_form_of_an_issue_asks_what_the_installation_can_do():
    body = read(".github/ISSUE_TEMPLATE/bug.yml")["body"]
    asked = {part["id"]: part for part in body if part["type"] != "markdown"}
    assert "fgd doctor --json" in asked["doctor"]["attributes"]["label"]
    assert asked["doctor"]["validations"] == {"required": True}
