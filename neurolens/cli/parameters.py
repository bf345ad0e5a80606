"""Options that belong together: a dataclass of them, which a command takes as one thing."""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Callable
from typing import Any, get_type_hints


def unfold(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command one parameter for each field of the dataclasses that it takes.

    The command line sees the fields; the command gets them put together again.
    """
    hints = get_type_hints(command, include_extras=True)
    groups: dict[str, Any] = {name: hint for name, hint in hints.items() if dataclasses.is_dataclass(hint)}
    parameters: dict[str, inspect.Parameter] = {}
    for name, parameter in inspect.signature(command).parameters.items():
        if name in groups:
            parameters |= _read_fields(groups[name])
        else:
            parameters[name] = parameter.replace(annotation=hints[name])

    @functools.wraps(command)
    def run(**values: Any) -> None:
        for name, group in groups.items():
            values[name] = group(
                **{field.name: values.pop(field.name) for field in dataclasses.fields(group)}
            )
        command(**values)

    keyword = inspect.Parameter.KEYWORD_ONLY
    run.__annotations__ = {name: parameter.annotation for name, parameter in parameters.items()}
    run.__signature__ = inspect.Signature(  # type: ignore[attr-defined]  # what inspect looks for first
        [parameter.replace(kind=keyword) for parameter in parameters.values()]
    )
    return run


def _read_fields(group: Any) -> dict[str, inspect.Parameter]:
    hints = get_type_hints(group, include_extras=True)
    fields = inspect.signature(group).parameters
    return {name: field.replace(annotation=hints[name]) for name, field in fields.items()}
