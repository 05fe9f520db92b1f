"""torchvision's operators, against its own kernels, or against `conformance.torchvision_kernels` for want of them."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import nobuco
from conformance.torchvision_models import torchvision
from nobuco import ChannelOrder, NobucoWarning
from nobuco.bridge import flat_outputs
from nobuco.export.tflite_file import run_tflite, to_tflite
from tests.parity import ORDERS
from tests.sizes import check_sizes

ops, detection = torchvision().ops, torchvision().models.detection


def boxes(count: int, size: float = 20.0, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    first = torch.rand(count, 2, generator=generator) * size
    return torch.cat([first, first + 1 + torch.rand(count, 2, generator=generator) * size / 2], 1)


def regions(count: int, images: int = 2, size: float = 20.0) -> torch.Tensor:
    """Regions of interest, one beyond the edge and one smaller than an element among them."""
    found = torch.cat([torch.arange(count)[:, None] % images, boxes(count, size)], 1)
    found[0, 1:] = torch.tensor([-3.0, -2.0, size * 2, size * 2])
    found[1, 1:] = torch.tensor([3.0, 4.0, 3.25, 4.5])
    return found


@pytest.mark.parametrize("threshold", [0.1, 0.5, 0.9])
def test_nms(check, threshold):
    scores = torch.rand(40, generator=torch.Generator().manual_seed(1))
    check(lambda b, s: ops.nms(b, s, threshold), boxes(40), scores, tflite=True)


def test_nms_of_equal_scores(check):
    check(lambda b, s: ops.nms(b, s, 0.3), boxes(20), torch.tensor([0.5, 0.25] * 10), tflite=True)


@pytest.mark.parametrize("threshold", [0.0, 0.5, 1.0])
def test_nms_at_its_edges(check, threshold):
    """Boxes without an area, that are alike, and that overlap by just as much as is allowed."""
    given = boxes(40).clamp(0, 16)
    given[5], given[7, 2], given[9, 2:], given[10] = given[6], given[7, 0], given[9, :2], given[9, [0, 1, 0, 1]]
    given[11], given[12] = torch.tensor([100.0, 100, 102, 101]), torch.tensor([100.0, 100, 101, 101])
    scores = torch.rand(40, generator=torch.Generator().manual_seed(1))
    check(lambda b, s: ops.nms(b, s, threshold), given, scores, tflite=True)


def test_batched_nms(check):
    scores = torch.rand(40, generator=torch.Generator().manual_seed(1))
    check(lambda b, s, i: ops.batched_nms(b, s, i, 0.3), boxes(40), scores, torch.arange(40) % 3)


@pytest.mark.parametrize("ratio", [2, 3, -1])
@pytest.mark.parametrize("aligned", [True, False])
def test_roi_align(check, ratio, aligned):
    x, rois = torch.randn(2, 5, 11, 13), regions(6)
    check(lambda x, r: ops.roi_align(x, r, (3, 4), 0.5, ratio, aligned), x, rois, tflite=True)


@pytest.mark.parametrize("ratio", [2, -1])
def test_ps_roi_align(check, ratio):
    x, rois = torch.randn(2, 3 * 2 * 4, 11, 13), regions(6)
    check(lambda x, r: ops.ps_roi_align(x, r, (2, 4), 0.5, ratio), x, rois, tflite=True)


def test_roi_pool(check):
    x, rois = torch.randn(2, 5, 11, 13), regions(6)
    check(lambda x, r: ops.roi_pool(x, r, (3, 4), 0.5), x, rois, tflite=True)
    check(lambda x, r: torch.ops.torchvision.roi_pool(x, r, 0.5, 3, 4), (x * 2).round(), rois)


def test_ps_roi_pool(check):
    x, rois = torch.randn(2, 3 * 2 * 4, 11, 13), regions(6)
    check(lambda x, r: ops.ps_roi_pool(x, r, (2, 4), 0.5), x, rois, tflite=True)


def test_boxes_as_a_list(check):
    x = torch.randn(2, 5, 11, 13)
    check(lambda x, a, b: ops.RoIAlign(3, 0.5, 2)(x, [a, b]), x, boxes(3), boxes(4, seed=1))


CONVOLUTIONS = [
    {},
    {"stride": 2, "padding": 1},
    {"stride": (1, 2), "padding": (2, 0), "dilation": (1, 2)},
    {"groups": 2, "bias": False},
]


@pytest.mark.parametrize("options", CONVOLUTIONS, ids=str)
@pytest.mark.parametrize("offset_groups", [1, 2])
@pytest.mark.parametrize("masked", [True, False])
def test_deform_conv2d(check, options, offset_groups, masked):
    layer = ops.DeformConv2d(4, 6, (3, 2), **options)
    x = torch.randn(2, 4, 5, 6)
    plain = nn.Conv2d(4, 6, (3, 2), **options)
    shape = plain(x).shape[2:]
    offset, mask = torch.randn(2, 2 * 6 * offset_groups, *shape), torch.rand(2, 6 * offset_groups, *shape)
    given = (x, offset, mask) if masked else (x, offset)
    check(lambda *given: layer(*given), *given, tflite=options == {})


def test_frozen_batch_norm(check):
    layer = ops.FrozenBatchNorm2d(3)
    for name, buffer in layer.named_buffers():
        buffer.copy_(torch.rand(3) + 0.5 if name != "bias" else torch.randn(3))
    check(layer, torch.randn(2, 3, 4, 5))


def test_stochastic_depth_at_rest(check):
    check(nn.Sequential(nn.Conv2d(3, 4, 1), ops.StochasticDepth(0.5, "row")), torch.randn(2, 3, 4, 5))


# -- whole detectors, with as little of a network in them as will do --------------------------------------


class Pyramid(nn.Module):
    """Two levels of features."""

    out_channels = 32

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 32, 3, 4, 1), nn.Conv2d(32, 32, 3, 2, 1)

    def forward(self, x):
        first = self.first(x)
        return {"0": first, "1": self.second(first.relu())}


class Found(nn.Module):
    """What a detector finds in an image."""

    def __init__(self, detector):
        super().__init__()
        self.detector = detector

    def forward(self, images):
        return self.detector(list(images))[0]


SIZES = {"min_size": 32, "max_size": 48, "num_classes": 4}


def anchors(*sizes):
    return detection.anchor_utils.AnchorGenerator(sizes, ((0.5, 1.0),) * len(sizes))


def retinanet():
    return detection.RetinaNet(
        Pyramid(), anchor_generator=anchors((8,), (16,)), score_thresh=0.01, topk_candidates=20, **SIZES
    )


def fcos():
    return detection.FCOS(
        Pyramid(),
        anchor_generator=detection.anchor_utils.AnchorGenerator(((8,), (16,)), ((1.0,),) * 2),
        score_thresh=0.1,
        topk_candidates=20,
        **SIZES,
    )


def faster_rcnn():
    return detection.FasterRCNN(
        Pyramid(),
        rpn_anchor_generator=anchors((8,), (16,)),
        box_roi_pool=ops.MultiScaleRoIAlign(["0", "1"], 3, 2, canonical_scale=16),
        box_head=detection.faster_rcnn.TwoMLPHead(32 * 9, 16),
        rpn_pre_nms_top_n_test=20,
        rpn_post_nms_top_n_test=15,
        box_predictor=detection.faster_rcnn.FastRCNNPredictor(16, 4),
        box_score_thresh=0.2,
        **{**SIZES, "num_classes": None},
    )


@pytest.mark.filterwarnings("ignore::nobuco.NobucoWarning")  # `if boxes.numel() > 4000`: either way does the same
@pytest.mark.parametrize(
    "make", [pytest.param(make, marks=pytest.mark.full) for make in (retinanet, fcos, faster_rcnn)]
)
def test_detector(make):
    torch.manual_seed(3)
    network = Found(make()).eval()
    for parameter in network.parameters():  # so that the scores lie apart, and rounding does not reorder them
        if parameter.dim() > 1:
            nn.init.kaiming_uniform_(parameter, a=1)
    images = torch.rand(3, 1, 3, 40, 40)
    images[1] *= 3
    model = nobuco.pytorch_to_keras(network, [images[0]], verbose=False)
    data = to_tflite(model)
    counts = set()
    for image in images:
        with torch.no_grad():
            expected = flat_outputs(network(image))
        counts.add(len(expected[0]))
        feed = nobuco.t_pytorch2keras(image, ChannelOrder.TENSORFLOW)
        for got in (model(feed).values(), run_tflite(data, [feed])):
            for ours, theirs in zip(got, expected, strict=True):
                ours, scale = nobuco.t_keras2pytorch(ours, ChannelOrder.PYTORCH), float(theirs.max())
                torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-4 * scale)  # the networks' bound
    assert len(counts) > 1, "all images have as many boxes: it proves nothing about others"


def test_a_detector_says_what_it_takes_for_granted():
    with pytest.warns(NobucoWarning, match="boxes.py.*decides by how many elements were chosen"):
        nobuco.pytorch_to_keras(
            lambda b, s: ops.batched_nms(b[s > 0.5], s[s > 0.5], s[s > 0.5].long(), 0.5),
            [boxes(20), torch.rand(20)],
            verbose=False,
        )


@pytest.mark.parametrize(
    "operator",
    [
        lambda x, rois: ops.roi_align(x, rois, (3, 2), 0.5),
        lambda x, rois: ops.roi_pool(x, rois, (3, 2), 0.5),
        pytest.param(
            lambda x, rois: ops.roi_align(x, rois, (3, 2), sampling_ratio=2, aligned=True), marks=pytest.mark.full
        ),
        pytest.param(lambda x, rois: ops.ps_roi_align(x, rois, (2, 2)), marks=pytest.mark.full),
        pytest.param(lambda x, rois: ops.ps_roi_pool(x, rois, (2, 2)), marks=pytest.mark.full),
    ],
    ids=["aligned", "pooled", "sampled", "by position aligned", "by position pooled"],
)
def test_regions_of_images_of_any_size(operator):
    given = [
        (torch.randn(images, 4, height, width), regions(count, images, 8.0))
        for images, height, width, count in ((2, 16, 16, 3), (1, 9, 13, 5), (3, 20, 11, 2))
    ]
    check_sizes(operator, *given, free=[(0, 2, 3), (0,)], orders=ORDERS[:1])


def test_no_regions_of_an_image():
    x, none = torch.randn(2, 4, 9, 9), torch.zeros(0, 5)
    check_sizes(
        lambda x, rois: ops.roi_pool(x, rois, (3, 2)), (x, regions(3)), (x, none), free=[(0,), (0,)], tflite=False
    )
