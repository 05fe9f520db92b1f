"""Each Python block of the seed's README (`seed_readme.md`) runs unchanged, in order, and means what it says there.

The blocks of a section share a namespace. A fragment, which is no program by itself, is put where its text says
that it belongs. Only the block that needs onnx-tf stays out.
"""

from __future__ import annotations

import re
import textwrap
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.types import _int

import nobuco
from nobuco import ChannelOrder, ChannelOrderingStrategy

SEED = Path(__file__).parent / "seed_readme.md"
# What the README takes as imported.
IMPORTED = {
    "keras": keras, "np": np, "tf": tf, "torch": torch, "F": F, "nn": nn, "Tensor": Tensor, "_int": _int,
    "nobuco": nobuco, "ChannelOrder": ChannelOrder, "ChannelOrderingStrategy": ChannelOrderingStrategy,
}  # fmt: skip


@dataclass(frozen=True)
class Block:
    line: int
    code: str


@dataclass
class Section:
    """The blocks of a section, run one after the other."""

    blocks: list[Block]
    names: dict[str, Any] = field(default_factory=lambda: {**IMPORTED, "__name__": "seed_readme"})

    def run(self) -> None:
        """Run the next block; its functions keep their lines of the README, so that their source is found."""
        block = self.blocks.pop(0)
        exec(compile("\n" * block.line + block.code, str(SEED), "exec"), self.names)

    def run_completed(self, template: str) -> None:
        """Run the next block, a fragment, in the place of `...` (which must say how far it is indented)."""
        block = self.blocks.pop(0)
        indent = re.search(r"^( *)\.\.\.$", template, flags=re.MULTILINE).group(1)
        code = template.replace(f"{indent}...\n", textwrap.indent(block.code, indent))
        exec(code, self.names)

    def skip(self) -> str:
        return self.blocks.pop(0).code

    def new(self, name: str, *args: Any) -> nn.Module:
        torch.manual_seed(0)
        return self.names[name](*args).eval()


def _sections() -> dict[str, list[Block]]:
    found: dict[str, list[Block]] = {}
    text = SEED.read_text()
    for match in re.finditer(
        r"^#+ (?P<title>[^\n]*)$|^```python\n(?P<code>.*?)^```", text, flags=re.MULTILINE | re.DOTALL
    ):
        if match["title"] is not None:
            blocks = found.setdefault(match["title"], [])
        else:
            blocks.append(Block(text.count("\n", 0, match.start("code")), match["code"]))
    return {title: blocks for title, blocks in found.items() if blocks}


@pytest.fixture
def section(restored_registry):
    """`section(title)`; a test runs every block of the sections that it takes."""
    taken: list[Section] = []

    def take(title: str) -> Section:
        taken.append(Section(list(_sections()[title])))
        return taken[-1]

    yield take
    assert not any(s.blocks for s in taken), "blocks were left out"


def agree(
    module: nn.Module, keras_model: keras.Model, x: Tensor, order: ChannelOrder = ChannelOrder.TENSORFLOW
) -> None:
    """The Keras model gives what the module does."""
    with torch.no_grad():
        expected = nobuco.bridge.to_numpy(module(x.clone()))
    got = nobuco.t_keras2pytorch(keras_model(nobuco.t_pytorch2keras(x, order)), order)
    np.testing.assert_allclose(nobuco.bridge.to_numpy(got), expected, rtol=1e-4, atol=1e-5)


def test_each_section_has_a_test():
    assert list(_sections()) == [
        "Essentials",
        "Channel order wizardry",
        "In-place operations",
        "Implementation mismatch: pick your poison",
        "Control flows",
        "Dynamic shapes",
        "Ad hoc modifications",
        "So we put a converter inside your converter",
        "But was it worth it?",
        "Nobuco knowledge base",
    ]


def test_essentials(section, check):
    seed = section("Essentials")
    seed.run()
    seed.run()
    agree(seed.names["pytorch_module"], seed.names["keras_model"], torch.randn(1, 3, 256, 256))
    for formula in ("activations.hard_sigmoid", "clip_by_value(input/6+1/2"):
        seed.run()
        assert formula in nobuco.locate_converter(F.hardsigmoid)[1].replace(" ", "")
        check(seed.new("MyModule"), torch.randn(1, 3, 32, 32))


