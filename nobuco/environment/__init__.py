"""What surrounds a conversion: versions, settings of Keras, Triton, TensorFlow's log, other threads."""
