"""Fuse a batch normalization into the convolution behind it, in a converter for a method of the module."""

import numpy as np
import torch
from torch import nn

import nobuco
from nobuco import ChannelOrder, ChannelOrderingStrategy


class FusibleModule(nn.Module):
    def __init__(self):
        super().__init__()
        self.bn = nn.BatchNorm2d(3)
        self.conv = nn.Conv2d(3, 16, kernel_size=(3, 3), padding=(0, 0))
        self.act = nn.ReLU()

    @nobuco.traceable
    def bn_conv(self, x):
        x = self.bn(x)
        return self.conv(x)

    def forward(self, x):
        x = self.bn_conv(x)
        return self.act(x)


@nobuco.converter(FusibleModule.bn_conv, channel_ordering_strategy=ChannelOrderingStrategy.FORCE_TENSORFLOW_ORDER)
def converter_bn_conv(self, x):
    order = ChannelOrder.TENSORFLOW
    kwargs = {"inputs_channel_order": order, "outputs_channel_order": order, "verbose": False}
    bn, out_bn = nobuco.pytorch_to_keras(self.bn, [x], return_outputs_pt=True, **kwargs)
    conv = nobuco.pytorch_to_keras(self.conv, [out_bn], **kwargs)

    gamma, beta, moving_mean, moving_variance = bn.get_weights()
    kernel, bias = conv.get_weights()

    # y = gamma * (x - moving_mean) / sqrt(moving_variance + eps) + beta
    # z = kernel * y + bias = kernel_fused * x + bias_fused
    kernel_fused = kernel * (gamma / np.sqrt(moving_variance + self.bn.eps))[None, None, :, None]
    shift = kernel * beta[None, None, :, None] - kernel_fused * moving_mean[None, None, :, None]
    conv.set_weights([kernel_fused, shift.sum(axis=(0, 1, 2)) + bias])
    return lambda self, x: conv(x)


def main():
    module = FusibleModule()
    with torch.no_grad():
        module(5 * torch.randn(8, 3, 32, 32) + 1)  # statistics worth fusing
    module.eval()
    image = torch.randn(1, 3, 32, 32)
    keras_model = nobuco.pytorch_to_keras(module, args=[image], outputs_channel_order=ChannelOrder.TENSORFLOW)
    with torch.no_grad():
        expected = module(image)
    output = keras_model(nobuco.t_pytorch2keras(image, ChannelOrder.TENSORFLOW))
    got = nobuco.t_keras2pytorch(output, ChannelOrder.TENSORFLOW)
    print(f"max |difference|: {(got - expected).abs().max():.1e}")
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5)
    print(f"weights left: {[tuple(weight.shape) for weight in keras_model.weights]}")
    assert len(keras_model.weights) == 2


if __name__ == "__main__":
    main()
