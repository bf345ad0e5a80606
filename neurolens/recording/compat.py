"""The only place that touches what torch does not document. Each name says what the recorder needs it for."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from types import CodeType, FunctionType
from typing import Any

import torch
from torch.overrides import handle_torch_function

# Inside this context torch calls reach no function mode and no tensor subclass: the recorder's own bookkeeping.
unobserved: Any = torch._C.DisableTorchFunction

push_mode: Callable[[Any], None] = torch._C._push_on_torch_function_stack
pop_mode: Callable[[], Any] = torch._C._pop_torch_function_stack
count_modes: Callable[[], int] = torch._C._len_torch_function_stack
mode_at: Callable[[int], Any] = torch._C._get_function_stack_at

# The frame of this function stands between a Python function of torch and the mode it is handed to.
DISPATCHER_CODE: CodeType = handle_torch_function.__code__

# Names by which a Python function of torch asks whether somebody wants to take over.
_TAKEOVER_QUESTIONS = ("has_torch_function", "has_torch_function_unary", "has_torch_function_variadic")


def never_taken_over(names: dict[str, Any], by_attribute: bool) -> dict[str, Any]:
    """Return a function's globals in which nobody wants to take over.

    `by_attribute`: it asks `torch.overrides`, not a global of its own (torch.nn.init does).
    """
    answers = dict.fromkeys(_TAKEOVER_QUESTIONS, _never)
    changed = {**names, **answers}
    if by_attribute:
        overrides = _Instead(torch.overrides, answers)
        changed |= {"overrides": overrides, "torch": _Instead(torch, {"overrides": overrides})}
    return changed


class _Instead:
    """A module with some of its attributes replaced."""

    def __init__(self, module: Any, replaced: dict[str, Any]) -> None:
        self._module = module
        self.__dict__.update(replaced)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._module, name)


def _never(*_: object) -> bool:
    return False


def eager() -> AbstractContextManager[Any]:
    """Run what is compiled as plain Python: compiled parts would hide their operations, and refuse a mode.

    The compiler is imported by whoever uses it (it takes seconds); where nobody has, there is nothing to open.
    """
    if "torch._dynamo" not in sys.modules and "torch.nn.attention.flex_attention" not in sys.modules:
        return nullcontext()
    stance: AbstractContextManager[Any] = torch.compiler.set_stance("force_eager")
    return stance


def storage_key(tensor: torch.Tensor) -> int:
    """Return a number that two tensors share exactly when they share memory; 0 where there is no storage."""
    if _is_wrapped(tensor):
        tensor = _unwrap(tensor)[0]
    try:
        return int(tensor.untyped_storage()._cdata)
    except (NotImplementedError, RuntimeError):  # sparse, nested, batched and opaque tensors
        return 0


def shape(tensor: torch.Tensor) -> torch.Size:
    """Return the shape; () for what has none (nested tensors)."""
    return torch.Size() if tensor.is_nested else tensor.shape


def physical(tensor: torch.Tensor) -> torch.Tensor:
    """Return the tensor under the wrappers of vmap and the transforms of torch.func; mapped axes come first."""
    if not _is_wrapped(tensor):
        return tensor
    tensor, mapped = _unwrap(tensor)
    with torch._C._DisableFuncTorch():
        for level, axis in enumerate(reversed(mapped)):
            tensor = tensor.movedim(axis + level, 0)
    return tensor


def alias(tensor: torch.Tensor) -> torch.Tensor:
    """Return another name for the memory of a tensor, outside of autograd and of transforms."""
    if not in_transform():
        return tensor.detach()
    tensor = physical(tensor)
    with torch._C._DisableFuncTorch():
        return tensor.detach()


def copy_of(tensor: torch.Tensor) -> torch.Tensor:
    """Return a copy of a kept tensor, outside of transforms."""
    if not in_transform():
        return tensor.clone()
    with torch._C._DisableFuncTorch():
        return tensor.clone()


def _unwrap(tensor: torch.Tensor) -> tuple[torch.Tensor, list[int]]:
    """Return the tensor under all wrappers, and the mapped axis of each wrapper of vmap, outer first."""
    mapped = []
    while _is_wrapped(tensor):
        if torch._C._functorch.is_batchedtensor(tensor):
            mapped.append(torch._C._functorch.maybe_get_bdim(tensor))
        tensor = torch._C._functorch.get_unwrapped(tensor)
    return tensor, mapped


_is_wrapped: Callable[[torch.Tensor], bool] = torch._C._functorch.is_functorch_wrapped_tensor


# The transform of torch.func (vmap, grad ...) that is running, or None.
peek_transform: Callable[[], Any] = torch._C._functorch.peek_interpreter_stack


def in_transform() -> bool:
    """Tell whether a transform of torch.func is running."""
    return peek_transform() is not None


def version(tensor: torch.Tensor) -> int:
    """Return torch's count of in-place writes; -1 where it keeps none (inference tensors)."""
    return -1 if tensor.is_inference() else tensor._version


