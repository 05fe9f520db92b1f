"""Shape arithmetic: Python code on the sizes of tensors with one to three dynamic axes."""

from __future__ import annotations

from collections.abc import Mapping

from hypothesis import strategies as st

from conformance.fuzz import grammar
from conformance.fuzz.grammar import FILLERS, Draw, RejectedError, Sketch, function, rules, steps
from conformance.fuzz.program import Input, Program

_NUMBERS = rules(
    "{i} // {c}", "{i} % {c}", "{i} * {c}", "{i} + {i2}", "{i} - {c}", "-(-{i} // {c})", "-{i} % {c}", "{i} ** 2",
    "({i} + {c} - 1) // {c} * {c}", "({c} - {i} % {c}) % {c}", "max({i}, {i2})", "min({i}, {c})", "min({i}, {i2})",
    "max(0, {i} - {c})", "abs({i} - {i2})", "{i} & 1", "{i} >> 1", "{i} << 1", "{i} | 1", "{i} ^ 1", "sum({t}.shape)",
    "divmod({i}, {c})[0]", "divmod({i}, {c})[1]", "int({i} / {c})", "int({i} * .5)", "math.ceil({i} / {c})",
    "math.floor({i} / {c})", "round({i} / {c})", "math.isqrt({i})", "int(math.sqrt({i}))", "int({i} ** .5)",
    "int(math.log2({i}))", "{i}.bit_length()", "len({t})", "{t}.numel()", "{t}.shape.numel()", "math.prod({t}.shape)",
    "len(range(0, {i}, {c}))", "sum(range({i}))", "sorted([{i}, {i2}])[0]", "[1, 2, 3][{i} % 3]", "max({t}.shape)",
    "int({i} > {c})", "({i} == {i2}) + 1", "1 if {i} % {c} else 2", "{i} if {i} < {i2} else {i2}", "len(str({i}))",
    "int(np.ceil({i} / {c}))", "int(np.sqrt({i}))", "math.gcd({i}, {c})", "math.gcd({i}, {i2})", "hash({i}) % 3",
    "dict(enumerate((2, 3, 1))).get({i}, 1)", "int(torch.tensor({i}))", "{t}.stride(0)", "{t}.size()[-1]",
    "{t}[:{c}].shape[0]", "{t}[::2].shape[0]", "{t}.chunk(2)[0].shape[0]", "{i} // {i2}", "{i} % {i2}", "~{i} + {c}",
    "{i} if {cond} else {i2}", "sum(1 for j in range({i}) if j % 2)", "int(f'{{i}}'[-1])", "len([*range({i})][::2])",
    "len({t}.split({c}))", "round({f})", "int({f})", "math.ceil({f})", "int({f} * {i})",
    "next(j for j in (2, 4, 8, 99) if j > {i} or j == 99)", "int({i} * .29)", "math.ceil({i} * 1.1)",
    "round({i} * .35)", "math.floor({i} / .1)", "math.ceil(math.log2({i}))", "int(np.log2({i}))",
    "2 ** math.ceil(math.log2({i}))", "math.ceil(math.sqrt({i}))", "pow({i}, 2, 7)", "int({i} * .1 // .1)",
    "int(({i} * {i2}) ** .5)", "{i} | {i2}", "({i} | 1) ^ 3",
    makes="k",
)  # fmt: skip

_FLOATS = rules(
    "{i} / {c}", "{i} ** -.5", "{i} ** .5", "math.sqrt({i})", "math.log({i})", "1 / {i}", "float({i})", "{i} * .5",
    "[.5, 1., 2.][{i} % 3]", "float(np.sqrt({i}))", "({i} & 1) * .5", "1. if {i} % 2 else .5", "{i} / {i2}",
    "math.log2({i})", "math.sin({i})", "np.log1p({i}).item()", "float(f'{{i}}.5')", "math.fmod({i}, {c})",
    "max({i}, {c}) / 2", "float(torch.tensor({i} * 1.).sqrt())", "math.exp(-{i})", "math.hypot({i}, {i2})", "{f} * 2",
    "{f} if {cond} else 2.", "min({f}, 1.)", "np.mean([{i}, {i2}]).item()", "sum(j / 2 for j in range({i}))",
    makes="s",
)  # fmt: skip

