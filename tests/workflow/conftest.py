"""Projects to run Snakemake in; the finished one is made once."""

import subprocess
from pathlib import Path

import pytest
from project import Project, tiny_suite, write_data
from xdist.scheduler import LoadScopeScheduling

_FINISHED = ("test_workflow.py", "test_page.py")


class OneFinishedProject(LoadScopeScheduling):
    """All that look at the finished project, which takes minutes to make, run in one process.

    Not by marks: with pytest 9.2 pytest-xdist 3.8 does not see its groups.
    """

    def _split_scope(self, nodeid: str) -> str:
        return "finished" if Path(nodeid.partition("::")[0]).name in _FINISHED else nodeid


def pytest_xdist_make_scheduler(config, log) -> LoadScopeScheduling:
    """Called by pytest-xdist, where there are several processes."""
    return OneFinishedProject(config, log)


@pytest.fixture(scope="session")
def new_project(tmp_path_factory) -> Project:
    """Nothing has run here, and nothing does: for plans and refusals."""
    return Project(tmp_path_factory.mktemp("new"))


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory) -> tuple[Project, str]:
    """A project whose eight rows are all done, and what Snakemake printed."""
    project = Project(tmp_path_factory.mktemp("finished"))
    write_data(project.folder)
    result = project.run()
    assert result.returncode == 0, result.stdout
    return project, result.stdout


@pytest.fixture
def finished(finished_run) -> Project:
    """The finished project, its suite file as it was when it was run."""
    project, _ = finished_run
    project.write_suite(tiny_suite())
    return project


@pytest.fixture
def copy(finished, tmp_path) -> Project:
    """The finished project once more, to be changed."""
    # Not by shutil, which makes a file of every name that a checkpoint has.
    subprocess.run(["cp", "-a", f"{finished.folder}/.", tmp_path], check=True)
    return Project(tmp_path)
