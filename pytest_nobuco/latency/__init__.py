"""Latency: how long a model takes on each runtime, through pytest-benchmark.

Importing this package imports the standard library and pytest only, as everything that the plugin loads at start.
"""
