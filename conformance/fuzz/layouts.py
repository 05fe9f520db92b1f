"""Convolutions, pools, norms and movements of data in a mixture, in either channel order, of fixed sizes or not."""

from __future__ import annotations

from collections.abc import Mapping

from hypothesis import strategies as st
from torch import nn

from conformance.fuzz import grammar
from conformance.fuzz.grammar import FILLERS, Draw, Filler, RejectedError, Rule, Sketch, function, modules, rules, steps
from conformance.fuzz.program import Input, Program

_PARTS = modules(
    "{t} | nn.Conv{r}d({ch}, {c}, {k}, {st}, {p})", "{t} | nn.Conv{r}d({ch}, {ch}, {k}, padding='same', groups={ch})",
    "{t} | nn.Conv{r}d({ch}, {c}, 1)", "{t} | nn.ConvTranspose{r}d({ch}, {c}, {k}, {st}, output_padding=0)",
    "{t} | nn.BatchNorm{r}d({ch})", "{t} | nn.MaxPool{r}d({k}, {st}, ceil_mode={b})",
    "{t} | nn.AvgPool{r}d({k}, {st})", "{t} | nn.InstanceNorm{r}d({ch}, affine={b})", "{t} | nn.GroupNorm(1, {ch})",
    "{t} | nn.LayerNorm({last})", "{t} | nn.PReLU({ch})", "{t} | nn.Linear({last}, {c})",
    "{t} | nn.AdaptiveAvgPool{r}d({c})", "{t} | nn.Softmax({d})", "{t} | nn.AdaptiveMaxPool{r}d(1)",
    "{t} | nn.Flatten({d})", "{t} | nn.Upsample(scale_factor=2)", "{t} | nn.ReLU()", "{t} | nn.ZeroPad{r}d(1)",
    "{t} | nn.ReflectionPad{r}d(1)", "{t} | nn.GLU({d})", "{t} | nn.LocalResponseNorm(2)", "{t} | nn.PixelShuffle(2)",
    "{t} | nn.PixelUnshuffle(2)", "{t} | nn.ChannelShuffle(2)", "{t} | nn.Softmax2d()",
)  # fmt: skip

_MOVES = rules(
    "{t}.permute({perm})", "{t}.permute({perm})", "{t}.permute({perm}).contiguous()", "{t}.transpose({d}, {d2})",
    "{t}.movedim({d}, {d2})", "{t}.flatten({d})", "{t}.flatten({d}, {d2})", "{t}.reshape({t}.shape[0], -1)",
    "{t}.reshape({t}.shape[0], {t}.shape[1], -1)", "{t}.unflatten({d}, (-1, 2))", "{t}.unflatten({d}, (2, -1))",
    "{t}.mT", "{t}.unsqueeze({d})", "{t}.squeeze({d})", "{t}.view({t}.shape[0], -1, *{t}.shape[2:])", "{t}.flip({d})",
    "{t}.chunk(2, {d})[0]", "{t}.split(1, {d})[-1]", "{t}.unbind({d})[0]", "{t}[:, 0]", "{t}[..., 0]", "{t}[:, 1:]",
    "{t}[..., ::2]", "{t}.roll(1, {d})", "torch.cat([{t}, {t}], {d})", "torch.cat([{t}, {o}], {d})",
    "torch.stack([{t}, {t}], {d})", "{t}.reshape({t}.shape[0], 2, -1, *{t}.shape[2:]).transpose(1, 2).flatten(1, 2)",
    "{t}.repeat(1, 2, *[1] * ({t}.dim() - 2))", "{t}.expand(2, *[-1] * ({t}.dim() - 1))", "{t}.narrow({d}, 0, 1)",
    "{t}.index_select({d}, torch.tensor([0, 0]))", "{t}.repeat_interleave(2, {d})", "{t}.swapaxes({d}, {d2})",
)  # fmt: skip

