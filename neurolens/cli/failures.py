"""How commands fail: in one line on stderr, with an exit code."""

from __future__ import annotations

import errno
import sys
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperGroup

from neurolens.errors import NeurolensError, NeurolensWarning

FAILED, INTERRUPTED = 1, 130  # 2 is what wrong options give; 128 + SIGINT is what shells expect
_MISUSE: type[BaseException] = typer.BadParameter.__mro__[2]  # of all that is said of wrong options


class PlainGroup(TyperGroup):
    """Commands whose errors and warnings are told plainly."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command that was asked for."""
        with tell_plainly(debug=bool(ctx.params.get("debug"))):
            return super().invoke(ctx)


@contextmanager
def tell_plainly(*, debug: bool) -> Iterator[None]:
    """Tell errors and warnings in one line on stderr; a traceback only if asked for."""
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            yield
    except (typer.Exit, typer.Abort, _MISUSE, BrokenPipeError):
        raise
    except KeyboardInterrupt:
        say("interrupted")
        raise typer.Exit(INTERRUPTED) from None
    except Exception as error:
        if debug:
            traceback.print_exc()
        say(_describe(error, debug))
        raise typer.Exit(FAILED) from None


@contextmanager
def resumable(store: Path) -> Iterator[None]:
    """Say how a run goes on, where it leaves a store that is begun."""
    try:
        yield
    except (KeyboardInterrupt, OSError):
        if store.is_dir():
            say(f"{store} holds what is done so far; the same command takes it up there")
        raise


def say(text: str) -> None:
    """Write one line to the user, beside the results."""
    print(f"neurolens: {' '.join(text.split())}", file=sys.stderr)


def _describe(error: Exception, debug: bool) -> str:
    if isinstance(error, NeurolensError):
        return str(error)
    if isinstance(error, OSError) and error.strerror:
        place = f" ({error.filename})" if error.filename else ""
        advice = " Free some space and run the same command again." if error.errno == errno.ENOSPC else ""
        return f"{error.strerror}{place}.{advice}"
    return f"{type(error).__name__}: {error}" + ("" if debug else " (neurolens --debug ... shows where)")


def _show_warning(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
    kind = "" if issubclass(category, NeurolensWarning) else f"{category.__name__}: "
    say(f"{kind}{message}")
