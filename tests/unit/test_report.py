"""The page and the figures of a suite: what they say, and that names are text."""

import json
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from fgd import progress
from fgd.checkout import root
from fgd.errors import FGDError
from fgd.report.figures import write_figures
from fgd.report.page import page_text, read_trainings, write_page
from fgd.report.plots import PAPER, ap_figure, own_loss
from fgd.report.trainings import Training, thin
from fgd.suite import load_suite
from fgd.table import collect
from fgd.table.latex import escape, to_latex

EVIL = """<script>alert("x")</script> 'Ünï' & $\\alpha$ 猫"""


@pytest.fixture(scope="module")
def suite():
    return replace(
        load_suite(root() / "configs/suites/mini.yaml"), rows=("retinanet_r50", "mask_rcnn_r50")
    )


@pytest.fixture(scope="module")
def results(suite, tmp_path_factory):
    """retinanet_r50 is finished, with logs and an audit; mask_rcnn_r50 has not begun."""
    folder = tmp_path_factory.mktemp("results")
    write_report(folder / "teachers/retinanet_x101_64x4d_fpn_1x_coco", 0.3912)
    write_report(folder / "retinanet_r50/baseline", 0.3201)
    write_report(folder / "retinanet_r50/fgd", 0.3046)
    for arm in ("baseline", "fgd"):
        run = folder / "retinanet_r50" / arm / "run"
        run.mkdir()
        for done in (100, 200, 250):
            progress.append(run, entry(done, arm))
            metrics = {"iter": done, "epoch": done // 50, "box": {"AP": done / 1000}}
            progress.append(run, metrics, progress.VALIDATION)
    weights = {
        "summary": {"tensors": {"teacher": 3, "own": 0}, "parameters": {"teacher": 1234, "own": 0}},
        "files": {"teacher": {"path": EVIL, "sha256": "01234567"}},
    }
    (folder / "retinanet_r50/fgd/run/weights.json").write_text(json.dumps(weights))
    return folder


def write_report(folder, ap):
    folder.mkdir(parents=True)
    metrics = {"AP": ap, "AP50": ap, "AP75": ap, "APs": ap, "APm": ap, "APl": -1}
    metrics["per_class"] = {EVIL: ap, "cat": ap / 2}
    report = {"checkpoint": "x.pth", "sha256": "0123456789abcdef0123", "images": 300, "seconds": 10}
    (folder / "eval.json").write_text(json.dumps(report | {"box": metrics}))


def entry(done, arm):
    settings = {"iter": done, "max_iters": 250, "epoch": 1, "max_epochs": 5, "lr": 0.01}
    speed = {"images_per_second": 16.0, "eta_seconds": 1, "processes": 2, "device": "cpu"}
    added = {"loss_fgd_fpn_0": 3.0} if arm == "fgd" else {}
    losses = {"loss_cls": 1.0, **added, "loss": 1.0 + sum(added.values())}
    return settings | speed | losses


class Page(HTMLParser):
    """The tags of a page, its words, and every address that it names."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.words, self.addresses = [], "", []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.addresses += [v for k, v in attributes if k in ("href", "src", "xlink:href")]

    handle_startendtag = handle_starttag

    def handle_data(self, data):
        self.words += data


@pytest.fixture(scope="module")
def page(suite, results):
    table = collect(suite, results)
    evil = replace(table, suite=EVIL, rows=[replace(table.rows[0], name=EVIL), *table.rows])
    (results / EVIL.replace("/", "")).mkdir()
    return Page(page_text(suite, evil, results, results))


def test_names_are_text_whatever_they_hold(page):
    assert "script" not in page.tags
    # Table, headings, figures and audit.
    assert page.words.count(EVIL) >= 5


def test_a_page_needs_nothing_but_itself(page):
    from_here = ("data:", "#")
    assert "link" in page.tags and "img" not in page.tags
    for address in page.addresses:
        assert address.startswith(from_here) or "://" not in address, address


def test_a_page_tells_measured_published_cost_and_audit(page):
    for words in ("39.1", "32.0", "30.5", "\u22121.5", "+3.3", "16.0", "1,234", "Unfinished"):
        assert words in page.words, words
    assert "no teacher, baseline, fgd" in page.words


def test_links_lead_to_files(suite, results, tmp_path):
    write_page(suite, results, results / "index.html")
    links = Page((results / "index.html").read_text()).addresses
    files = [link for link in links if not link.startswith(("data:", "#"))]
    assert "retinanet_r50/fgd/eval.json" in files
    assert all((results / link).exists() for link in files)


def test_hours_count_every_process(suite, results):
    run = read_trainings(suite, collect(suite, results), results)["retinanet_r50"]["fgd"]
    assert run.seconds == pytest.approx(250 * suite.total_batch / 16)
    assert run.device_hours == pytest.approx(run.seconds * 2 / 3600)
    assert own_loss(run) == [1.0, 1.0, 1.0]
    assert run.aps("box") == ([2, 4, 5], pytest.approx([10, 20, 25]))
    assert run.aps("mask") == ([], [])


def test_curves_are_thinned_by_their_means():
    assert thin(range(10), 5) == [0.5, 2.5, 4.5, 6.5, 8.5]
    assert thin([], 5) == []
    assert Training([], [], None, 16, 1, None, None).images_per_second is None


def test_a_wrong_audit_is_named(suite, results):
    path = results / "retinanet_r50/baseline/run/weights.json"
    path.write_text("{}")
    with pytest.raises(FGDError, match="not an audit of starting weights"):
        read_trainings(suite, collect(suite, results), results)
    path.unlink()


def test_figures_are_pdf_and_svg_alike_every_time(suite, results, tmp_path):
    table = collect(suite, results)
    runs = read_trainings(suite, table, results)
    paths = write_figures(table, runs, tmp_path)
    assert {path.suffix for path in paths} == {".pdf", ".svg"}
    before = [path.read_bytes() for path in paths]
    assert before == [path.read_bytes() for path in write_figures(table, runs, tmp_path)]


def test_latex_has_a_line_a_row_and_kind(suite, results):
    lines = to_latex(collect(suite, results)).splitlines()
    body = lines[lines.index(r"\midrule") + 1 : lines.index(r"\bottomrule")]
    assert len(body) == 3
    assert body[0].startswith("RetinaNet & R18x16 & RetinaNet R34x16 & $39.1$ & $32.0$ & $30.5$")
    assert body[0].endswith(r"$-1.5$ & $37.4$ & $40.7$ & $+3.3$ \\")
    assert body[2].startswith(r"\quad mask AP &  &  & --")


def test_latex_names_a_row_that_has_masks_alone(tmp_path):
    latex = to_latex(collect(load_suite(root() / "configs/suites/more.yaml"), tmp_path))
    (line,) = [line for line in latex.splitlines() if "SOLO" in line]
    assert line.startswith("SOLO, mask AP & R50 & SOLO R101 & -- ")


def test_latex_tells_rows_of_the_same_detectors_apart_and_has_deviations(tmp_path):
    write_report(tmp_path / "retinanet_r50/baseline", 0.3)
    write_report(tmp_path / "retinanet_r50/baseline/seed1", 0.2)
    study = load_suite(root() / "configs/suites/study.yaml")
    latex = to_latex(collect(study, tmp_path)).splitlines()
    assert [line.split(" & ")[0] for line in latex if line.startswith("RetinaNet")][:2] == [
        r"RetinaNet (retinanet\_r50) (runs: 2, 0)",
        r"RetinaNet (inherit\_alone) (runs: 2, 0)",
    ]
    assert r"$25.0 \pm 7.1$" in next(line for line in latex if line.startswith("RetinaNet"))
    assert r"% Mean and standard deviation over the seeds 0, 1, 2." in latex
    write_report(tmp_path / "retinanet_r50/fgd", 0.4)
    latex = to_latex(collect(study, tmp_path))
    assert r"RetinaNet (retinanet\_r50) (runs: 2, 1) &" in latex
    assert "% Unfinished: retinanet_r50 has " in latex
    assert "no teacher, fgd/seed1, baseline/seed2, fgd/seed2." in latex


def test_no_stroke_is_longer_than_the_gain_beside_it(tmp_path):
    study = load_suite(root() / "configs/suites/study.yaml")
    for seed in ("", "/seed1", "/seed2"):
        write_report(tmp_path / f"fcos_r50/baseline{seed}", 0.3)
    write_report(tmp_path / "fcos_r50/fgd", 0.4)

    def strokes():
        (axes,) = ap_figure(collect(study, tmp_path), PAPER).axes
        return [list(line.get_xdata()) for line in axes.lines]

    assert strokes() == []
    for seed in ("/seed1", "/seed2"):
        write_report(tmp_path / f"fcos_r50/fgd{seed}", 0.4)
    assert strokes() == [[30.0, 40.0]]


def test_latex_prints_names_as_they_are():
    assert escape("a_b & 5% {x}") == r"a\_b \& 5\% \{x\}"


def test_figures_and_page_of_several_seeds_show_their_means(suite, tmp_path):
    suite = replace(suite, rows=("retinanet_r50",), seeds=(0, 1))
    for seed, ap in enumerate((0.30, 0.32)):
        for arm in ("baseline", "fgd"):
            write_report(tmp_path / "retinanet_r50" / suite.layout.run_name(arm, seed), ap)
    table = collect(suite, tmp_path)
    means = table.rows[0].means("box")
    assert list(means) == ["baseline", "fgd"]
    assert means["fgd"]["APm"] == pytest.approx(0.31)
    assert means["fgd"]["APl"] == -1
    assert means["fgd"]["per_class"] == pytest.approx({EVIL: 0.31, "cat": 0.155})
    runs = read_trainings(suite, table, tmp_path)
    assert len(write_figures(table, runs, tmp_path / "figures")) == 8
    words = Page(page_text(suite, table, tmp_path, tmp_path)).words
    assert "means over the seeds" in words
    assert "deviations of 2 runs, with the seeds 0, 1" in words
    assert words.count("±1.4") == 2
    assert words.count("31.0") > 4


def test_the_page_tells_where_a_student_can_be_used(suite, results, tmp_path):
    for name in ("student.py", "student.pth", "student.onnx"):
        (results / "retinanet_r50/fgd" / name).touch()
    evaluation = results / "retinanet_r50/fgd/eval.json"
    evaluation.write_text(evaluation.read_text())  # of the present checkpoint
    text = page_text(suite, collect(suite, results), results, results)
    assert "measured on 300 images" in text
    assert '<a href="retinanet_r50/fgd/student.onnx">graph</a>' in text
    assert f"not made; <code>snakemake {results}/retinanet_r50/fgd/mmdet3/student.py</code>" in text
    assert text.count("Where the student can be used") == 1  # the other row has none yet
    for name in ("student.py", "student.pth", "student.onnx"):
        (results / "retinanet_r50/fgd" / name).unlink()


def test_hours_are_of_as_many_processes_as_there_were():
    log = [{"iter": 90, "processes": 8}, {"iter": 100, "processes": 1}]
    log = [entry | {"images_per_second": 16 / 36} for entry in log]  # 36 s an iteration
    training = Training(log, [], None, 16, 1, None, None)
    assert training.seconds == pytest.approx(3600)
    assert training.device_hours == pytest.approx(0.9 * 8 + 0.1)
