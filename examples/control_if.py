"""A Python `if` on a tensor: a Keras layer with `@tf.function` around the converted inner modules."""

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

    def forward(self, x):
        x = self.conv_pre(x)
        if x.mean() > 0:
            x = self.conv_true(x)
            x = torch.tanh(x)
            x = self.conv_shared(x)
            x = x + 1
        else:
            x = self.conv_false(x)
            x = torch.sigmoid(x)
            x = self.conv_shared(x)
            x = x - 1
        return self.conv_shared(x)


class ControlIfKeras(tf.keras.layers.Layer):
    """The same, in TensorFlow; the convolutions are Keras models that somebody else converts."""

    def __init__(self, conv_pre, conv_true, conv_false, conv_shared, **kwargs):
        super().__init__(**kwargs)
        self.conv_pre = conv_pre
        self.conv_true = conv_true
        self.conv_false = conv_false
        self.conv_shared = conv_shared

    @tf.function
    def call(self, x):
        x = self.conv_pre(x)
        if tf.reduce_mean(x) > 0:
            x = self.conv_true(x)
            x = tf.tanh(x)
            x = self.conv_shared(x)
            x = x + 1
        else:
            x = self.conv_false(x)
            x = tf.sigmoid(x)
            x = self.conv_shared(x)
            x = x - 1
        return self.conv_shared(x)


@nobuco.converter(ControlIf, channel_ordering_strategy=ChannelOrderingStrategy.FORCE_TENSORFLOW_ORDER)
def converter_ControlIf(self, x):
    order = ChannelOrder.TENSORFLOW
    kwargs = {
        "inputs_channel_order": order,
        "outputs_channel_order": order,
        "return_outputs_pt": True,
        "verbose": False,
    }
    conv_pre, out_pre = nobuco.pytorch_to_keras(self.conv_pre, [x], **kwargs)
    conv_true, out_true = nobuco.pytorch_to_keras(self.conv_true, [out_pre], **kwargs)
    conv_false, _ = nobuco.pytorch_to_keras(self.conv_false, [out_pre], **kwargs)
    conv_shared, _ = nobuco.pytorch_to_keras(self.conv_shared, [out_true], **kwargs)
    return ControlIfKeras(conv_pre, conv_true, conv_false, conv_shared)


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
