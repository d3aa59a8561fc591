"""What the jobs of a workflow are given, of an experiment that nothing had to be composed for."""

import dataclasses
import shlex
from pathlib import Path

import pytest

from fgd.checkout import root
from fgd.doctor.memory import Memory
from fgd.errors import FGDError
from fgd.experiment import Experiment, jobs
from fgd.suite import Run, load_suite
from fgd.suite.plan import FromZoo, OwnFiles, Plan, RowPlan, SplitFiles, Teacher, TrainedHere

COCO = load_suite(root() / "configs/suites/coco.yaml")
SPLITS = {split: SplitFiles(f"coco/annotations/{split}.json", split) for split in ("train", "val")}
ROWS = {
    "retinanet_r50": RowPlan("retinanet_r50", "retinanet_r50", "s", "zoo", "resnet50", ("box",)),
    "faster_rcnn_r50": RowPlan("faster_rcnn_r50", "retinanet_r50", "s", "own", None, ("box",)),
}
TEACHERS = {
    "zoo": FromZoo(),
    "trained": TrainedHere("resnet101"),
    "scratch": TrainedHere(None),
    "own": OwnFiles(Path("/my files/a.pth"), "0123abcd", 41.2),
}
BACKBONES = {"resnet50": "torchvision://resnet50", "mine": "/my/b.pth"}


def experiment(splits=SPLITS, masks=(), **changes):
    suite = dataclasses.replace(COCO, **({"rows": tuple(ROWS)} | changes))
    teachers = {name: Teacher(name, source) for name, source in TEACHERS.items()}
    plan = Plan(ROWS, teachers, BACKBONES, {}, frozenset(masks))
    return Experiment(suite, plan, splits, {})


# --- Runs ---


def test_a_run_is_what_a_path_calls_it():
    seeded = experiment(seeds=(3, 5))
    assert seeded.run("retinanet_r50", "fgd") == Run("retinanet_r50", "fgd", 3)
    assert seeded.run("retinanet_r50", "baseline/seed5") == Run("retinanet_r50", "baseline", 5)
    assert jobs.seed(seeded, "retinanet_r50", "fgd/seed5") == 5


@pytest.mark.parametrize(
    ("row", "name", "message"),
    [
        ("fcos_r51", "fgd", "suite coco has no row 'fcos_r51'"),
        ("retinanet_r50", "fgd/seed3", "first seed needs no folder .* ask for retinanet_r50/fgd"),
        ("retinanet_r50", "fgd/seed4", "no run retinanet_r50/fgd/seed4; it has fgd, fgd/seed5, b"),
    ],
)
def test_a_run_that_is_not_is_refused(row, name, message):
    with pytest.raises(FGDError, match=message):
        experiment(seeds=(3, 5)).run(row, name)


def test_a_shared_baseline_is_the_other_rows():
    runs = experiment(seeds=(0, 1)).runs_of(ROWS["faster_rcnn_r50"])
    assert runs == {
        "baseline": Run("retinanet_r50", "baseline", 0),
        "fgd": Run("faster_rcnn_r50", "fgd", 0),
        "baseline/seed1": Run("retinanet_r50", "baseline", 1),
        "fgd/seed1": Run("faster_rcnn_r50", "fgd", 1),
    }


# --- Where teachers and backbones come from ---


@pytest.mark.parametrize(
    ("name", "source", "promise", "files"),
    [
        ("zoo", "zoo ", "", []),
        ("trained", "trained --index results/coco/zoo/teachers", "--index results/coco/zoo/t", []),
        ("own", "'/my files/a.pth' --sha256 0123abcd", "--ap 41.2", Path("/my files/a.pth")),
    ],
)
def test_a_teacher_is_fetched_from_where_it_is_and_judged_by_what_was_said(
    name, source, promise, files
):
    assert jobs.teacher_source(experiment(), name) == source
    assert jobs.teacher_promise(experiment(), name).startswith(promise)
    assert jobs.own_checkpoint(experiment(), name) == files


def test_a_teacher_that_the_suite_trains_starts_from_its_backbone():
    assert jobs.teacher_backbone(experiment(), "trained") == "results/coco/backbones/resnet101.pth"
    assert [jobs.teacher_backbone(experiment(), name) for name in ("scratch", "zoo")] == [[], []]
    assert jobs.metafile(experiment(), "teachers", "trained").endswith("zoo/teachers/trained.yml")
    assert jobs.metafile(experiment(), "teachers", "zoo") == []