_SUMS = rules(
    "{t} + {o}", "{t} * {o}", "{t} + 1", "{t} * 2", "{t}.mean({d}, keepdim={b})", "{t}.sum({d}, keepdim={b})",
    "{t}.amax({d}, keepdim={b})", "{t}.mean((-2, -1), keepdim={b})", "{t}.softmax({d})", "{t}.cumsum({d})",
    "{t} @ {t}.mT", "{t}.sigmoid() * {t}", "{t} * {t}.mean((2, 3), keepdim=True).sigmoid()", "{t}.argmax({d})",
    "F.normalize({t}, dim={d})", "torch.matmul({t}, {o}.mT)", "{t}.std({d})", "{t}.norm(dim={d})",
    "F.pad({t}, (1, 0, 0, 1))", "F.pad({t}, (0, 1))",
    "{t} * torch.arange({t}.shape[1]).view(-1, *[1] * ({t}.dim() - 2))", "{t} + torch.arange({t}.shape[-1])",
    "F.interpolate({t}, scale_factor=2)", "F.interpolate({t}, size={t}.shape[2:], mode='nearest')",
    "{t}.sort({d})[0]", "F.layer_norm({t}, {t}.shape[1:])", "torch.einsum('b...,b...->b', {t}, {t})",
    "{t}.gather({d}, {t}.argsort({d}))", "{t}.topk(1, {d})[0]", "torch.where({t} > 0, {t}, {o})", "{t}.clamp(min=0)",
    "{t}.median({d})[0]", "{t}.relu()", "F.max_pool2d({t}, 2)", "F.avg_pool2d({t}, 2, 1)", "F.unfold({t}, 2)",
    "{t}.log_softmax({d})", "{t}.tril()", "{t}.var({d})", "torch.bmm({t}.flatten(2), {t}.flatten(2).mT)",
    "F.scaled_dot_product_attention({t}, {t}, {t})", "{t}.prod({d})", "{t}.logsumexp({d})",
    "F.cosine_similarity({t}, {t} + 1, dim={d})", "F.glu({t}, {d})", "{t}.diff(dim={d})",
)  # fmt: skip
_RULES: list[Rule] = [*_PARTS, *_PARTS, *_MOVES, *_MOVES, *_SUMS]


def _spatial(draw: Draw, sketch: Sketch, chosen: Mapping[str, str]) -> str:
    rank = grammar.about(sketch, chosen).dim()
    if rank < 3 or rank > 5:
        raise RejectedError("no spatial dimension")
    return str(rank - 2)


def _channels(draw: Draw, sketch: Sketch, chosen: Mapping[str, str]) -> str:
    return str(grammar.about(sketch, chosen).shape[1])


def _last(draw: Draw, sketch: Sketch, chosen: Mapping[str, str]) -> str:
    return str(grammar.about(sketch, chosen).shape[-1])


def among(*texts: str) -> Filler:
    """A filler that draws one of these."""
    return lambda draw, sketch, chosen: draw(st.sampled_from(texts))


PARTS_FILLERS: dict[str, Filler] = {
    **FILLERS, "r": _spatial, "ch": _channels, "last": _last, "b": among("False", "True"),
    "k": among("1", "2", "3"), "st": among("1", "2"), "p": among("0", "1"),
}  # fmt: skip

_SHAPES: tuple[tuple[int | str, ...], ...] = (
    (1, 3, 5, 6), (2, 4, 4, 4), (2, 2, 3, 4), (2, 3, 6), (1, 4, 8), (1, 2, 3, 4, 5), (2, 4, 2, 2, 2), (3, 4),
    (1, 3, "h", "w"), ("n", 4, 4, 4), ("n", 3, "h", "w"), (2, 3, "n"), ("n", 4, "m"), (1, 2, 3, "h", "w"),
    (1, 1, "h", 1),
)  # fmt: skip


@st.composite
def programs(draw: Draw) -> Program:
    """Two to eight lines; what no line reads comes out."""
    dims = draw(st.sampled_from(_SHAPES))
    inputs = [Input("x", dims, values="normal")]
    if draw(st.integers(0, 3)) == 3:
        inputs.append(Input("y", draw(st.sampled_from((dims, dims[1:]))), values="normal"))
    names = [dim for dim in dims if isinstance(dim, str)]
    trials = draw(grammar.occasions(draw(grammar.lengths(names)))) if names else grammar.STATIC
    sketch = Sketch.begun(inputs, trials)
    for space in sketch.spaces:
        space["self"] = nn.Module()
    steps(draw, sketch, _RULES, PARTS_FILLERS, 8)
    text = function(sketch, inputs, grammar.ends(sketch, inputs))
    return Program(text, tuple(inputs), trials, draw(grammar.orders()), tflite=draw(st.integers(0, 9)) == 9)
