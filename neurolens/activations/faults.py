"""What goes wrong inside a model: on which stimulus, and in which operation first."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch

from neurolens.activations.axes import list_values
from neurolens.activations.batches import Call, undisturbed
from neurolens.recording.addresses import Names
from neurolens.recording.events import Recording, Value
from neurolens.recording.recorder import record
from neurolens.recording.structures import list_tensors

Kind = Literal["NaN", "infinity", "overflow"]


@dataclass(frozen=True, slots=True)
class Flaw:
    """A value that is no number: where it was seen first.

    Attributes
    ----------
    kind
        "NaN", "infinity", or "overflow": a number that the dtype asked for does not reach.
    stimulus
        Id of the first stimulus that has one.
    seen_in
        The first of the chosen operations that has one.
    origin
        The first of all operations that has one; "" where that could not be found.
    """

    kind: Kind
    stimulus: str
    seen_in: str
    origin: str

    def __str__(self) -> str:
        if self.kind == "overflow":
            return (
                f"gives numbers on the stimulus {self.stimulus!r} in {self.seen_in!r} that are too large for the dtype "
                "asked for and become infinite (leave dtype= out to keep them)"
            )
        first = f", and first in {self.origin!r}" if self.origin not in ("", self.seen_in) else ""
        return f"gives {self.kind} on the stimulus {self.stimulus!r} in {self.seen_in!r}{first}"


def find_flaw(tensor: torch.Tensor) -> tuple[Kind, int] | None:
    """Return the first stimulus for which an activation (stimulus, ...) holds NaN, else an infinity.

    Infinities that every stimulus has are masks, and meant.
    """
    if not tensor.is_floating_point() or tensor.numel() == 0:
        return None
    if tensor.itemsize == 1:  # float8 has no arithmetic of its own
        tensor = tensor.float()
    wide = torch.float32 if tensor.dtype in (torch.float16, torch.bfloat16) else tensor.dtype
    if bool(torch.isfinite(tensor.sum(dtype=wide))):
        return None
    rows = tensor.flatten(1) if tensor.ndim > 1 else tensor[:, None]
    nan = torch.isnan(rows).any(1)
    if bool(nan.any()):
        return "NaN", int(nan.nonzero()[0])
    infinite = torch.isinf(rows).any(1)
    if not bool(infinite.any()) or (len(rows) > 1 and bool(infinite.all())):
        return None
    return "infinity", int(infinite.nonzero()[0])


def find_overflow(values: np.ndarray[Any, Any], cast: np.ndarray[Any, Any]) -> int:
    """Return the first row in which a finite value became infinite by a cast to another dtype."""
    lost = np.isinf(cast) & np.isfinite(values)
    return int(np.flatnonzero(lost.reshape(len(lost), -1).any(1))[0]) if lost.ndim else 0


def find_origin(
    module: Callable[..., Any], call: Call, kind: Kind, name: Callable[[Recording], Names]
) -> str:
    """Run a model again and return the first operation that gives what is no number."""
    try:
        with undisturbed(module):
            recording = record(module, call.args, call.kwargs)
        values = list_values(name(recording))
    except Exception:  # it may not run on these stimuli alone: then nobody can tell
        return ""
    places = {id(value): address + label for (address, _, label), value in values.items()}

    def is_broken(value: Value, *, by: Callable[[torch.Tensor], torch.Tensor]) -> bool:
        tensor = recording.tensors.get(value)
        return tensor is not None and tensor.is_floating_point() and bool(by(tensor).any())

    test = torch.isnan if kind == "NaN" else torch.isinf
    found = next((value for value in values.values() if is_broken(value, by=test)), None)
    before = found
    while before is not None:  # infinity minus infinity is NaN: where did the infinity come from?
        found = before
        inputs = [value for value in found.event.inputs() if value is not found and id(value) in places]
        before = next((value for value in inputs if is_broken(value, by=_is_no_number)), None)
    return "" if found is None else places[id(found)]


def _is_no_number(tensor: torch.Tensor) -> torch.Tensor:
    return ~torch.isfinite(tensor)


def say_dtypes(module: Callable[..., Any], call: Call) -> str:
    """Say which floating dtypes a model has and is given, where they differ: a common cause of errors."""
    if not isinstance(module, torch.nn.Module):
        return ""
    own = {p.dtype for p in module.parameters() if p.is_floating_point()}
    given = {t.dtype for t in list_tensors((call.args, dict(call.kwargs))) if t.is_floating_point()}
    if not own or not given or own & given:
        return ""
    names = [", ".join(sorted(str(dtype).removeprefix("torch.") for dtype in some)) for some in (own, given)]
    return (
        f"Its parameters are {names[0]} and the stimuli are {names[1]}: convert the model (model.float()), or what "
        f"the stimuli become (transform= of Stimuli, or the model's preprocess, ending in .to(torch.{names[0]}))"
    )


def say_place(module: Callable[..., Any], error: BaseException) -> str:
    """Say where in a model an error was raised: the innermost module that was running, and the line.

    Read off the traceback, so that nothing is paid for it before.
    """
    paths = {id(m): path for path, m in module.named_modules()} if isinstance(module, torch.nn.Module) else {}
    inside, line = "", ""
    trace = error.__traceback__
    while trace is not None:
        owner = trace.tb_frame.f_locals.get("self")
        if id(owner) in paths and isinstance(owner, torch.nn.Module):
            path = paths[id(owner)]
            inside = f"in the module {path!r} ({type(owner).__name__})" if path else ""
            code = trace.tb_frame.f_code
            if code.co_name == "forward":
                line = f"{code.co_filename}:{trace.tb_lineno}"
        trace = trace.tb_next
    return " ".join(part for part in (inside, f"at {line}" if line else "") if part)