def test_a_backbone_is_copied_where_it_is_a_file_of_the_users():
    assert jobs.own_backbone(experiment(), "mine") == "/my/b.pth"
    assert jobs.own_backbone(experiment(), "resnet50") == []
    assert jobs.backbone(experiment(), "retinanet_r50") == "results/coco/backbones/resnet50.pth"
    assert jobs.backbone(experiment(), "faster_rcnn_r50") == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"results": "elsewhere"}, "coco.yaml: `results` has to be results/coco, as the file"),
        ({"file": "{a}.yaml"}, r"\{a\}.yaml: Snakemake takes what stands in braces"),
    ],
)
def test_what_snakemake_would_take_for_its_own_is_refused(change, message):
    jobs.check_names(experiment(), "results/coco")
    with pytest.raises(FGDError, match=message):
        jobs.check_names(experiment(**change), "results/coco")


# --- Data ---


def test_data_of_ones_own_are_checked_by_their_classes_and_strictly():
    classes = ("a b", 'c, "d"')
    split = SplitFiles("mine.json", "images", classes, 7)
    mine = experiment({"train": split, "val": split}, ["train"], accept_data=("wrong area",))
    assert shlex.split(jobs.data_checks(mine, "train")) == [
        "--accept=wrong area",
        "--number=7",
        "--masks",
        "--strict",
        "--open-images",
        '--classes=a b,"c, ""d"""',
    ]
    assert jobs.data_checks(experiment(), "val") == ""


def test_changed_annotations_are_seen_where_no_rule_writes_them(tmp_path):
    file = tmp_path / "train.json"
    mine = experiment({"train": SplitFiles(str(file), "images")})
    assert jobs.data_changed(mine, "train") is None
    file.write_text("{}")
    assert jobs.data_changed(mine, "train") == f"2 bytes of {file.stat().st_mtime_ns}"
    assert jobs.data_folder(mine, "train") == []
    written = experiment({"train": SplitFiles("data/mini/annotations/x.json", "data/mini/x")})
    assert jobs.data_folder(written, "train") == "data/mini"
    assert jobs.data_changed(written, "train") is None
    fetched = experiment(coco_address="file:///coco")
    assert jobs.data_folder(fetched, "train") == "results/coco/data/downloaded.json"
    assert jobs.coco_root(fetched) == "coco"


# --- What is shown ---


def test_a_table_waits_for_every_evaluation_once():
    assert jobs.evaluations(experiment(seeds=(0, 1))) == [
        "results/coco/retinanet_r50/fgd/eval.json",
        "results/coco/retinanet_r50/fgd/seed1/eval.json",
        "results/coco/retinanet_r50/baseline/eval.json",
        "results/coco/retinanet_r50/baseline/seed1/eval.json",
        "results/coco/faster_rcnn_r50/fgd/eval.json",
        "results/coco/faster_rcnn_r50/fgd/seed1/eval.json",
        "results/coco/teachers/zoo/eval.json",
        "results/coco/teachers/own/eval.json",
    ]
    assert jobs.teacher_checks(experiment(), "demo") == [
        f"results/coco/teachers/{name}/checked.json" for name in ("zoo", "own")
    ]


def test_pictures_are_of_the_first_seed_and_the_images_that_the_suite_names():
    files = jobs.picture_files(experiment(seeds=(0, 1)), "faster_rcnn_r50")
    assert files["baseline"] == "results/coco/retinanet_r50/baseline/student.pth"
    assert files["trained"] == "results/coco/faster_rcnn_r50/fgd/trained.pth"
    assert jobs.picture_images(experiment()) == "--folder val"
    assert jobs.picture_images(experiment(pictures=["a b.jpg"])) == "'val/a b.jpg'"


def test_students_are_called_after_their_runs():
    assert jobs.student_name("a", "fgd") == "a_fgd"
    assert jobs.student_name("a", "fgd/seed1") == "a_fgd_seed1"


def test_a_model_is_a_teacher_or_a_run():
    teacher = jobs.model_files(experiment(), "teachers/zoo")
    student = jobs.model_files(experiment(seeds=(0, 1)), "retinanet_r50/fgd/seed1")
    assert teacher["config"] == "results/coco/teachers/zoo/detector.py"
    assert student["checkpoint"] == "results/coco/retinanet_r50/fgd/seed1/student.pth"


def test_the_plan_tells_what_a_gpu_needs(monkeypatch):
    figures = {"retinanet_r50": Memory(1.0, 2.0), "another": Memory(1.0, 1.0)}
    monkeypatch.setattr(jobs.memory, "known", lambda: figures)
    said = "GPU memory for 2 images a process, float32, about, GB: retinanet_r50 8"
    assert jobs.gpu_memory(experiment(rows=("retinanet_r50",))) == said
    rows = jobs.gpu_memory(experiment(rows=("retinanet_r50", "fcos_r50")))
    assert rows == f"{said}; not\ncounted: fcos_r50"
    monkeypatch.setattr(jobs.memory, "known", dict)
    assert jobs.gpu_memory(experiment()) is None
