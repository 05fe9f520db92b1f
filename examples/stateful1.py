"""A buffer that `forward` writes is state: the converted model updates it on each call, in Keras and in TFLite."""

import tempfile
from pathlib import Path

import keras
import torch
from ai_edge_litert.interpreter import Interpreter
from torch import nn

import nobuco
from nobuco.export import to_tflite


class RunningMean(nn.Module):
    """Subtracts a moving average of all that it has seen."""

    def __init__(self, features):
        super().__init__()
        self.register_buffer("mean", torch.zeros(features))

    def forward(self, x):
        self.mean.mul_(0.9).add_(0.1 * x.mean(dim=0))
        return x - self.mean


def main():
    module = RunningMean(4)
    steps = torch.randn(10, 2, 4)
    keras_model = nobuco.pytorch_to_keras(module, args=[steps[0]])  # leaves the module as it was
    with tempfile.TemporaryDirectory() as folder:
        keras_model.save(Path(folder, "model.keras"))
        reloaded = keras.models.load_model(Path(folder, "model.keras"))
    tflite = Interpreter(model_content=to_tflite(keras_model)).get_signature_runner()

    expected = torch.stack([module(x) for x in steps])
    for name, call in (
        ("Keras", keras_model),
        ("reloaded Keras", reloaded),
        ("TFLite", lambda x: tflite(x=x)["output_0"]),
    ):
        got = torch.stack([nobuco.t_keras2pytorch(call(x.numpy())) for x in steps])
        print(f"{len(steps)} steps in {name}: max |difference| {(got - expected).abs().max():.1e}")
        torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-6)

    nobuco.reset_states(keras_model)
    again = nobuco.t_keras2pytorch(keras_model(steps[0].numpy()))
    torch.testing.assert_close(again, expected[0], rtol=1e-5, atol=1e-6)
    print("after reset_states the first step is the first step again")


if __name__ == "__main__":
    main()
