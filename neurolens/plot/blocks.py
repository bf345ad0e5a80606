"""Stretches of a network that can be named below an axis."""

from __future__ import annotations

from dataclasses import dataclass

MAX_BLOCKS = 16  # names that fit below one axis
WIDE = 0.3  # of all operations: a block as wide as this is shown by its parts


@dataclass(frozen=True)
class Block:
    """Operations `start` to `stop` - 1, which lie in one module."""

    name: str
    start: int
    stop: int


def find_blocks(modules: list[str]) -> list[Block]:
    """Cut a network into stretches of operations that share a module.

    Parameters
    ----------
    modules
        Path of the module of each operation, in execution order; "" is the model itself.

    Returns
    -------
    list of Block
        Without gaps and in order. The first component of the path names a block; wide blocks are replaced by
        their children, where these are more than single operations and no more than 16 blocks come of it.

    Examples
    --------
    >>> [block.name for block in find_blocks(["stem", "blocks.0.a", "blocks.0.b", "blocks.1.a", "head"])]
    ['stem', 'blocks.0', 'blocks.1', 'head']
    """
    blocks = _cut(modules, 0, len(modules), 1)
    while True:
        wide = [block for block in blocks if block.stop - block.start >= WIDE * len(modules)]
        for block in sorted(wide, key=lambda block: block.start - block.stop):
            parts = _cut(modules, block.start, block.stop, block.name.count(".") + 2)
            n_ops = block.stop - block.start
            if 1 < len(parts) < n_ops and len(blocks) - 1 + len(parts) <= MAX_BLOCKS:
                at = blocks.index(block)
                blocks[at : at + 1] = parts
                break
        else:
            return blocks


def _cut(modules: list[str], start: int, stop: int, depth: int) -> list[Block]:
    """Cut where the first `depth` components of the path change."""
    names = [".".join(path.split(".")[:depth]) for path in modules[start:stop]]
    edges = [i for i in range(len(names)) if i == 0 or names[i] != names[i - 1]]
    ends = [*edges, len(names)][1:]
    return [Block(names[a], start + a, start + b) for a, b in zip(edges, ends, strict=True)]
