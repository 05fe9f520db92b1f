"""torchvision's networks by name, each with an input of a size that suits it.

`ZOO` has one or two of each family; `every_name()` is all that torchvision registers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase
from functools import partial
from typing import Any

import torch

from conformance.detectors import OPTIONS, Detector, Heads, image_of
from conformance.models import Case, image
from conformance.torchvision_models import network, torchvision

ZOO: tuple[str, ...] = (
    # classification
    "alexnet", "vgg11", "vgg11_bn", "squeezenet1_0", "squeezenet1_1", "googlenet", "inception_v3", "resnet18",
    "resnet50", "resnext50_32x4d", "wide_resnet50_2", "densenet121", "mobilenet_v2", "mobilenet_v3_small",
    "mobilenet_v3_large", "mnasnet0_5", "mnasnet1_0", "shufflenet_v2_x0_5", "shufflenet_v2_x1_0", "efficientnet_b0",
    "efficientnet_v2_s", "regnet_x_400mf", "regnet_y_400mf", "convnext_tiny", "vit_b_16", "swin_t", "swin_v2_t",
    "maxvit_t",
    # segmentation
    "fcn_resnet50", "deeplabv3_resnet50", "deeplabv3_mobilenet_v3_large", "lraspp_mobilenet_v3_large",
    # optical flow
    "raft_small", "raft_large",
    # video
    "r3d_18", "mc3_18", "r2plus1d_18", "s3d", "mvit_v1_b", "mvit_v2_s", "swin3d_t",
    # quantisable, in floating point
    "quantized_mobilenet_v2", "quantized_mobilenet_v3_large", "quantized_resnet18", "quantized_resnext101_32x8d",
    "quantized_googlenet", "quantized_inception_v3", "quantized_shufflenet_v2_x0_5",
    # detection
    *OPTIONS,
)  # fmt: skip

_SIDE, _CLIP = 128, (8, 64)
# What is made for windows or positions of a certain size.
_SIDES = {"vit_*": 224, "swin_*": 224, "maxvit_*": 224}
_CLIPS = {"mvit_*": (16, 224), "swin3d_*": (8, 112), "s3d": (16, 224)}


def zoo_case(name: str) -> Case:
    """The network of this name on random weights, and one input: an image, a clip, or two frames.

    Raises:
        ValueError: torchvision has no such network.
    """
    if name in OPTIONS:
        return _detector_case(name)
    make, home = partial(network, name), torchvision().models.get_model_builder(name).__module__
    if ".video." in home:
        frames, side = _suiting(_CLIPS, name, _CLIP)
        return Case(name, make, image(1, 3, frames, side, side))
    if ".optical_flow." in home:
        return Case(name, make, _two_frames(_SIDE))
    side = _suiting(_SIDES, name, _SIDE)
    return Case(name, make, image(1, 3, side, side))


def _detector_case(name: str) -> Case:
    """A detector on an image, and on another, where it finds other boxes, and other numbers of them."""
    whole = not name.startswith(("maskrcnn", "keypointrcnn"))  # whose last steps are loops over what was found
    (picture,) = image_of(_SIDE)
    make = partial(Detector if whole else Heads, name)
    return Case(name, make, lambda: (picture,), other_inputs=lambda: (picture.flip(2, 3) ** 2,))


def every_name() -> list[str]:
    """All names that torchvision registers, but for the detectors that `ZOO` does not have."""
    models = torchvision().models
    homes = (models, models.segmentation, models.optical_flow, models.video, models.quantization)
    return [*(name for home in homes for name in models.list_models(module=home)), *OPTIONS]


def _suiting(by_pattern: Mapping[str, Any], name: str, default: Any) -> Any:
    return next((found for pattern, found in by_pattern.items() if fnmatchcase(name, pattern)), default)


def _two_frames(side: int) -> Callable[[], tuple[torch.Tensor, ...]]:
    (frame,) = image(1, 3, side, side)()
    return lambda: (frame, torch.roll(frame, (2, 3), (2, 3)))
