"""Where transpositions go, and how to have a say in it: a text network of a GRU and two convolutions."""

import keras
import torch
from torch import nn

import nobuco
from nobuco import ChannelOrder


class Planned(nn.Module):
    def __init__(self):
        super().__init__()
        self.gru = nn.GRU(32, 128, num_layers=1, batch_first=True, bidirectional=False)
        self.conv1 = nn.Conv1d(12, 40, kernel_size=3, padding=1)
        self.conv2 = nn.Conv1d(12, 60, kernel_size=1, padding=0)

    def forward(self, x):
        x, hx = self.gru(x)
        return self.conv1(x), self.conv2(x)


class Forced(Planned):
    def forward(self, x):
        x, hx = self.gru(x)
        x = nobuco.force_tensorflow_order(x)  # channels-last from here on
        return self.conv1(x), self.conv2(x)


def main():
    x = torch.randn(1, 12, 32)
    for module in (Planned().eval(), Forced().eval()):
        keras_model = nobuco.pytorch_to_keras(
            module,
            args=[x],
            inputs_channel_order=ChannelOrder.PYTORCH,
            outputs_channel_order=ChannelOrder.TENSORFLOW,
        )
        transpositions = sum(isinstance(layer, keras.layers.Permute) for layer in keras_model.layers)
        print(f"{type(module).__name__}: {transpositions} transposition(s)")
        assert transpositions == 1, "both convolutions read the same transposed tensor"

        with torch.no_grad():
            expected = module(x)
        for output, wanted in zip(keras_model(nobuco.t_pytorch2keras(x)), expected):
            got = nobuco.t_keras2pytorch(output, ChannelOrder.TENSORFLOW)
            print(f"max |difference|: {(got - wanted).abs().max():.1e}")
            torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-5)


if __name__ == "__main__":
    main()
