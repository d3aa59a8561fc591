"""The container's two recipes: they make the same, from what set-up needs and nothing else."""

import re
import subprocess

import pytest

from fgd.checkout import root

DOCKERFILE = (root() / "containers/Dockerfile").read_text()
DEFINITION = (root() / "containers/fgd.def").read_text()


def images(recipe, pattern):
    return {name: image for name, image in re.findall(pattern, recipe, re.MULTILINE)}


def test_both_begin_with_the_same_images():
    docker = images(DOCKERFILE, r"^ARG (TOOLKIT|BUILD|RUNTIME)=docker\.io/(?:library/)?(\S+)$")
    apptainer = images(DEFINITION, r"^ +(toolkit|build|runtime)=(\S+)$")
    assert {name.lower(): image for name, image in docker.items()} == apptainer
    assert len(apptainer) == 3


def test_both_copy_the_same_of_a_clone_and_docker_is_sent_no_more():
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.MULTILINE)
    docker = {name for names in copied for name in names.split()}
    assert docker == {*re.findall(r"^ +(\S+) /opt/fgd/$", DEFINITION, re.MULTILINE)}
    sent = (root() / ".dockerignore").read_text().splitlines()
    assert docker == {line[1:] for line in sent if line.startswith("!")}
    assert all((root() / name).exists() for name in docker)


@pytest.mark.parametrize(
    "command", [r"setup/install\.sh", r"apt-get install[^\n]*", r"-c \"import.*"]
)
def test_both_run_the_same(command):
    docker, apptainer = (re.findall(command, text) for text in (DOCKERFILE, DEFINITION))
    clean = [line.removesuffix(" \\") for line in docker]
    assert clean == apptainer
    assert clean


def test_the_toolkit_is_of_the_locks_cuda():
    lock = (root() / "setup/requirements.txt").read_text()
    (major, minor) = re.search(
        r"^nvidia-cuda-runtime-cu12==(\d+)\.(\d+)", lock, re.MULTILINE
    ).groups()
    assert f"nvidia/cuda:{major}.{minor}." in DOCKERFILE
    folders = re.findall(r"cuda-(\d+\.\d+)", DOCKERFILE + DEFINITION)
    assert {*folders} == {f"{major}.{minor}"}


def test_what_apptainers_build_runs_is_a_shells_text():
    for body in re.findall(r"^%post\n(.*?)(?=^%|^Bootstrap|\Z)", DEFINITION, re.MULTILINE | re.S):
        subprocess.run(["sh", "-n"], input=body, text=True, check=True)
