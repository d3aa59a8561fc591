"""The results table: what it says of measured, unfinished and published numbers."""

import csv
import io
import json
import re
import statistics
from dataclasses import replace

import pytest
from scipy.stats import ttest_rel

from fgd.checkout import root
from fgd.errors import FGDError
from fgd.suite import load_suite
from fgd.table import collect, to_csv, to_json, to_markdown, write_table

RETINANET_TEACHER = "teachers/retinanet_x101_64x4d_fpn_1x_coco"
CASCADE_TEACHER = "teachers/cascade_mask_rcnn_x101_32x4d_fpn_dconv_c3-c5_1x_coco"


@pytest.fixture(scope="module")
def suite():
    return load_suite(root() / "configs/suites/mini.yaml")


@pytest.fixture
def results(tmp_path):
    """retinanet_r50 is finished, mask_rcnn_r50 lacks its baseline; nothing else has run."""
    write_report(tmp_path / RETINANET_TEACHER, 0.3912)
    write_report(tmp_path / "retinanet_r50/baseline", 0.1624)
    write_report(tmp_path / "retinanet_r50/fgd", 0.3146)
    write_report(tmp_path / CASCADE_TEACHER, 0.41, mask=0.38)
    write_report(tmp_path / "mask_rcnn_r50/fgd", 0.3, mask=0.25)
    return tmp_path


def write_report(folder, box, mask=None):
    folder.mkdir(parents=True, exist_ok=True)
    report = {"checkpoint": "x.pth", "sha256": "0123456789abcdef", "images": 300}
    report |= {"box": {"AP": box}} | ({} if mask is None else {"mask": {"AP": mask}})
    (folder / "eval.json").write_text(json.dumps(report))


def line_of(markdown, row):
    """The cells of a row's line."""
    line = next(line for line in markdown.splitlines() if line.startswith(f"| {row} "))
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_a_finished_row_has_teacher_baseline_fgd_and_the_gain_of_what_is_printed(suite, results):
    cells = line_of(to_markdown(collect(suite, results)), "retinanet_r50")
    assert cells[3:7] == ["39.1", "16.2", "31.5", "+15.3"]


def test_published_numbers_stand_apart_and_are_said_not_to_compare(suite, results):
    markdown = to_markdown(collect(suite, results))
    assert line_of(markdown, "retinanet_r50")[7] == "37.4 > 40.7  +3.3"
    assert "do not compare" in markdown


def test_masks_have_a_line_of_their_own(suite, results):
    cells = line_of(to_markdown(collect(suite, results)), "  mask AP")
    assert cells[3:] == ["38.0", "-", "25.0", "-", "35.4 > 37.8  +2.4"]


def test_unfinished_rows_say_what_they_lack_and_how_to_run_them(suite, results):
    markdown = to_markdown(collect(suite, results))
    assert "## Unfinished: 7 of 8 rows" in markdown
    assert "- retinanet_r101: no baseline, fgd\n" in markdown
    assert "- mask_rcnn_r50: no baseline\n" in markdown
    command = "snakemake --profile cluster/profiles/local --config suite=mini"
    baseline, fgd = (f"{results}/retinanet_r101/{arm}/eval.json" for arm in ("baseline", "fgd"))
    assert f"{command}\n" in markdown
    assert f"{command} -- \\\n        {baseline} \\\n        {fgd}\n" in markdown


def test_what_an_unfinished_row_lacks_is_asked_for_where_it_will_be(suite, tmp_path):
    write_report(tmp_path / "retinanet_r50/baseline", 0.1)
    write_report(tmp_path / "retinanet_r50/fgd", 0.2)
    elsewhere = replace(suite, file="birds/my suite.yaml")
    markdown = to_markdown(collect(elsewhere, tmp_path))
    wanted = f"--config 'suite=birds/my suite.yaml' -- \\\n        {tmp_path}/{RETINANET_TEACHER}"
    assert f"{wanted}/eval.json\n" in markdown


