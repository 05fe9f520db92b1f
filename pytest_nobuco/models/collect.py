"""From names and markers to items: one collector for both ways in.

`--nobuco-model` becomes a module in memory with a factory for each model, and is then collected as a test
file with marked factories would be. So parametrisation, fixtures, marks, `-k`, `-m`, `--lf`, xdist and JUnit
are pytest's own, and there is one kind of item.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

from pytest_nobuco.errors import SuiteError, WrongMarkerError
from pytest_nobuco.matrix import Case
from pytest_nobuco.models.cases import marked_factory, marks_of
from pytest_nobuco.models.named import NamedModel
from pytest_nobuco.options import Options
from pytest_nobuco.session import BENCH
from pytest_nobuco.settings import Settings, check_xfail, settings_of

Collected = pytest.Item | pytest.Collector | list[pytest.Item | pytest.Collector] | None


class ModelModule(pytest.Module):
    """The module in memory; `models` has what the command line named, by the name that it has in ids."""

    models: dict[str, NamedModel]

    @classmethod
    def of(cls, session: pytest.Session, options: Options) -> ModelModule:
        """Collect the models that were named on the command line."""
        # No such file exists; the path is only what ids begin with.
        module = cls.from_parent(session, path=session.config.rootpath / "nobuco", nodeid="nobuco")
        module.models = {model.short: model for model in options.models}
        module.obj = ModuleType("nobuco_models", "The models that --nobuco-model names.")
        for model in options.models:
            setattr(module.obj, model.short, _factory(model))
        return module


def named_model(item: pytest.Item) -> NamedModel | None:
    """What the command line named that this is an item of; None for a marked factory."""
    parent = item.parent
    return parent.models[item.originalname] if isinstance(parent, ModelModule) else None  # type: ignore[attr-defined]


def model_name(item: pytest.Item) -> str | None:
    """What reports call the model of this item; None for a marked factory."""
    model = named_model(item)
    return None if model is None else model.label


def _factory(model: NamedModel) -> Callable[..., Any]:
    def factory(nobuco_imported: Any) -> Any:
        return nobuco_imported

    factory.__name__ = factory.__qualname__ = model.short
    return pytest.mark.convert(inputs=model.inputs or None, **model.arguments)(factory)


def check_named(options: Options) -> None:
    """Refuse what can be told to be wrong of the named models from their words alone.

    Raises:
        pytest.UsageError: naming the model, and the line of its file.
    """
    for model in options.models:
        try:
            _matrix(settings_of([_factory(model).pytestmark[0]], options))  # type: ignore[attr-defined]
        except (SuiteError, ValueError) as error:
            place = model.place or "--nobuco-model"
            raise pytest.UsageError(f"{place}: {model.name}: {error}") from None


def _matrix(settings: Settings) -> list[Case]:
    """The cases; `SuiteError` or `ValueError` for settings that do not fit together."""
    matrix = settings.cases()
    check_xfail(settings, matrix)
    return matrix


def collect_marked(collector: pytest.Module | pytest.Class, name: str, obj: object) -> Collected:
    """Collect a function or `torch.nn.Module` class with the `convert` marker, whatever it is called.

    Pytest itself takes only functions named `test_*`, or that have `__test__`; so it is shown one that does,
    with the factory's signature and marks. The item's own `obj` is still the factory.
    """
    factory = marked_factory(obj)
    if factory is None:
        return None

    @functools.wraps(factory, updated=())
    def shown() -> None: ...

    shown.__signature__ = inspect.signature(factory)  # type: ignore[attr-defined]
    shown.pytestmark = marks_of(factory)  # type: ignore[attr-defined]
    shown.__test__ = True  # type: ignore[attr-defined]
    return collector.ihook.pytest_pycollect_makeitem(collector=collector, name=name, obj=shown)


def parametrize_cases(metafunc: pytest.Metafunc) -> None:
    """Give a marked function its cases."""
    definition = metafunc.definition
    try:
        settings = settings_of(definition.iter_markers("convert"), metafunc.config.stash[BENCH].options)
        matrix = _matrix(settings)
    except (SuiteError, ValueError) as error:
        raise WrongMarkerError(f"{definition.nodeid}: {error}") from None
    parameters = []
    for case in matrix:
        reason = settings.xfail_of(case)
        marks = [pytest.mark.xfail(reason=reason, strict=True)] if reason else []
        parameters.append(pytest.param(case, id=case.id, marks=marks))
    # The function does not name it, so pytest must be told that the item has it.
    metafunc.fixturenames.append("nobuco_case")
    metafunc.parametrize("nobuco_case", parameters)
