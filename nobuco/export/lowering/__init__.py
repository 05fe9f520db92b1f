"""What TFLite lacks, in terms of what it has: complex numbers, Fourier transforms, special functions, linear algebra.

A Keras model keeps TensorFlow's own operations. On the way to a TFLite file the function that serves the model is built
again, operation by operation, and where TFLite has none of a kind, a formula of operations that it has stands instead.
"""

from nobuco.export.lowering.rebuild import TRIED, lowered

__all__ = ["TRIED", "lowered"]
