"""The list of operations that a `.keras` file may hold: against TensorFlow's registry, and what converters use."""

from __future__ import annotations

import pytest
import tensorflow as tf
from tensorflow.python.framework import op_def_registry

from nobuco.errors import UnsafeFileError
from nobuco.layers.operations import ALLOWED
from nobuco.layers.vetting import vet
from tests.malicious import graph_with, node


def test_every_operation_that_is_not_allowed_is_refused():
    forbidden = sorted({name for name in dir(tf.raw_ops) if not name.startswith("_")} - ALLOWED)
    assert len(forbidden) > 900
    for name in forbidden:
        with pytest.raises(UnsafeFileError, match=repr(name)):
            vet(graph_with(node("n", name)), 100)


def test_what_is_allowed_has_no_state_and_takes_no_names():
    """TensorFlow's registry on each operation of the list; the exceptions, seen by eye, are these."""
    exceptions = {"Case", "If", "While", "StatefulPartitionedCall", "Assert", "CheckNumerics", "CheckNumericsV2"}
    exceptions |= {"DeviceIndex", "GuaranteeConst", "CudnnRNN", "CudnnRNNV2", "CudnnRNNV3", "StatelessRandomGetAlg"}
    harmless = {"equation", "bad_indices_policy", "message", "noise", "kernel_type", "interpolation", "fill_mode"}
    harmless |= {"config", "config_proto", "executor_type", "debug_name", "device_names", "row_partition_types"}
    for name in sorted(ALLOWED - exceptions):
        found = op_def_registry.get(name)
        if found is None:  # of another TensorFlow
            continue
        assert not found.is_stateful or name.startswith(("Random", "Multinomial", "Parameterized", "Truncated")), name
        arguments = [*found.input_arg, *found.output_arg]
        types = {argument.type for argument in arguments}
        assert not types & {tf.string.as_datatype_enum, tf.resource.as_datatype_enum}, name
        assert not any(argument.is_ref for argument in arguments), name
        free = {a.name for a in found.attr if a.type in ("string", "list(string)") and not a.HasField("allowed_values")}
        assert free <= harmless, (name, free)


USED = {
    "linear algebra": lambda x: [
        *tf.linalg.eig(x),
        *tf.linalg.eigh(x),
        *tf.linalg.svd(x),
        *tf.linalg.qr(x),
        tf.linalg.cholesky(x),
        tf.linalg.inv(x),
        tf.linalg.solve(x, x),
        tf.linalg.triangular_solve(x, x),
        tf.linalg.set_diag(x, x[0]),
        tf.linalg.band_part(x, 0, 1),
        tf.linalg.det(x),
        *tf.linalg.lu(x),
        tf.linalg.expm(x),
        tf.linalg.lstsq(x, x),
        tf.linalg.pinv(x),
    ],
    "random numbers": lambda x: [
        tf.random.normal(tf.shape(x)),
        tf.random.uniform(tf.shape(x)),
        tf.random.poisson([2], x),
        tf.random.gamma([2], x),
        tf.random.categorical(x, 2),
        tf.random.shuffle(x),
        tf.nn.dropout(x, 0.5),
        tf.random.truncated_normal([2]),
        tf.random.uniform([2], 0, 9, tf.int32),
        tf.random.stateless_binomial([3, 3], [1, 2], 5.0, x),
        tf.random.stateless_uniform([3], [1, 2]),
        tf.random.stateless_normal([3], [1, 2]),
    ],
    "loops": lambda x: [
        tf.map_fn(tf.sin, x),
        tf.scan(lambda a, b: a + b, x),
        tf.vectorized_map(tf.sin, x),
        tf.foldl(tf.add, x),
        tf.while_loop(lambda i, y: i < 2, lambda i, y: (i + 1, y * 2), (0, x))[1],
    ],
    "Fourier transforms": lambda x: [
        tf.signal.fft(tf.cast(x, tf.complex64)),
        tf.signal.rfft(x),
        tf.signal.fft2d(tf.cast(x, tf.complex64)),
        tf.signal.stft(x, 2, 1),
        tf.signal.dct(x),
        tf.signal.frame(x, 2, 1),
    ],
    "images": lambda x: (
        [
            tf.image.resize(x[None, ..., None], (4, 4), method)
            for method in ("bilinear", "nearest", "bicubic", "area", "lanczos3")
        ]
        + [
            tf.image.crop_and_resize(x[None, ..., None], [[0, 0, 1, 1.0]], [0], (2, 2)),
            tf.image.extract_patches(x[None, ..., None], (1, 2, 2, 1), (1, 1, 1, 1), (1, 1, 1, 1), "VALID"),
            tf.image.non_max_suppression(tf.concat([x, x[:, :1]], 1), x[0], 2),
            tf.image.adjust_contrast(x[..., None], 2.0),
        ]
    ),
    "choices": lambda x: [
        tf.boolean_mask(x, x > 0),
        tf.unique(x[0])[0],
        tf.where(x > 0),
        tf.repeat(x, 2),
        tf.sort(x),
        tf.searchsorted(x, x),
        tf.math.top_k(x, 2)[0],
        tf.math.bincount(tf.cast(x, tf.int32)),
        tf.histogram_fixed_width(x, [0.0, 1.0]),
        tf.math.in_top_k([0, 1, 1], x, 1),
        tf.dynamic_partition(x, [0, 1, 0], 2)[0],
        tf.switch_case(tf.size(x), [lambda: x, lambda: -x]),
        tf.math.segment_sum(x, [0, 0, 1]),
        tf.nn.embedding_lookup(x, [0, 1]),
        tf.one_hot([1], 3),
        tf.linalg.diag(x),
    ],
    "networks": lambda x: [
        tf.nn.local_response_normalization(x[None, None]),
        tf.nn.depthwise_conv2d(x[None, ..., None], x[:2, :2, None, None], (1,) * 4, "SAME"),
        tf.nn.conv2d_transpose(x[None, ..., None], x[:2, :2, None, None], (1, 6, 6, 1), 2),
        tf.nn.batch_normalization(x, 0.0, 1.0, 0.0, 1.0, 1e-3),
        tf.nn.softmax_cross_entropy_with_logits(x, x),
        tf.nn.sparse_softmax_cross_entropy_with_logits([0, 1, 2], x),
        tf.nn.dilation2d(x[None, ..., None], x[:2, :2, None], (1,) * 4, "SAME", "NHWC", (1,) * 4),
        tf.nn.max_pool_with_argmax(x[None, ..., None], 2, 2, "SAME")[0],
    ],
    "checks": lambda x: [
        tf.debugging.check_numerics(x, "m"),
        tf.ensure_shape(x, (3, 3)),
        tf.stop_gradient(x),
        tf.gradients(tf.reduce_sum(tf.nn.relu(x) ** 2 * tf.sigmoid(x)), x)[0],
        tf.quantization.fake_quant_with_min_max_args(x),
    ],
}


@pytest.mark.parametrize("name", USED)
def test_what_converters_use_is_allowed(name):
    vet(traced(USED[name]), 0)


def traced(run):
    """The graph of a function that gives a list, with a check in front."""

    def checked(x):
        tf.debugging.assert_equal(x, x)
        return [y for y in run(x) if y is not None]

    return (
        tf.function(checked, autograph=False)
        .get_concrete_function(tf.TensorSpec((3, 3), tf.float32))
        .graph.as_graph_def()
    )
