"""Other converters, held to the same comparison: each runs in an interpreter of its own.

What the author of one needs is `Backend` and `Job`; they import no framework. See docs/backends.md.
"""

from pytest_nobuco.backends.spec import Backend, Job

__all__ = ["Backend", "Job"]
