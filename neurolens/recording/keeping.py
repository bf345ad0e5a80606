"""Which activations to hold while the model runs, before numbers and passes are known: those that may be asked for."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

from neurolens.recording import compat
from neurolens.recording.addresses import is_glob, matches
from neurolens.recording.events import Scope
from neurolens.recording.recorder import Keep
from neurolens.recording.scopes import current_recorder

_SUFFIX = re.compile(r"(:\d+|\[[^\]]*\])+$")
_NUMBER = re.compile(r"_\d+(?=\.|$)")
# Node names of fx that say less than an address, or something else.
_FX_NAMES = frozenset(("getitem", "getattr", "truediv", "floordiv", "mod", "invert"))


def keep_for(patterns: str | Iterable[str]) -> Keep | bool:
    """Return a rule that holds everything the patterns may choose: never less, sometimes more."""
    pool = [patterns] if isinstance(patterns, str) else list(patterns)
    if "**" in pool or "*" in pool:
        return True
    stems = {_stem(pattern) for pattern in pool}
    globs = tuple(stem for stem in stems if is_glob(stem))
    around = {
        "",
        *(stem[:end] for stem in stems for end in _ends(stem)),
    }  # modules with something that may be meant
    opened = {module for pattern in pool for module in _opened_by(pattern)}

    def keep(scope: Scope, name: str) -> bool:
        if opened and _module(scope, name) in opened:
            return True
        paths = _paths(scope.module_scope.path or "")
        if not globs and around.isdisjoint(map(_unnumbered, paths)) and around.isdisjoint(map(_stem, paths)):
            return False  # most calls end here
        candidates = _candidates(scope, name, paths)
        return not stems.isdisjoint(candidates) or any(
            matches(glob, candidate) for candidate in candidates for glob in globs
        )

    return keep


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
