"""`pytorch_to_keras`: trace, select, plan, assemble, validate, report."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from nobuco.assemble import Builder, Built
from nobuco.assemble.checkpoint import checkpoint_of
from nobuco.assemble.kept_sizes import telling
from nobuco.assemble.origins import note_origins
from nobuco.environment.alone import alone
from nobuco.environment.keras_settings import require_channels_last, without_dtype_policy
from nobuco.errors import warn
from nobuco.ir import Graph, Value, map_leaves
from nobuco.kinds import FLAG, PATH, Kind, member_of, takes
from nobuco.layers.conditions import SizeCondition
from nobuco.layout.order import ChannelOrder
from nobuco.parity import tolerances
from nobuco.plan.whole import laid_out
from nobuco.program.arguments import inputs_given, output_orders
from nobuco.program.call import Call, prepared
from nobuco.program.measurable import check_example
from nobuco.program.switches import SWITCHES
from nobuco.report import Report, TraceLevel, html_path, print_report, progress, save_html
from nobuco.report.draft import Draft
from nobuco.select import Selection, unresolved_warnings
from nobuco.stages import refuse_foreign, refuse_gaps, selected, traced
from nobuco.trace import without
from nobuco.trace.explore import path_limit
from nobuco.trace.held import checkpoint_tensors, held_tensors
from nobuco.validate.trials import Trials, is_told_of


def _is_list_of_lists(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and all(isinstance(args, (list, tuple)) for args in value)


@takes(
    **SWITCHES,
    validate_on=Kind("a list of further lists of positional arguments, each like args", _is_list_of_lists),
    return_outputs_pt=FLAG,
    return_report=FLAG,
    save_trace_html=FLAG | PATH,
    debug_traces=member_of(TraceLevel, "nobuco.TraceLevel"),
    verbose=FLAG,
)
@alone
def pytorch_to_keras(
    model: nn.Module | Callable[..., Any] | torch.export.ExportedProgram | str | os.PathLike[str],
    args: Sequence[Any] | None = None,
    kwargs: Mapping[str, Any] | None = None,
    *,
    input_shapes: Mapping[torch.Tensor, Sequence[int | None]] | None = None,
    inputs_channel_order: ChannelOrder | str | Mapping[torch.Tensor, ChannelOrder | str] = ChannelOrder.TENSORFLOW,
    outputs_channel_order: ChannelOrder | str | Mapping[int, ChannelOrder | str] | None = None,
    input_names: Mapping[torch.Tensor, str] | Sequence[str] | None = None,
    output_names: Mapping[int, str] | Sequence[str] | None = None,
    trace_shape: bool | None = None,
    enable_torch_tracing: bool = False,
    explore_branches: bool | int = False,
    decompose: bool = True,
    constants_to_variables: bool = True,
    full_validation: bool = True,
    validate_on: Sequence[Sequence[Any]] = (),
    validation_tolerance: float | None = None,
    return_outputs_pt: bool = False,
    return_report: bool = False,
    save_trace_html: bool | str | os.PathLike[str] = False,
    debug_traces: TraceLevel = TraceLevel.DEFAULT,
    verbose: bool = True,
) -> Any:
    """Convert a PyTorch program into a Keras 3 functional model.

    The program runs on copies of the arguments, and each call that it makes is recorded; then the recorded calls are
    converted, laid out and checked one by one against what PyTorch gave. It runs a few times more, at other sizes where
    axes are dynamic and on other values, for the finished model to be checked there, too.

    Args:
        model: an `nn.Module` or any callable, in TorchScript, too; an exported program; or the path of a file that
            `torch.export.save` (`.pt2`) or `torch.jit.save` wrote. A lazy module is initialised, as a first call does.
        args: its positional arguments, nested as it takes them. Each tensor is an input of the Keras model, in
            this order (those of `kwargs` behind them). An exported program has its own where none are given.
        kwargs: its keyword arguments.
        input_shapes: for an input tensor its shape in PyTorch's order with None for each dynamic dimension.
        inputs_channel_order: how inputs of rank three and more lie; one for all, or by tensor. `"nhwc"` and `"nchw"`
            mean the two as well.
        outputs_channel_order: how outputs lie; one for all, by output index, or None for whichever is cheapest.
        input_names: names of the Keras model's inputs, by tensor or in order.
        output_names: names of its outputs, by index or in order.
        trace_shape: whether sizes (`x.shape`) stay symbolic where an axis is dynamic, as they do for None and True;
            False: only those that `nobuco.shape` and `nobuco.length` give.
        enable_torch_tracing: accepted for compatibility; tracing needs no such switch.
        explore_branches: trace the other side, too, where Python decides on a tensor (`if x.sum() > 0`), by running
            the innermost module call again, and put both into the model; a number limits how many.
        decompose: open an operation that has no converter into the ATen calls that PyTorch makes of it, and convert
            those; False raises.
        constants_to_variables: keep parameters and buffers that no Keras layer owns as weights; False embeds them.
        full_validation: check every node, alone and in the running model, and the finished model at other sizes and
            with other values; False checks the outputs on the example only.
        validate_on: further positional arguments, each like `args`, to check the finished model on.
        validation_tolerance: the largest absolute difference; None takes the dtype's default.
        return_outputs_pt: also return what PyTorch returned.
        return_report: also return the `Report`.
        save_trace_html: write the report as an HTML page, also if the conversion fails: to this path, or for True to
            `trace.html` in the working directory.
        debug_traces: under which nodes the printed tree names source lines.
        verbose: print the tree of converted nodes to stderr.

    Returns:
        The Keras model; a tuple of it and what else was asked for, PyTorch's outputs first, then the report.

    Raises:
        InputError: an argument is wrong, or a setting of Keras.
        ConversionError: operations have no converter (all are listed), or a converter is wrong.
    """
    require_channels_last()
    html, tolerance = html_path(save_trace_html), tolerances(validation_tolerance, "validation_tolerance")
    call, paths = prepared(model, args, kwargs), path_limit(explore_branches)
    draft = Draft(call.program.name, finished=partial(_finish, html=html))
    with draft.stage("trace"):
        inputs_of = inputs_given(call, input_shapes, input_names, inputs_channel_order)
        further = tuple(validate_on) if full_validation else None
        graph = draft.graph = traced(call, [spec.shape for spec in inputs_of], trace_shape, paths, further)
        draft.inputs = [(spec.name, spec.order) for spec in inputs_of]
        inputs = {value.id: spec for value, spec in zip(graph.inputs, inputs_of)}
        names = [spec.name for spec in inputs_of]
        outputs = draft.wanted = output_orders(graph, outputs_channel_order, output_names, names)
        check_example(graph, names)
        _warn_of_training(call.program.function)
    with draft.stage("select"):
        graph, selection, refused = selected(graph, decompose, call.names)
        graph = draft.graph = replace(graph, warnings=unresolved_warnings(graph, selection))
        draft.selection = selection
        refuse_foreign(graph, selection)
        refuse_gaps(selection, refused)
    with draft.stage("plan"):
        orders = {value.id: inputs[value.id].order for value in graph.inputs}
        draft.layout = laid_out(selection.units, graph, orders, [(value, order) for value, order, _ in outputs])
        plan = draft.layout.plan
    with draft.stage("assemble"), progress(len(selection.units), "converting", enabled=verbose) as advance:
        builder = Builder(
            graph, selection.units, plan, inputs, tolerance,
            constants_to_variables, full_validation, advance, lies=selection.lies,
        )  # fmt: skip
        draft.built = builder
        with without_dtype_policy():
            built = builder.build(outputs)
    with draft.stage("validate"):
        graph = draft.graph = telling(graph, built.kept_sizes, full_validation)
        trials = Trials(built, graph, inputs, outputs, plan.orders, tolerance)
        draft.outputs = trials.on_example()
        if full_validation and all(output.matches for output in draft.outputs):
            graph = draft.graph = without(graph, trials.refuted())
            draft.trials = trials.on_others(lambda trial: is_told_of(trial, graph, call.names))
    _note_program(built, call, graph, selection, [spec.order for spec in inputs_of])
    report = draft.report()
    draft.finished(report)
    if verbose:
        print_report(report, detail=debug_traces)
    _warn_of_mismatch(report)
    extras = ([_pytorch_outputs(graph)] if return_outputs_pt else []) + ([report] if return_report else [])
    return (built.model, *extras) if extras else built.model


def _finish(report: Report, html: Path | None) -> None:
    """Say what a conversion has to say, also one that failed; only now is it known which warnings were needless."""
    for message in report.warnings:
        warn(message)
    if html is not None:
        save_html(report, html)


def _note_program(built: Built, call: Call, graph: Graph, selection: Selection, orders: Sequence[ChannelOrder]) -> None:
    """Let the model know what it has of the program's tensors, and by which sizes the program decided."""
    function, model = call.program.function, built.model
    model.checkpoint = checkpoint_of(checkpoint_tensors(function), graph, selection, built)
    note_origins(built, graph, {name: held.tensor for name, held in held_tensors(function).items()})
    model.conditions = tuple(SizeCondition(c.region, c.message) for c in graph.conditions if c.is_exact)
    model.axes = {
        name: (position, tuple(order.to_logical(list(range(value.rank)))))
        for position, (name, value, order) in enumerate(zip(call.names, graph.inputs, orders))
    }


