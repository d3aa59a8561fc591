"""From nothing to the table of eight rows, and what runs again when something changes."""

import csv
import json
import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
import yaml
from fake_apptainer import FakeApptainer
from project import BIN, ROOT, Project, tiny_suite, write_data

from fgd.method import METHOD_VERSION

ARMS = 16  # eight rows, with and without their teachers


def test_all_eight_rows_are_measured(finished_run):
    project, printed = finished_run
    table = json.loads((project.folder / "results/mini/table.json").read_text())
    assert len(table["rows"]) == 8
    assert [row["missing"] for row in table["rows"]] == [[]] * 8
    with (project.folder / "results/mini/table.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert [line["kind"] for line in lines].count("mask") == 1
    markdown = (project.folder / "results/mini/table.md").read_text()
    assert "Unfinished" not in markdown
    assert markdown in printed


def test_a_row_keeps_everything_it_was_made_from(finished):
    row = finished.folder / "results/mini/fcos_r50/fgd"
    report = json.loads((row / "eval.json").read_text())
    checkpoint = row / "student.pth"
    assert os.readlink(checkpoint) == report["checkpoint"]
    assert report["checkpoint"].endswith(f"-{report['sha256'][:8]}.pth")
    for kind in ("logs", "benchmarks"):
        assert list((finished.folder / f"results/mini/{kind}/distill").glob("fcos_r50.*"))


def test_a_second_run_has_nothing_to_do(finished):
    result = finished.run()
    assert result.returncode == 0
    assert "Nothing to be done" in result.stdout


def test_the_same_suite_by_another_spelling_of_its_path_has_nothing_to_do(finished):
    for spelling in ("./mini.yaml", str(finished.folder / "mini.yaml")):
        assert finished.plan(suite=spelling) == {}, spelling


def test_a_second_plan_imports_neither_torch_nor_mmcv(finished, tmp_path):
    finished.plan()
    for name in ("torch", "mmcv", "mmdet"):
        (tmp_path / f"{name}.py").write_text(f"raise RuntimeError('{name} was imported')\n")
    forbidding = {"PYTHONPATH": f"{tmp_path}:{ROOT}"}
    result = finished.run("--dry-run", environment=forbidding)
    assert "Nothing to be done" in result.stdout
    finished.write_suite(tiny_suite() | {"samples_per_gpu": 2})
    assert "mmcv was imported" in finished.run("--dry-run", environment=forbidding).stdout


def test_a_rule_whose_command_is_written_otherwise_keeps_its_results(finished, tmp_path):
    checkout = tmp_path / "checkout"
    ignored = shutil.ignore_patterns(".git", ".venv", "results", "data", "__pycache__")
    shutil.copytree(ROOT, checkout, ignore=ignored)
    rules = checkout / "workflow/rules/distill.smk"
    rules.write_text(rules.read_text().replace("> {log:q} 2>&1", ">{log:q} 2>&1"))
    assert finished.plan(checkout=checkout) == {}


def test_evaluating_again_runs_evaluation_and_what_shows_it(finished):
    shown = {"table": 1, "figures": 1, "page": 1, "all": 1}
    assert finished.plan("--forcerun=evaluate") == {"evaluate": ARMS + 4, **shown}


def test_checking_a_teacher_again_trains_nothing_again(copy):
    target = "results/mini/fcos_r50/fgd/trained.pth"
    jobs = copy.folder / "results/mini/fcos_r50/fgd/jobs/job.json"
    attempts = json.loads(jobs.read_text())["attempts"]
    result = copy.run("--forcerun=check_teacher", target)
    assert result.returncode == 0, result.stdout
    assert json.loads(jobs.read_text())["attempts"] == attempts
    assert "Nothing to be done" in copy.run(target).stdout


def test_nobody_learns_from_a_teacher_below_its_published_ap(copy):
    name = "fcos_r101_caffe_fpn_gn-head_mstrain_640-800_2x_coco"
    metafile = copy.folder / f"results/mini/zoo/teachers/{name}.yml"
    entry = yaml.safe_load(metafile.read_text())
    entry["Models"][0]["Results"][0]["Metrics"]["box AP"] = 38.5
    written = metafile.stat().st_mtime
    metafile.write_text(yaml.safe_dump(entry))
    os.utime(metafile, (written, written))  # the teacher is there: it is not downloaded again
    (metafile.parents[2] / "teachers" / name / "checked.json").unlink()
    row = copy.folder / "results/mini/fcos_r50/fgd"
    (row / "trained.pth").unlink()
    shutil.rmtree(row / "run")
    result = copy.run("results/mini/fcos_r50/fgd/trained.pth")
    assert result.returncode != 0
    log = copy.folder / f"results/mini/logs/check_teacher/{name}.log"
    assert "below the published 38.5 (tolerated: 0.2)" in log.read_text()
    assert not (row / "trained.pth").exists()
    assert not (row / "run").exists()


def test_a_changed_row_runs_again_and_no_other(finished):
    suite = tiny_suite()
    suite["mini"]["detectors"]["fcos_student"]["epochs"] = 2  # only fcos_r50 has this student
    finished.write_suite(suite)
    assert finished.plan() == {
        "compose": 2,
        "distill": 1,
        "baseline": 1,
        "transfer": 2,
        "evaluate": 2,
        "pictures": 1,
        "table": 1,
        "figures": 1,
        "page": 1,
        "all": 1,
    }


def test_other_settings_run_again_though_snakemake_has_no_record(copy):
    shutil.rmtree(copy.folder / ".snakemake")  # another clone has none, nor a copied folder
    # The suite's file is newer than what it says beside the figures.
    assert copy.plan() == {"table": 1, "figures": 1, "page": 1, "all": 1}
    suite = tiny_suite()
    suite["mini"]["detectors"]["fcos_student"]["epochs"] = 2
    copy.write_suite(suite)
    planned = copy.plan()
    assert {rule: planned[rule] for rule in ("compose", "distill", "baseline", "evaluate")} == {
        "compose": 2,
        "distill": 1,
        "baseline": 1,
        "evaluate": 2,
    }
    assert copy.plan("results/mini/retinanet_r50/fgd/eval.json") == {}
    result = copy.run("results/mini/fcos_r50/fgd/config.py")
    assert result.returncode == 0, result.stdout
    assert "'max_epochs': 2" in (copy.folder / "results/mini/fcos_r50/fgd/config.py").read_text()


def test_annotations_that_were_replaced_with_their_time_are_trained_on_anew(copy):
    file = copy.folder / "data/mini/annotations/instances_train.json"
    written = file.stat().st_mtime
    content = json.loads(file.read_text())
    content["annotations"].pop()
    file.write_text(json.dumps(content))
    os.utime(file, (written, written))
    planned = copy.plan()
    assert (planned["check_data"], planned["distill"], planned["baseline"]) == (1, 8, 8)


def test_a_further_seed_keeps_what_is_there(finished):
    suite = tiny_suite()
    del suite["seed"]
    finished.write_suite(suite | {"seeds": [0, 1]})
    assert finished.plan() == {
        "compose": ARMS,
        "distill": 8,
        "baseline": 8,
        "transfer": ARMS,
        "evaluate": ARMS,
        "table": 1,
        "figures": 1,
        "page": 1,
        "all": 1,
    }


def test_masks_are_asked_of_the_data_where_they_are_learned(new_project):
    done = new_project.run(
        "--dry-run", "--printshellcmds", "results/coco/data/train.json", suite="coco"
    )
    assert re.search(r"fgd data check .*--masks ", done.stdout)


@pytest.mark.parametrize(("split", "option"), [("train", "--training"), ("val", "")])
def test_small_images_are_asked_of_training_images_alone(new_project, split, option):
    done = new_project.run(
        "--dry-run", "--printshellcmds", f"results/coco/data/{split}.json", suite="coco"
    )
    said = re.search(r"fgd data check .*(\$\(.*?\)) --out", done.stdout)[1]
    assert subprocess.run(
        ["bash", "-c", f"echo {said}"], capture_output=True, text=True
    ).stdout == (f"{option}\n")


def test_coco_is_planned_with_every_stage_of_every_row(new_project):
    assert new_project.plan(suite="coco") == {
        "check_data": 2,
        "download_backbone": 3,
        "compose_teacher": 4,
        "download_teacher": 4,
        "check_teacher": 4,
        "compose": ARMS,
        "distill": 8,
        "baseline": 8,
        "transfer": ARMS,
        "evaluate": ARMS + 4,
        "pictures": 8,
        "table": 1,
        "figures": 1,
        "page": 1,
        "all": 1,
    }


def test_a_teacher_that_no_zoo_has_is_trained_and_published(new_project):
    plan = new_project.plan(suite="more")
    assert plan["train_teacher"] == plan["publish_teacher"] == plan["evaluate_trained_teacher"] == 1
    assert plan["download_teacher"] == plan["check_teacher"] == 6
    assert plan["distill"] == plan["baseline"] == 6
    assert plan["download_backbone"] == 2  # the students', and the trained teacher's


def test_one_result_plans_its_row_alone_whatever_suite_is_configured(new_project):
    plan = new_project.plan("results/coco/retinanet_r50/fgd/eval.json")
    assert plan == {
        "check_data": 2,
        "download_backbone": 1,
        "compose_teacher": 1,
        "download_teacher": 1,
        "check_teacher": 1,
        "compose": 1,
        "distill": 1,
        "transfer": 1,
        "evaluate": 1,
    }


def test_the_demo_trains_and_publishes_what_it_then_downloads(new_project):
    plan = new_project.plan("demo", suite="mini")
    assert (plan["distill"], plan["baseline"], plan["table"]) == (2, 2, 1)
    assert (plan["pictures"], plan["demo_page"]) == (2, 1)
    assert plan["write_mini_set"] == 1
    assert plan["train_teacher"] == plan["publish_teacher"] == plan["download_teacher"] == 2
    assert plan["train_backbone"] == plan["publish_backbone"] == plan["download_backbone"]


def test_an_unknown_key_is_refused_by_name_before_anything_runs(new_project):
    new_project.write_suite(tiny_suite() | {"sede": 1})
    result = new_project.run()
    assert result.returncode != 0
    assert "unknown key 'sede'; did you mean 'seed'" in result.stdout
    assert "Traceback" not in result.stdout
    assert not (new_project.folder / "results").exists()


def test_a_misspelt_key_of_config_is_refused(new_project):
    """It would plan all of COCO."""
    command = [word.replace("suite=", "suit=") for word in new_project.command("--dry-run")]
    result = subprocess.run(command, cwd=new_project.folder, capture_output=True, text=True)
    assert result.returncode != 0
    assert "--config suit=...: the workflow has no such key" in result.stdout + result.stderr


def test_a_row_that_the_suite_does_not_have_is_refused_by_name(new_project):
    result = new_project.run("results/coco/fcos_r51/fgd/eval.json", suite="coco")
    assert result.returncode != 0
    assert "suite coco has no row 'fcos_r51'" in result.stdout


def in_a_long_training(project) -> tuple[subprocess.Popen, Path]:
    """A workflow that trains a baseline of 30 iterations, and has done some; what it makes."""
    suite = tiny_suite()
    suite["mini"]["detectors"]["fcos_student"]["epochs"] = 10
    project.write_suite(suite)
    target = Path("results/mini/fcos_r50/baseline/trained.pth")
    command = project.command(str(target))
    process = subprocess.Popen(command, cwd=project.folder, start_new_session=True)
    states = project.folder / target.parent / "run"
    while not list(states.glob("iter_000001?.pth")):  # not one that the finished run left
        assert process.poll() is None, "the training ended too soon"
        time.sleep(0.05)
    return process, target


def test_a_killed_training_goes_on_where_it_was(copy):
    """Snakemake and its job die together, as when a machine is switched off."""
    process, target = in_a_long_training(copy)
    states = copy.folder / target.parent / "run"
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not (copy.folder / target).exists()

    assert copy.run("--unlock").returncode == 0
    result = copy.run(str(target))
    assert result.returncode == 0, result.stdout
    logs = states.with_name("jobs").glob("*_0_log.out")
    assert any("resuming from" in log.read_text() for log in logs)
    assert (states / "iter_0000030.pth").samefile(copy.folder / target)


# --- What changed is made anew, and nothing else ---


def test_a_changed_seed_changes_every_training(finished):
    finished.write_suite(tiny_suite() | {"seed": 1})
    plan = finished.plan("results/mini/fcos_r50/baseline/eval.json")
    assert {rule: plan.get(rule) for rule in ("compose", "baseline", "evaluate")} == {
        "compose": 1,
        "baseline": 1,
        "evaluate": 1,
    }


def test_another_teacher_distils_its_rows_anew(copy):
    teacher = (
        copy.folder / "results/mini/teachers/fcos_r101_caffe_fpn_gn-head_mstrain_640-800_2x_coco"
    )
    weights = teacher / "teacher.pth"
    content = weights.read_bytes()
    weights.unlink()  # the cache has the same file
    weights.write_bytes(content + b" ")
    plan = copy.plan()
    assert (plan["distill"], plan.get("baseline")) == (1, None)


def test_a_new_version_of_the_method_distils_anew_and_published_figures_do_not(copy, tmp_path):
    checkout = tmp_path / "checkout"
    ignored = shutil.ignore_patterns(".git", ".venv", "results", "data", "__pycache__")
    shutil.copytree(ROOT, checkout, ignore=ignored)
    loss = checkout / "fgd/loss/terms.py"
    method = checkout / "fgd/method.py"
    row = checkout / "configs/distillers/fcos_r50.py"

    def plan() -> dict[str, int]:
        return copy.plan("--rerun-triggers=params", checkout=checkout)

    loss.write_text(loss.read_text() + "\n_FASTER = True\n")
    assert plan() == {}
    row.write_text(row.read_text() + "\npublished.update(fgd=43.0)\n")
    assert plan() == {"table": 1, "figures": 1, "page": 1, "all": 1}
    version = f"METHOD_VERSION = {METHOD_VERSION}"
    assert version in method.read_text()
    method.write_text(method.read_text().replace(version, f"METHOD_VERSION = {METHOD_VERSION + 1}"))
    assert plan() == {
        "distill": 8,
        "transfer": 8,
        "evaluate": 8,
        "pictures": 8,
        "table": 1,
        "figures": 1,
        "page": 1,
        "all": 1,
    }


def test_a_row_is_trained_anew_as_the_readme_says(copy):
    shutil.rmtree(copy.folder / "results/mini/fcos_r50/fgd/run")
    assert copy.plan("--forcerun", "results/mini/fcos_r50/fgd/trained.pth") == {
        "distill": 1,
        "transfer": 1,
        "evaluate": 1,
        "pictures": 1,
        "table": 1,
        "figures": 1,
        "page": 1,
        "all": 1,
    }


def test_results_are_verified_against_what_they_were_made_from(copy):
    command = [str(BIN / "fgd"), "verify", "results/mini"]

    def verify() -> subprocess.CompletedProcess:
        return subprocess.run(command, cwd=copy.folder, capture_output=True, text=True)

    sound = verify()
    assert sound.returncode == 0, sound.stdout + sound.stderr
    assert "0 not as they were made" in sound.stdout
    row = copy.folder / "results/mini/fcos_r50/fgd"
    (row / "eval.json").write_text((row / "eval.json").read_text().replace("0", "1"))
    annotations = next((copy.folder / "data/mini").rglob("*train*.json"))
    annotations.write_text(annotations.read_text() + " ")
    changed = verify()
    assert changed.returncode == 2
    assert "fcos_r50/fgd: results/mini/fcos_r50/fgd/eval.json has changed since" in changed.stdout
    assert f"{annotations.relative_to(copy.folder)} has changed since" in changed.stdout


def test_a_second_workflow_in_the_folder_is_refused(copy):
    """By Snakemake itself; nothing of the first is touched."""
    first, target = in_a_long_training(copy)
    os.killpg(first.pid, signal.SIGSTOP)  # it must not end before the second one is there
    try:
        second = copy.run(str(target))
    finally:
        os.killpg(first.pid, signal.SIGCONT)
    assert second.returncode != 0
    assert "Directory cannot be locked" in second.stdout
    assert first.wait() == 0
    assert (copy.folder / target).exists()


def test_with_a_container_single_jobs_and_trainings_compute_in_it(tmp_path):
    project = Project(tmp_path)
    write_data(tmp_path)
    apptainer = FakeApptainer(tmp_path / "bin")
    (tmp_path / "fgd.sif").touch()
    project.write_suite(tiny_suite() | {"cluster": {"container": "fgd.sif"}})
    result = project.run(
        "--sdm=apptainer",
        "results/mini/fcos_r50/baseline/trained.pth",
        environment={"PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"},
    )
    assert result.returncode == 0, result.stdout
    commands = [call[call.index("fgd.sif") + 1 :] for call in apptainer.asked if "fgd.sif" in call]
    rules = [line for command in commands for line in command if " fgd " in line]
    assert any(" fgd data check " in line for line in rules)
    # Launchers stay outside.
    assert not [line for line in rules if "fgd-cluster" in line]
    ranks = [call for call in apptainer.asked if str(tmp_path / "fgd.sif") in call]
    assert len(ranks) == 1
    assert "submitit.core._submit" in ranks[0]


def test_no_job_runs_outside_a_container_that_was_asked_for(new_project):
    for section, words in (
        ({}, "mini.yaml: --sdm apptainer: the suite names no image"),
        ({"cluster": {"container": "none.sif"}}, "there is no image none.sif"),
    ):
        new_project.write_suite(tiny_suite() | section)
        result = new_project.run("--dry-run", "--sdm=apptainer")
        new_project.write_suite(tiny_suite())
        assert result.returncode == 1
        assert words in result.stdout
        assert "Traceback" not in result.stdout
