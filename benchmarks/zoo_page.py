"""docs/zoo.md, made of the kept results of the zoo."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from pathlib import Path
from statistics import median

from benchmarks.zoo_proof import Result

PAGE = Path(__file__).parents[1] / "docs" / "zoo.md"
_PACKAGES = {
    "torchvision": "torchvision",
    "timm": "timm",
    "transformers": "transformers",
    "open_clip": "open_clip_torch",
}
_HEAD = """# The zoo: models traced and proven

Each model is built with random weights, run in eval mode on small inputs, traced, and proven by `trace.validate()`:
the answer is the plain model's bit for bit, every operation gives its own activation bit for bit when it is run again
from the kept activations of its parents, changing a parent changes the child, and no kernel ran outside a recorded
operation. `make zoo` does it again (what is in `benchmarks/results/zoo.jsonl` already is skipped;
`python -m benchmarks.zoo --fresh` begins anew) and writes this page.

**operations** and **passes** count what was recorded; an operation that ran several times has several passes.
**replayed** and **perturbed** give how many were proven of how many there are; the rest is explained below.
**overhead** is the CPU time of a trace that keeps everything over that of the plain forward, both the best of
four, one thread. Inputs are small here, so that a forward takes milliseconds and the fixed cost of an operation weighs
most; at the usual size of images the overhead is far smaller (`docs/benchmarks.md`).
"""
# Why a proof that could not be given is no fault, by what the report says. Each was looked into.
_WHY = {
    "it uses the shape or dtype of its argument, not the values": (
        "`zeros_like`, `new_ones`, `expand_as`, `uniform_` and the like: other values of the argument cannot change "
        "what comes out."
    ),
    "none of its values is chosen": (
        "`where`, `masked_fill`, `relu`, `max_pool2d` and the like, where a mask, a limit or a greater neighbour "
        "leaves every changed value aside: a causal mask that hides nothing of one token, a unit that is off for all "
        "inputs because its weights are random."
    ),
    "it is multiplied by zero": (
        "another argument is zero throughout: position ids from 0, an attention mask that subtracts nothing, a scale "
        "that starts at zero (layer scale, zero-initialised gates)."
    ),
    "its values are overwritten": "the operation writes over all of its argument (`copy_`, `setitem`, `fill_`).",
    "there are no values to change": "an argument or the result is empty, such as a cache before the first token.",
    "it gives memory that nothing has written yet": "`torch.empty`: its values are no one's; what fills it is proven.",
    "it runs on no changed value of its argument": (
        "the argument is a number that sets a size (`view`, `arange`, `split` with a tensor as the length): the "
        "operation refuses every other value."
    ),
}


def write_page(results: Iterable[Result]) -> None:
    """Write the page of all results."""
    found = sorted(
        results, key=lambda r: (list(_PACKAGES).index(r.library), r.family.lower(), r.name.lower())
    )
    parts = [_HEAD, _summarise(found), _list_exceptions(found)]
    parts += [_list_library(library, [r for r in found if r.library == library]) for library in _PACKAGES]
    PAGE.write_text("\n".join(parts))


def _summarise(results: list[Result]) -> str:
    lines = [
        "## In short",
        "",
        "| library | models | families | proven | operations | passes | replayed | perturbed | overhead (median) |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for library, package in _PACKAGES.items():
        of_it = [r for r in results if r.library == library]
        if of_it:
            lines.append(_sum_up(f"{library} {version(package)}", of_it))
    lines.append(_sum_up("**all**", results))
    return "\n".join([*lines, "", f"torch {version('torch')}.", ""])


def _sum_up(title: str, results: list[Result]) -> str:
    ran = [r for r in results if r.plain]
    cells = [
        title,
        len(results),
        len({r.family for r in results}) if len({r.library for r in results}) == 1 else "",
        sum(r.status == "proven" for r in results),
        f"{sum(r.n_operations for r in ran):,}",
        f"{sum(r.n_passes for r in ran):,}",
        _share(_total(r.replays for r in ran)),
        _share(_total(r.perturbations for r in ran)),
        f"{median(r.traced / r.plain for r in ran):.2f} x" if ran else "",
    ]
    return "| " + " | ".join(map(str, cells)) + " |"


def _total(counts: Iterable[Mapping[str, int]]) -> Counter[str]:
    total: Counter[str] = Counter()
    for count in counts:
        total.update(count)
    return total


def _share(counts: Mapping[str, int]) -> str:
    return f"{counts.get('proven', 0):,} / {sum(counts.values()):,}"


def _list_exceptions(results: list[Result]) -> str:
    """List what is not proven: whole models first, then single proofs by their reason."""
    lines = ["## Exceptions", "", "### Models", ""]
    unproven = [r for r in results if r.status != "proven"]
    for result in unproven:
        said = result.note or "; ".join(
            f"{n} x {proof}: {reason} ({where})"
            for proof, verdict, reason, n, where in result.reasons
            if verdict == "failed"
        )
        lines.append(f"- `{result.key}`: {result.status}. {said}")
    if not unproven:
        lines.append("None: every model was built, traced and proven.")
    lines += ["", "### Single proofs that could not be given", ""]
    lines += [
        "| said by the report | verdict | how often | models | why | for example |",
        "|---|---|---|---|---|---|",
    ]
    return "\n".join([*lines, *_list_reasons(results), ""])


def _list_reasons(results: list[Result]) -> list[str]:
    counts: Counter[tuple[str, str]] = Counter()
    models: dict[tuple[str, str], list[str]] = defaultdict(list)
    for result in results:
        for _, verdict, reason, n, where in result.reasons:
            counts[reason, verdict] += n
            models[reason, verdict].append(f"`{result.key}` {where}")
    lines = []
    for (reason, verdict), n in counts.most_common():
        why = next((text for start, text in _WHY.items() if reason.startswith(start)), "")
        n_models = len({entry.split("`")[1] for entry in models[reason, verdict]})
        example = models[reason, verdict][0]
        lines.append(f"| {reason} | {verdict} | {n:,} | {n_models} | {why} | {example} |")
    return lines


def _list_library(library: str, results: list[Result]) -> str:
    lines = [
        f"## {library}",
        "",
        "| model | family | inputs | operations | passes | replayed | perturbed | kernels | plain, ms | overhead |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for r in results:
        cells: list[object] = [f"`{r.name}`", r.family]
        if r.plain:
            cells += [r.inputs, r.n_operations, r.n_passes, _share(r.replays), _share(r.perturbations)]
            cells += [r.n_kernels, f"{r.plain * 1e3:.1f}", f"{r.traced / r.plain:.2f} x"]
        else:
            cells += [f"**{r.status}**", *[""] * 7]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join([*lines, ""])
