"""From a Keras model to files that run elsewhere."""

from nobuco.export.saved_model import input_names, output_names, to_saved_model
from nobuco.export.tflite import run_tflite, to_tflite

__all__ = ["input_names", "output_names", "run_tflite", "to_saved_model", "to_tflite"]
