"""A TensorFlow graph as text in a layer's config, and back; what comes out is never much larger than the text."""

from __future__ import annotations

import base64
import binascii
import zlib
from typing import Any

import tensorflow as tf
from google.protobuf.message import DecodeError

from nobuco.errors import UnsafeFileError

# A graph of repeated operations is up to some twenty times smaller when compressed. What shrinks more than this, a mask
# of zeros and ones, say, is compressed less well; so a file that claims to hold more is not one of ours.
EXPANSION = 32
FREE = 2**16


def packed(definition: Any) -> str:
    """A GraphDef as text."""
    data = definition.SerializeToString()
    compressed = zlib.compress(data, 9)
    if len(data) > _most(compressed):
        entropy_only = zlib.compressobj(9, strategy=zlib.Z_HUFFMAN_ONLY)  # an eighth at best
        compressed = entropy_only.compress(data) + entropy_only.flush()
    return base64.b64encode(compressed).decode("ascii")


def unpacked(text: Any, trusted: bool = False) -> tuple[Any, int]:
    """The GraphDef, and how many bytes it takes.

    Raises:
        UnsafeFileError: that is no graph, or (unless it is trusted) one that is much larger than its text.
    """
    try:
        compressed = base64.b64decode(text, validate=True)
        data = _expanded(compressed, 0 if trusted else _most(compressed))
        definition = tf.compat.v1.GraphDef()
        definition.ParseFromString(data)
    except (TypeError, ValueError, binascii.Error, zlib.error, DecodeError) as error:
        if isinstance(error, UnsafeFileError):
            raise
        raise UnsafeFileError(f"holds a graph that cannot be read ({error})") from error
    return definition, len(data)


def _most(compressed: bytes) -> int:
    return FREE + EXPANSION * len(compressed)


def _expanded(compressed: bytes, most: int) -> bytes:
    """What was compressed, up to so many bytes; 0 is as many as there are."""
    stream = zlib.decompressobj()
    data = stream.decompress(compressed, most + 1 if most else 0)
    if most and len(data) > most:
        raise UnsafeFileError(f"holds a graph of more than {EXPANSION} times the {len(compressed):,} bytes it takes")
    if not stream.eof:
        raise zlib.error("it ends too early")
    return data
