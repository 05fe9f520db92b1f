"""Example inputs of a model of transformers, by the names and the configuration of what its `forward` takes."""

from __future__ import annotations

import inspect
import re
from typing import Any

import torch
from torch import Tensor, nn

from conformance.zoo.tiny_configs import SPECIAL, configs

TOKENS, BATCH = 8, 2
_AUDIO, _FRAMES, _VIDEO = 2000, 64, 4


def found(config: Any, *names: str, default: Any = None) -> Any:
    """The first field of one of these names that has a value, nested ones included; the first name first."""
    for name in names:
        for each in configs(config):
            value = getattr(each, name, None)
            if value is not None and not callable(value):
                return value
    return default


def part(config: Any, *names: str) -> Any:
    """The nested configuration of one of these names, or the configuration itself."""
    return next((getattr(config, name) for name in names if getattr(config, name, None) is not None), config)


def pair(value: Any) -> tuple[int, int]:
    """A size of two axes that may be given as one number."""
    if isinstance(value, dict):
        return value.get("height", 224), value.get("width", 224)
    return (value[0], value[-1]) if isinstance(value, (list, tuple)) else (value, value)


def ids(config: Any, generator: torch.Generator, shape: tuple[int, int]) -> Tensor:
    vocabulary = found(part(config, "text_config", "thinker_config"), "vocab_size", default=SPECIAL)
    vocabulary = vocabulary if isinstance(vocabulary, int) else SPECIAL
    return torch.randint(5, max(6, min(vocabulary, SPECIAL)), shape, generator=generator)


def pixels(config: Any, generator: torch.Generator, *leading: int) -> Tensor:
    vision = part(config, "vision_config", "backbone_config", "encoder", "image_config", "vq_config")
    rows, columns = pair(found(vision, "image_size", "img_size", "resolution", default=64))
    channels = found(vision, "num_channels", "in_channels", "input_channels", "in_chans", default=3)
    channels = channels if isinstance(channels, int) and channels <= 4 else 3
    return torch.randn(*leading, channels, rows, columns, generator=generator)


def example(model: nn.Module, config: Any, generator: torch.Generator, image_tokens: int = 0) -> dict[str, Tensor]:
    """Tensors for what `forward` needs: the main input, and what belongs to it."""
    accepted = inspect.signature(model.forward).parameters
    needed = {name for name, p in accepted.items() if p.default is p.empty and p.kind is p.POSITIONAL_OR_KEYWORD}
    main = getattr(model, "main_input_name", "input_ids")
    wanted = needed | ({main} if main in accepted else set())
    inputs: dict[str, Tensor] = {}
    batch = 1 if image_tokens or any("pixel" in name for name in accepted) else BATCH
    if "image_grid_thw" in accepted and image_tokens:
        return _with_patches(config, generator, accepted)
    if "input_ids" in accepted and ("input_ids" in wanted or "pixel_values" not in wanted):
        inputs |= _text(config, generator, batch, image_tokens, accepted)
    if "pixel_values" in accepted and ("pixel_values" in wanted or image_tokens or _is_pair(config)):
        inputs["pixel_values"] = pixels(config, generator, *_leading(model, config))
    if "pixel_values_videos" in wanted:
        inputs["pixel_values_videos"] = pixels(config, generator, 1, _frames(config))
    inputs |= _sound(wanted, accepted, config, generator)
    if getattr(config, "is_encoder_decoder", False) and "decoder_input_ids" in accepted:
        inputs["decoder_input_ids"] = ids(config, generator, (batch, 6))
    for name in sorted(needed - inputs.keys(), reverse=True):
        inputs |= _other(name, config, generator)
    if "grid_thw" in needed:
        inputs |= _other("grid_thw", config, generator)
    return inputs


_GRID = (1, 4, 4)


def _patches(config: Any, generator: torch.Generator) -> Tensor:
    """The pixels of one small image, patch by patch."""
    patch, frames = (pair(found(config, name, default=1))[0] for name in ("patch_size", "temporal_patch_size"))
    channels = found(config, "in_channels", "in_chans", "num_channels", default=3)
    return torch.randn(_GRID[1] * _GRID[2], channels * frames * patch**2, generator=generator)


