"""Images of any height and width: sizes stay symbolic where an axis is dynamic."""

import torch
from torch import nn

import nobuco
from nobuco import ChannelOrder
from nobuco.export import run_tflite, to_tflite


class DynamicShape(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 16, kernel_size=(1, 1))

    def forward(self, x):
        x = self.conv(x)
        b, c, h, w = x.shape  # nobuco.shape(x) says the same more loudly
        return x[:, :, h // 3 :, w // 3 :]


def main():
    module = DynamicShape().eval()
    x = torch.randn(1, 3, 128, 128)
    keras_model = nobuco.pytorch_to_keras(
        module,
        args=[x],
        input_shapes={x: (None, 3, None, None)},  # in PyTorch's order; None for what is dynamic
        inputs_channel_order=ChannelOrder.TENSORFLOW,
        outputs_channel_order=ChannelOrder.TENSORFLOW,
    )
    print(f"{keras_model.input_shape} -> {keras_model.output_shape}")
    flatbuffer = to_tflite(keras_model)

    for shape in ((1, 3, 128, 128), (2, 3, 96, 64), (1, 3, 50, 71)):
        image = torch.randn(shape)
        with torch.no_grad():
            expected = module(image)
        feed = nobuco.t_pytorch2keras(image, ChannelOrder.TENSORFLOW)
        for name, output in (("Keras", keras_model(feed)), ("TFLite", run_tflite(flatbuffer, [feed])[0])):
            got = nobuco.t_keras2pytorch(output, ChannelOrder.TENSORFLOW)
            print(f"{shape} in {name}: max |difference| {(got - expected).abs().max():.1e}")
            torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5)


if __name__ == "__main__":
    main()
