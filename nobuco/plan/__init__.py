"""One channel order for each tensor: the cheapest assignment for the whole graph."""

from nobuco.plan.planner import Plan, plan
from nobuco.plan.regions import choices

__all__ = ["Plan", "choices", "plan"]
