"""Convert a module; then replace a built-in converter by one's own."""

import tensorflow as tf
import torch
import torch.nn.functional as F
from torch import nn

import nobuco
from nobuco import ChannelOrder, ChannelOrderingStrategy


class MyModule(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 16, kernel_size=(3, 3), padding=(1, 1), stride=(2, 2))

    def forward(self, x):
        x = self.conv(x)
        x = nn.Hardsigmoid()(x)
        return 1 - x[:, ::2] * x[:, 1::2]


def convert_and_compare(module, image):
    keras_model = nobuco.pytorch_to_keras(
        module,
        args=[image],
        inputs_channel_order=ChannelOrder.TENSORFLOW,
        outputs_channel_order=ChannelOrder.TENSORFLOW,
    )
    unseen = torch.rand_like(image)
    with torch.no_grad():
        expected = module(unseen)
    output = keras_model(nobuco.t_pytorch2keras(unseen, ChannelOrder.TENSORFLOW))
    got = nobuco.t_keras2pytorch(output, ChannelOrder.TENSORFLOW)
    print(f"max |difference| on an image never seen: {(got - expected).abs().max():.1e}")
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5)
    return keras_model


def main():
    module = MyModule().eval()
    image = torch.rand(1, 3, 64, 64)
    convert_and_compare(module, image).summary()

    # A converter takes what the PyTorch operation takes, and returns its TensorFlow equivalent.
    @nobuco.converter(F.hardsigmoid, channel_ordering_strategy=ChannelOrderingStrategy.MINIMUM_TRANSPOSITIONS)
    def hardsigmoid(input: torch.Tensor, inplace: bool = False):
        return lambda input, inplace=False: tf.clip_by_value(input / 6 + 1 / 2, clip_value_min=0, clip_value_max=1)

    convert_and_compare(module, image)


if __name__ == "__main__":
    main()
