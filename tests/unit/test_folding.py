"""A backbone's batch norms are folded where its features stay as they are, and only there."""

import copy
import logging

import pytest
import torch
from torch import nn

from fgd.folding import folded


class NormWithActivation(nn.BatchNorm2d):
    """As timm's BatchNormAct2d."""

    def forward(self, input):
        return torch.relu(super().forward(input))


class NormsLast(nn.Module):
    """Both convolutions are registered before both norms."""

    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3)
        self.bn1, self.bn2 = nn.BatchNorm2d(4), nn.BatchNorm2d(4)

    def forward(self, image):
        first = torch.relu(self.bn1(self.conv1(image)))
        return first, torch.relu(self.bn2(self.conv2(first)))


class ForGPUsAlone(nn.Sequential):
    def forward(self, image):
        raise RuntimeError("implementation for device cpu not found")


class Drawing(nn.Sequential):
    """One that draws random numbers, as it should not."""

    def forward(self, image):
        return super().forward(image), torch.rand(2)


def with_statistics(backbone):
    """Of no batch norm is anything 0 or 1."""
    with torch.no_grad():
        for name, tensor in backbone.state_dict().items():
            if "num_batches" not in name:
                tensor.uniform_(0.5, 1.5)
    return backbone.eval()


def sequence(*between):
    return [nn.Conv2d(3, 4, 3), *between, nn.BatchNorm2d(4), nn.ReLU()]


def batch_norms(backbone):
    return sum(isinstance(each, nn.modules.batchnorm._BatchNorm) for each in backbone.modules())


@pytest.mark.parametrize("kind", [nn.Sequential, Drawing])
def test_a_norm_after_its_convolution_is_folded_and_no_number_drawn(kind):
    backbone = with_statistics(kind(*sequence()))
    before, state = copy.deepcopy(backbone.state_dict()), torch.random.get_rng_state()
    other = folded(backbone)
    assert (batch_norms(backbone), batch_norms(other)) == (1, 0)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(torch.equal(before[name], each) for name, each in backbone.state_dict().items())
    image = torch.randn(1, 3, 16, 16)
    torch.testing.assert_close(
        nn.Sequential.forward(other, image), nn.Sequential.forward(backbone, image)
    )


@pytest.mark.parametrize(
    "backbone, reason",
    [
        (NormsLast(), "its features would be others, by "),
        (nn.Sequential(*sequence(nn.GELU())), "its features would be others, by "),
        (
            nn.Sequential(nn.Conv2d(3, 4, 3), NormWithActivation(4)),
            "a NormWithActivation may do more than torch's _BatchNorm",
        ),
        (
            ForGPUsAlone(*sequence()),
            "it could not be tried (RuntimeError: implementation for device cpu not found)",
        ),
    ],
)
def test_a_norm_in_another_place_stays_and_a_line_says_why(backbone, reason, caplog):
    backbone = with_statistics(backbone)
    with caplog.at_level(logging.INFO, "fgd"):
        assert folded(backbone) is backbone
    start = "the teacher's batch norms are not folded into its convolutions: "
    assert caplog.messages[0].startswith(start + reason)


def test_what_is_no_number_is_not_taken_for_the_same():
    backbone = with_statistics(nn.Sequential(*sequence()))
    backbone[0].weight.data.fill_(float("inf"))
    assert folded(backbone) is backbone


def test_a_backbone_without_batch_norms_is_not_even_run():
    backbone = ForGPUsAlone(nn.Conv2d(3, 4, 3))
    assert folded(backbone) is backbone
