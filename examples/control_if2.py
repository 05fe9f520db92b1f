"""A Python `if` on a tensor: each branch is a traceable method, and the converter joins them with `tf.cond`."""

import tensorflow as tf
import torch
from torch import nn

import nobuco
from nobuco import ChannelOrder, ChannelOrderingStrategy
from nobuco.export import run_tflite, to_tflite


class ControlIf(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv_pre = nn.Conv2d(3, 16, kernel_size=(1, 1), bias=False)
        self.conv_true = nn.Conv2d(16, 32, kernel_size=(1, 1))
        self.conv_false = nn.Conv2d(16, 32, kernel_size=(1, 1))
        self.conv_shared = nn.Conv2d(32, 32, kernel_size=(1, 1))

    def true_branch(self, x):
        return self.conv_shared(torch.tanh(self.conv_true(x))) + 1

    def false_branch(self, x):
        return self.conv_shared(torch.sigmoid(self.conv_false(x))) - 1

    @nobuco.traceable
    def branch(self, x):
        return self.true_branch(x) if x.mean() > 0 else self.false_branch(x)

    def forward(self, x):
        x = self.conv_pre(x)
        x = self.branch(x)
        return self.conv_shared(x)


@nobuco.converter(ControlIf.branch, channel_ordering_strategy=ChannelOrderingStrategy.FORCE_TENSORFLOW_ORDER)
def converter_branch(self, x):
    order = ChannelOrder.TENSORFLOW
    kwargs = {"inputs_channel_order": order, "outputs_channel_order": order, "verbose": False}
    # A callable converts as well as a module does.
    true_branch = nobuco.pytorch_to_keras(self.true_branch, [x], **kwargs)
    false_branch = nobuco.pytorch_to_keras(self.false_branch, [x], **kwargs)
    return lambda self, x: tf.cond(tf.reduce_mean(x) > 0, lambda: true_branch(x), lambda: false_branch(x))


def main():
    module = ControlIf().eval()
    x = torch.randn(1, 3, 8, 8)
    keras_model = nobuco.pytorch_to_keras(module, args=[x], outputs_channel_order=ChannelOrder.TENSORFLOW)
    flatbuffer = to_tflite(keras_model)
    sides = set()
    for image in (x, -x):
        with torch.no_grad():
            expected = module(image)
            sides.add(bool(module.conv_pre(image).mean() > 0))
        feed = nobuco.t_pytorch2keras(image, ChannelOrder.TENSORFLOW)
        for name, output in (("Keras", keras_model(feed)), ("TFLite", run_tflite(flatbuffer, [feed])[0])):
            got = nobuco.t_keras2pytorch(output, ChannelOrder.TENSORFLOW)
            print(f"in {name}: max |difference| {(got - expected).abs().max():.1e}")
            torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5)
    assert sides == {True, False}, "both sides were taken"


if __name__ == "__main__":
    main()
