"""What the instruction at a call says that the call itself does not: the operator, and what is taken of a result."""

from __future__ import annotations

import dis
from functools import lru_cache
from types import CodeType

from neurolens.recording.events import Site

_OPERATORS = {
    "+": "add",
    "-": "sub",
    "*": "mul",
    "/": "truediv",
    "//": "floordiv",
    "@": "matmul",
    "%": "mod",
    "**": "pow",
    "&": "and_",
    "|": "or_",
    "^": "xor",
    "<<": "lshift",
    ">>": "rshift",
    "<": "lt",
    "<=": "le",
    "==": "eq",
    "!=": "ne",
    ">": "gt",
    ">=": "ge",
    "[]": "getitem",
}
_OPCODES = {
    "BINARY_SUBSCR": "getitem",
    "BINARY_SLICE": "getitem",
    "UNARY_NEGATIVE": "neg",
    "UNARY_INVERT": "invert",
}
_SILENT = frozenset(("CACHE", "PRECALL", "KW_NAMES", "EXTENDED_ARG", "NOP", "PUSH_NULL"))


@lru_cache(maxsize=4096)
def _instructions(code: CodeType) -> tuple[list[dis.Instruction], dict[int, int]]:
    """Return the instructions that do something, and the place of each offset among them."""
    listed = [i for i in dis.get_instructions(code) if i.opname not in _SILENT]
    return listed, {instruction.offset: place for place, instruction in enumerate(listed)}


def operator_name(site: Site) -> str | None:
    """Return the name in `operator` of the operator at a call; None where it is a call by name."""
    code, offset, _ = site[0]
    listed, places = _instructions(code)
    if offset not in places:
        return None
    instruction = listed[places[offset]]
    if instruction.opname in ("BINARY_OP", "COMPARE_OP"):
        sign = instruction.argrepr
        return _OPERATORS.get(sign if sign in _OPERATORS else sign.rstrip("="))
    return _OPCODES.get(instruction.opname)


def items_taken(site: Site) -> list[int]:
    """Return the positions that are taken of a result where it is returned: `a, b = f(x)` or `f(x)[0]`."""
    if not site:
        return []
    code, offset, _ = site[0]
    listed, places = _instructions(code)
    return _items_taken(listed, places[offset] + 1) if offset in places else []


def _items_taken(listed: list[dis.Instruction], place: int) -> list[int]:
    first = listed[place]
    if first.opname == "UNPACK_SEQUENCE":
        return list(range(int(first.argval)))
    if first.opname == "LOAD_CONST" and isinstance(first.argval, int):
        following = listed[place + 1]
        if following.opname == "BINARY_SUBSCR" or (
            following.opname == "BINARY_OP" and following.argrepr == "[]"
        ):
            return [first.argval]
    return []


@lru_cache(maxsize=65536)
def count_shape_items(code: CodeType, after: int, before: int) -> int:
    """Count the items of shapes that are read between two instructions: by unpacking, index or slice."""
    listed, _ = _instructions(code)
    count = 0
    for place, instruction in enumerate(listed):
        if not after < instruction.offset < before:
            continue
        if instruction.opname == "LOAD_ATTR" and instruction.argval == "shape":
            count += _items_read(listed, place + 1)
        elif instruction.argval == "size" and listed[place + 1].opname.startswith("CALL"):
            count += _items_read(listed, place + 2)
    return count


def _items_read(listed: list[dis.Instruction], place: int) -> int:
    if listed[place].opname == "UNPACK_SEQUENCE":
        return int(listed[place].argval)
    for ahead in range(place, min(place + 5, len(listed))):
        name = listed[ahead].opname
        if name in ("BINARY_SUBSCR", "BINARY_SLICE"):
            return 1 + _items_read(listed, ahead + 1)
        if not name.startswith(("LOAD_CONST", "LOAD_FAST", "BUILD_SLICE")):
            break
    return 0