def _warn_of_mismatch(report: Report) -> None:
    """Say what does not match, for those who neither print the tree nor ask for the report."""
    wrong = [f"on the example: {output.describe()}" for output in report.outputs if not output.matches]
    wrong += [f"{tried.about}: {tried.describe()}" for tried in report.trials if not tried.ok]
    if wrong:
        more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
        warn(f"the converted model does not match PyTorch {wrong[0]}{more}")


def _pytorch_outputs(graph: Graph) -> Any:
    return map_leaves(lambda leaf: graph.samples[leaf.id] if isinstance(leaf, Value) else leaf, graph.outputs)


def _warn_of_training(model: Any) -> None:
    if not isinstance(model, nn.Module):
        return
    noisy = (nn.modules.dropout._DropoutNd, nn.modules.batchnorm._BatchNorm)
    # TorchScript modules have one class for all, and the name of the one that they were made from.
    kinds = {name: getattr(nn, getattr(m, "original_name", ""), type(m)) for name, m in model.named_modules()}
    training = [name for name, m in model.named_modules() if getattr(m, "training", False)]  # frozen ones have no flag
    affected = [name for name in training if issubclass(kinds[name], noisy)]
    if affected:
        warn(
            f"the model is in training mode, so {affected[0]!r}"
            + (f" and {len(affected) - 1} more" if len(affected) > 1 else "")
            + " (dropout or batch normalization) behaves as in training; call model.eval() before converting"
        )
