"""torchvision's detectors as networks of one batch: a dictionary of tensors for its only image.

How many boxes they find depends on the image. With random weights hardly any score would pass their thresholds, so
these are lower here, the scores spread further, and fewer candidates kept, which says nothing of the operations.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from conformance.torchvision_models import network

_TWO_STAGES = {"rpn_pre_nms_top_n_test": 60, "rpn_post_nms_top_n_test": 30, "box_score_thresh": 0.02}
_ONE_STAGE = {"score_thresh": 0.02, "topk_candidates": 60}
_SMALL = {"min_size": 128, "max_size": 160}
OPTIONS: Mapping[str, Mapping[str, Any]] = {
    "retinanet_resnet50_fpn": {**_ONE_STAGE, **_SMALL},
    "fcos_resnet50_fpn": {**_ONE_STAGE, **_SMALL},
    # So many of each class that there are no more than 1000: of more, torchvision takes class after class in Python.
    "ssd300_vgg16": {"score_thresh": 0.02, "topk_candidates": 8},
    "ssdlite320_mobilenet_v3_large": {"score_thresh": 0.02, "topk_candidates": 8, "detections_per_img": 30},
    "fasterrcnn_mobilenet_v3_large_320_fpn": {**_TWO_STAGES, **_SMALL},
    "fasterrcnn_resnet50_fpn": {**_TWO_STAGES, **_SMALL, "box_score_thresh": 0.4},
    "maskrcnn_resnet50_fpn": {**_TWO_STAGES, **_SMALL, "box_score_thresh": 0.4},
    "keypointrcnn_resnet50_fpn": {**_TWO_STAGES, **_SMALL},
}
# Where features are larger, or smaller, than in most.
_SPREAD = {
    "fasterrcnn_resnet50_fpn": 1,
    "maskrcnn_resnet50_fpn": 1,
    "ssd300_vgg16": 0.5,
    "keypointrcnn_resnet50_fpn": 0.25,
    "ssdlite320_mobilenet_v3_large": 0.25,
    "fasterrcnn_mobilenet_v3_large_320_fpn": 100,
}
# torchvision starts their convolutions so small that nothing of the image reaches the last of them.
_FADING = {"ssdlite320_mobilenet_v3_large"}


class Detector(nn.Module):
    """The whole detector."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.detector = network(name, **OPTIONS[name])
        if name in _FADING:
            _liven(self.detector)
        _spread_scores(self.detector, _SPREAD.get(name, 3))
        _keep_near_anchors(self.detector)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        (found,) = self.detector(list(images))
        return found


class Heads(Detector):
    """What a detector finds before torchvision's Python goes from box to box: masks of 28 x 28, keypoints' heat maps.

    Boxes are in pixels of the resized image.
    """

    def __init__(self, name: str) -> None:
        super().__init__(name)
        heads = self.detector.roi_heads
        part = "mask" if heads.has_mask() else "keypoint"
        self.pool, self.head, self.predictor = (
            getattr(heads, f"{part}_{name}") for name in ("roi_pool", "head", "predictor")
        )
        for name in ("roi_pool", "head", "predictor"):
            setattr(heads, f"{part}_{name}", None)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        prepared, _ = self.detector.transform(list(images))
        features = self.detector.backbone(prepared.tensors)
        proposals, _ = self.detector.rpn(prepared, features)
        (found,), _ = self.detector.roi_heads(features, proposals, prepared.image_sizes)
        pooled = self.pool(features, [found["boxes"]], prepared.image_sizes)
        return {**found, "maps": self.predictor(self.head(pooled))}


def _liven(detector: nn.Module) -> None:
    """Have convolutions give as much as they are given."""
    for module in detector.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight)


def _spread_scores(detector: nn.Module, factor: float) -> None:
    """Have the layers that score classes and objects tell more than random ones do.

    Objects a third as much: scores that round to 1 would be equal, and their order chance.
    """
    for name, parameter in detector.named_parameters():
        if name.endswith(("cls_logits.weight", "cls_score.weight")) or ".classification_head.module_list." in name:
            spread = factor / 3 if name.startswith("rpn.") else factor
            parameter.data.mul_(spread if parameter.dim() > 1 else 1)


def _keep_near_anchors(detector: nn.Module) -> None:
    """Have boxes move little, as trained ones do: a size is the exponential of what a layer says, rounding included.

    With random layers PyTorch's own float32 is up to 6e-5 of an image's side off its float64.
    """
    for name, parameter in detector.named_parameters():
        if name.endswith(("bbox_reg.weight", "bbox_pred.weight")) or ".regression_head.module_list." in name:
            parameter.data.mul_(0.1 if parameter.dim() > 1 else 1)


def image_of(side: int) -> tuple[Tensor, ...]:
    """An image in [0, 1] with something in it: blocks of colour and noise."""
    generator = torch.Generator().manual_seed(1)
    blocks = torch.rand(1, 3, 8, 8, generator=generator)
    noise = torch.rand(1, 3, side, side, generator=generator)
    return (0.7 * nn.functional.interpolate(blocks, size=(side, side)) + 0.3 * noise,)