def _any_autocast_slowly() -> bool:
    return any(torch.is_autocast_enabled(kind) for kind in ("cpu", "cuda"))


any_autocast: Callable[[], bool] = getattr(torch._C, "_is_any_autocast_enabled", _any_autocast_slowly)


def autocasting() -> tuple[tuple[str, torch.dtype], ...] | None:
    """Return the autocasting in force, by device type; None where there is none."""
    if not any_autocast():
        return None
    return tuple(
        (kind, torch.get_autocast_dtype(kind)) for kind in ("cpu", "cuda") if torch.is_autocast_enabled(kind)
    )


def schemas(function: Any) -> list[Any]:
    """Return the operator schemas that a function of torch may stand for."""
    if isinstance(function, torch._ops.OpOverload):
        return [function._schema]
    if isinstance(function, torch._ops.OpOverloadPacket):
        packet: Any = function
    else:
        packet = getattr(torch.ops.aten, getattr(function, "__name__", ""), None)
    if packet is None or not hasattr(packet, "overloads"):
        return []
    return [getattr(packet, overload)._schema for overload in packet.overloads()]


def is_random(function: Any) -> bool:
    """Tell whether a function of torch may draw from a random generator."""
    if isinstance(function, torch._ops.OpOverload):
        overloads = [function]
    else:
        packet: Any = getattr(torch.ops.aten, getattr(function, "__name__", ""), None)
        overloads = (
            [getattr(packet, name) for name in packet.overloads()] if hasattr(packet, "overloads") else []
        )
    return any(torch.Tag.nondeterministic_seeded in overload.tags for overload in overloads)


@contextmanager
def autocast_as(ambient: tuple[tuple[str, torch.dtype], ...] | None) -> Iterator[None]:
    """Put the autocasting of a recorded call in force, or none."""
    wanted = dict(ambient or ())
    with ExitStack() as stack:
        for kind in ("cpu", "cuda"):
            if kind in wanted or torch.is_autocast_enabled(kind):
                stack.enter_context(torch.autocast(kind, dtype=wanted.get(kind), enabled=kind in wanted))
        yield


@contextmanager
def attention_fast_path(enabled: bool) -> Iterator[None]:
    """Allow or forbid torch's fused attention, which a function mode switches off by itself."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(enabled)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


def fx_wrapped_codes() -> dict[CodeType, str]:
    """Return the functions that torch.fx takes for one node, by code: those wrapped, and torchvision's operators."""
    tracing: Any = sys.modules.get("torch.fx._symbolic_trace")
    wrapped = [] if tracing is None else tracing._wrapped_fns_to_patch.items()
    found = [module_globals.get(name) for (_, name), module_globals in wrapped]
    if "torchvision.ops" in sys.modules:
        found += vars(sys.modules["torchvision.ops"]).values()
    return {f.__code__: f.__name__ for f in found if isinstance(f, FunctionType)}


RandomState = dict[str, torch.Tensor]  # state of the default generator of each device, by its name


def random_state() -> RandomState:
    """Return the state of the default generators: the CPU's, and those of accelerators that are in use."""
    state = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        state |= {f"cuda:{n}": torch.cuda.get_rng_state(n) for n in range(torch.cuda.device_count())}
    if torch.backends.mps.is_available():
        state["mps"] = torch.mps.get_rng_state()
    return state


def set_random_state(state: RandomState) -> None:
    """Put the default generators into a state."""
    for device, content in state.items():
        if device == "cpu":
            torch.set_rng_state(content)
        elif device == "mps":
            torch.mps.set_rng_state(content)
        else:
            torch.cuda.set_rng_state(content, device)


@contextmanager
def random_state_kept() -> Iterator[None]:
    """Leave the default generators as they are."""
    before = random_state()
    try:
        yield
    finally:
        set_random_state(before)
