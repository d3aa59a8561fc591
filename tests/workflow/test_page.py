"""The page of a finished suite in a real browser, and Snakemake's own report."""

import browser
import pytest

WIDTHS = {"desktop": 1280, "phone": 390}


@pytest.fixture(scope="session")
def chromium():
    found = browser.find()
    if found is None:
        pytest.skip("needs Chromium, or root and apt-get to install it")
    return found


@pytest.mark.parametrize("device", WIDTHS)
def test_the_page_is_quiet_complete_and_as_wide_as_its_window(finished, chromium, tmp_path, device):
    page = finished.folder / "results/mini/index.html"
    shot = tmp_path / f"{device}.png"
    visit = browser.visit(chromium, page, WIDTHS[device], 4000, shot)
    assert visit.console == []
    assert visit.requests == []
    assert visit.width <= WIDTHS[device]
    assert visit.images
    assert shot.stat().st_size > 10_000


def test_a_page_that_is_not_is_told(chromium, tmp_path):
    page = tmp_path / "bad.html"
    page.write_text(
        '<div style="width:2000px">x</div><img src="http://elsewhere.test/x.png">'
        "<script>console.error('oh')</script>"
    )
    visit = browser.visit(chromium, page, 390, 800, tmp_path / "bad.png")
    assert visit.requests == ["http://elsewhere.test/x.png"]
    assert any("oh" in line for line in visit.console)
    assert visit.width >= 2000
    assert not visit.images


def test_snakemakes_report_holds_table_figures_and_pictures_without_a_network(finished):
    # No proxy answers there: a download would fail.
    nowhere = {"http_proxy": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9"}
    result = finished.run("--report", "report.html", environment=nowhere)
    assert result.returncode == 0, result.stdout
    text = (finished.folder / "report.html").read_text()
    for name in ("table.csv", "ap.svg", "fcos_r50_attention.png", "mask_rcnn_r50_detections.png"):
        assert name in text
    assert "What FGD weights on an image" in text
