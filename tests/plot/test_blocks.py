"""Blocks of modules for an axis: complete, in order, few, fine where the network is wide."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neurolens.plot.blocks import MAX_BLOCKS, find_blocks


@pytest.mark.parametrize(
    ("modules", "names"),
    [
        (["a", "a", "b"], ["a", "b"]),
        (
            ["stem"] + ["blocks.0.x"] * 5 + ["blocks.1.y"] * 5 + ["head"],
            ["stem", "blocks.0", "blocks.1", "head"],
        ),
        (["", "", ""], [""]),
        (["a", "b", "a"], ["a", "b", "a"]),
        ([], []),
        ([f"l.{i}" for i in range(40)], ["l"]),  # too many children to name
    ],
)
def test_blocks_are_the_coarsest_that_tell_the_network_apart(modules, names):
    assert [block.name for block in find_blocks(modules)] == names


@given(
    st.lists(st.lists(st.sampled_from("abc"), min_size=0, max_size=4).map(".".join), min_size=1, max_size=60)
)
def test_blocks_cover_every_operation_once(modules):
    blocks = find_blocks(modules)
    assert [i for block in blocks for i in range(block.start, block.stop)] == list(range(len(modules)))
    assert all(modules[i].startswith(block.name) for block in blocks for i in range(block.start, block.stop))


def test_wide_networks_are_not_cut_beyond_what_fits():
    modules = [f"layers.{i}.{part}" for i in range(12) for part in ("attn", "mlp")]
    assert len(find_blocks(modules)) == 12 <= MAX_BLOCKS
