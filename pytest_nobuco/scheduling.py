"""Under xdist: items that share a conversion run on one worker, so that no graph is converted twice."""

from __future__ import annotations

import re

from xdist.scheduler import LoadScopeScheduling

# `Net[nhwc-nchw-dynHW-tflite]` shares a graph with what differs in runtime, and most often in outputs' order;
# `torch.add[nhwc-static-float32-tflite]`, of a converter, with what differs in runtime.
_CASE = re.compile(r"(nchw|nhwc)-(?:(?:nchw|nhwc)-)?([\w-]+)-\w+\]$")


class GraphScheduling(LoadScopeScheduling):
    """Hands out the items of one graph together, all others one by one."""

    def _split_scope(self, nodeid: str) -> str:
        return _CASE.sub(r"\1-\2]", nodeid)