_TENSORS = rules(
    "{t}[:{i}]", "{t}[{i}:]", "{t}[..., :{i}]", "{t}[..., -{i}:]", "{t}[:, {i} // {c}:]", "{t}[::{i}]",
    "{t}[..., {i} // 2]", "{t}.roll({i}, {d})", "{t}.roll({i} // {c}, {d})", "{t}.narrow({d}, {i} // {c}, {c2})",
    "{t}.narrow({d}, 0, {i})", "F.pad({t}, (0, {i}))", "F.pad({t}, ({i}, 0))",
    "F.pad({t}, (0, -{t}.shape[-1] % {c}))", "F.pad({t}, ({i} - {i2}, 0))",
    "F.pad({t}, (0, 0, 0, -{t}.shape[-2] % {c}))[..., :{i}, :]", "F.pad({t}, (1, {i} % {c}), value={f})",
    "{t}.reshape({i}, -1)", "{t}.reshape(-1, {i})", "{t}.view({t}.shape[0], -1)", "{t}.flatten({d})",
    "{t}.reshape(-1, {c})", "{t}.view({t}.shape[0] // {c}, {c}, *{t}.shape[1:])", "{t}.unflatten({d}, (-1, {c}))",
    "{t}.unflatten({d}, ({i}, -1))", "{t}.permute({perm})", "{t}.transpose({d}, {d2})", "torch.arange({i}) * 1.",
    "torch.arange({i}, {i2}) * 1.", "torch.arange(0, {i}, {c}) * 1.", "torch.linspace(0, 1, {i})",
    "torch.linspace(0, {i}, {c})", "torch.zeros({i}, {c})", "torch.ones({i}) * {f}", "{t}.new_full(({i},), {f})",
    "torch.eye({i})", "torch.full({t}.shape, {f})", "torch.tensor({f})", "torch.tensor([{i}, {i2}]) * 1.",
    "torch.tensor({f}) * {t}", "torch.as_tensor({i}) * {t}", "torch.tensor([{f}, 1.])", "{t} * {i}", "{t} + {f}",
    "{t} * {f}", "{t} / {i}", "{t} - {i} // {c}", "{i} - {t}", "{t} % {c} + {f}", "{t}.clamp(max={f})",
    "torch.where({t} > {i}, {t}, {f})", "{t}.clamp({i} % {c}, {i})", "torch.add({t}, {t}, alpha={f})",
    "F.leaky_relu({t}, {f})", "torch.stack([c.mean() for c in {t}.split({c})])",
    "torch.stack([c.sum() for c in {t}.chunk({c}, {d})])", "torch.cat([c.flip(0) for c in {t}.split({c})])",
    "torch.stack([{t}[j].sum() for j in range({i})])", "{t}.unbind({d})[-1]", "torch.stack(list({t}))",
    "{t}.split({i})[0]", "{t}.split({i}, {d})[-1]", "{t}.chunk({i}, {d})[0]", "{t}.chunk({c}, {d})[-1]",
    "{t}.split([{i}, {t}.shape[{d}] - {i}], {d})[0]", "{t}.tensor_split({c}, {d})[-1]", "{t}.unfold({d}, {c}, {c2})",
    "{t}.unfold({d}, {i}, {c})", "{t}.expand({i}, *{t}.shape)", "{t}[None].expand({c}, *[-1] * {t}.dim())",
    "{t}.expand_as({o})", "{t}.repeat({i}, *[1] * ({t}.dim() - 1))", "{t}.repeat_interleave({c}, {d})",
    "{t}.repeat_interleave({i}, {d})", "{t}.squeeze()", "{t}.squeeze({d})", "{t}.tile(({i},))",
    "{t}.as_strided(({i}, 2), (1, 1))", "{t}.as_strided(({i} // 2,), (2,))",
    "{t}.as_strided({t}.shape, {t}.stride())", "{t}.tril({i} // 2)", "{t}.triu({i})", "{t}.topk({c}, {d})[0]",
    "{t}.topk({i}, {d})[0]", "{t}.diagonal({i} - {c})", "{t}.sum({d})", "{t}.mean({d}, keepdim=True)",
    "{t}.sum() / {i}", "{t}.flip({d})", "{t} + {o}", "{t} * {o}", "torch.cat([{t}, {t}], {d})",
    "torch.cat([{t}, {o}], {d})", "{t}.cumsum({d})", "{t} @ {t}.mT", "{t}.softmax({d})",
    "{t}.select({d}, {i} // {c})", "{t}.index_select({d}, torch.arange({i}))", "{t}[torch.arange({i} - 1, -1, -1)]",
    "{t}.sort({d})[0]", "torch.arange({t}.shape[0])[:, None] + torch.arange({t}.shape[-1]) * 1.",
    "{t}.scatter({d}, {t}.long() * 0, 3.)", "{t}.masked_fill(torch.ones({t}.shape[-1]).cumsum(0) > {i} // 2, 0.)",
    "torch.ones({i}, {i}).tril()", "{t}.new_zeros({t}.shape)", "F.layer_norm({t}, {t}.shape[-1:])",
    "F.layer_norm({t}, {t}.shape[1:])", "{t}.view(-1)", "{t} if {cond} else {t} * 2",
    "{t}.relu() if {cond} else {t}.neg()", "{t}.mean() if {cond} else {t}.sum()",
    "F.one_hot(torch.arange({i}), {i2}) * 1.",
    "torch.meshgrid(torch.arange({i}), torch.arange({c}), indexing='ij')[0] * 1.", "{t}.view({t}.shape)",
    "{t}.var({d})", "{t}.argmax({d}) * 1.",
    "torch.hann_window({i})", "torch.logspace(0, 1, {i})", "torch.fft.fftshift({t}, {d})", "torch.fft.ifftshift({t})",
    "torch.triu_indices({i}, {i2})[0] * 1.", "torch.tril_indices({i}, {i})[1] * 1.", "torch.block_diag({t}, {t})",
    "torch.cov({t})", "torch.corrcoef({t}.mT)", "{t}.quantile(.3, {d})", "{t}.median()", "{t}.nanmedian({d})[0]",
    "torch.combinations(torch.arange({i})) * 1.", "torch.cartesian_prod(torch.arange({i}), torch.arange({c})) * 1.",
    "torch.arange(0, 1, 1 / {i})", "torch.arange(0, {i} * .1, .1)", "{t}.kron(torch.ones({c}, 1))", "torch.trapz({t})",
    "torch.vander(torch.arange({i}) * .1, {c})", "{t}[({t}.sum(-1) > 0).nonzero().squeeze(-1)].sum(0)",
    "{t}[..., 0].nonzero().sum(0) * 1.", "{t}.rot90()", "torch.gradient({t}, dim={d})[0]", "torch.diff({t}, dim={d})",
)  # fmt: skip

