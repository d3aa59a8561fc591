"""What a row needs of a GPU: counted for a small detector, kept, and compared with a card."""

import json

import pytest
import torch
from torch import nn

from fgd.doctor import memory as figures
from fgd.doctor.memory import Memory
from fgd.proof.memory import _bytes, _kept


class Student(nn.Module):
    """Keeps its input and the result of its first layer, once each."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(4, 8, bias=False), nn.Linear(8, 1, bias=False)

    def forward_train(self, img):
        hidden = self.first(img)
        return {"loss": self.second(hidden.view(-1, 8)).sum()}


def test_what_a_step_keeps_is_counted_once_and_without_weights():
    student = Student()
    assert _kept(student, {"img": torch.ones(10, 4, requires_grad=True)}) == 4 * (10 * 4 + 10 * 8)
    assert _bytes(student) == 4 * (4 * 8 + 8)


def test_a_need_is_the_sum_with_margin_and_driver():
    assert Memory(fixed=1.0, image=2.0).of(2) == pytest.approx(5.0 * 1.5 + 0.6)


@pytest.fixture
def kept(tmp_path, monkeypatch):
    file = tmp_path / "memory.json"
    figures.keep(file, {"large": Memory(1.0, 8.0)})
    figures.keep(file, {"small": Memory(0.4, 1.0)})
    monkeypatch.setattr(figures, "file", lambda: file)
    return file


def test_figures_are_kept_beside_those_of_other_rows(kept):
    figures.keep(kept, {"small": Memory(0.5, 1.0)})
    assert list(json.loads(kept.read_text())) == ["large", "small"]
    assert figures.known() == {"large": Memory(1.0, 8.0), "small": Memory(0.5, 1.0)}


def test_a_card_has_room_for_some_rows_and_not_for_others(kept):
    assert figures.verdict(16) == (["small 4"], ["large 26"])
    assert figures.verdict(80) == (["large 26", "small 4"], [])
    assert figures.verdict(80, images=8) == (["small 13"], ["large 98"])


def test_the_repositorys_figures_are_of_the_tables_rows():
    rows = {path.stem for path in (figures.root() / "configs/distillers").glob("*.py")}
    assert figures.known().keys() <= rows
    assert "retinanet_r50" in figures.known()
