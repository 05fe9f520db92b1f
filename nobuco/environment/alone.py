"""One conversion at a time in a process, in surroundings that it can work in, which it leaves as they were."""

from __future__ import annotations

import functools
import os
import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import ParamSpec, TypeVar

import keras
import tensorflow as tf
import torch
from tensorflow.python.eager import context

from nobuco.errors import InputError, warn
from nobuco.trace.randomness import keeping_random

P = ParamSpec("P")
R = TypeVar("R")

# Converting runs the user's modules, and writes what they keep, before it puts that back: two conversions at once of
# modules that share anything would see each other's. A converter may convert, in the same thread.
_CONVERSION = threading.RLock()
_IS_COPY = threading.Event()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_IS_COPY.set)


def alone(convert: Callable[P, R]) -> Callable[P, R]:
    """A function that converts: calls of other threads wait for each other, and random generators are kept."""

    @functools.wraps(convert)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        _refuse_surroundings(convert.__name__)
        _warn_of_fork(convert.__name__)
        with _CONVERSION, keeping_random(), _keeping_tensorflow_random():
            return convert(*args, **kwargs)

    return run


def _refuse_surroundings(name: str) -> None:
    """Refuse to convert where neither framework computes with numbers.

    Raises:
        InputError: it names what is active, and the way out.
    """
    if not tf.executing_eagerly():
        raise InputError(
            f"nobuco.{name} is called inside tf.function, a tf.Graph or without eager execution, where TensorFlow "
            "has no numbers to check a model with; convert outside, and call the Keras model inside"
        )
    try:
        tf.Variable(0.0)
    except ValueError as error:
        raise InputError(
            f"nobuco.{name} is called where TensorFlow allows no new variables, as in tf.init_scope inside tf.function "
            f"({error}); convert outside, and call the Keras model inside"
        ) from error
    if keras.src.backend.common.stateless_scope.in_stateless_scope():
        raise InputError(
            f"nobuco.{name} is called inside keras.StatelessScope, where Keras makes no variables; convert outside, "
            "and call the Keras model inside"
        )
    if torch._C._get_dispatch_mode(torch._C._TorchDispatchModeKey.FAKE) is not None:
        raise InputError(
            f"nobuco.{name} is called under FakeTensorMode, whose tensors hold no numbers; leave the mode first, and "
            "give a model and inputs that were made outside"
        )
    if torch._C._functorch.peek_interpreter_stack() is not None or torch.jit.is_tracing():
        raise InputError(
            f"nobuco.{name} is called inside torch.vmap, torch.func or torch.jit.trace, whose tensors are no numbers; "
            "convert outside, or give the transformed function as the model: pytorch_to_keras(torch.vmap(f), args)"
        )


def _warn_of_fork(name: str) -> None:
    """Warn where PyTorch could wait for threads that only the process has from which this one was copied."""
    if _IS_COPY.is_set() and torch.get_num_threads() > 1:
        warn(
            f"nobuco.{name} is called in a forked process, where PyTorch waits for ever if it has computed before the "
            "fork; call torch.set_num_threads(1) first, or start processes by multiprocessing.get_context('spawn')"
        )


@contextmanager
def _keeping_tensorflow_random() -> Iterator[None]:
    """Draw from another sequence than that which `tf.random.set_seed` began; afterwards that goes on where it was."""
    now = context.context()
    if now._seed is None:
        yield
        return
    before, now._rng = now._rng, random.Random()
    try:
        yield
    finally:
        now._rng = before
