"""Converters without frameworks, for tests of the plugin's logic; copied into the projects that the tests make."""

from __future__ import annotations

import sys

from pytest_nobuco.converters.items import BadSample, ConverterCase, Entry, Finding
from pytest_nobuco.errors import SuiteError, UnavailableError
from pytest_nobuco.options import Options
from pytest_nobuco.results import OutputResult

LISTED = [
    Entry("torch.sub", ("torch.sub", "torch.Tensor.__sub__"), ("float32", "int64")),
    Entry("torch.add", ("torch.add", "torch.Tensor.add"), ("float32",)),
    Entry("mypkg.wrong", ("mypkg.wrong",)),
    Entry("mypkg.bare", ("mypkg.bare",)),
]


class FakeConverters:
    def listed(self) -> list[Entry]:
        # What a module that was imported has registered.
        return [*LISTED, *(entry for module in ("mypkg", "conftest") for entry in _of(module))]

    def tried(self, entry: Entry, case: ConverterCase, options: Options) -> Finding:
        print(f"TRIED {entry.name} {case.id} {options.samples}")
        if entry.name == "mypkg.bare":
            raise SuiteError("no sample: give samples=...")
        if entry.name == "torch.sub" and case.shape == "dynamic":
            raise UnavailableError("PyTorch itself takes no other sizes")
        wrong = entry.name == "mypkg.wrong" and case.runtime == "tflite"
        bad = (
            BadSample("mypkg.wrong(float32[2, 3])", ("output 0: off by 0.5.",), "relu, off by 0.5"),
            BadSample("mypkg.wrong(float32[4])", ("output 0: off by 0.1.",)),
        )
        output = OutputResult(0.5 if wrong else 0.0, 0.5 if wrong else 0.0, not wrong, "off by 0.5")
        return Finding(8, (output,), bad if wrong else (), "default of the dtype", f"{entry.name}/{case.order}")


def _of(module: str) -> list[Entry]:
    return getattr(sys.modules.get(module), "ENTRIES", [])
