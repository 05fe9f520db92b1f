"""Which calls of a trace get converted, and by what: the tree of calls becomes a list of units in running order."""

from nobuco.select.gaps import gap_message
from nobuco.select.selection import results_of, select, unresolved_warnings
from nobuco.select.units import Gap, Selection, Unit

__all__ = ["Gap", "Selection", "Unit", "gap_message", "results_of", "select", "unresolved_warnings"]
