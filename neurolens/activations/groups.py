"""Groups of operations that are computed together, so that what is held of them keeps to a budget of memory."""

from __future__ import annotations

from collections.abc import Iterable

from neurolens.activations.assemble import stored_dtype
from neurolens.activations.feed import n_ahead
from neurolens.activations.runs import Run
from neurolens.activations.sizes import say_bytes
from neurolens.errors import InputError


def fit_batch(run: Run, memory: int) -> None:
    """Make batches smaller where the largest operation would not fit the budget otherwise.

    Raises
    ------
    InputError
        If it does not fit with batches of one stimulus.
    """
    ahead = _ahead_bytes(run)
    batch_size = min(run.batch_size, len(run.stimuli))
    for address in run.layouts:
        held, kept = _count_bytes(run, address)
        most = max(0, memory - held) // max(1, kept + ahead)
        if most < 1:
            raise InputError(
                f"{address!r} alone takes {say_bytes(held + kept + ahead)} for {len(run.stimuli)} stimuli, one of "
                f"them being computed: more than memory={say_bytes(memory)}. Raise memory=, make it smaller "
                "(reduce=), or choose other operations (ops=)."
            )
        batch_size = min(batch_size, most)
    run.resize_batches(batch_size)


def make_groups(run: Run, chosen: Iterable[str], memory: int) -> list[list[str]]:
    """Split operations, in order, into groups that fit the budget beside what a batch holds of them.

    No group of several takes the last eighth of the budget: that is for what the allocator cannot use again at once,
    and for the work of who reads the arrays.
    """
    groups: list[list[str]] = [[]]
    room = memory * 7 // 8 - run.batch_size * _ahead_bytes(run)
    used = 0
    for address in chosen:
        held, kept = _count_bytes(run, address)
        size = held + run.batch_size * kept
        if groups[-1] and used + size > room:
            groups.append([])
            used = 0
        groups[-1].append(address)
        used += size
    return [group for group in groups if group]


def is_roomy(run: Run, chosen: Iterable[str], memory: int) -> bool:
    """Tell whether a run of the model may take up to twice its plain memory, as with `keep_freed_memory`.

    That is 1.7 to 3.5 times as fast, and is paid for by at least half of the budget.
    """
    counts = [_count_bytes(run, address) for address in chosen]
    return 2 * sum(held + run.batch_size * kept for held, kept in counts) <= memory


def _ahead_bytes(run: Run) -> int:
    """Bytes a stimulus of the inputs that are held: of the batch that runs, and of those read ahead of it."""
    return n_ahead(run.workers) * run.n_input_bytes // min(run.batch_size, len(run.stimuli))


def _count_bytes(run: Run, address: str) -> tuple[int, int]:
    """Count what an operation takes: its array, and of each stimulus of a batch what is kept until it is in there."""
    layout, computed = run.layouts[address], run.computed_layout(address)
    if layout.is_static:
        return 2 * layout.n_features * stored_dtype(layout.dtype).itemsize, 0
    kept = computed.n_features * stored_dtype(computed.dtype).itemsize
    if computed.n_passes > 1:
        kept *= 2  # passes are kept one by one, then stacked
    stored = layout.n_features * stored_dtype(layout.dtype).itemsize
    if layout is not computed:
        kept += stored  # reduced beside what it is made of
    return stored * len(run.stimuli), kept