_IMAGES = rules(
    "F.interpolate({m}, size=({i}, {i2}))", "F.interpolate({m}, size={m}.shape[-1])",
    "F.interpolate({m}, scale_factor={c})", "F.interpolate({m}, size=({m}.shape[2] * 2, {i}), mode='bilinear')",
    "F.interpolate({m}, scale_factor=({m}.shape[2] / {c}, 1.))",
    "F.interpolate({m}, size=({m}.shape[2], {i}), mode=['nearest', 'bilinear'][{i} % 2])",
    "F.interpolate({m}, scale_factor=.5)", "F.interpolate({m}, scale_factor=.29)",
    "F.interpolate({m}, size=(int({m}.shape[2] * 1.1), int({m}.shape[3] * .7)))", "F.adaptive_avg_pool2d({m}, {c})",
    "F.adaptive_avg_pool2d({m}, ({i}, {c}))", "F.adaptive_max_pool2d({m}, (1, {c}))",
    "F.avg_pool2d({m}, {m}.shape[2])", "F.avg_pool2d({m}, {m}.shape[2:])", "F.avg_pool2d({m}, ({m}.shape[2], 1))",
    "F.avg_pool2d({m}, {c})", "F.max_pool2d({m}, (1, {m}.shape[3]))", "F.max_pool2d({m}, {c}, ceil_mode=True)",
    "F.avg_pool2d({m}, {i}, 1)", "F.max_pool2d({m}, 3, 2, 1)",
    "F.conv2d({m}, torch.ones(2, {m}.shape[1], 3, 3), padding=1)",
    "F.conv2d({m}, torch.ones(2, {m}.shape[1], 2, 2), stride=2)",
    "F.conv2d({m}, torch.ones({m}.shape[1], 1, 3, 3), groups={m}.shape[1], padding={i} % 3)",
    "F.pixel_unshuffle({m}, 2)", "F.pixel_shuffle({m}, 2)",
    "F.pad({m}, (0, -{m}.shape[3] % {c}, 0, -{m}.shape[2] % {c}))", "F.pad({m}, (1, 1, 1, 1), mode='reflect')",
    "{m}[:, :, :{i}, :{i2}].contiguous()", "F.unfold({m}, 2, stride=2)", "{m}.flatten(2).transpose(1, 2)",
    "F.fold(F.unfold({m}, 2, stride=2), {m}.shape[2:], 2, stride=2)",
    "F.conv_transpose2d({m}, torch.ones({m}.shape[1], 2, 2, 2), stride=2)", "{m}.mean((2, 3), keepdim=True)",
    "F.interpolate({m}.mean((2, 3), keepdim=True), size={m}.shape[2:])",
    "{m}.reshape({m}.shape[0], {m}.shape[1], {m}.shape[2] // 2, 2, {m}.shape[3] // 2, 2).permute(0, 2, 4, 3, 5, 1)",
    "{m}.permute(0, 2, 3, 1)", "F.group_norm({m}, 1)", "{m}.amax((2, 3))",
    "F.grid_sample({m}, torch.zeros({m}.shape[0], {i}, {c}, 2), align_corners=False)",
)  # fmt: skip

