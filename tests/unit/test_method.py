"""The version of the method: raised whenever the method computes something else."""

import method_values
import mmcv.ops.deform_conv
import pytest
import torch

from fgd.distiller import FGDDistiller
from fgd.loss import terms
from fgd.method import METHOD_VERSION, method_id

STORED = method_values.stored()


@pytest.mark.parametrize("case", method_values.CASES)
def test_a_version_keeps_its_values(case):
    assert STORED["version"] == METHOD_VERSION, "run tests/method_values.py (see fgd/method.py)"
    changed = method_values.differences(case, STORED["values"][case])
    assert not changed, "fgd/method.py says what to do:\n" + "\n".join(changed)


def test_results_from_before_there_were_versions_are_of_the_first():
    assert method_id(1) == "c0abf72a179554a23c860a507e5f90f3515b0d99d465268daf4b9219d5a4ea33"
    assert len({method_id(version) for version in range(1, 10)}) == 9


def no_inheritance(patch):
    patch.setattr(FGDDistiller, "init_weights", lambda self: self.student.init_weights())


def another_attention(patch):
    distance = terms._distance
    patch.setattr(terms, "_distance", lambda *args, **more: 1.001 * distance(*args, **more))


def another_operator(patch):
    operator = mmcv.ops.deform_conv.deform_conv2d
    patch.setattr(
        mmcv.ops.deform_conv,
        "deform_conv2d",
        lambda x, offset, *rest: operator(x, offset + 1e-3, *rest),
    )


@pytest.mark.parametrize(
    ("case", "change", "names"),
    [
        ("loss", another_attention, "attention of fine"),
        ("distiller", no_inheritance, "start of neck"),
        ("operators", another_operator, "deformable convolution"),
    ],
)
def test_a_change_is_seen(monkeypatch, case, change, names):
    change(monkeypatch)
    assert names in "\n".join(method_values.differences(case, STORED["values"][case]))


def test_within_a_version_no_value_is_overwritten(tmp_path, monkeypatch):
    monkeypatch.setattr(method_values, "FILE", tmp_path / "values.json")
    monkeypatch.setattr(method_values, "CASES", {"start": lambda: {"weight": torch.ones(3)}})
    method_values.write()
    assert method_values.stored()["values"] == {
        "start": {"weight": method_values.told(torch.ones(3))}
    }
    monkeypatch.setattr(method_values, "CASES", {"start": lambda: {"weight": torch.zeros(3)}})
    with pytest.raises(SystemExit, match=r"start: weight was .* Raise METHOD_VERSION"):
        method_values.write()
    monkeypatch.setattr(method_values, "METHOD_VERSION", METHOD_VERSION + 1)
    method_values.write()
    assert method_values.stored()["version"] == METHOD_VERSION + 1
