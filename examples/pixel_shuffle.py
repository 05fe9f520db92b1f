"""Pixel shuffle: TensorFlow orders the channels otherwise. Beside a convolution that is a matter of its weights."""

import torch
from torch import nn

import nobuco
from nobuco import ChannelOrder
from nobuco.addons.torch.depth_to_space import DepthToSpace
from nobuco.addons.torch.space_to_depth import SpaceToDepth
from nobuco.export import to_tflite
from nobuco.export.tflite_file import tflite_operations


class TorchOptimized(nn.Module):
    """PyTorch's own operations; the convolution's weights take in what TensorFlow's do otherwise."""

    def __init__(self):
        super().__init__()
        self.factor = 4
        self.conv = nn.Conv2d(3 * self.factor**2, 3 * self.factor**2, kernel_size=1)

    def forward(self, x):
        x = nn.PixelUnshuffle(self.factor)(x)
        x = self.conv(x)
        return nn.PixelShuffle(self.factor)(x)


class TFOptimized(TorchOptimized):
    """TensorFlow's operations, imitated in PyTorch; the converted model is three operations."""

    def forward(self, x):
        x = SpaceToDepth(self.factor)(x)
        x = self.conv(x)
        return DepthToSpace(self.factor)(x)


def main():
    image = torch.randn(1, 3, 32, 32)
    for module in (TorchOptimized().eval(), TFOptimized().eval()):
        keras_model = nobuco.pytorch_to_keras(module, args=[image], outputs_channel_order=ChannelOrder.TENSORFLOW)
        with torch.no_grad():
            expected = module(image)
        output = keras_model(nobuco.t_pytorch2keras(image, ChannelOrder.TENSORFLOW))
        got = nobuco.t_keras2pytorch(output, ChannelOrder.TENSORFLOW)
        print(f"{type(module).__name__}: max |difference| {(got - expected).abs().max():.1e}")
        torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5)

        operations = tflite_operations(to_tflite(keras_model))
        print(f"{type(module).__name__} in TFLite: {dict(operations)}")
        assert "TRANSPOSE" not in operations


if __name__ == "__main__":
    main()
