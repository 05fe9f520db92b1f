"""Converters of ATen overloads: what operations without a converter are opened into.

Most follow from the converter of the public operation that they stand behind (`nobuco/ops/forms.py`), some with other
arguments (`shared`); what no public operation of that form has is in a file per family.
"""

from nobuco.converters.aten import factors, layers, matrices, scattering, shared, special

__all__ = ["factors", "layers", "matrices", "scattering", "shared", "special"]
