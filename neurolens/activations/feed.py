"""Feeding a run: batches of stimuli are read and prepared ahead of the model, in a thread or in processes."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from torch.utils.data import DataLoader, Dataset

from neurolens.activations.batches import Call, as_call
from neurolens.errors import InputError, StimulusError
from neurolens.models import Model
from neurolens.stimuli import Stimuli


def load_call(model: Model, stimuli: Stimuli, part: slice) -> Call:
    """Read and prepare some stimuli: the arguments of one call of the model."""
    batch = stimuli.batch(range(part.start, part.stop), model.preprocess)
    return as_call(tuple(batch) if isinstance(batch, list) else batch)


def require_stimuli(stimuli: object) -> None:
    """Raise InputError unless it is a set of stimuli; warn where their transform is random."""
    if not isinstance(stimuli, Stimuli):
        raise InputError(
            f"stimuli is a {type(stimuli).__name__}, not Stimuli: arrays and tensors need ids, "
            "Stimuli.from_array(array, ids=...); images on disk come from Stimuli.from_folder or from_files."
        )
    stimuli.check_transform()


def feed(model: Model, stimuli: Stimuli, parts: Sequence[slice], workers: int) -> Iterator[Call]:
    """Return the call for each part, in order; the next ones are prepared meanwhile, the first from now on.

    Parameters
    ----------
    model, stimuli
        What is called, and with what.
    parts
        Positions of the stimuli of each call.
    workers
        Processes that read and prepare. 0: one thread does, one part ahead. Else each process is one part ahead.

    Raises
    ------
    StimulusError
        If a stimulus cannot be read, or a process that reads died.
    """
    if workers == 0 or len(parts) < 2:
        return _feed_from_thread(model, stimuli, parts)
    return _feed_from_processes(model, stimuli, parts, min(workers, len(parts)))


def n_ahead(workers: int) -> int:
    """Return how many calls at most are held at once, with the one that is being run."""
    return 2 if workers == 0 else 1 + 2 * workers


def _feed_from_thread(model: Model, stimuli: Stimuli, parts: Sequence[slice]) -> Iterator[Call]:
    reader = ThreadPoolExecutor(1, "neurolens-read")
    ahead = [reader.submit(load_call, model, stimuli, part) for part in parts[:1]]

    def read() -> Iterator[Call]:
        with reader:
            for following in range(1, len(parts) + 1):
                call = ahead.pop().result()
                ahead.extend(
                    reader.submit(load_call, model, stimuli, part)
                    for part in parts[following : following + 1]
                )
                yield call

    return read()


class _Calls(Dataset[Any]):
    """The calls of a run, by number; what goes wrong is handed over whole, not as the text of a traceback."""

    def __init__(self, model: Model, stimuli: Stimuli, parts: Sequence[slice]) -> None:
        self.preparation = (model.preprocess, stimuli)  # the network stays where it is
        self.parts = parts

    def __len__(self) -> int:
        return len(self.parts)

    def __getitem__(self, number: int) -> Any:
        preprocess, stimuli = self.preparation
        part = self.parts[number]
        try:
            return stimuli.batch(range(part.start, part.stop), preprocess)
        except Exception as error:
            return error


def _feed_from_processes(
    model: Model, stimuli: Stimuli, parts: Sequence[slice], workers: int
) -> Iterator[Call]:
    forks = "fork" in multiprocessing.get_all_start_methods()
    loader = iter(
        DataLoader(
            _Calls(model, stimuli, parts),
            batch_size=None,
            num_workers=workers,
            prefetch_factor=1,
            collate_fn=_as_it_is,
            multiprocessing_context="fork" if forks else None,  # else transforms would have to be importable
        )
    )
    return _unpack(loader)


def _unpack(loader: Iterator[Any]) -> Iterator[Call]:
    for batch in loader:
        if isinstance(batch, Exception):
            raise batch
        yield as_call(tuple(batch) if isinstance(batch, list) else batch)


@contextmanager
def deaths_named() -> Iterator[None]:
    """Say it when a process that reads stimuli dies: torch raises that at any moment, in whatever then runs.

    Raises
    ------
    StimulusError
        In place of torch's error.
    """
    try:
        yield
    except RuntimeError as error:
        if not is_death(error):
            raise
        raise StimulusError(
            f"A process that reads stimuli died ({error}). Perhaps memory ran out: use fewer workers=, or a smaller "
            "batch_size=. What is written is kept: run the same again."
        ) from error


def is_death(error: BaseException) -> bool:
    """Tell whether an error says that a process of torch's data loader died."""
    return isinstance(error, RuntimeError) and str(error).startswith("DataLoader worker")


def _as_it_is(batch: Any) -> Any:
    return batch