def test_channel_order(section):
    seed = section("Channel order wizardry")
    seed.run()
    seed.run()
    names = seed.names
    assert sum(isinstance(layer, keras.layers.Permute) for layer in names["keras_model"].layers) <= 1
    x = torch.randn(1, 12, 32)
    for got, expected in zip(names["keras_model"](x.numpy()), names["pytorch_module"](x)):
        order = ChannelOrder.PYTORCH if got.shape == expected.shape else ChannelOrder.TENSORFLOW
        np.testing.assert_allclose(
            nobuco.t_keras2pytorch(got, order).numpy(), expected.detach().numpy(), rtol=1e-4, atol=1e-5
        )
    seed.run_completed(
        "class Forced(MyModule):\n    def forward(self, x):\n        ...\n        return x1 * x2.mean()\n"
    )
    forced = seed.new("Forced")
    model, report = nobuco.pytorch_to_keras(
        forced, [x], inputs_channel_order=ChannelOrder.PYTORCH, outputs_channel_order=ChannelOrder.TENSORFLOW,
        return_report=True, verbose=False,
    )  # fmt: skip
    assert sum(isinstance(layer, keras.layers.Permute) for layer in model.layers) == 1
    assert report.ok
    seed.run()
    assert "return lambda inputs: inputs" in nobuco.locate_converter(names["force_tensorflow_order"])[1]


def test_in_place(section, check):
    seed = section("In-place operations")
    for _ in range(3):
        seed.run()
        check(seed.new("MyModule"), torch.randn(1, 3, 32, 32))


def test_implementation_mismatch(section, check):
    seed = section("Implementation mismatch: pick your poison")
    image = torch.randn(1, 3, 16, 16)
    seed.run()
    module = seed.new("MyModule")
    check(module, image)
    seed.run()
    optimized = seed.new("MyModuleTFOptimized")
    check(optimized, image)
    seed.run()
    assert "channel_interleave2d" in nobuco.locate_converter(F.pixel_unshuffle)[1]
    check(module, image)
    seed.run()
    seed.run()
    check(seed.new("MyModuleTFOptimized"), image)
    check(seed.new("SpaceToDepth", 4), image)


def test_control_flow(section):
    seed = section("Control flows")
    seed.run()
    seed.run()
    module, x = seed.new("ControlIf"), torch.randn(1, 3, 8, 8)
    nn.init.zeros_(module.conv_pre.bias)  # so that -x takes the other branch than x
    model = nobuco.pytorch_to_keras(module, [x], outputs_channel_order=ChannelOrder.TENSORFLOW, verbose=False)
    with torch.no_grad():
        assert (module.conv_pre(x).mean() > 0) != (module.conv_pre(-x).mean() > 0)
    agree(module, model, x)
    agree(module, model, -x)


def test_dynamic_shapes(section):
    seed = section("Dynamic shapes")

    def agree_at_all_sizes():
        for size in ((128, 128), (96, 64), (50, 71)):
            agree(seed.names["pytorch_module"], seed.names["keras_model"], torch.randn(1, 3, *size))

    seed.run()
    agree_at_all_sizes()
    seed.run_completed(
        "class DynamicShape(DynamicShape):\n"
        "    def forward(self, x):\n"
        "        x = self.conv(x)\n"
        "        ...\n"
        "        return x[:, :, h//3:, w//3:]\n"
        "pytorch_module = DynamicShape().eval()\n"
    )
    arguments = (
        "pytorch_module, args=[input], input_shapes={input: (None, 3, None, None)}, "
        "inputs_channel_order=ChannelOrder.TENSORFLOW, outputs_channel_order=ChannelOrder.TENSORFLOW,"
    )
    seed.blocks[0] = Block(0, seed.blocks[0].code.replace("# ...", arguments))
    seed.run()
    agree_at_all_sizes()


def test_ad_hoc_modifications(section):
    seed = section("Ad hoc modifications")
    seed.run()
    whole = seed.names["FusibleModule"]
    seed.run()
    # The second class says `# ...` for what the first one has.
    part = seed.names["FusibleModule"]
    seed.names["FusibleModule"] = type("FusibleModule", (whole,), {"bn_conv": part.bn_conv, "forward": part.forward})
    seed.run()
    module, x = seed.new("FusibleModule"), torch.randn(1, 3, 16, 16)
    for parameter in (*module.bn.parameters(), *module.bn.buffers()):
        if parameter.is_floating_point():
            nn.init.uniform_(parameter, 0.5, 2.0)
    model = nobuco.pytorch_to_keras(module, [x], outputs_channel_order=ChannelOrder.TENSORFLOW, verbose=False)
    agree(module, model, torch.randn(1, 3, 16, 16))
    assert len(model.weights) == 2  # the batch normalization is gone


def test_converter_inside_converter(section, check):
    seed = section("So we put a converter inside your converter")
    seed.run()
    check(seed.new("MyModule"), torch.randn(1, 3, 32, 32))
    # onnx-tf's last release (2022) imports what TensorFlow 2.16 and later no longer have;
    # examples/converter_inside_converter.py puts another converter there.
    assert "from onnx_tf.backend import prepare" in seed.skip()


def test_was_it_worth_it(section, check):
    seed = section("But was it worth it?")
    seed.run()
    check(seed.new("SliceReLU"), torch.randn(1, 3, 32, 32))


def test_knowledge_base(section, capsys):
    seed = section("Nobuco knowledge base")
    seed.run()
    printed = capsys.readouterr().out
    assert 'File "' in printed
    assert "torch.Tensor.repeat" in printed
