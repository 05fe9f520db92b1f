"""From a Keras model to files that run elsewhere."""

from nobuco.export.tflite import run_tflite, to_tflite

__all__ = ["run_tflite", "to_tflite"]
