"""Garbage is looked for rarely while what is made is there to stay: a recording, its names, its graph."""

from __future__ import annotations

import gc

from neurolens.switches import Switch

_MANY = 100_000  # new objects before Python looks through them; by default it does after 700

_thresholds = gc.get_threshold()


def _collect_rarely() -> None:
    global _thresholds
    _thresholds = gc.get_threshold()
    if _thresholds[0]:  # 0: somebody switched it off
        gc.set_threshold(max(_thresholds[0], _MANY), *_thresholds[1:])


def _collect_as_before() -> None:
    gc.set_threshold(*_thresholds)


# Looking through many new objects in vain makes Python look through all objects of the process, in vain too.
collected_rarely = Switch(_collect_rarely, _collect_as_before)
