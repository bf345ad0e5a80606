"""Which activations to hold while the model runs, before numbers and passes are known: those that may be asked for."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import lru_cache

from neurolens.recording import compat
from neurolens.recording.addresses import is_glob, matches
from neurolens.recording.events import Scope
from neurolens.recording.holdings import Holdings
from neurolens.recording.scopes import current_recorder

Keep = Callable[[Scope, str], bool]  # may the operation `name` in this scope be asked for?

_SUFFIX = re.compile(r"(:\d+|\[[^\]]*\])+$")
_NUMBER = re.compile(r"_\d+(?=\.|$)")
# Node names of fx that say less than an address, or something else.
_FX_NAMES = frozenset(("getitem", "getattr", "truediv", "floordiv", "mod", "invert"))


class PatternRule:
    """Holds everything that patterns may choose: never less, sometimes more."""

    def __init__(self, patterns: Iterable[str]) -> None:
        pool = list(patterns)
        self._stems = {_stem(pattern) for pattern in pool}
        self._globs = tuple(stem for stem in self._stems if is_glob(stem))
        # modules with something that may be meant
        self._around = {"", *(stem[:end] for stem in self._stems for end in _ends(stem))}
        self._opened = {module for pattern in pool for module in _opened_by(pattern)}

    def __call__(self, scope: Scope, name: str) -> bool:
        """Tell whether what `name` gives in this scope may be chosen."""
        if self._opened and _module(scope, name) in self._opened:
            return True
        paths = _paths(scope.module_scope.path or "")
        if self._is_quiet(paths):
            return False
        candidates = _candidates(scope, name, paths)
        return not self._stems.isdisjoint(candidates) or any(
            matches(glob, candidate) for candidate in candidates for glob in self._globs
        )

    def quiet_among(self, holdings: Holdings) -> frozenset[str]:
        """Return the paths of modules in which nothing can be meant, nor what they return: no need to ask."""
        if self._opened or holdings.twins:
            return frozenset()
        return frozenset(path for path in holdings.paths.values() if self._is_quiet([path]))

    def _is_quiet(self, paths: list[str]) -> bool:
        return (
            not self._globs
            and self._around.isdisjoint(map(_unnumbered, paths))
            and self._around.isdisjoint(map(_stem, paths))
        )


def keep_for(patterns: str | Iterable[str]) -> Keep | bool:
    """Return a rule that holds everything the patterns may choose: never less, sometimes more."""
    pool = [patterns] if isinstance(patterns, str) else list(patterns)
    return True if "**" in pool or "*" in pool else PatternRule(pool)


def _opened_by(pattern: str) -> list[str]:
    """Return the module where anything may be meant: by an fx node name that does not tell the function."""
    module, _, name = _stem_end(pattern).rpartition(".")
    known = name in _FX_NAMES or name.endswith("_") or name in compat.fx_wrapped_codes().values()
    return [module] if known else []


def _stem_end(pattern: str) -> str:
    """Drop the number at the end of a pattern, and no other."""
    return re.sub(r"_\d+$", "", _SUFFIX.sub("", pattern))


def _module(scope: Scope, name: str) -> str | None:
    """Return the path of the module in which fx would see the call: for a module's output, where it was called."""
    if name or scope.path is None:
        return scope.module_scope.path
    return None if scope.parent is None else scope.parent.module_scope.path


@lru_cache(maxsize=100_000)
def _stem(pattern: str) -> str:
    return _unnumbered(_SUFFIX.sub("", pattern))


@lru_cache(maxsize=100_000)
def _unnumbered(address: str) -> str:
    return _NUMBER.sub("", address)


def _ends(address: str) -> list[int]:
    """Return where each module path in an address may end."""
    return [*(match.start() for match in re.finditer(r"\.", address)), len(address)]


def _candidates(scope: Scope, name: str, paths: list[str]) -> list[str]:
    """Return what an operation may be called: inside each composite around it, or as that composite folded."""
    chain = [name] if name else []
    inner: Scope | None = scope
    while inner is not None and inner.path is None:
        assert inner.facts is not None
        chain.append(inner.facts.name)
        inner = inner.parent
    found = []
    for path in paths:
        parts = [path] if path else []
        found += [] if name else [path]
        for part in reversed(chain):
            parts.append(part)
            found.append(".".join(parts))
    return [_stem(candidate) for candidate in found]


def _paths(path: str) -> list[str]:
    """Return every path of a module of the model that is being recorded."""
    recorder = current_recorder()
    twins = {} if recorder is None else recorder.ledger.holdings.twins
    return [path, *(other for other, first in twins.items() if first == path)]
