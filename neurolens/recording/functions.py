"""What is known of a function of torch before it runs: its plain name, whether it can be opened, what it writes."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from types import FunctionType
from typing import Any

import torch

from neurolens.recording import compat


class Kind(Enum):
    """How the recorder treats a call."""

    OPERATION = "operation"  # a builtin: recorded as one operation
    COMPOSITE = "composite"  # a Python function of torch: its inside is recorded too
    QUERY = "query"  # asks for metadata: no tensor comes of it, nothing is written
    READOUT = "readout"  # hands values to Python: the graph is cut here


@dataclass(frozen=True, slots=True, eq=False)
class Facts:
    """Facts about one function of torch.

    `writes` are positions of arguments whose memory is written; `side_writes` likewise, for state that no later
    operation is said to depend on (running statistics). `hands_out` says that memory becomes writable from
    outside torch. `is_random`: it may draw from a generator (what cannot be opened may, too).
    `reshapes`: it changes in place what a tensor says of itself, not its memory. `is_plain`: none of all this, but
    perhaps side writes, or a write to its first argument alone.
    """

    function: Any
    name: str
    kind: Kind
    writes: tuple[int, ...] = ()
    side_writes: tuple[int, ...] = ()
    hands_out: bool = False
    is_random: bool = False
    reshapes: bool = False
    is_plain: bool = field(init=False)

    def __post_init__(self) -> None:
        odd = self.hands_out or self.is_random or self.reshapes or self.writes not in ((), (0,))
        object.__setattr__(self, "is_plain", self.kind is Kind.OPERATION and not odd)


def words(text: str) -> frozenset[str]:
    """Return the words of a text as a set of names."""
    return frozenset(text.split())


_QUERIES = words(
    """shape dtype device layout requires_grad is_leaf ndim is_cuda is_cpu is_mps is_xpu is_meta is_sparse
    is_sparse_csr is_quantized is_nested is_mkldnn is_vulkan is_ipu is_mtia is_maia is_xla size dim stride numel
    nelement ndimension element_size is_contiguous is_floating_point is_complex is_signed storage_offset get_device
    type_as_name names grad_fn _version output_nr itemsize nbytes is_inference is_pinned is_shared is_conj is_neg
    dense_dim sparse_dim has_names is_same_size _is_view _backward_hooks retains_grad volatile name is_coalesced
    is_distributed is_set_to result_type can_cast promote_types get_default_dtype is_tensor is_storage qscheme
    q_scale q_zero_point is_grad_enabled is_inference_mode_enabled __len__ __hash__ __repr__ __format__ __dir__
    register_hook register_post_accumulate_grad_hook dim_order _typed_storage_type _nnz _dimI _dimV _is_zerotensor
    __cuda_array_interface__ _indices_nnz __dlpack_device__ _grad_fn_name __instancecheck__"""
)
_READOUTS = words(
    """item tolist __bool__ __float__ __int__ __index__ __complex__ equal allclose is_nonzero _local_scalar_dense
    __contains__"""
)
_HANDS_OUT = words(
    """numpy __array__ untyped_storage storage _typed_storage data_ptr const_data_ptr mutable_data_ptr __dlpack__
    __reduce_ex__ share_memory_"""
)
# A trailing underscore that changes what the tensor says of itself, not its memory.
_METADATA_ONLY = words(
    """requires_grad_ detach_ squeeze_ unsqueeze_ t_ transpose_ swapaxes_ swapdims_ rename_ retain_grad
    as_strided_ share_memory_"""
)
# Their schemas are silent about the running statistics that they update, if the argument after these says so.
_STATISTICS = {
    "batch_norm": (3, 4),
    "instance_norm": (3, 4),
    "native_batch_norm": (3, 4),
    "cudnn_batch_norm": (3, 4),
}

_OPERATORS = {
    "truediv": "div",
    "rtruediv": "div",
    "rdiv": "div",
    "true_divide": "div",
    "divide": "div",
    "radd": "add",
    "rsub": "sub",
    "subtract": "sub",
    "rmul": "mul",
    "multiply": "mul",
    "rpow": "pow",
    "rmatmul": "matmul",
    "floordiv": "floor_divide",
    "rfloordiv": "floor_divide",
    "rmod": "remainder",
    "mod": "remainder",
    "negative": "neg",
    "absolute": "abs",
}
_INPLACE_DUNDERS = words(
    "iadd isub imul itruediv idiv ifloordiv imod imatmul ipow iand ior ixor ilshift irshift"
)


def plain_name(function: Any) -> str:
    """Return the name by which an operation is addressed.

    `relu` for `torch.relu`, `F.relu` and `relu_`; `add` for `+`, `+=`, `add_`; a property by its own name.
    """
    name = raw_name(function).split(".")[0]
    if name.startswith("__") and name.endswith("__"):
        name = name[2:-2]
        if name in _INPLACE_DUNDERS:
            name = name[1:]
    elif name.endswith("_") and not name.startswith("__"):
        name = name.rstrip("_")
    return _OPERATORS.get(name, name) or "unnamed"


def raw_name(function: Any) -> str:
    """Return the name a function gives itself; for the access to a property, the property's."""
    name = getattr(function, "__name__", None) or type(function).__name__
    if name in ("__get__", "__set__"):
        name = function.__self__.__name__
    return str(name)


def facts_of(function: Any) -> Facts:
    """Return the facts about `function`, found once."""
    facts = KNOWN.get(function)
    if facts is None:
        facts = KNOWN[function] = _find_facts(function)
    return facts


KNOWN: dict[Any, Facts] = {}


def _find_facts(function: Any) -> Facts:
    raw = raw_name(function)
    name = plain_name(function)
    setter = getattr(function, "__name__", "") == "__set__"
    if setter:
        writes = (0,) if raw in ("data", "real", "imag") else ()
        return Facts(function, f"set_{name}", Kind.OPERATION if writes else Kind.QUERY, writes=writes)
    if raw in _QUERIES:
        return Facts(function, name, Kind.QUERY)
    if raw in _HANDS_OUT:
        return Facts(function, name, Kind.READOUT, hands_out=True)
    if raw in _READOUTS:
        return Facts(function, name, Kind.READOUT)
    if isinstance(function, FunctionType):
        return Facts(function, name, Kind.COMPOSITE, is_random=True)
    return Facts(
        function,
        name,
        Kind.OPERATION,
        writes=_written_arguments(function, raw),
        side_writes=_STATISTICS.get(name, ()),
        hands_out=isinstance(function, torch.ScriptFunction),
        is_random=compat.is_random(function),
        reshapes=raw in _METADATA_ONLY,
    )


def _written_arguments(function: Any, raw: str) -> tuple[int, ...]:
    """Return the positions that some overload writes; `out=` is known by its keyword when it is passed."""
    if raw in _METADATA_ONLY:
        return ()
    found = {0} if raw == "__setitem__" or _is_inplace_name(raw) else set()
    for schema in compat.schemas(function):
        found |= {
            position
            for position, argument in enumerate(schema.arguments)
            if argument.alias_info is not None and argument.alias_info.is_write and not argument.kwarg_only
        }
    return tuple(sorted(found))


def _is_inplace_name(raw: str) -> bool:
    if raw.startswith("__"):
        return raw.strip("_") in _INPLACE_DUNDERS
    return raw.endswith("_")
