"""What the page shows of a network: operations, the modules and composites around them, and what flows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

FAMILIES = (
    "convolution",
    "matrix product",
    "normalisation",
    "nonlinearity",
    "pooling",
    "attention",
    "arithmetic",
    "shape and indexing",
    "other",
)
_WORDS = {  # what a function's name begins with, or holds, tells its family; the first that fits
    "attention": ("attention",),
    "normalisation": ("norm",),
    "pooling": ("pool",),
    "convolution": ("conv", "unfold"),
    "matrix product": ("linear", "matmul", "addmm", "bmm", "mm", "einsum", "bilinear", "tensordot", "embedding"),
    "nonlinearity": (
        "relu", "gelu", "silu", "mish", "sigmoid", "tanh", "softmax", "hardswish", "elu", "selu", "celu", "softplus",
        "threshold", "glu",
    ),
    "shape and indexing": (
        "view", "reshape", "permute", "transpose", "flatten", "unflatten", "cat", "stack", "chunk", "split",
        "getitem", "expand", "squeeze", "unsqueeze", "contiguous", "roll", "pad", "clone", "narrow", "select",
        "repeat", "movedim", "swapaxes", "unbind", "to", "type", "float", "slice", "gather", "index",
    ),
    "arithmetic": (
        "add", "sub", "mul", "div", "truediv", "pow", "sqrt", "rsqrt", "exp", "log", "mean", "sum", "neg", "abs",
        "clamp", "max", "min", "var", "std", "cumsum", "rsub", "cos", "sin", "where", "masked",
    ),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Item:
    """One operation.

    Attributes
    ----------
    address, function
        Its names.
    owners
        Paths of the modules and composites it is in, the outermost first.
    step, depth
        Position in execution order, and longest path from the inputs in [0, 1].
    shape
        What it gives, as text.
    n_passes
        How often it ran.
    facts
        What is known of it besides: names and texts.
    source
        File and line, and the text of the line; empty where there is none.
    """

    address: str
    function: str
    owners: tuple[str, ...]
    step: int
    depth: float
    shape: str = ""
    n_passes: int = 1
    facts: tuple[tuple[str, str], ...] = ()
    source: tuple[str, str] = ("", "")


@dataclass(frozen=True, slots=True)
class Network:
    """Operations in execution order, and what flows between them.

    Attributes
    ----------
    name
        Of the model.
    items
        The operations.
    edges
        Pairs of positions in `items`: what the second one reads of the first one, which runs earlier.
    loops
        The same where a later pass reads what an operation gave that runs later, or itself.
    classes
        Class of each module, by path; of a composite, its function.
    numbers
        Further columns to colour by: name -> one number an operation, NaN where unknown.
    has_arrows
        Whether what flows is known: activations that a trace or a run gave name their parents, others don't.
    """

    name: str
    items: tuple[Item, ...]
    edges: tuple[tuple[int, int], ...] = ()
    loops: tuple[tuple[int, int], ...] = ()
    classes: dict[str, str] = field(default_factory=dict)
    numbers: dict[str, list[float]] = field(default_factory=dict)
    has_arrows: bool = True


@dataclass(slots=True)
class Group:
    """A module or composite on the page: children are operations (their position) and further groups."""

    path: str
    title: str = ""
    children: list[int | Group] = field(default_factory=list)

    @property
    def first(self) -> int:
        """Position of the operation in it that runs first."""
        child = self.children[0]
        return child.first if isinstance(child, Group) else child


def name_family(function: str) -> str:
    """Return the family of functions that one belongs to.

    Examples
    --------
    >>> name_family("conv2d"), name_family("scaled_dot_product_attention"), name_family("add")
    ('convolution', 'attention', 'arithmetic')
    """
    plain = function.lower().strip("_")
    for family, words in _WORDS.items():
        if any(plain.startswith(word) if len(word) < 4 else word in plain for word in words):
            return family
    return "other"


def build_groups(items: Sequence[Item]) -> tuple[Group, list[str]]:
    """Put operations into the modules and composites they ran in.

    What holds a single thing is shown as this thing, under both names.

    Returns
    -------
    Group
        The model, path "".
    list of str
        Title of each operation: its name below the group it is shown in.
    """
    root = Group("")
    known: dict[str, Group] = {"": root}
    for position, item in enumerate(items):
        outer = root
        for path in item.owners:
            if path not in known:
                known[path] = Group(path)
                outer.children.append(known[path])
            outer = known[path]
        outer.children.append(position)
    _merge_lonely(root)
    titles = [""] * len(items)
    _name(root, items, titles)
    return root, titles


def _merge_lonely(group: Group) -> None:
    for number, child in enumerate(group.children):
        if isinstance(child, Group):
            _merge_lonely(child)
            if len(child.children) == 1:
                group.children[number] = child.children[0]


def _name(group: Group, items: Sequence[Item], titles: list[str]) -> None:
    for child in group.children:
        if isinstance(child, Group):
            child.title = _below(child.path, group.path)
            _name(child, items, titles)
        else:
            titles[child] = _title(items[child], group.path)


def _title(item: Item, path: str) -> str:
    """Write 'conv1: conv2d' for the one operation of a module, else its name in the group."""
    owner = item.owners[-1] if item.owners else ""
    name = _below(item.address, owner)
    outer = _below(owner, path) if owner != path else ""
    return f"{outer}: {name}" if outer and name != outer else name


def _below(address: str, path: str) -> str:
    return (address.removeprefix(f"{path}.") if path else address) or "(no name)"


def walk_groups(group: Group) -> Iterable[Group]:
    """Yield a group and all below, the outer ones first."""
    yield group
    for child in group.children:
        if isinstance(child, Group):
            yield from walk_groups(child)
