"""Scaled dot-product attention, and multi-head attention as module and as function."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from nobuco.assemble.learned import Learned, learned, variable
from nobuco.converters.dropout import dropout
from nobuco.converters.linear import dense, linear
from nobuco.converters.normalization import widened
from nobuco.converters.support import agree, cast, rank, sizes, wide
from nobuco.layout import ChannelOrderingStrategy
from nobuco.ops.names import F, nn
from nobuco.registry import converter, expression

FORCE_PYTORCH_ORDER = ChannelOrderingStrategy.FORCE_PYTORCH_ORDER
Projection = Callable[[tf.Tensor], tf.Tensor]


# -- masks -------------------------------------------------------------------------------------------------


def _known(mask: Any) -> np.ndarray | None:
    return tf.get_static_value(mask) if tf.is_tensor(mask) else mask


def additive(mask: Any, dtype: tf.DType, masked_where: bool) -> Any:
    """A mask as what is added to the scores: booleans equal to `masked_where` become minus infinity."""
    if mask is None or mask.dtype not in (tf.bool, np.bool_):
        return mask if mask is None else cast(mask, dtype)
    known = _known(mask)
    if known is not None:
        return tf.constant(np.where(known == masked_where, -np.inf, 0.0), dtype)
    nothing, never = tf.zeros([], dtype), tf.constant(-np.inf, dtype)
    return tf.where(mask, never, nothing) if masked_where else tf.where(mask, nothing, never)


def causal(rows: Any, columns: Any) -> Any:
    """Which columns each row may look at: those up to its own number."""
    if isinstance(rows, int) and isinstance(columns, int):
        return np.tri(rows, columns, dtype=bool)
    return tf.range(columns) <= tf.range(rows)[:, tf.newaxis]


def also(mask: Any, seen: Any, dtype: tf.DType) -> Any:
    """A mask, if there is one, and of what it leaves to be seen only this."""
    if mask is None:
        return seen
    return mask & seen if mask.dtype in (tf.bool, np.bool_) else cast(mask, dtype) + additive(seen, dtype, False)


def _has_empty_row(mask: Any) -> bool:
    """Whether some row of a mask of what may be seen is, or could be, empty."""
    known = _known(mask)
    return known is None or not known.any(axis=-1).all()


# -- attention ---------------------------------------------------------------------------------------------


@expression(F.scaled_dot_product_attention, strategy=FORCE_PYTORCH_ORDER)
@wide  # the exponential makes large errors of what a large score loses in 16 bits
def scaled_dot_product_attention(
    query: tf.Tensor,
    key: tf.Tensor,
    value: tf.Tensor,
    attn_mask: Any = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> tf.Tensor:
    """scaled_dot_product_attention(Tensor query, Tensor key, Tensor value, Tensor? attn_mask=None, ...) -> Tensor"""
    rows, columns = sizes(query)[-2], sizes(key)[-2]
    if is_causal:
        attn_mask = also(attn_mask, causal(rows, columns), query.dtype)
    scores = _scores(query, key, scale)
    if attn_mask is not None:
        scores = scores + additive(attn_mask, query.dtype, masked_where=False)
    weights = tf.nn.softmax(scores)
    if attn_mask is not None and attn_mask.dtype in (tf.bool, np.bool_) and _has_empty_row(attn_mask):
        # A row that may look at nothing has no softmax; PyTorch gives it zeros.
        weights = tf.where(attn_mask, weights, tf.zeros([], weights.dtype))
    # The function drops at rest, too.
    return _per_head(dropout(weights, dropout_p), value)


def _scores(query: tf.Tensor, key: tf.Tensor, scale: float | None) -> tf.Tensor:
    width = sizes(query)[-1]
    if scale is None:
        scale = max(width, 1) ** -0.5 if isinstance(width, int) else tf.math.rsqrt(tf.cast(width, query.dtype))
    return _per_head(query * cast(scale, query.dtype), key, transpose_b=True)


def _per_head(x: tf.Tensor, shared: tf.Tensor, transpose_b: bool = False) -> tf.Tensor:
    """The product for each head; heads of `x` that share one of `shared` stand one below the other meanwhile."""
    heads = x.shape[-3] if rank(x) > 2 else None
    fewer = shared.shape[-3] if rank(shared) > 2 else None
    if heads is None or fewer is None or fewer == heads or 1 in (heads, fewer):
        return tf.matmul(x, shared, transpose_b=transpose_b)
    *batch, _, rows, width = sizes(x)
    grouped = tf.reshape(x, [*batch, fewer, heads // fewer * rows, width])
    product = tf.matmul(grouped, shared, transpose_b=transpose_b)
    return tf.reshape(product, [*batch, heads, rows, sizes(product)[-1]])


@dataclass(frozen=True)
class MultiHead:
    """Multi-head attention on any projections: Keras layers for the module, products for the function."""

    heads: int
    query: Projection
    key: Projection
    value: Projection
    out: Projection
    bias_k: Any = None
    bias_v: Any = None
    add_zero_attn: bool = False
    batch_first: bool = False
    static_k: Any = None
    static_v: Any = None
    dropout: float = 0.0

    def __call__(
        self,
        query: tf.Tensor,
        key: tf.Tensor,
        value: tf.Tensor,
        key_padding_mask: Any = None,
        need_weights: bool = True,
        attn_mask: Any = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[tf.Tensor, tf.Tensor | None]:
        """As `nn.MultiheadAttention.forward`.

        `is_causal` only hints at what `attn_mask` says, but where PyTorch takes the hint, keys that were added
        count as the last ones.
        """
        unbatched = rank(query) == 2
        q, k, v = self.query(query), self.key(key), self.value(value)
        k, v = self._extended(k, self.bias_k), self._extended(v, self.bias_v)
        q = self._split(q)
        k = self._split(k) if self.static_k is None else self._static(self.static_k, q)
        v = self._split(v) if self.static_v is None else self._static(self.static_v, q)
        if self.add_zero_attn:
            k, v = (tf.pad(x, [[0, 0]] * (rank(x) - 2) + [[0, 1], [0, 0]]) for x in (k, v))
        q, k, v = (widened(x) for x in (q, k, v))
        scores = tf.matmul(q * cast(sizes(q)[-1] ** -0.5, q.dtype), k, transpose_b=True)
        if is_causal and key_padding_mask is None and not need_weights:
            own_mask = additive(~causal(*sizes(scores)[-2:]), scores.dtype, masked_where=True)
        else:
            own_mask = self._attention_mask(attn_mask, scores)
        for mask in (own_mask, self._padding_mask(key_padding_mask, scores)):
            scores = scores if mask is None else scores + mask
        weights = dropout(tf.nn.softmax(scores), self.dropout)
        attended = self.out(cast(self._merged(tf.matmul(weights, v), query), query.dtype))
        if not need_weights:
            return attended, None
        return attended, cast(self._reported(weights, average_attn_weights, unbatched), query.dtype)

    # Heads are (batch, heads, rows, size); without the batch where it is one or none. Where the batch is the
    # second dimension, one transposition still suffices.

    def _split(self, x: tf.Tensor) -> tf.Tensor:
        shape = sizes(x)
        width = shape[-1] // self.heads
        if rank(x) == 2:
            return tf.transpose(tf.reshape(x, [shape[0], self.heads, width]), [1, 0, 2])
        if agree([shape[0 if self.batch_first else 1]], [1]):
            rows = shape[1 if self.batch_first else 0]
            return tf.transpose(tf.reshape(x, [rows, self.heads, width]), [1, 0, 2])
        x = tf.reshape(x, [*shape[:2], self.heads, width])
        return tf.transpose(x, [0, 2, 1, 3] if self.batch_first else [1, 2, 0, 3])

    def _static(self, x: tf.Tensor, query: tf.Tensor) -> tf.Tensor:
        """Keys or values that came ready, (batch * heads, rows, size)."""
        return x if rank(query) == 3 else tf.reshape(x, [-1, self.heads, *sizes(x)[1:]])

    def _merged(self, x: tf.Tensor, query: tf.Tensor) -> tf.Tensor:
        if rank(x) == 3:
            x = tf.transpose(x, [1, 0, 2])
        else:
            x = tf.transpose(x, [0, 2, 1, 3] if self.batch_first else [2, 0, 1, 3])
        width = sizes(x)[-1] * self.heads
        return tf.reshape(x, [*sizes(query)[:-1], width])

    def _extended(self, x: tf.Tensor, bias: Any) -> tf.Tensor:
        """Keys or values with the learned one at the end of the sequence."""
        if bias is None:
            return x
        row = tf.convert_to_tensor(bias)
        if rank(x) == 2:
            return tf.concat([x, tf.reshape(row, [1, -1])], 0)
        batch = sizes(x)[0 if self.batch_first else 1]
        shape = [batch, 1, sizes(x)[-1]] if self.batch_first else [1, batch, sizes(x)[-1]]
        return tf.concat([x, tf.broadcast_to(row, shape)], 1 if self.batch_first else 0)

    def _widened(self, mask: tf.Tensor) -> tf.Tensor:
        """A mask with columns that mask nothing for the keys that were added."""
        added = (self.bias_k is not None) + self.add_zero_attn
        return tf.pad(mask, [[0, 0]] * (rank(mask) - 1) + [[0, added]]) if added else mask

    def _attention_mask(self, mask: Any, scores: tf.Tensor) -> Any:
        if mask is None:
            return None
        mask = self._widened(additive(mask, scores.dtype, masked_where=True))
        if rank(mask) == 2 or rank(scores) == 3:
            return mask
        return tf.reshape(mask, [-1, self.heads, *sizes(mask)[1:]])

    def _padding_mask(self, mask: Any, scores: tf.Tensor) -> Any:
        """(batch, columns), spread over heads and rows."""
        if mask is None:
            return None
        mask = self._widened(additive(mask, scores.dtype, masked_where=True))
        columns = sizes(mask)[-1]
        return tf.reshape(mask, [1, 1, columns] if rank(scores) == 3 else [-1, 1, 1, columns])

    def _reported(self, weights: tf.Tensor, average: bool, unbatched: bool) -> tf.Tensor:
        if average:
            weights = tf.reduce_mean(weights, axis=-3)
        has_batch = rank(weights) == (3 if average else 4)
        return weights if has_batch or unbatched else weights[tf.newaxis]


@converter(nn.MultiheadAttention, channel_ordering_strategy=FORCE_PYTORCH_ORDER)
def MultiheadAttention(self: nn.MultiheadAttention, query: Any, key: Any, value: Any, *args: Any, **kwargs: Any) -> Any:
    """nn.MultiheadAttention: four dense layers around the attention, whatever way the weights are packed."""
    if self._qkv_same_embed_dim:
        weights = Learned.of(self.in_proj_weight).chunk(3)
    else:
        weights = [Learned.of(w) for w in (self.q_proj_weight, self.k_proj_weight, self.v_proj_weight)]
    biases = (None,) * 3 if self.in_proj_bias is None else Learned.of(self.in_proj_bias).chunk(3)
    names = ("query", "key", "value")
    q, k, v = (dense(w, b, query.ndim, name) for w, b, name in zip(weights, biases, names))
    out = dense(Learned.of(self.out_proj.weight), learned(self.out_proj.bias), query.ndim, "out")
    bias_k, bias_v = variable(learned(self.bias_k), "bias_k"), variable(learned(self.bias_v), "bias_v")
    rate = self.dropout if self.training else 0.0
    return MultiHead(self.num_heads, q, k, v, out, bias_k, bias_v, self.add_zero_attn, self.batch_first, dropout=rate)


@expression(F.multi_head_attention_forward, strategy=FORCE_PYTORCH_ORDER)
@wide
def multi_head_attention_forward(
    query: tf.Tensor,
    key: tf.Tensor,
    value: tf.Tensor,
    embed_dim_to_check: int,
    num_heads: int,
    in_proj_weight: Any,
    in_proj_bias: Any,
    bias_k: Any,
    bias_v: Any,
    add_zero_attn: bool,
    dropout_p: float,
    out_proj_weight: tf.Tensor,
    out_proj_bias: Any,
    training: bool = True,
    key_padding_mask: Any = None,
    need_weights: bool = True,
    attn_mask: Any = None,
    use_separate_proj_weight: bool = False,
    q_proj_weight: Any = None,
    k_proj_weight: Any = None,
    v_proj_weight: Any = None,
    static_k: Any = None,
    static_v: Any = None,
    average_attn_weights: bool = True,
    is_causal: bool = False,
) -> tuple[tf.Tensor, tf.Tensor | None]:
    """F.multi_head_attention_forward"""
    packed = not use_separate_proj_weight
    weights = tf.split(in_proj_weight, 3) if packed else (q_proj_weight, k_proj_weight, v_proj_weight)
    biases = (None,) * 3 if in_proj_bias is None else tf.split(in_proj_bias, 3)

    def projection(weight: tf.Tensor, bias: Any) -> Projection:
        return lambda x: linear(x, weight, bias)

    q, k, v = (projection(w, b) for w, b in zip(weights, biases))
    out = projection(out_proj_weight, out_proj_bias)
    rate = dropout_p if training else 0.0
    attention = MultiHead(
        num_heads, q, k, v, out, bias_k, bias_v, add_zero_attn, static_k=static_k, static_v=static_v, dropout=rate
    )
    return attention(query, key, value, key_padding_mask, need_weights, attn_mask, average_attn_weights, is_causal)
