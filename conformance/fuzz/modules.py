"""PyTorch's own modules with arguments drawn at random, one behind the other."""

from __future__ import annotations

from collections.abc import Mapping

from hypothesis import strategies as st
from torch import nn

from conformance.fuzz import grammar
from conformance.fuzz.grammar import Draw, Sketch, function, modules, rules, steps
from conformance.fuzz.layouts import PARTS_FILLERS, among
from conformance.fuzz.program import Input, Program

_CONVOLUTIONS = modules(
    "{t} | nn.Conv{r}d({ch}, {c}, {k}, {st}, {p}, dilation={dil}, bias={b}, padding_mode={pm})",
    "{t} | nn.Conv{r}d({ch}, {c}, {k}, padding={same}, dilation={dil})",
    "{t} | nn.Conv{r}d({ch}, {ch}, {k}, groups={ch}, padding={p})",
    "{t} | nn.Conv{r}d({ch}, {ch}, {k}, groups={half}, bias={b})",
    "{t} | nn.ConvTranspose{r}d({ch}, {c}, {k}, {st}, {p}, bias={b})",
    "{t} | nn.ConvTranspose{r}d({ch}, {ch}, {k}, 2, output_padding=1, groups={ch})",
    "{t} | nn.ConvTranspose{r}d({ch}, {c}, 3, dilation={dil})", "{t} | nn.Linear({last}, {c}, bias={b})",
    "{t} | nn.Bilinear({last}, {last}, 2)", "{t} | nn.Unfold({k}, padding={p}, stride={st})",
)  # fmt: skip
_POOLS = modules(
    "{t} | nn.MaxPool{r}d({k}, {st}, ceil_mode={b})", "{t} | nn.MaxPool{r}d(3, {st}, 1, dilation={dil})",
    "{t} | nn.AvgPool{r}d({k}, {st}, ceil_mode={b})",
    "{t} | nn.AvgPool{r}d(3, {st}, 1, count_include_pad={b}, ceil_mode={b2})",
    "{t} | nn.AvgPool2d(2, 1, divisor_override=3)", "{t} | nn.LPPool{r}d(2, {k}, ceil_mode={b})",
    "{t} | nn.AdaptiveAvgPool{r}d({c})", "{t} | nn.AdaptiveMaxPool{r}d({c})", "{t} | nn.AdaptiveAvgPool{r}d(1)",
    "{t} | nn.AdaptiveAvgPool2d((None, {c}))",
)  # fmt: skip
_NORMS = modules(
    "{t} | nn.BatchNorm{r}d({ch}, affine={b}, track_running_stats={b2})",
    "{t} | nn.GroupNorm({half}, {ch}, affine={b})",
    "{t} | nn.InstanceNorm{r}d({ch}, affine={b}, track_running_stats={b2})",
    "{t} | nn.LayerNorm({last}, elementwise_affine={b})", "{t} | nn.LayerNorm([{last}], bias={b})",
    "{t} | nn.RMSNorm({last})", "{t} | nn.LocalResponseNorm({c}, alpha=.1, k={c2})", "{t} | nn.BatchNorm1d({ch})",
    "{t} | nn.Dropout(.5)", "{t} | nn.Dropout2d()", "{t} | nn.AlphaDropout()", "{t} | nn.Identity()",
)  # fmt: skip
_PADS = modules(
    "{t} | nn.ZeroPad{r}d({c})", "{t} | nn.ConstantPad{r}d({c}, {z})", "{t} | nn.ReflectionPad{r}d(1)",
    "{t} | nn.ReplicationPad{r}d({c})", "{t} | nn.CircularPad{r}d(1)", "{t} | nn.ConstantPad2d((0, -1, {c}, 0), 2.)",
    "{t} | nn.ZeroPad2d((-1, 1, 0, 2))", "{t} | nn.Upsample(scale_factor={st}.5, mode='nearest')",
    "{t} | nn.Upsample(scale_factor=2, mode={up}, align_corners={b})", "{t} | nn.Upsample(size={c}, mode={up})",
    "{t} | nn.UpsamplingBilinear2d(scale_factor=2)", "{t} | nn.UpsamplingNearest2d(size={c})",
    "{t} | nn.PixelShuffle(2)", "{t} | nn.PixelUnshuffle(2)", "{t} | nn.ChannelShuffle({half})",
    "{t} | nn.Flatten({d})", "{t} | nn.Unflatten({d}, (-1, 2))", "{t} | nn.Upsample(size={c}, mode='nearest-exact')",
)  # fmt: skip
_ACTIVATIONS = modules(
    "{t} | nn.ReLU(inplace={b})", "{t} | nn.ReLU6()", "{t} | nn.LeakyReLU(.{c})", "{t} | nn.PReLU({ch})",
    "{t} | nn.PReLU()", "{t} | nn.RReLU()", "{t} | nn.ELU(.{c}, inplace={b})", "{t} | nn.SELU()",
    "{t} | nn.CELU({c}.)", "{t} | nn.GELU(approximate={ge})", "{t} | nn.SiLU(inplace={b})", "{t} | nn.Mish()",
    "{t} | nn.Softplus({c}, {c2})", "{t} | nn.Softshrink(.{c})", "{t} | nn.Hardshrink(.{c})", "{t} | nn.Tanhshrink()",
    "{t} | nn.Threshold(.{c}, {z})", "{t} | nn.Hardtanh(-{c}, {c2})", "{t} | nn.Hardsigmoid()",
    "{t} | nn.Hardswish()", "{t} | nn.LogSigmoid()", "{t} | nn.Softsign()", "{t} | nn.Sigmoid()",
    "{t} | nn.Softmax({d})", "{t} | nn.Softmin({d})", "{t} | nn.LogSoftmax({d})", "{t} | nn.Softmax2d()",
    "{t} | nn.GLU({d})", "{t} | nn.Tanh()",
)  # fmt: skip
_SEQUENCES = modules(
    "{t} | nn.TransformerEncoderLayer({last}, {heads}, 8, batch_first={b}, norm_first={b2}, activation={act})",
    "{t} | nn.Sequential(nn.Linear({last}, 4), nn.ReLU(), nn.Linear(4, {c}))",
    "{t} | nn.Sequential(nn.Conv2d({ch}, 4, 3), nn.BatchNorm2d(4), nn.ReLU6())",
    "{t} | First(nn.LSTM({last}, {c}, num_layers={st}, batch_first={b}, bidirectional={b2}, bias={b3}))",
    "{t} | First(nn.GRU({last}, {c}, num_layers={st}, batch_first={b}, bidirectional={b2}, bias={b3}))",
    "{t} | First(nn.RNN({last}, {c}, nonlinearity={nl}, batch_first={b}, bidirectional={b2}))",
    "{t} | First(nn.LSTM({last}, 4, proj_size=2))", "{t} | nn.GRUCell({last}, {c})",
    "{t} | First(nn.LSTMCell({last}, {c}))", "{t} | nn.RNNCell({last}, {c})",
    "{t} | Attention({last}, {heads}, batch_first={b}, bias={b2}, add_bias_kv={b3})",
    "{t} | nn.CosineSimilarity({d})",
)  # fmt: skip
_GLUE = rules(
    "{t} + 1", "{t} + {o}", "{t}.mean({d})", "{t}.flatten(1)", "{t}.transpose({d}, {d2})",
    "torch.cat([{t}, {o}], {d})", "{t} * {o}", "{t}.permute({perm})", "{t}[:, 0]", "{t}.unsqueeze({d})",
)  # fmt: skip
_RULES = [*_CONVOLUTIONS, *_CONVOLUTIONS, *_POOLS, *_NORMS, *_PADS, *_ACTIVATIONS, *_SEQUENCES, *_GLUE]


