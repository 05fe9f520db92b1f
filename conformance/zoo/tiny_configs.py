"""Configurations of transformers made small, by what their fields are called."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

Fields = Mapping[str, Any]
WIDTH, HEADS, HEAD, INNER, VOCABULARY, LAYERS = 64, 4, 16, 128, 200, 2
# Ids of special tokens lie above those that inputs are drawn from.
SPECIAL = 150


@dataclass
class _Ids:
    """Gives each special token a number of its own inside the small vocabulary; the same for the same number."""

    given: dict[int, int] = field(default_factory=dict)

    def small(self, number: int) -> int:
        return number if number < SPECIAL else self.given.setdefault(number, SPECIAL + len(self.given))


def _at_most(bound: int) -> Callable[[Any, Fields], Any]:
    return lambda value, _: min(value, bound)


def _kv_heads(value: int, fields: Fields) -> int:
    heads = next((fields[key] for key in ("num_attention_heads", "num_heads", "n_head") if fields.get(key)), value)
    return HEADS if value >= heads else max(1, HEADS * value // heads)


def _divided(by: int) -> Callable[[Any, Fields], Any]:
    return lambda value, _: max(1, value // by)


# What a field's value becomes, by its name, the first that fits; int values alone.
_Rule = tuple[str, Callable[[Any, Fields], Any]]
_DEPTH: tuple[_Rule, ...] = (
    (r".*feat_extract_layers|.*adapter_layers|num_feature_levels|num_upscale_blocks", lambda value, _: value),
    (r"first_k_dense_replace|num_dense_layers|n_dense_layers", _at_most(1)),
    (r"num_nextn_predict_layers|mtp_num_hidden_layers", lambda value, _: value),
    (r"(.*_)?n?(um)?_?(hidden_|encoder_|decoder_)?layers?|n_layers?|.*_num_layers", _at_most(LAYERS)),
    (r"max_text_length", _at_most(4)),  # of a loop
    (r"depth|(en|de)coder_depth|resampler_depth|num_blocks", _at_most(LAYERS)),
)
_VOCABULARY: tuple[_Rule, ...] = (
    (r"(.*_)?vocab_size(_.*)?", _at_most(VOCABULARY)),
    (r"num_experts_per_tok(en)?|moe_k|moe_topk|top_k_experts|num_selected_experts", _at_most(2)),
    (r"n_group|num_expert_group|topk_group", _at_most(1)),
    (r"(.*_)?(num|n)_(.*_)?experts|num_local_experts|n_routed_experts", _at_most(4)),
)
_WIDTH: tuple[_Rule, ...] = (
    (r"(.*_)?(num_)?(key_value|kv)_heads|multi_query_group_num", _kv_heads),
    (r"(.*_)?qk_head_dim", lambda value, _: 2 * HEAD),
    (r"(.*_)?(head_dim|d_head|dim_head|d_kv|head_size)|attention_head_dim|kv_channels", _at_most(HEAD)),
    (r"(.*_)?num_(attention_)?heads|n_heads?|(.*_)?attention_heads|(.*_)n_heads", _at_most(HEADS)),
    (r"(.*_)?(q|kv|o|lora)_(lora_)?rank", _at_most(32)),
    (r"(.*_)?(intermediate_size|ffn_dim|d_ff|mlp_dim|n_inner|inner_dim|ffn_hidden_size|d_inner)", _at_most(INNER)),
    (r"(.*_)?intermediate_dim", _at_most(INNER)),
    (r"(.*_)?(hidden_size|hidden_dim|d_model|n_embd|embed_dim|emb_dim|embedding_size)|dim", _at_most(WIDTH)),
    (r"(.*_)?(hidden_size|projection_size|output_size)_?.*|d_embed|projection_dim|embedding_dim", _at_most(WIDTH)),
)  # fmt: skip
_PROPORTIONAL: tuple[_Rule, ...] = tuple(
    (pattern, _divided(8)) for pattern, _ in _WIDTH if not pattern.startswith((r"(.*_)?qk_head", r"(.*_)?(head_dim"))
)
# From the smallest to what is hardly changed.
LEVELS: tuple[tuple[_Rule, ...], ...] = (
    (*_DEPTH, *_VOCABULARY, *_WIDTH),
    (*_DEPTH, *_VOCABULARY, *_PROPORTIONAL),
    (*_DEPTH, *_VOCABULARY),
    # Indices of layers that stand in other fields.
    (*_VOCABULARY, *_WIDTH),
    _DEPTH,
    (),
)
_LISTS_OF_DEPTHS = re.compile(r"depths|stage_num_blocks|num_block_repeats|decoder_depths|stage_numb_blocks")
_IDS = re.compile(r"(.*_)?(token_id|token_index|_index|token_ids)|.*_id")


def tiny(config_class: Any, level: int, kwargs: Fields | None = None) -> Any:
    """A configuration of the class, and of those nested in it, as small as a level says."""
    ids = _Ids()
    config = config_class(**{**_shrunk(config_class(**(kwargs or {})), LEVELS[level], ids, level), **(kwargs or {})})
    if level == 0:
        for each in configs(config):
            _divide_rotation(each)
    return config


def configs(config: Any) -> Iterator[Any]:
    """The configuration and those nested in it."""
    yield config
    for key in getattr(type(config), "sub_configs", None) or {}:
        nested = getattr(config, key, None)
        if nested is not None and nested is not config:
            yield from configs(nested)


def _divide_rotation(config: Any) -> None:
    """Sections of a rotary embedding that suit the smaller heads, also where a model has them from nowhere."""
    rope = getattr(config, "rope_parameters", None)
    if isinstance(rope, dict) and not any(isinstance(value, dict) for value in rope.values()):
        rope["mrope_section"] = [HEAD // 2 - 5, 3, 2]


def _shrunk(config: Any, rules: tuple[_Rule, ...], ids: _Ids, level: int) -> dict[str, Any]:
    """What the class of a configuration is to be told for a small one like it."""
    fields, default = _fields(config), _fields(type(config)())
    nested = [key for key in getattr(type(config), "sub_configs", None) or {} if hasattr(fields.get(key), "model_type")]
    small = {key: _small(key, value, fields, rules, ids, level) for key, value in fields.items() if key not in nested}
    # What whoever made this one has told it, it is told again.
    told = {key: value for key, value in small.items() if value is not fields[key] or value != default.get(key)}
    for key in nested:
        name = fields[key].model_type
        told[key] = {**({"model_type": name} if name else {}), **_shrunk(fields[key], rules, ids, level)}
    return told


def _fields(config: Any) -> dict[str, Any]:
    return {
        key: value for key, value in vars(config).items() if not key.startswith("_") and key != "transformers_version"
    }


def _small(key: str, value: Any, fields: Fields, rules: tuple[_Rule, ...], ids: _Ids, level: int) -> Any:
    if key == "use_cache":
        return False
    if not rules:
        return value
    if isinstance(value, (list, tuple)) and _LISTS_OF_DEPTHS.fullmatch(key) and _DEPTH[0] in rules:
        return type(value)(min(n, 1) for n in value)
    if isinstance(value, bool) or not isinstance(value, int):
        return value
    if _IDS.fullmatch(key):
        return ids.small(value)
    if key == "image_size" and level < len(LEVELS) - 2:
        return _side(value, fields)
    return next((rule(value, fields) for pattern, rule in rules if re.fullmatch(pattern, key)), value)


def _side(value: int, fields: Fields) -> int:
    """Four patches, or what a convolutional network still has some pixels of at its end."""
    patch = fields.get("patch_size")
    return min(value, 2 * patch if isinstance(patch, int) and patch >= 8 else 64)
