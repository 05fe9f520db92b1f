"""Writes in place and through views mean in Keras and in TFLite what they mean in PyTorch."""

import torch
from torch import nn

import nobuco
from nobuco import ChannelOrder
from nobuco.export import run_tflite, to_tflite


class Augmented(nn.Module):
    """A slice is multiplied in place, then the whole."""

    def forward(self, x):
        x[:, 1:2, 16:25, 8::2] *= 2
        torch.relu_(x)
        return x


class ThroughView(nn.Module):
    """The write goes to a slice that is not kept: its base changes all the same."""

    def forward(self, x):
        torch.relu_(x[:, 1:2, 16:25, 8::2])
        return x


class StaleView(nn.Module):
    """A view taken before a write shows what was written."""

    def forward(self, x):
        rows = x.flatten(2).transpose(1, 2)
        x[:, 0].fill_(1.0)
        return rows * 2


def main():
    x = torch.randn(1, 3, 32, 32)
    for module in (Augmented(), ThroughView(), StaleView()):
        keras_model = nobuco.pytorch_to_keras(module, args=[x], outputs_channel_order=ChannelOrder.PYTORCH)
        expected = module(x.clone())  # it writes its argument
        feed = nobuco.t_pytorch2keras(x, ChannelOrder.TENSORFLOW)
        in_keras = torch.tensor(keras_model(feed).numpy())
        in_tflite = torch.tensor(run_tflite(to_tflite(keras_model), [feed])[0])
        for name, got in (("Keras", in_keras), ("TFLite", in_tflite)):
            print(f"{type(module).__name__} in {name}: max |difference| {(got - expected).abs().max():.1e}")
            torch.testing.assert_close(got, expected, rtol=0, atol=1e-6)


if __name__ == "__main__":
    main()