def _divisor(draw: Draw, sketch: Sketch, chosen: Mapping[str, str]) -> str:
    """A number of groups that the channels can be parted in."""
    channels = grammar.about(sketch, chosen).shape[1]
    return str(draw(st.sampled_from([n for n in range(1, channels + 1) if channels % n == 0])))


_FILLERS = {
    **PARTS_FILLERS, "half": _divisor, "dil": among("1", "2"),
    "pm": among("'zeros'", "'reflect'", "'circular'", "'replicate'"),
    "same": among("'same'", "'valid'"), "up": among("'bilinear'", "'bicubic'", "'linear'", "'trilinear'"),
    "ge": among("'none'", "'tanh'"),
    "heads": among("1", "2"), "act": among("'relu'", "'gelu'"), "nl": among("'tanh'", "'relu'"),
}  # fmt: skip

_SHAPES: tuple[tuple[int | str, ...], ...] = (
    (1, 3, 7, 6), (2, 4, 5, 5), (2, 4, 9), (1, 6, 4), (3, 8), (1, 2, 4, 5, 4), (2, 5, 6), (4, 6),
    ("n", 4, "h", "w"), (1, 3, "h", "w"), ("n", 2, 6, 5), (2, 4, "n"), ("n", "m", 4), ("n", 6), (1, 2, 4, "h", "w"),
)  # fmt: skip


@st.composite
def programs(draw: Draw) -> Program:
    """One to six modules; what no line reads comes out."""
    dims = draw(st.sampled_from(_SHAPES))
    inputs = [Input("x", dims, values="normal")]
    names = [dim for dim in dims if isinstance(dim, str)]
    trials = draw(grammar.occasions(draw(grammar.lengths(names)))) if names else grammar.STATIC
    sketch = Sketch.begun(inputs, trials)
    for space in sketch.spaces:
        space["self"] = nn.Module()
    steps(draw, sketch, _RULES, _FILLERS, 6)
    text = function(sketch, inputs, grammar.ends(sketch, inputs))
    return Program(text, tuple(inputs), trials, draw(grammar.orders()), tflite=draw(st.integers(0, 9)) == 9)
