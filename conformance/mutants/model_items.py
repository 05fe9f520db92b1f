"""The items of `in_models.ModelTests`: each mutant in place of the built-in converter while its item runs."""

from collections.abc import Iterator

import pytest
from torch import nn

from conformance.mutants.in_models import ModelTrial
from conformance.mutants.run import installed
from nobuco.builtin import find_converter


@pytest.fixture(autouse=True)
def wrong(trial: ModelTrial) -> Iterator[None]:
    """The mutant in its place."""
    built_in = find_converter(trial.mutant.operation)
    assert built_in is not None
    with installed(trial.mutant.change(built_in)):
        yield


@pytest.mark.convert
def network(trial: ModelTrial) -> nn.Module:
    """A network with the operation inside."""
    return trial.model()
