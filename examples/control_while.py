"""A loop until a condition holds: condition and body are methods, converted one by one."""

import tensorflow as tf
import torch
from torch import nn

import nobuco
from nobuco import ChannelOrder, ChannelOrderingStrategy
from nobuco.export import run_tflite, to_tflite


class ControlWhile(nn.Module):
    """Adds a convolution's output until the image is bright enough."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 3, kernel_size=3, padding=1)

    def too_dark(self, x):
        return x.mean() < 1

    def brighten(self, x):
        return x + torch.sigmoid(self.conv(x))

    @nobuco.traceable
    def loop(self, x):
        while self.too_dark(x):
            x = self.brighten(x)
        return x

    def forward(self, x):
        return torch.relu(self.loop(x))


@nobuco.converter(ControlWhile.loop, channel_ordering_strategy=ChannelOrderingStrategy.FORCE_TENSORFLOW_ORDER)
def converter_loop(self, x):
    order = ChannelOrder.TENSORFLOW
    kwargs = {"inputs_channel_order": order, "outputs_channel_order": order, "verbose": False}
    condition = nobuco.pytorch_to_keras(self.too_dark, [x], **kwargs)
    body = nobuco.pytorch_to_keras(self.brighten, [x], **kwargs)
    return lambda self, x: tf.while_loop(condition, lambda x: [body(x)], [x])[0]


def main():
    module = ControlWhile().eval()
    x = torch.zeros(1, 3, 8, 8)
    keras_model = nobuco.pytorch_to_keras(module, args=[x], outputs_channel_order=ChannelOrder.TENSORFLOW)
    flatbuffer = to_tflite(keras_model)
    for brightness in (0.0, 2.0, -3.0):  # some rounds, none, many
        image = torch.rand(1, 3, 8, 8) + brightness
        with torch.no_grad():
            expected = module(image)
        feed = nobuco.t_pytorch2keras(image, ChannelOrder.TENSORFLOW)
        for name, output in (("Keras", keras_model(feed)), ("TFLite", run_tflite(flatbuffer, [feed])[0])):
            got = nobuco.t_keras2pytorch(output, ChannelOrder.TENSORFLOW)
            print(f"from {brightness} in {name}: max |difference| {(got - expected).abs().max():.1e}")
            torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-4)


if __name__ == "__main__":
    main()
