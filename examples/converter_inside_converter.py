"""Somebody else's model inside a converter: any tool that leaves a SavedModel behind will do.

Here plain TensorFlow code writes it; where another converter writes one, its call stands in `write_saved_model`.
(onnx-tf, which used to be the example for this, does not run with today's TensorFlow.)
"""

import tempfile

import keras
import tensorflow as tf
import torch
from torch import nn

import nobuco
from nobuco import ChannelOrder, ChannelOrderingStrategy


class SliceReLU(nn.Module):
    """Writes into its argument; its caller ignores what it returns."""

    def forward(self, x):
        torch.relu_(x[:, 1:2, 16:25, 8::2])
        return x


class MyModule(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 3, kernel_size=(3, 3), padding=(1, 1))

    def forward(self, x):
        x = self.conv(x)
        SliceReLU()(x)
        return x


def write_saved_model(folder, shape):
    """The third party: knows nothing of nobuco, takes and gives tensors in PyTorch's order."""
    mask = torch.zeros(shape)
    mask[:, 1:2, 16:25, 8::2] = 1

    @tf.function(input_signature=[tf.TensorSpec(shape, tf.float32, name="input")])
    def serve(input):
        return {"output": tf.where(mask.numpy() > 0, tf.nn.relu(input), input)}

    tf.saved_model.save(tf.Module(), folder, signatures=serve)


@nobuco.converter(SliceReLU, channel_ordering_strategy=ChannelOrderingStrategy.FORCE_PYTORCH_ORDER, reusable=False)
def converter_SliceReLU(self, x):
    with tempfile.TemporaryDirectory() as folder:
        write_saved_model(folder, tuple(x.shape))
        model = tf.saved_model.load(folder)
    serve = model.signatures["serving_default"]
    return keras.layers.Lambda(lambda x: serve(input=x)["output"])


def main():
    module = MyModule().eval()
    image = torch.randn(1, 3, 32, 32)
    keras_model = nobuco.pytorch_to_keras(module, args=[image], outputs_channel_order=ChannelOrder.TENSORFLOW)
    with torch.no_grad():
        expected = module(image)
    output = keras_model(nobuco.t_pytorch2keras(image, ChannelOrder.TENSORFLOW))
    got = nobuco.t_keras2pytorch(output, ChannelOrder.TENSORFLOW)
    print(f"max |difference|: {(got - expected).abs().max():.1e}")
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5)


if __name__ == "__main__":
    main()