def _with_patches(config: Any, generator: torch.Generator, accepted: Any) -> dict[str, Tensor]:
    """Text with one image that comes in patches, and how these lie."""
    vision = part(config, "vision_config")
    merged = pair(found(vision, "spatial_merge_size", "merge_kernel_size", default=1))[0]
    inputs = _text(config, generator, 1, _GRID[1] * _GRID[2] // merged**2, accepted)
    images = inputs["input_ids"] == found(config, "image_token_id", "image_token_index")
    inputs |= {"pixel_values": _patches(vision, generator), "image_grid_thw": torch.tensor([_GRID])}
    return inputs | ({"mm_token_type_ids": images.int()} if "mm_token_type_ids" in accepted else {})


def _is_pair(config: Any) -> bool:
    """Whether text and image go in side by side, as into CLIP, and not one into the other."""
    nested = getattr(type(config), "sub_configs", None) or {}
    return {"text_config", "vision_config"} <= nested.keys() and found(
        config, "image_token_id", "image_token_index"
    ) is None


def _text(config: Any, generator: torch.Generator, batch: int, image_tokens: int, accepted: Any) -> dict[str, Tensor]:
    inputs = {"input_ids": ids(config, generator, (batch, TOKENS))}
    if image_tokens:
        token = found(config, "image_token_id", "image_token_index")
        images = torch.full((batch, image_tokens), token)
        inputs["input_ids"] = torch.cat([inputs["input_ids"][:, :2], images, inputs["input_ids"][:, 2:]], 1)
    if "attention_mask" in accepted:
        mask = torch.ones_like(inputs["input_ids"])
        if batch > 1:
            mask[1, -2 - int(torch.randint(2, (), generator=generator)) :] = 0
        inputs["attention_mask"] = mask
    return inputs


def _leading(model: nn.Module, config: Any) -> tuple[int, ...]:
    """The axes of `pixel_values` before the channels."""
    kind = type(model).__name__.lower()
    if any(word in kind for word in ("video", "timesformer", "vivit", "xclip", "tvp")):
        return (1, _frames(config))
    if "vision" not in kind and any(word in kind for word in ("idefics", "smolvlm", "llavanext", "mllama")):
        return (1, 1)
    return (1,)


def _frames(config: Any) -> int:
    frames = found(config, "num_frames", default=_VIDEO)
    return frames if isinstance(frames, int) else _VIDEO


def _sound(wanted: set[str], accepted: Any, config: Any, generator: torch.Generator) -> dict[str, Tensor]:
    inputs: dict[str, Tensor] = {}
    audio = part(config, "audio_config", "encoder_config", "audio_encoder")
    if "input_features" in wanted:
        mel = found(audio, "num_mel_bins", "input_feat_per_channel", "feature_size", "input_dim", "feat_in", default=80)
        positions = found(audio, "max_source_positions", default=0)
        frames = (
            2 * positions
            if isinstance(positions, int) and 0 < positions <= 3000 and "hisper" in type(audio).__name__
            else _FRAMES
        )
        shape = (1, mel, frames) if "max_source_positions" in vars(audio) else (1, frames, mel)
        inputs["input_features"] = torch.randn(shape, generator=generator)
        if "input_features_mask" in accepted:
            inputs["input_features_mask"] = torch.ones(1, frames, dtype=torch.int64)
    if "input_values" in wanted:
        raw = found(audio, "conv_kernel", "audio_channels", "upsampling_ratios") is not None
        mel = found(audio, "num_mel_bins", default=80)
        length = found(audio, "max_length", default=_FRAMES)
        wave = (1, 1, _AUDIO) if found(audio, "audio_channels", "upsampling_ratios") is not None else (1, _AUDIO)
        inputs["input_values"] = torch.randn(wave if raw else (1, length, mel), generator=generator)
    return inputs


def _other(name: str, config: Any, generator: torch.Generator) -> dict[str, Tensor]:
    """What is needed beside: by the name's ending."""
    width = found(config, "hidden_size", "d_model", default=64)
    if name == "grid_thw":
        return {name: torch.tensor([_GRID]), "hidden_states": _patches(config, generator)}
    if name.endswith("_ids") and name != "image_ids":
        return {name: ids(config, generator, (BATCH, TOKENS))}
    if name.endswith("mask"):
        return {name: torch.ones(BATCH, TOKENS, dtype=torch.int64)}
    if name in {"pixel_values", "pixel_mask", "images"}:
        return {name: pixels(config, generator, 1)}
    if name in {"hidden_states", "inputs_embeds", "query_embeds", "encoder_hidden_states"}:
        return {name: torch.randn(BATCH if name != "query_embeds" else 1, TOKENS, width, generator=generator)}
    if name == "past_values":
        channels = found(config, "num_input_channels", "input_size", default=1)
        length = found(config, "context_length", default=32)
        return {name: torch.randn(1, length, channels, generator=generator)}
    return {}


def asked_for(error: str) -> int | None:
    """How many image tokens an error says that the text lacks, which had one."""
    match = re.search(r"tokens: (\d+), features:? (\d+)", error)
    return max(1, int(match[2]) // max(1, int(match[1]))) if match else None
