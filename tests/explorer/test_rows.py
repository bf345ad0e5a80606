"""Rows of modules: by the mathematics of layered graphs."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neurolens.explorer.outline import Group, Item, build_groups
from neurolens.explorer.rows import arrange_rows, place_in_rows


@st.composite
def graphs(draw):
    n = draw(st.integers(1, 12))
    pairs = [(a, b) for b in range(n) for a in range(b)]
    return n, draw(st.lists(st.sampled_from(pairs), unique=True)) if pairs else []


def count_longest_path(n, edges):
    longest = [0] * n
    for b in range(n):
        longest[b] = max((longest[a] + 1 for a, c in edges if c == b), default=0)
    return max(longest)


@given(graphs())
def test_every_child_has_one_place_and_arrows_go_down(graph):
    n, edges = graph
    rows = place_in_rows(n, edges)
    assert sorted(k for row in rows for k in row) == list(range(n))
    row_of = {k: number for number, row in enumerate(rows) for k in row}
    assert all(row_of[a] < row_of[b] for a, b in edges)


@given(graphs())
def test_there_are_no_more_rows_than_the_longest_path_has(graph):
    n, edges = graph
    rows = place_in_rows(n, edges)
    assert len(rows) == (count_longest_path(n, edges) + 1 if edges else n)


def test_what_reads_nothing_stands_above_its_first_reader():
    assert place_in_rows(4, [(0, 1), (1, 3), (2, 3)]) == [[0], [1, 2], [3]]


def count_crossings(rows, edges):
    at = {k: (number, place) for number, row in enumerate(rows) for place, k in enumerate(row)}
    short = [(at[a], at[b]) for a, b in edges if at[b][0] == at[a][0] + 1]
    return sum(
        p[0][0] == q[0][0] and (p[0][1] - q[0][1]) * (p[1][1] - q[1][1]) < 0
        for i, p in enumerate(short)
        for q in short[:i]
    )


def test_branches_that_run_side_by_side_do_not_cross():
    edges = [(0, 1), (0, 2), (0, 3), (1, 6), (2, 5), (3, 4), (4, 7), (5, 7), (6, 7)]
    assert count_crossings(place_in_rows(8, edges), edges) == 0


def test_arrows_between_operations_order_the_modules_they_are_in():
    items = [Item(a, a, (a.split(".")[0],), 0, 0.0) for a in ("a.x", "a.y", "b.x", "b.y", "c.x", "c.y")]
    root, _ = build_groups(items)
    rows = arrange_rows(root, [(0, 1), (1, 4), (4, 5), (2, 3), (3, 5)], n_items=6)
    titles = [[child.title for child in row if isinstance(child, Group)] for row in rows[""]]
    assert titles == [["a", "b"], ["c"]]
    assert [rows[path] for path in "abc"] == [[[0], [1]], [[2], [3]], [[4], [5]]]


def test_without_arrows_everything_is_in_order_of_execution():
    assert place_in_rows(3, []) == [[0], [1], [2]]


def test_a_long_chain_takes_time_in_proportion():
    n = 5_000
    assert len(place_in_rows(n, [(k, k + 1) for k in range(n - 1)])) == n


@pytest.mark.parametrize("depth", [200])
def test_modules_may_nest_deeply(depth):
    owners = tuple(".".join("m" * (k + 1)) for k in range(depth))
    items = [Item(f"{owners[k]}.f", "f", owners[: k + 1], k, 0.0) for k in range(depth)]
    root, _ = build_groups(items)
    rows = arrange_rows(root, [(k, k + 1) for k in range(depth - 1)], n_items=depth)
    assert len(rows) == depth  # the innermost holds one operation and is shown as this
