"""A recurrent network that goes on where the last call ended: its hidden state is a buffer."""

import torch
from torch import nn

import nobuco
from nobuco import ChannelOrder


class StatefulGRU(nn.Module):
    def __init__(self):
        super().__init__()
        self.gru = nn.GRU(8, 16, batch_first=True)
        self.register_buffer("hidden", torch.zeros(1, 1, 16))

    def forward(self, x):
        x, hidden = self.gru(x, self.hidden)
        self.hidden.copy_(hidden)
        return x


def main():
    module = StatefulGRU().eval()
    sequence = torch.randn(1, 30, 8)
    pieces = sequence.split(3, dim=1)
    with torch.no_grad():
        expected, _ = module.gru(sequence)  # all at once

    order = ChannelOrder.PYTORCH  # (batch, time, features): no channels here
    keras_model = nobuco.pytorch_to_keras(
        module, args=[pieces[0]], inputs_channel_order=order, outputs_channel_order=order
    )
    for attempt in ("first", "after a reset"):
        got = torch.cat([nobuco.t_keras2pytorch(keras_model(piece.numpy()), order) for piece in pieces], dim=1)
        print(f"{attempt}: max |difference| from the whole {(got - expected).abs().max():.1e}")
        torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5)
        nobuco.reset_states(keras_model)


if __name__ == "__main__":
    main()
