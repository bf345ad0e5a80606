"""Four proofs that a recording tells what the model did; and a report of what was proven."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from neurolens.recording import compat
from neurolens.recording.events import Recording, Value, leaves
from neurolens.recording.graph import Graph
from neurolens.recording.proofs import Finding, Verdict, difference, prove_perturbation, prove_replay
from neurolens.recording.structures import list_tensors, same
from neurolens.recording.witness import Testimony, run_witnessed


@dataclass(frozen=True, slots=True)
class Answer:
    """Whether the traced model gave what the plain one gives.

    `difference` is the largest absolute one on each output; `fast_path` that between the plain model with and
    without torch's attention fast path, where it would have run.
    """

    verdict: Verdict
    difference: tuple[float, ...]
    fast_path: tuple[float, ...]
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Proofs:
    """What the four proofs found."""

    answer: Answer
    replays: tuple[Finding, ...]
    perturbations: tuple[Finding, ...]
    testimony: Testimony
    n_sources: int  # tensors whose making could not be seen

    @property
    def failures(self) -> tuple[Finding, ...]:
        """Operations for which a proof failed."""
        return tuple(f for f in (*self.replays, *self.perturbations) if f.verdict is Verdict.FAILED)

    @property
    def passed(self) -> bool:
        """Whether no proof failed."""
        return not self.failures and not self.testimony.outside and self.answer.verdict is not Verdict.FAILED


def prove(
    recording: Recording,
    graph: Graph,
    model: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
) -> Proofs:
    """Run all four proofs. The model runs again, three to four times; its state is restored.

    Parameters
    ----------
    recording, graph
        What is to be proven; activations that were not kept stay unproven.
    model, args, kwargs
        The call that was recorded.
    """
    inputs = _Inputs(recording, args, kwargs)
    events = recording.events
    with _restored(model, recording):
        answer = _prove_answer(recording, model, inputs)
    with _restored(model, recording):
        again = inputs.fresh()
        testimony = run_witnessed(model, *again)[1]
    return Proofs(
        answer,
        tuple(prove_replay(recording, graph, events)),
        tuple(prove_perturbation(recording, events)),
        testimony,
        sum(event.facts.name == "source" for event in events),
    )


class _Inputs:
    """The inputs of the recorded call, as they were before it."""

    def __init__(self, recording: Recording, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        self.args = args
        self.kwargs = kwargs
        self.kept = {
            id(owner): recording.tensors[value]
            for value in leaves(dict(recording.inputs))
            if value in recording.tensors and (owner := value.owner()) is not None
        }

    def fresh(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return copies: a model may write its inputs."""
        return self._copy(self.args), self._copy(dict(self.kwargs))

    def _copy(self, structure: Any) -> Any:
        if isinstance(structure, torch.Tensor):
            copy = self.kept.get(id(structure), structure).detach().clone()
            return copy.requires_grad_(structure.requires_grad) if structure.requires_grad else copy
        if type(structure) in (tuple, list):
            return type(structure)(self._copy(item) for item in structure)
        if type(structure) is dict:
            return {name: self._copy(item) for name, item in structure.items()}
        return structure


def _prove_answer(recording: Recording, model: Callable[..., Any], inputs: _Inputs) -> Answer:
    args, kwargs = inputs.fresh()
    with compat.attention_fast_path(False):
        plain = list_tensors(model(*args, **kwargs))
    values = list(leaves(recording.output))
    fast = _fast_path_differences(recording, model, inputs, plain)
    if not recording.complete or any(value not in recording.tensors for value in values):
        return Answer(Verdict.UNTESTED, (), fast, "the outputs were not kept")
    traced = [recording.tensors[value] for value in values]
    if len(traced) != len(plain):
        return Answer(
            Verdict.FAILED, (), fast, f"{len(traced)} tensors came out, {len(plain)} of the plain model"
        )
    gaps = tuple(difference(a, b.detach()) for a, b in zip(traced, plain, strict=True))
    equal = all(same(a, b.detach()) for a, b in zip(traced, plain, strict=True))
    if equal or _is_uninitialised(recording, values):
        return Answer(Verdict.PROVEN, gaps, fast)
    return Answer(
        Verdict.FAILED, gaps, fast, "the plain model gives other values (or its state has changed since)"
    )


def _is_uninitialised(recording: Recording, values: list[Value]) -> bool:
    return bool(values) and all(value.event.facts.name.startswith(("empty", "new_empty")) for value in values)


def _fast_path_differences(
    recording: Recording, model: Callable[..., Any], inputs: _Inputs, plain: list[torch.Tensor]
) -> tuple[float, ...]:
    """Run once more with the fast path allowed, where there is attention that could take it."""
    attention = (torch.nn.MultiheadAttention, torch.nn.TransformerEncoderLayer)
    if not isinstance(model, torch.nn.Module) or not any(isinstance(m, attention) for m in model.modules()):
        return ()
    with _restored(model, recording), torch.no_grad(), compat.attention_fast_path(True):
        args, kwargs = inputs.fresh()
        fast = list_tensors(model(*args, **kwargs))
    return tuple(difference(a.detach(), b.detach()) for a, b in zip(plain, fast, strict=False))


@contextmanager
def _restored(model: Callable[..., Any], recording: Recording) -> Iterator[None]:
    """Run from the buffers, the random state and the grad mode of the recording; leave all as they are."""
    named: dict[str, torch.Tensor] = {}
    if isinstance(model, torch.nn.Module):
        named |= {name: p for name, p in model.named_parameters() if name in recording.written}
        named |= dict(model.named_buffers())
    buffers = list(named.values())
    copies = [buffer.clone() for buffer in buffers]
    first: dict[str, torch.Tensor] = {}
    for value, tensor in recording.tensors.items():
        if value.parameter in named:
            first.setdefault(value.parameter, tensor)
    state = next((event.rng for event in recording.events if event.rng is not None), None)
    try:
        with compat.random_state_kept(), torch.set_grad_enabled(recording.grad_mode):
            if state is not None:
                compat.set_random_state(state)
            _write({named[name]: tensor for name, tensor in first.items()})
            yield
    finally:
        _write(dict(zip(buffers, copies, strict=True)))


def _write(contents: Mapping[torch.Tensor, torch.Tensor]) -> None:
    """Write into buffers, only where something differs: what is kept of the others stays valid."""
    with torch.no_grad():
        for buffer, content in contents.items():
            if not same(buffer, content):
                buffer.copy_(content)