_BLOCKS = rules(
    "if {cond}:\n    {t} = {t} * 2", "if {cond}:\n    {t} = {t} + 1\nelse:\n    {t} = {t} - 1",
    "for j in range({i}):\n    {t} = {t} + j",
    "if {t}.shape[-1] % {c}:\n    {t} = F.pad({t}, (0, {c} - {t}.shape[-1] % {c}))",
    "for j in range({i} // {c}):\n    {t} = {t} * .5 + 1", "while {t}.shape[-1] > {c}:\n    {t} = {t}[..., ::2]",
    "while {t}.shape[0] % {c}:\n    {t} = torch.cat([{t}, {t}[:1]])",
    "for j in range(0, {i}, {c}):\n    {t} = {t}.roll(j, 0)", "for r in {t}:\n    {t} = {t} + r",
    "{t} = {t}.clone()\n{t}[:{i}] = 5.", "{t} = {t} * 1\n{t}[..., {i}:] *= -1", "{t} = {t} * 1\n{t}[{i} // {c}] += 1",
    "{t} = {t} * 1\n{t}[:{i} % {c}] = {f}", "if {t}.shape[0] == {o}.shape[0]:\n    {t} = {t} * 3",
    "if {t}.numel() > {c}0:\n    {t} = {t}.flip(0)", "{t} = {t} * 1\n{t}.fill_diagonal_({f})",
    "try:\n    {t} = {t}.view({c}, -1)\nexcept RuntimeError:\n    {t} = {t} * 2", "assert {t}.dim() > 0",
    "{t} = {t} * 1\n{t}.flatten(0).mul_(2)",
    makes="",
)  # fmt: skip


