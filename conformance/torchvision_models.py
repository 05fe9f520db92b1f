"""torchvision's networks with random weights, importable with any build of PyTorch."""

from __future__ import annotations

import importlib
import inspect
import sys
from typing import Any

import torch
from torch import nn

from conformance.torchvision_kernels import KERNELS

# torchvision registers fake kernels for its compiled operators when it is imported, and fails where those do
# not load (they are linked for one build of PyTorch). Their schemas are all that most of its Python models need.
_SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "roi_align(Tensor input, Tensor rois, float spatial_scale, SymInt pooled_height, SymInt pooled_width,"
    " int sampling_ratio, bool aligned) -> Tensor",
    "roi_pool(Tensor input, Tensor rois, float spatial_scale, SymInt pooled_height, SymInt pooled_width)"
    " -> (Tensor, Tensor)",
    "ps_roi_align(Tensor input, Tensor rois, float spatial_scale, SymInt pooled_height, SymInt pooled_width,"
    " int sampling_ratio) -> (Tensor, Tensor)",
    "ps_roi_pool(Tensor input, Tensor rois, float spatial_scale, SymInt pooled_height, SymInt pooled_width)"
    " -> (Tensor, Tensor)",
    "deform_conv2d(Tensor input, Tensor weight, Tensor offset, Tensor mask, Tensor bias, SymInt stride_h,"
    " SymInt stride_w, SymInt pad_h, SymInt pad_w, SymInt dilation_h, SymInt dilation_w, SymInt groups,"
    " SymInt offset_groups, bool use_mask) -> Tensor",
    "_roi_align_backward(Tensor grad, Tensor rois, float spatial_scale, SymInt pooled_height, SymInt pooled_width,"
    " SymInt batch_size, SymInt channels, SymInt height, SymInt width, int sampling_ratio, bool aligned) -> Tensor",
    "_roi_pool_backward(Tensor grad, Tensor rois, Tensor argmax, float spatial_scale, SymInt pooled_height,"
    " SymInt pooled_width, SymInt batch_size, SymInt channels, SymInt height, SymInt width) -> Tensor",
    "_ps_roi_align_backward(Tensor grad, Tensor rois, Tensor channel_mapping, float spatial_scale,"
    " SymInt pooled_height, SymInt pooled_width, int sampling_ratio, SymInt batch_size, SymInt channels,"
    " SymInt height, SymInt width) -> Tensor",
    "_ps_roi_pool_backward(Tensor grad, Tensor rois, Tensor channel_mapping, float spatial_scale,"
    " SymInt pooled_height, SymInt pooled_width, SymInt batch_size, SymInt channels, SymInt height, SymInt width)"
    " -> Tensor",
    "_deform_conv2d_backward(Tensor grad, Tensor input, Tensor weight, Tensor offset, Tensor mask, Tensor bias,"
    " SymInt stride_h, SymInt stride_w, SymInt pad_h, SymInt pad_w, SymInt dilation_h, SymInt dilation_w,"
    " SymInt groups, SymInt offset_groups, bool use_mask) -> (Tensor, Tensor, Tensor, Tensor, Tensor)",
)
_libraries: list[torch.library.Library] = []


def torchvision() -> Any:
    """The package, with its operators' schemas and kernels of our own where its build of them does not load."""
    try:
        return importlib.import_module("torchvision")
    except RuntimeError:
        library = torch.library.Library("torchvision", "DEF")
        for schema in _SCHEMAS:
            library.define(schema)
        for name, kernel in KERNELS.items():
            library.impl(name, kernel, "CPU")
        _libraries.append(library)
        package = importlib.import_module("torchvision")
        # It calls its operators only where it believes that it has them.
        for home in (package.extension, sys.modules["torchvision.ops.roi_align"]):
            home._has_ops = lambda: True
        return package


def network(name: str, **kwargs: Any) -> nn.Module:
    """The network that torchvision registers by this name, in eval mode, seeded, its statistics not the identity."""
    models = torchvision().models
    accepted = inspect.signature(models.get_model_builder(name)).parameters
    given = {"weights": None, "weights_backbone": None, "quantize": False}
    given = {key: value for key, value in given.items() if key in accepted}
    if "googlenet" in name or "inception" in name:
        given["init_weights"] = False  # it takes half a minute, and more is random here anyway
    torch.manual_seed(0)
    return randomized(models.get_model(name, **given, **kwargs))


def randomized(model: nn.Module, seed: int = 0) -> nn.Module:
    """The model in eval mode with batch-norm statistics and affine parameters away from the identity."""
    generator = torch.Generator().manual_seed(seed)
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            size = (module.num_features,)
            module.running_mean.copy_(torch.randn(size, generator=generator) * 0.1)
            module.running_var.copy_(torch.rand(size, generator=generator) * 0.5 + 0.75)
            if module.affine:
                module.weight.data.copy_(torch.rand(size, generator=generator) * 0.5 + 0.75)
                module.bias.data.copy_(torch.randn(size, generator=generator) * 0.1)
    for parameter in model.parameters():
        if not parameter.any():  # a layer that starts at zero would hide what comes before it
            parameter.data.copy_(torch.randn(parameter.shape, generator=generator) * 0.05)
    return model.eval()