def test_every_table_of_the_page_is_aligned_and_fits_a_wide_terminal(suite, results):
    lines = [x for x in to_markdown(collect(suite, results)).splitlines() if x.startswith("|")]
    bars = [[i for i, character in enumerate(line) if character == "|"] for line in lines]
    assert len({tuple(b) for b in bars}) == 2  # results and checkpoints
    assert max(map(len, lines)) <= 120


def test_csv_has_a_line_a_row_and_kind(suite, results):
    lines = list(csv.DictReader(io.StringIO(to_csv(collect(suite, results)))))
    assert len(lines) == 9
    first = lines[0]
    assert (first["row"], first["kind"], first["model"]) == ("retinanet_r50", "box", "RetinaNet")
    assert (first["teacher_ap"], first["gain"], first["missing"]) == ("39.1", "15.3", "")
    assert (lines[1]["fgd_ap"], lines[1]["missing"]) == ("", "baseline fgd")


def test_json_has_the_whole_reports(suite, results):
    table = json.loads(to_json(collect(suite, results)))
    assert table["suite"] == "mini"
    row = table["rows"][0]
    assert row["measured"]["fgd"]["sha256"] == "0123456789abcdef"
    assert row["figures"]["box"]["gain"] == 15.3
    assert row["missing"] == []


def test_full_size_rows_name_their_backbones_as_papers_do(results):
    suite = load_suite(root() / "configs/suites/coco.yaml")
    cells = line_of(to_markdown(collect(suite, results)), "faster_rcnn_r101")
    assert cells[1:3] == ["R101", "Cascade Mask R-CNN X101"]


def test_a_row_with_masks_alone_has_one_line(tmp_path):
    suite = load_suite(root() / "configs/suites/more.yaml")
    folder = tmp_path / "teachers/solo_r101_fpn_3x_coco"
    folder.mkdir(parents=True)
    report = {"checkpoint": "x.pth", "sha256": "0123456789", "images": 5000, "mask": {"AP": 0.37}}
    (folder / "eval.json").write_text(json.dumps(report))
    table = collect(suite, tmp_path)
    cells = line_of(to_markdown(table), "solo_r50, mask AP")
    assert cells[1:] == ["R50", "SOLO R101", "37.0", "-", "-", "-", "33.1 > 36.0  +2.9"]
    lines = csv.DictReader(io.StringIO(to_csv(table)))
    assert [x["kind"] for x in lines if x["row"] == "solo_r50"] == ["mask"]


def test_all_three_files_are_written(suite, results, tmp_path):
    shown = write_table(suite, results, tmp_path / "table")
    assert (tmp_path / "table.md").read_text() in shown
    assert (tmp_path / "table.csv").exists()
    assert (tmp_path / "table.json").exists()


def test_something_else_than_a_report_is_named(suite, results):
    broken = results / "retinanet_r50/fgd/eval.json"
    for content in ("{}", "[]", "3"):
        broken.write_text(content)
        with pytest.raises(FGDError, match=str(broken)):
            collect(suite, results)


def test_what_was_measured_on_other_data_is_not_compared(suite, results):
    for key, value in (("images", 40), ("annotations", "b" * 64)):
        for arm in ("fgd", "baseline"):
            report = results / f"retinanet_r50/{arm}/eval.json"
            content = json.loads(report.read_text()) | {"annotations": "a" * 64}
            report.write_text(json.dumps(content | ({key: value} if arm == "fgd" else {})))
        with pytest.raises(FGDError, match=r"row retinanet_r50: .* was measured on other data"):
            collect(suite, results)
        report.with_name("eval.json").write_text(json.dumps(content | {"images": 300}))


def test_nothing_to_find_is_no_figure(suite, results):
    write_report(results / "retinanet_r50/fgd", -1.0)
    cells = line_of(to_markdown(collect(suite, results)), "retinanet_r50")
    assert cells[3:7] == ["39.1", "16.2", "-", "-"]


# --- Several seeds ---


