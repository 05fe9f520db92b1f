"""Recording a PyTorch program: one eager run, watched through PyTorch's own override protocols."""

from nobuco.trace.site import call_site, definition_site
from nobuco.trace.sizes import SizeTracing
from nobuco.trace.sizes.dynamic import Input, trace_dynamic
from nobuco.trace.traceable import is_traceable, sizes_of, traceable
from nobuco.trace.tracer import trace, without

__all__ = [
    "Input",
    "SizeTracing",
    "call_site",
    "definition_site",
    "is_traceable",
    "sizes_of",
    "trace",
    "trace_dynamic",
    "traceable",
    "without",
]
