"""A crop at a dynamic place but of a fixed size keeps its static shape, if PyTorch is asked for it so."""

import torch
from torch import nn

import nobuco
from nobuco import ChannelOrder
from nobuco.export import run_tflite, to_tflite


class CenterCrop(nn.Module):
    """The middle 32 x 32 pixels, then a layer that needs to know how many they are."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(3 * 32 * 32, 10)

    def forward(self, x):
        b, c, h, w = x.shape
        x = x.narrow(2, h // 2 - 16, 32)  # `narrow` takes a length, which stays the number that it is
        x = x.narrow(3, w // 2 - 16, 32)
        return x, self.head(x.flatten(1))


def main():
    module = CenterCrop().eval()
    x = torch.randn(1, 3, 64, 64)
    keras_model = nobuco.pytorch_to_keras(
        module,
        args=[x],
        input_shapes={x: (1, 3, None, None)},
        outputs_channel_order=ChannelOrder.TENSORFLOW,
    )
    print(f"{keras_model.input_shape} -> {keras_model.output_shape}")
    assert keras_model.output_shape[0] == (1, 32, 32, 3), "the crop is static although the image is not"
    flatbuffer = to_tflite(keras_model)

    for shape in ((1, 3, 64, 64), (1, 3, 48, 100), (1, 3, 33, 47)):
        image = torch.randn(shape)
        with torch.no_grad():
            expected = module(image)
        feed = nobuco.t_pytorch2keras(image, ChannelOrder.TENSORFLOW)
        for name, outputs in (("Keras", keras_model(feed)), ("TFLite", run_tflite(flatbuffer, [feed]))):
            for output, wanted in zip(outputs, expected):
                got = nobuco.t_keras2pytorch(output, ChannelOrder.TENSORFLOW)
                print(f"{shape} in {name}: max |difference| {(got - wanted).abs().max():.1e}")
                torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-5)


if __name__ == "__main__":
    main()
