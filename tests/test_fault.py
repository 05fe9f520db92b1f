"""Looking for a fault: what `compare` and `bisect` say of models that were converted earlier."""

from __future__ import annotations

import copy

import keras
import numpy as np
import pytest
import torch
from torch import nn

import nobuco
from nobuco import ChannelOrder

TENSORFLOW, PYTORCH = ChannelOrder.TENSORFLOW, ChannelOrder.PYTORCH


class Block(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)
        self.bn = nn.BatchNorm2d(channels)

    def forward(self, x):
        return torch.relu(self.bn(self.conv(x)) + x)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.blocks = nn.Sequential(Block(3), Block(3))
        self.head = nn.Linear(3, 4)

    def forward(self, x):
        x = self.blocks(x)
        return {"scores": self.head(x.mean((2, 3))), "map": torch.cumsum(x, 1)}


def convert(model, *args, **kwargs):
    return nobuco.pytorch_to_keras(model, args=list(args), verbose=False, **kwargs)


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(0)
    return Net().eval()


@pytest.fixture(scope="module")
def image():
    return torch.randn(2, 3, 6, 5, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def loaded(net, image, tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "net.keras"
    convert(net, image).save(path)
    return keras.models.load_model(path)


class TestCompare:
    def test_a_loaded_model_matches_output_by_output(self, net, image, loaded):
        found = nobuco.compare(net, loaded, [torch.randn(2, 3, 6, 5)])
        assert found.ok
        assert [output.number for output in found.outputs] == [0, 1]
        assert [output.difference.expected_shape for output in found.outputs] == [(2, 4), (2, 3, 6, 5)]
        assert found.inputs == (TENSORFLOW,)
        assert str(found).startswith("✓ output 0: Matches")

    def test_weights_that_changed_since_are_seen(self, net, image, loaded):
        trained = copy.deepcopy(net)
        with torch.no_grad():
            trained.head.bias += 0.5
        found = nobuco.compare(trained, loaded, [image])
        scores, features = found.outputs
        assert not found.ok
        assert features.difference.matches
        assert scores.difference.max_abs == pytest.approx(0.5, abs=1e-4)
        assert found.worst is scores.difference
        assert nobuco.compare(trained, loaded, [image], tolerance=0.6).ok

    @pytest.mark.parametrize("inputs", [TENSORFLOW, PYTORCH])
    @pytest.mark.parametrize("outputs", [TENSORFLOW, PYTORCH])
    def test_orders_are_found_where_shapes_do_not_tell_them(self, inputs, outputs):
        cube = torch.randn(2, 3, 3, 3)
        model = nn.Conv2d(3, 3, 3, padding=1)
        keras_model = convert(model, cube, inputs_channel_order=inputs, outputs_channel_order=outputs)
        found = nobuco.compare(model, keras_model, [cube])
        assert found.ok
        assert found.inputs == (inputs,)
        assert found.outputs[0].order is outputs
        assert nobuco.compare(model, keras_model, [cube], inputs_channel_order={cube: inputs}).ok
        other = PYTORCH if outputs is TENSORFLOW else TENSORFLOW
        assert not nobuco.compare(model, keras_model, [cube], outputs_channel_order={0: other}).ok

    def test_what_models_keep_from_call_to_call_is_left_as_it_was(self):
        class Counter(nn.Module):
            def __init__(self):
                super().__init__()
                self.register_buffer("count", torch.zeros(1))

            def forward(self, x):
                self.count += 1
                return x + self.count

        x = torch.zeros(1, 2)
        model = Counter()
        keras_model = convert(model, x)
        assert nobuco.compare(model, keras_model, [x]).ok
        assert model.count.item() == 0
        np.testing.assert_array_equal(keras_model(x.numpy()), [[1, 1]])
        assert not nobuco.compare(model, keras_model, [x]).ok, "it has been called once more than PyTorch's"

    @pytest.mark.parametrize(
        ("args", "given", "message"),
        [
            ([torch.ones(2, 3, 6, 5)] * 2, {}, "has 1 inputs, args and kwargs hold 2 tensors"),
            ([torch.ones(2, 3, 7, 5)], {}, r"shape \(2, 3, 7, 5\), which fits .* of shape \(2, 6, 5, 3\) in neither"),
            ([torch.ones(2, 3, 6, 5)], {"inputs_channel_order": {torch.ones(1): PYTORCH}}, "none of the inputs"),
        ],
    )
    def test_what_does_not_fit_is_refused(self, loaded, args, given, message):
        with pytest.raises(nobuco.InputError, match=message):
            nobuco.compare(lambda x, y=None: x, loaded, args, **given)

    def test_other_outputs_are_refused(self, image, loaded):
        with pytest.raises(nobuco.InputError, match="has 2 outputs, PyTorch gives 1 tensors"):
            nobuco.compare(lambda x: x + 1, loaded, [image])

    def test_a_model_that_is_not_functional_is_refused(self, net, image):
        with pytest.raises(nobuco.InputError, match="keras_model is Linear; give the functional model"):
            nobuco.compare(net, net.head, [image])


class TestBisect:
    def test_a_good_model_is_compared_call_by_call(self, net, image, loaded):
        found = nobuco.bisect(net, loaded, [image])
        assert found.first is None
        assert found.unmatched == ()
        assert [point.layer for point in found.points] == [
            *("blocks.0.conv", "blocks.0.bn", "blocks.0.add", "blocks.0.relu"),
            *("blocks.1.conv", "blocks.1.bn", "blocks.1.add", "blocks.1.relu"),
            *("mean", "head", "cumsum"),
        ]
        assert str(found) == "Every call is within its bound; 11 of 11 calls compared."

    def test_names_the_first_call_whose_weights_changed_and_saves_its_tensors(self, net, image, loaded, tmp_path):
        trained = copy.deepcopy(net)
        with torch.no_grad():
            trained.blocks[1].bn.weight *= 1.01
        path = tmp_path / "fault.npz"
        found = nobuco.bisect(trained, loaded, [image], save=path)
        assert found.first.layer == found.first.path == "blocks.1.bn"
        assert found.first.name == "torch.nn.BatchNorm2d"
        line = Block.forward.__code__.co_firstlineno + 1
        assert (found.first.invoked.file, found.first.invoked.line) == (__file__, line)
        assert not found.outputs.ok
        assert found.saved == path
        assert [file.name for file in tmp_path.iterdir()] == ["fault.npz"]
        with torch.no_grad():
            given = trained.blocks[1].conv(trained.blocks[0](image))
            expected, got = trained.blocks[1].bn(given), net.blocks[1].bn(given)
        tensors = np.load(path)
        for name, wanted in (("input_0", given), ("got_input_0", given), ("expected_0", expected), ("got_0", got)):
            np.testing.assert_allclose(tensors[name], wanted.numpy(), rtol=1e-4, atol=1e-5)

    def test_nothing_is_saved_of_a_good_model(self, net, image, loaded, tmp_path):
        found = nobuco.bisect(net, loaded, [image], save=tmp_path / "fault.npz")
        assert found.saved is None
        assert not list(tmp_path.iterdir())

    def test_a_directory_that_is_not_there_is_refused_before_anything_runs(self, net, loaded):
        with pytest.raises(nobuco.InputError, match="give the path of a file in a directory that is there"):
            nobuco.bisect(net, loaded, [], save="nowhere/fault.npz")

    def test_a_wrong_converter_is_found(self, restored_registry, image):
        @nobuco.converter(torch.cumsum, override=True)
        def wrong(x, dim):
            return lambda x, dim: x

        model = Net().eval()
        keras_model = convert(model, image)
        assert nobuco.bisect(model, keras_model, [image]).first.layer == "cumsum"

    def test_calls_of_a_shared_layer_are_told_apart(self):
        class Twice(nn.Module):
            def __init__(self):
                super().__init__()
                self.fc = nn.Linear(3, 3)

            def forward(self, x):
                return self.fc(torch.tanh(self.fc(x)))

        x = torch.randn(2, 3)
        model = Twice()
        found = nobuco.bisect(model, convert(model, x), [x])
        assert [point.layer for point in found.points] == ["fc", "tanh", "fc"]
        assert found.first is None

    def test_what_has_no_layer_of_its_own_is_named(self, net, image, loaded):
        class More(Net):
            def forward(self, x):
                found = super().forward(torch.sin(x))
                return {"scores": found["scores"] * 1, "map": found["map"]}

        model = More().eval()
        model.load_state_dict(net.state_dict())
        found = nobuco.bisect(model, loaded, [image])
        assert found.unmatched == ("sin", "mul")
        assert found.first.layer == "blocks.0.conv"
        assert "11 of 13 calls compared" in str(found)
