"""Every architecture of transformers in a tiny configuration."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Iterator, Mapping
from functools import cache
from types import MappingProxyType
from typing import Any

import torch
from torch import nn

from conformance.torchvision_models import torchvision
from conformance.zoo.network import Network, NoNetworkError, lively, parameters_of
from conformance.zoo.tiny_configs import LEVELS, configs, tiny
from conformance.zoo.transformers_inputs import asked_for, example, found, part
from nobuco import ChannelOrder

_MOST = 80_000_000
# What a configuration cannot do without.
_TOLD: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "chameleon": {"vocabulary_map": {"<image>": 4}},
        "autoformer": {"prediction_length": 4},
        "informer": {"prediction_length": 4},
        "time_series_transformer": {"prediction_length": 4},
        "timm_backbone": {"backbone": "resnet18", "use_pretrained_backbone": False},
    }
)
# Where there is no class of the whole model, one with a head is taken; the order is that of preference.
_KINDS = (
    "MODEL_MAPPING_NAMES", "MODEL_FOR_PRETRAINING_MAPPING_NAMES", "MODEL_FOR_MULTIMODAL_LM_MAPPING_NAMES",
    "MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES", "MODEL_FOR_CAUSAL_LM_MAPPING_NAMES",
    "MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES", "MODEL_FOR_SPEECH_SEQ_2_SEQ_MAPPING_NAMES",
    "MODEL_FOR_CTC_MAPPING_NAMES", "MODEL_FOR_OBJECT_DETECTION_MAPPING_NAMES",
    "MODEL_FOR_UNIVERSAL_SEGMENTATION_MAPPING_NAMES", "MODEL_FOR_SEMANTIC_SEGMENTATION_MAPPING_NAMES",
    "MODEL_FOR_DEPTH_ESTIMATION_MAPPING_NAMES", "MODEL_FOR_BACKBONE_MAPPING_NAMES",
    "MODEL_FOR_KEYPOINT_DETECTION_MAPPING_NAMES", "MODEL_FOR_KEYPOINT_MATCHING_MAPPING_NAMES",
    "MODEL_FOR_POSE_ESTIMATION_MAPPING_NAMES", "MODEL_FOR_IMAGE_MATTING_MAPPING_NAMES",
    "MODEL_FOR_MASKED_LM_MAPPING_NAMES", "MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES",
    "MODEL_FOR_VISUAL_QUESTION_ANSWERING_MAPPING_NAMES", "MODEL_FOR_RETRIEVAL_MAPPING_NAMES",
    "MODEL_FOR_TEXT_RECOGNITION_MAPPING_NAMES", "MODEL_FOR_TABLE_RECOGNITION_MAPPING_NAMES",
    "MODEL_FOR_TEXT_TO_WAVEFORM_MAPPING_NAMES",
)  # fmt: skip


@cache
def transformers() -> Any:
    """The package, which imports torchvision where there is one."""
    torchvision()
    import transformers

    transformers.logging.set_verbosity_error()
    return transformers


@cache
def _classes() -> dict[str, str]:
    """The class of each architecture."""
    transformers()
    auto = importlib.import_module("transformers.models.auto.modeling_auto")
    classes: dict[str, str] = {}
    for kind in _KINDS:
        for name, found_class in getattr(auto, kind, {}).items():
            classes.setdefault(name, found_class if isinstance(found_class, str) else found_class[0])
    return classes


def import_beforehand() -> None:
    """Import what most of its models import."""
    _classes()
    for name in ("LlamaModel", "CLIPModel", "BartModel"):
        getattr(transformers(), name)


def names() -> list[str]:
    """All architectures that a class of a model is known of."""
    return [name for name in transformers().CONFIG_MAPPING if name in _classes()]


def network(name: str) -> Network:
    """The architecture of this name with random weights and two sets of inputs.

    Raises:
        NoNetworkError: no configuration that was tried runs.
    """
    problems = []
    for level in range(len(LEVELS)):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return _network(name, level)
        except Exception as error:  # of whatever kind a configuration that does not fit raises
            problems.append(f"{type(error).__name__}: {error}"[:300])
    raise NoNetworkError(f"no configuration runs: {' | '.join(problems)}")


def _network(name: str, level: int) -> Network:
    config = tiny(transformers().CONFIG_MAPPING[name], level, _TOLD.get(name))
    model_class = getattr(transformers(), _classes()[name])
    with torch.device("meta"):
        size = parameters_of(model_class(config))
    if size > _MOST:
        raise NoNetworkError(f"{size / 1e6:.0f} million parameters")
    torch.manual_seed(0)
    model = lively(model_class(config))
    images = _image_tokens(model, config)
    here, there = (example(model, config, torch.Generator().manual_seed(seed), images) for seed in (1, 2))
    with torch.no_grad():
        model(**here)
    return Network(model, here, there, ChannelOrder.PYTORCH, f"{type(model).__name__}, level {level}")


def _image_tokens(model: nn.Module, config: Any) -> int:
    """How many image tokens the text must hold for one image, which the model itself is asked."""
    if found(config, "image_token_id", "image_token_index") is None or len(list(configs(config))) == 1:
        return 0
    for count in (1, *_asked_for(model, config)):
        if count and not _complaint(model, config, count):
            return count
    return 0


def _asked_for(model: nn.Module, config: Any) -> Iterator[int]:
    """What it says of a text with one image token; some count elements, some vectors of them."""
    count = asked_for(_complaint(model, config, 1)) or 0
    yield count
    yield count // found(part(config, "text_config"), "hidden_size", default=1)


def _complaint(model: nn.Module, config: Any, images: int) -> str:
    """What is wrong with this many image tokens, nothing if they are right."""
    try:
        with torch.no_grad():
            model(**example(model, config, torch.Generator().manual_seed(1), images))
    except Exception as error:  # of whatever kind
        return str(error) or "?"
    return ""
