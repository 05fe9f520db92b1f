"""What a program keeps from one call to the next and a converted model cannot: that is said, and nothing else is."""

from __future__ import annotations

import warnings

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from nobuco import NobucoWarning
from nobuco.trace import trace
from tests.parity import convert


def _line(function, offset):
    return f'"{__file__}", line {function.__code__.co_firstlineno + offset}'


def test_a_buffer_that_grows_is_reported_with_its_line():
    class Growing(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("cache", torch.zeros(0, 3))

        def forward(self, x):
            self.cache = torch.cat([self.cache, x])
            return self.cache.sum(0)

    module = Growing()
    with pytest.warns(NobucoWarning, match="'cache'") as caught:
        convert(module, torch.rand(2, 3))
    assert any(_line(Growing.forward, 1) in str(w.message) for w in caught)
    assert module.cache.shape == (0, 3), "the module is as it was"


def test_an_attribute_that_a_call_makes_is_reported():
    class Lazy(nn.Module):
        hidden = None

        def forward(self, x):
            self.hidden = torch.tanh(x if self.hidden is None else x + self.hidden)
            return self.hidden

    module = Lazy()
    with pytest.warns(NobucoWarning, match="'hidden'") as caught:
        convert(module, torch.rand(2, 3))
    assert any(_line(Lazy.forward, 1) in str(w.message) for w in caught)
    assert module.hidden is None


class Keeping(nn.Module):
    """A module that puts something into itself: what `forward` gives is what this function makes of both."""

    last = previous = mask = None

    def __init__(self, step):
        super().__init__()
        self.step, self.history, self.by_name = step, [], {}

    def forward(self, x):
        return self.step(self, x)


def _keeps_input(module, x):
    module.last = x
    return x * 2


def _keeps_feature_in_new_place(module, x):
    module.features = torch.tanh(x)
    return module.features * 2


def _keeps_feature_in_containers(module, x):
    y = torch.tanh(x)
    module.history.append(y)
    module.by_name["y"] = module.history[-1]
    return module.by_name["y"] * 2


def _keeps_feature_beside_a_mask_made_once(module, x):
    if module.mask is None:
        module.mask = torch.ones(3, 3).tril()[1]
    module.last = x * module.mask
    return module.last + 1


def _keeps_feature_that_it_writes(module, x):
    module.last = torch.tanh(x)
    module.last.add_(1)
    return module.last * 2


def _makes_what_is_there_again(module, x):
    if module.last is not None:
        module.last = None
    module.last = torch.tanh(x)
    return module.last * 2


@pytest.mark.parametrize("step", [f for name, f in list(globals().items()) if name.startswith(("_keeps_", "_makes_"))])
def test_nothing_is_reported_of_what_no_later_call_reads(step):
    module = Keeping(step)
    before = dict(vars(module))
    assert trace(module, (torch.rand(2, 3),), {}).warnings == ()
    assert vars(module) == before
    assert (module.history, module.by_name) == ([], {})


def _reads_after_none(module, x):
    y = x if module.last is None else x + module.last
    module.last = y
    return y


def _reads_one_of_a_list(module, x):
    module.history.append(x)
    return torch.cat(module.history).sum(0)


def _reads_without_a_place(module, x):
    y = x + getattr(module, "unheard", 0)
    module.unheard = x * 2
    return y


def _reads_by_giving_it_back(module, x):
    last, module.last = module.last, x
    return x if last is None else last


def _reads_two_calls_later(module, x):
    y = x * 2 if module.previous is None else module.previous * 2
    module.previous, module.last = module.last, torch.tanh(x)
    return y


def _goes_another_way(module, x):
    y = torch.tanh(x) if module.last is None else torch.sin(x)
    module.last = y
    return y


@pytest.mark.parametrize("step", [f for name, f in list(globals().items()) if name.startswith(("_reads_", "_goes_"))])
def test_what_a_later_call_reads_is_reported(step):
    module = Keeping(step)
    before = dict(vars(module))
    (message,) = trace(module, (torch.rand(2, 3),), {}).warnings
    assert "cannot keep it" in message
    assert vars(module) == before
    assert module.history == []


def test_a_second_name_for_what_is_state_is_not_reported():
    class Recalling(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("hidden", torch.zeros(2, 3))

        def forward(self, x):
            self.hidden = self.last = torch.tanh(x + self.hidden)
            return self.last

    graph = trace(Recalling(), (torch.rand(2, 3),), {})
    assert graph.warnings == ()
    assert [before.name for before, _ in graph.states] == ["hidden"]


def test_what_the_calls_that_look_for_readers_write_is_put_back():
    class Settling(nn.Module):
        last = None

        def __init__(self):
            super().__init__()
            self.register_buffer("count", torch.tensor(0))

        def forward(self, x):
            if self.last is not None:
                self.count += 1
            self.last = x * 2
            return self.last

    module, random = Settling(), torch.get_rng_state()
    (message,) = trace(module, (torch.rand(2, 3, generator=torch.Generator()),), {}).warnings
    assert "'last'" in message
    assert module.count == 0
    assert module.last is None
    assert torch.equal(torch.get_rng_state(), random)


def test_a_python_counter_is_reported():
    class Counting(nn.Module):
        steps = 0

        def __init__(self):
            super().__init__()
            self.steps = 0

        def forward(self, x):
            self.steps += 1
            return x * self.steps

    module = Counting()
    with pytest.warns(NobucoWarning, match="'steps' from 0 to 1"):
        convert(module, torch.rand(2, 3))
    assert module.steps == 0


def test_a_branch_on_state_is_reported():
    class Warmup(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("count", torch.tensor(0))

        def forward(self, x):
            self.count += 1
            if self.count > 3:
                return x
            return F.relu(x)

    with pytest.warns(NobucoWarning, match="into Python") as caught:
        convert(Warmup(), torch.rand(2, 3))
    assert any(_line(Warmup.forward, 2) in str(w.message) for w in caught)


def test_nothing_is_reported_of_a_branch_on_what_stays():
    class Gated(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("flag", torch.tensor(True))

        def forward(self, x):
            return x * 2 if self.flag else x

    with warnings.catch_warnings():
        warnings.simplefilter("error", NobucoWarning)
        convert(Gated(), torch.rand(2, 3))
