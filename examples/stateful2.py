"""Sound in pieces: a causal convolution that keeps the end of each piece for the next one."""

import torch
from torch import nn

import nobuco
from nobuco import ChannelOrder


class StreamingConv(nn.Module):
    def __init__(self, channels, kernel_size):
        super().__init__()
        self.conv = nn.Conv1d(channels, channels, kernel_size)
        self.register_buffer("past", torch.zeros(1, channels, kernel_size - 1))

    def forward(self, piece):
        x = torch.cat((self.past, piece), dim=2)
        self.past.copy_(x[:, :, -self.past.shape[2] :])
        return torch.relu(self.conv(x))


def main():
    module = StreamingConv(4, 5).eval()
    sound = torch.randn(1, 4, 60)
    pieces = sound.split(6, dim=2)
    with torch.no_grad():
        # All at once, with silence before it.
        expected = torch.relu(module.conv(nn.functional.pad(sound, (4, 0))))

    keras_model = nobuco.pytorch_to_keras(module, args=[pieces[0]], outputs_channel_order=ChannelOrder.TENSORFLOW)
    outputs = [
        nobuco.t_keras2pytorch(
            keras_model(nobuco.t_pytorch2keras(piece, ChannelOrder.TENSORFLOW)), ChannelOrder.TENSORFLOW
        )
        for piece in pieces
    ]
    got = torch.cat(outputs, dim=2)
    print(f"{len(pieces)} pieces: max |difference| from the whole {(got - expected).abs().max():.1e}")
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5)


if __name__ == "__main__":
    main()
