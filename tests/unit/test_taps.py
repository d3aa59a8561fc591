"""Where features are taken: what the head of every family gets."""

import pytest
import torch
from families import FAMILIES, small
from mmdet.models import build_detector

from fgd import compat, recipe
from fgd.pair import convolved_levels
from fgd.pair.taps import FPN_TAPS, NECK, Recorder, built, measured
from fgd.recipe.building import build

compat.apply()
IMAGE = torch.rand(1, 3, 384, 512, generator=torch.Generator().manual_seed(0))


def _headed(detector):
    """The first head that features go to."""
    for name in ("rpn_head", "bbox_head", "mask_head"):
        if getattr(detector, name, None) is not None:
            return getattr(detector, name)
    raise AssertionError(f"{type(detector).__name__} has no head")


@pytest.mark.parametrize("family", FAMILIES)
def test_what_is_tapped_is_what_the_head_gets(family):
    detector = build_detector(small(family)).eval()
    recorder = Recorder(detector, NECK, "student")
    given = []

    def stop(features, *rest, **more):
        given.extend(features)
        raise StopIteration

    _headed(detector).forward = stop  # mmdet calls it without the module's hooks
    metas = [dict(img_shape=(384, 512, 3), pad_shape=(384, 512, 3), scale_factor=1.0)]
    metas[0] |= dict(batch_input_shape=(384, 512))
    with pytest.raises(StopIteration), torch.no_grad():
        detector.simple_test(IMAGE, metas)
    taken = recorder.take()
    assert list(taken) == list(range(len(given)))
    assert all(taken[level] is feature for level, feature in enumerate(given))
    assert recorder.take() == {}


@pytest.mark.parametrize("family", FAMILIES)
def test_the_published_tap_goes_without_saying_where_it_is_the_necks_output(family):
    model = small(family)
    detector = build_detector(model).eval()
    recorders = [Recorder(detector, NECK, "student")]
    levels = convolved_levels(model)
    of_their_own = {"FPN": 5, "TOOD": 5, "two-stage FPN": 4, "SOLOv2": 4}  # convolutions
    assert levels == set(range(of_their_own.get(family, 0)))
    if not levels:
        return
    recorders.append(Recorder(detector, FPN_TAPS, "student"))
    with torch.no_grad():
        detector.extract_feat(IMAGE)
    necks, published = (recorder.take() for recorder in recorders)
    assert all(torch.equal(necks[level], published[level]) for level in levels)


def test_measuring_draws_no_random_numbers_and_changes_nothing():
    detector = build_detector(small("FPN")).train()
    before = {name: tensor.clone() for name, tensor in detector.state_dict().items()}
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    levels = measured(detector, Recorder(detector, NECK, "student"), "student", (320, 416))
    assert torch.equal(torch.rand(3), expected)
    assert detector.training
    assert all(torch.equal(tensor, before[n]) for n, tensor in detector.state_dict().items())
    assert [level.stride for level in levels.values()] == [8, 16, 32, 64, 128]
    assert [level.size for level in levels.values()][3:] == [(5, 7), (3, 4)]


def test_the_level_that_a_two_stage_fpn_only_pools_is_told():
    for family, copied in (("two-stage FPN", [4]), ("FPN", []), ("PAFPN", [4])):
        detector = build_detector(small(family))
        levels = measured(detector, Recorder(detector, NECK, "student"), "student")
        assert [n for n, level in levels.items() if level.copied] == copied


def test_a_copied_level_of_no_numbers_is_known_by_its_neck():
    model = recipe.known_config("cascade_rcnn_r50_rfp_1x_coco").model
    member = built("student", "rfp", model=model, detector=build("rfp", model).eval())
    assert [level.copied for level in member.measured.values()] == [False] * 4 + [True]
