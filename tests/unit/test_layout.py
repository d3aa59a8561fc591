"""Paths below results/: those of fgd.suite.layout are the ones that the Snakefile's rules write."""

import re

import pytest

from fgd.checkout import root
from fgd.suite import Run
from fgd.suite.layout import FIGURES, NO_ROWS, PICTURES, TABLE_FORMATS, Layout, default_results

# A first seed of "{seed}" is as good as any: its runs lie in the arm's own folder.
LAYOUT = Layout(default_results("{suite}"), first_seed=0)
RULES = {
    name: body
    for file in sorted((root() / "workflow/rules").glob("*.smk"))
    for name, body in re.findall(
        r"^rule (\w+):\n(.*?)(?=^\S|\Z)", file.read_text(), re.DOTALL | re.MULTILINE
    )
}
BACKBONE, TEACHER = LAYOUT.backbone_training("{backbone}"), LAYOUT.teacher("{teacher}")
TRAINING = LAYOUT.teacher_training("{teacher}")


def run(arm):
    """The files of a run as a rule names them: its seed, if it has a folder, is a wildcard."""
    return LAYOUT.run(Run("{row}", f"{arm}{{seed}}", 0))


OUTPUTS = {
    "download_coco": [LAYOUT.downloaded],
    "check_data": [LAYOUT.data("{split}")],
    "train_backbone": [BACKBONE],
    "publish_backbone": [LAYOUT.metafile("backbones", "{backbone}")],
    "download_backbone": [LAYOUT.backbone("{backbone}")],
    "compose_teacher": [TEACHER.config, TEACHER.detector],
    "train_teacher": [TRAINING.trained],
    "evaluate_trained_teacher": [TRAINING.evaluation],
    "publish_teacher": [LAYOUT.metafile("teachers", "{teacher}")],
    "download_teacher": [TEACHER.checkpoint],
    "check_teacher": [TEACHER.checked],
    "compose": [run("{arm}").config, run("{arm}").detector],
    "distill": [run("fgd").trained],
    "baseline": [run("baseline").trained],
    "transfer": [run("{arm}").checkpoint],
    "transfer_to_mmdet3": [run("{arm}").mmdet3_config, run("{arm}").mmdet3_checkpoint],
    "export": [run("{arm}").onnx],
    "table": [LAYOUT.table("{table}", form) for form in TABLE_FORMATS],
    "pictures": [LAYOUT.picture("{row}", kind) for kind in PICTURES],
    "page": [LAYOUT.page()],
    "card": [LAYOUT.run(Run("{row}", "fgd", 0)).card],
}


def paths(rule, section):
    """The paths below results/ in a section of a rule."""
    found = re.search(
        rf"^    {section}:\n(.*?)(?=^    \S|\Z)", RULES[rule], re.DOTALL | re.MULTILINE
    )
    return re.findall(r'"(results/.*?)"', found[1]) if found else []


@pytest.mark.parametrize("rule", OUTPUTS)
def test_a_rule_writes_what_layout_says(rule):
    assert sorted(paths(rule, "output")) == sorted(OUTPUTS[rule])


def test_every_rule_of_results_is_compared():
    others = {"write_mini_set", "evaluate", "figures"}  # below, and data/mini
    assert OUTPUTS.keys() | others == RULES.keys()


def test_students_and_teachers_are_evaluated_into_their_own_folders():
    assert paths("evaluate", "output") == [
        f"{LAYOUT.results}/{{model}}/eval.json",
        f"{LAYOUT.results}/{{model}}/provenance.json",
    ]
    for files in (run("fgd"), TEACHER):
        assert files.evaluation == f"{files.folder}/eval.json"
        assert files.provenance == f"{files.folder}/provenance.json"


def test_figures_are_drawn_as_pdf_and_svg():
    files = [path.replace("{{suite}}", "{suite}") for path in paths("figures", "output")]
    assert files == [LAYOUT.figure("{name}", form) for form in ("pdf", "svg")]
    assert list(FIGURES) == ["ap", "sizes", "losses", "epochs"]


@pytest.mark.parametrize(
    ("rule", "files"),
    [("distill", run("fgd")), ("baseline", run("baseline")), ("train_teacher", TRAINING)],
)
def test_a_training_works_in_the_folder_that_layout_says(rule, files):
    assert paths(rule, "params") == [files.work_dir]


@pytest.mark.parametrize("rule", ["distill", "baseline"])
def test_times_and_logs_lie_where_the_page_looks_for_them(rule):
    assert f'"{LAYOUT.benchmark(rule, "{row}{seed}")}"' in RULES[rule]
    assert paths(rule, "log") == [LAYOUT.log(rule, "{row}{seed}")]


def test_a_further_seed_has_a_folder_of_its_own():
    layout = Layout("out", first_seed=3)
    assert layout.run(Run("a", "fgd", 3)).trained == "out/a/fgd/trained.pth"
    assert layout.run(Run("a", "fgd", 5)).trained == "out/a/fgd/seed5/trained.pth"


def test_no_row_is_called_as_another_folder_of_the_results():
    text = "".join(RULES.values()) + LAYOUT.head
    folders = set(re.findall(r'results/\{suite\}/(\w+)(?=[/"]|$)', text))
    assert folders == set(NO_ROWS)