def _number(draw: Draw, sketch: Sketch, chosen: Mapping[str, str]) -> str:
    """A number that depends on a size, mostly: a size, one computed before, a constant."""
    kind = draw(st.sampled_from(("size", "size", "name", "name", "arithmetic", "constant")))
    names = sketch.of(int)
    if kind == "name" and names:
        return draw(st.sampled_from(names[:4]))
    if kind == "constant":
        return str(draw(st.integers(0, 9)))
    tensor = draw(st.sampled_from(sketch.tensors[-3:] + sketch.tensors[:2]))
    rank = sketch.value(tensor).dim()
    if not rank:
        raise RejectedError("no size")
    size = f"{tensor}.shape[{draw(st.integers(0, rank - 1))}]"
    return size if kind != "arithmetic" else f"({size} {draw(st.sampled_from(('// 2', '- 1', '+ 1', '* 2', '// 4')))})"


def _float(draw: Draw, sketch: Sketch, chosen: Mapping[str, str]) -> str:
    return draw(st.sampled_from((*sketch.of(float)[:3], "0.5", "2.")))


def _condition(draw: Draw, sketch: Sketch, chosen: Mapping[str, str]) -> str:
    first, second = _number(draw, sketch, chosen), _number(draw, sketch, chosen)
    constant = draw(st.integers(1, 9))
    return draw(
        st.sampled_from(
            (
                f"{first} > {constant}", f"{first} % {constant}", f"{first} % 2 == 0", f"{first} == {second}",
                f"{first} > {second}", f"not {first} % {constant}", f"{first} <= {constant}",
                f"1 < {first} < {constant}",
                f"{first} in (4, 8)", f"{first} != {constant}", f"{first}", f"{first} * {second} >= {constant}0",
            )
        )
    )  # fmt: skip


def _image(draw: Draw, sketch: Sketch, chosen: Mapping[str, str]) -> str:
    images = [name for name in sketch.tensors if sketch.value(name).dim() == 4]
    if not images:
        raise RejectedError("no image")
    return draw(st.sampled_from(images))


_FILLERS = {
    **FILLERS, "i": _number, "f": _float, "cond": _condition, "m": _image
}  # fmt: skip
_DIMS: tuple[tuple[int | str, ...], ...] = (
    ("n",), ("n", 3), ("n", "m"), (2, "n"), ("n", 4, "m"), (1, "n", 8), (1, 3, "h", "w"), ("n", 3, "h", "w"),
    (1, 4, "h", 6), ("n", 2, 8, 8), (1, 2, "h", "w"), ("n", "m", "k"),
)  # fmt: skip


@st.composite
def programs(draw: Draw) -> Program:
    """One to six lines; what no line reads comes out."""
    dims = draw(st.sampled_from(_DIMS))
    inputs = [Input("x", dims)]
    if draw(st.integers(0, 3)) == 3:
        inputs.append(Input("y", draw(st.sampled_from((dims, dims[::-1], dims[:1], dims[-1:])))))
    names = [dim for dim in dims if isinstance(dim, str)]
    trials = draw(grammar.occasions(draw(grammar.lengths(names))))
    sketch = Sketch.begun(inputs, trials)
    sketch.empty = draw(st.integers(0, 3)) == 0
    images = _IMAGES if len(dims) == 4 else []
    choices = [*_NUMBERS, *_FLOATS, *_TENSORS, *images, *images, *images, *(draw(st.booleans()) * 2 * _BLOCKS)]
    steps(draw, sketch, choices, _FILLERS, 6)
    text = function(sketch, inputs, _outputs(sketch, inputs))
    return Program(text, tuple(inputs), trials, draw(grammar.orders()), tflite=draw(st.integers(0, 9)) == 9)


def _outputs(sketch: Sketch, inputs: list[Input]) -> list[str]:
    """The last tensors; the first of them plus every number that no line uses, so that no number is idle."""
    first, *rest = grammar.ends(sketch, inputs)
    return [" + ".join([first, *grammar.idle(sketch)]), *rest]
