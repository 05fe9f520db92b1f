"""A loop over a tensor's steps, as many as there are at run time: its body is a traceable method."""

import tensorflow as tf
import torch
from torch import nn

import nobuco
from nobuco import ChannelOrder, ChannelOrderingStrategy
from nobuco.export import run_tflite, to_tflite


class ControlFor(nn.Module):
    """Reads (batch, steps, features) step by step and keeps a state of (batch, features)."""

    def __init__(self, features=8):
        super().__init__()
        self.mix = nn.Linear(2 * features, features)

    def step(self, state, x):
        return torch.tanh(self.mix(torch.cat((state, x), dim=1)))

    @nobuco.traceable
    def loop(self, state, xs):
        for i in range(xs.shape[1]):
            state = self.step(state, xs[:, i])
        return state

    def forward(self, xs):
        return self.loop(torch.zeros_like(xs[:, 0]), xs)


@nobuco.converter(ControlFor.loop, channel_ordering_strategy=ChannelOrderingStrategy.FORCE_PYTORCH_ORDER)
def converter_loop(self, state, xs):
    step = nobuco.pytorch_to_keras(self.step, [state, xs[:, 0]], verbose=False)

    def func(self, state, xs):
        def body(i, state):
            return i + 1, step([state, xs[:, i]])

        steps = tf.shape(xs)[1]
        return tf.while_loop(lambda i, state: i < steps, body, (0, state))[1]

    return func


def main():
    module = ControlFor().eval()
    xs = torch.randn(1, 5, 8)
    keras_model = nobuco.pytorch_to_keras(
        module,
        args=[xs],
        input_shapes={xs: (1, None, 8)},
        inputs_channel_order=ChannelOrder.PYTORCH,
    )
    flatbuffer = to_tflite(keras_model)
    for steps in (5, 1, 12):
        sequence = torch.randn(1, steps, 8)
        with torch.no_grad():
            expected = module(sequence)
        for name, output in (
            ("Keras", keras_model(sequence.numpy())),
            ("TFLite", run_tflite(flatbuffer, [sequence.numpy()])[0]),
        ):
            got = nobuco.t_keras2pytorch(output)
            print(f"{steps} steps in {name}: max |difference| {(got - expected).abs().max():.1e}")
            torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5)


if __name__ == "__main__":
    main()