@pytest.fixture
def seeded(suite, results):
    """The suite with three seeds; retinanet_r50 has all runs, mask_rcnn_r50 one with each arm."""
    for arm, aps in (("baseline", (0.15, 0.18)), ("fgd", (0.33, 0.34))):
        for seed, ap in zip((1, 2), aps, strict=True):
            write_report(results / f"retinanet_r50/{arm}/seed{seed}", ap)
    write_report(results / "mask_rcnn_r50/baseline/seed2", 0.2, mask=0.15)
    return collect(replace(suite, seeds=(0, 1, 2)), results)


def test_several_seeds_have_mean_deviation_and_the_number_of_runs(seeded):
    metrics = seeded.rows[0].metrics["box"]
    baselines, fgds = (16.24, 15.0, 18.0), (31.46, 33.0, 34.0)
    gains = [b - a for a, b in zip(baselines, fgds, strict=True)]
    assert metrics.baseline_ap == round(statistics.mean(baselines), 1)
    assert metrics.baseline_std == round(statistics.stdev(baselines), 1)
    assert metrics.gain_std == round(statistics.stdev(gains), 1)
    assert (metrics.baseline_runs, metrics.fgd_runs) == (3, 3)
    cells = line_of(to_markdown(seeded), "retinanet_r50")
    assert cells[3:8] == ["39.1", "16.4 ±1.5", "32.8 ±1.3", "+16.4 ±1.4", "3"]


def test_whether_a_gain_is_more_than_the_seeds_noise(seeded, suite, results):
    baselines, fgds = (16.24, 15.0, 18.0), (31.46, 33.0, 34.0)
    right = ttest_rel(fgds, baselines).confidence_interval(0.95)
    low, high = seeded.rows[0].metrics["box"].gain_interval
    assert (low, high) == (round(right.low, 1), round(right.high, 1))
    page = to_markdown(seeded)
    assert re.search(rf"retinanet_r50 +\| +\+16.4 \| \+{low} to \+{high} \| +3 \| +yes \|", page)
    for ap, verdict in ((0.16, "not shown"), (0.01, "no, it is a loss")):
        for seed in ("", "/seed1", "/seed2"):
            write_report(results / f"retinanet_r50/fgd{seed}", ap)
        assert verdict in to_markdown(collect(replace(suite, seeds=(0, 1, 2)), results))
    assert "nothing can be said" in to_markdown(collect(suite, results))


def test_a_single_run_has_no_deviation_and_runs_of_different_seeds_no_gain(seeded):
    cells = line_of(to_markdown(seeded), "mask_rcnn_r50")
    assert cells[3:8] == ["41.0", "20.0", "30.0", "-", "1"]


def test_the_gain_is_that_of_the_seeds_that_have_both_runs(suite, results):
    write_report(results / "retinanet_r50/fgd/seed1", 0.9)
    table = collect(replace(suite, seeds=(0, 1)), results)
    cells = line_of(to_markdown(table), "retinanet_r50")
    assert cells[4:7] == ["16.2", "60.7 ±41.4", "+15.2"]


def test_runs_that_lack_are_named(seeded):
    markdown = to_markdown(seeded)
    assert "- mask_rcnn_r50: no baseline, baseline/seed1, fgd/seed1, fgd/seed2" in markdown
    assert "/retinanet_r101/fgd/seed2/eval.json" in markdown
    assert "seeds 0, 1, 2" in markdown
    lines = [line for line in markdown.splitlines() if line.startswith("|")]
    assert max(map(len, lines)) <= 140


def test_csv_and_json_have_the_deviations_too(seeded):
    line = next(csv.DictReader(io.StringIO(to_csv(seeded))))
    assert (line["fgd_ap"], line["fgd_std"], line["fgd_runs"]) == ("32.8", "1.3", "3")
    table = json.loads(to_json(seeded))
    assert table["seeds"] == [0, 1, 2]
    assert table["rows"][0]["measured"]["fgd/seed2"]["box"]["AP"] == 0.34


def test_a_row_alone_may_share_another_rows_baseline(tmp_path):
    study = load_suite(root() / "configs/suites/study.yaml")
    (row,) = collect(study, tmp_path, ("attention_off",)).rows
    assert row.folders["baseline"] == "retinanet_r50/baseline"
    with pytest.raises(FGDError, match="has no row 'attention'"):
        collect(study, tmp_path, ("attention",))
