"""Where things go on the page: each module is rows of what it holds, in the order in which data flow.

Modules fold and unfold in the browser, so that pixels can't be known here. What costs time is decided here: which
row of its module each thing is in, and its place in that row. What is left for the page is to add up sizes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from neurolens.explorer.outline import Group

Child = int | Group
Edge = tuple[int, int]

_SWEEPS = 4


def arrange_rows(root: Group, edges: Iterable[Edge], *, n_items: int) -> dict[str, list[list[Child]]]:
    """Put the children of every group into rows.

    A child's row is one below the lowest row it reads from (the longest path), so that data flow downwards; what
    reads nothing stands just above its first reader. In a row, children are ordered by the mean place of what they
    read and of what reads them, which keeps arrows short and lets few cross.

    Parameters
    ----------
    root
        The model.
    edges
        Pairs of operations; data flow from the first to the second, which runs later.
    n_items
        How many operations there are.

    Returns
    -------
    dict
        Path of a group -> its rows, from the top; each a list of operations and groups, from the left.
    """
    homes: list[list[Group]] = [[] for _ in range(n_items)]
    order: dict[int, int] = {}  # of a group among the children of its own, by id
    _find_homes(root, [], homes, order)
    inside: dict[str, dict[Edge, None]] = {}
    for tail, head in edges:
        group, a, b = _lift(homes, order, tail, head)
        if a < b:
            inside.setdefault(group.path, {})[a, b] = None
    rows: dict[str, list[list[Child]]] = {}
    _arrange_all(root, inside, rows)
    return rows


def _find_homes(group: Group, above: list[Group], homes: list[list[Group]], order: dict[int, int]) -> None:
    """Note the groups around each operation, and the position of each thing among its siblings."""
    chain = [*above, group]
    for position, child in enumerate(group.children):
        if isinstance(child, Group):
            order[id(child)] = position
            _find_homes(child, chain, homes, order)
        else:
            homes[child] = chain
            order[child] = position


def _lift(
    homes: Sequence[list[Group]], order: dict[int, int], tail: int, head: int
) -> tuple[Group, int, int]:
    """Return the innermost group that holds both ends, and the positions of the children they are in."""
    left, right = homes[tail], homes[head]
    depth = 0
    while depth + 1 < min(len(left), len(right)) and left[depth + 1] is right[depth + 1]:
        depth += 1
    ends = []
    for chain, item in ((left, tail), (right, head)):
        ends.append(order[id(chain[depth + 1])] if depth + 1 < len(chain) else order[item])
    return left[depth], ends[0], ends[1]


def _arrange_all(
    group: Group, inside: dict[str, dict[Edge, None]], rows: dict[str, list[list[Child]]]
) -> None:
    placed = place_in_rows(len(group.children), list(inside.get(group.path, ())))
    rows[group.path] = [[group.children[k] for k in row] for row in placed]
    for child in group.children:
        if isinstance(child, Group):
            _arrange_all(child, inside, rows)


def place_in_rows(n_children: int, edges: Sequence[Edge]) -> list[list[int]]:
    """Put children 0 ... n - 1 into rows by the arrows between them, each from a lower to a higher number.

    Without a single arrow, each child has a row of its own: the order of execution is all that is known.

    Examples
    --------
    >>> place_in_rows(4, [(0, 1), (0, 2), (1, 3), (2, 3)])
    [[0], [1, 2], [3]]
    """
    if not edges:
        return [[k] for k in range(n_children)]
    parents: list[list[int]] = [[] for _ in range(n_children)]
    children: list[list[int]] = [[] for _ in range(n_children)]
    for tail, head in edges:
        parents[head].append(tail)
        children[tail].append(head)
    level = [0] * n_children
    for k in range(n_children):
        level[k] = 1 + max((level[p] for p in parents[k]), default=-1)
    for k in reversed(range(n_children)):
        if not parents[k] and children[k]:
            level[k] = max(0, min(level[c] for c in children[k]) - 1)
    rows: list[list[int]] = [[] for _ in range(max(level) + 1)]
    for k in range(n_children):
        rows[level[k]].append(k)
    rows = [row for row in rows if row]
    _uncross(rows, parents, children)
    return rows


def _uncross(rows: list[list[int]], parents: Sequence[list[int]], children: Sequence[list[int]]) -> None:
    """Order rows by the mean place of neighbours, downwards and upwards in turn."""
    if all(len(row) == 1 for row in rows):
        return
    place = {k: number - (len(row) - 1) / 2 for row in rows for number, k in enumerate(row)}
    for sweep in range(_SWEEPS):
        near = parents if sweep % 2 == 0 else children
        for row in rows if sweep % 2 == 0 else reversed(rows):
            means = {k: sum(place[o] for o in near[k]) / len(near[k]) if near[k] else place[k] for k in row}
            row.sort(key=means.__getitem__)
            for number, k in enumerate(row):
                place[k] = number - (len(row) - 1) / 2
