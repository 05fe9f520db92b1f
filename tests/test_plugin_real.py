"""The plugin with the real frameworks, in processes of their own: models by name, and by the marker."""

from __future__ import annotations

import pytest

REAL_NETS = """
    import torch
    from torch import nn

    import nobuco

    class Fine(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3, padding=1)
            self.norm = nn.BatchNorm2d(4)

        @staticmethod
        def example_inputs():
            return (torch.ones(1, 3, 8, 8),)

        def forward(self, x):
            return self.norm(self.conv(x)).relu()

    class Nan(nn.Module):
        def forward(self, x):
            return torch.log(-x.abs() - 1)

    @nobuco.traceable
    def scale(x):
        return x * 2

    @nobuco.converter(scale, channel_ordering_strategy=nobuco.ChannelOrderingStrategy.MINIMUM_TRANSPOSITIONS)
    def convert_scale(x):
        return lambda x: x * 3

    class Wrong(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3)

        def forward(self, x):
            return scale(self.conv(x)).relu()
"""


def test_real_models(pytester):
    pytester.makepyfile(nets=REAL_NETS)
    models = [word for name in ("Fine", "Nan", "Wrong") for word in ("--nobuco-model", f"nets.{name}")]
    result = pytester.runpytest_subprocess(*models, "--nobuco-order", "nhwc", "--nobuco-input", "1,3,9,9", "-v")
    result.assert_outcomes(passed=8, failed=16)
    result.stdout.fnmatch_lines_random(
        [
            "Nan[[]nhwc-nhwc-static-keras]: output 0 float32[[]1, 3, 9, 9] is NaN or infinite everywhere in PyTorch*",
            "Wrong[[]nhwc-nhwc-static-tflite]: tflite differs from PyTorch",
            "  output 0: Values differ in * of 196 elements, worst at (0, *): expected *, got *, off by *",
            "  culprit: *scale*nets.py*line*",
            "  reproduce: pytest --nobuco-model nets.Wrong --nobuco-input 1,3,9,9 'nobuco::Wrong[[]nhwc-nhwc-static-*",
            "✓ nets.Fine * 8 of 8 match *",
        ]
    )


@pytest.mark.full
def test_real_marker_and_own_inputs(pytester):
    pytester.makepyfile(
        nets=REAL_NETS,
        test_nets="""
            import pytest
            import torch
            from torch import nn

            from nets import Fine

            pytestmark = pytest.mark.convert(orders=["nhwc"], runtimes=["keras", "tflite"])

            @pytest.mark.convert
            def own_inputs():
                return Fine()

            @pytest.mark.convert
            def no_inputs():
                return nn.ReLU()

            @pytest.mark.convert(inputs=[(1, 4, 8, 8)], runtimes=["keras"])
            def wrong_inputs():
                return Fine()

            @pytest.mark.convert(inputs=["1,5?:int64:0:7"])
            class Tokens(nn.Embedding):
                def __init__(self):
                    super().__init__(7, 4)
        """,
    )
    result = pytester.runpytest_subprocess()
    result.assert_outcomes(passed=8, failed=6)
    result.stdout.fnmatch_lines_random(
        [
            "no_inputs[[]nhwc-nhwc-*]: its inputs are not given; *--nobuco-input, or inputs=*",
            "wrong_inputs[[]*: the model fails in PyTorch itself on inputs float32[[]1, 4, 8, 8]: RuntimeError: *",
        ]
    )
