"""Names for inputs and outputs, which Keras and the signature of the TFLite file keep."""

import torch
from ai_edge_litert.interpreter import Interpreter
from torch import nn

import nobuco
from nobuco import ChannelOrder
from nobuco.export import to_tflite


class Blend(nn.Module):
    def forward(self, image, mask):
        blended = image * mask
        return blended, blended.mean(dim=(1, 2, 3))


def main():
    module = Blend()
    image, mask = torch.rand(1, 3, 8, 8), torch.rand(1, 1, 8, 8)
    keras_model = nobuco.pytorch_to_keras(
        module,
        args=[image, mask],
        inputs_channel_order={image: ChannelOrder.TENSORFLOW, mask: ChannelOrder.PYTORCH},
        outputs_channel_order={0: ChannelOrder.TENSORFLOW},
        input_names={image: "photo", mask: "alpha"},
        output_names={0: "blended", 1: "brightness"},
    )
    assert [tensor.name for tensor in keras_model.inputs] == ["photo", "alpha"]
    expected = module(image, mask)

    interpreter = Interpreter(model_content=to_tflite(keras_model))
    print(interpreter.get_signature_list())
    runner = interpreter.get_signature_runner()
    outputs = runner(photo=image.permute(0, 2, 3, 1).numpy(), alpha=mask.numpy())
    for name, wanted in zip(("blended", "brightness"), expected):
        got = nobuco.t_keras2pytorch(outputs[name], ChannelOrder.TENSORFLOW)
        print(f"{name}: max |difference| {(got - wanted).abs().max():.1e}")
        torch.testing.assert_close(got, wanted, rtol=1e-5, atol=1e-6)


if __name__ == "__main__":
    main()
