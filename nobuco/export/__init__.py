"""From a Keras model to files that run elsewhere."""

from nobuco.environment.keras_settings import require_tensorflow

require_tensorflow()  # before Keras is loaded

from nobuco.export.keras_file import keras_file
from nobuco.export.names import input_names, output_names
from nobuco.export.quantisation_report import quantisation_report, render_quantisation
from nobuco.export.running import run_tflite, tflite_operations
from nobuco.export.saved_model import to_saved_model
from nobuco.export.tfjs import unsupported_in_tfjs
from nobuco.export.tflite_file import tflite, to_tflite

__all__ = [
    "input_names",
    "keras_file",
    "output_names",
    "quantisation_report",
    "render_quantisation",
    "run_tflite",
    "tflite",
    "tflite_operations",
    "to_saved_model",
    "to_tflite",
    "unsupported_in_tfjs",
]
