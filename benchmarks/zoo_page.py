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
**overhead** is the CPU time of a trace that keeps everything over that of the plain forward, both the best of at most
four, one thread. Inputs are small here, so that a forward takes milliseconds and the fixed cost of an operation weighs
most; at the usual size of images the overhead is far smaller (`docs/benchmarks.md`).
"""
# Why a proof that could not be given is no fault, by what the report says.
_WHY = {
    "it uses the shape or dtype of its argument, not the values": (
        "`new_full`, `type_as`, `zero_`, `new_ones`, `expand_as`, `kaiming_uniform_` and the like: what comes out does "
        "not depend on the values that went in."
    ),
    "none of its values is chosen": (
        "indexing, comparing, masking: no change that was tried turned the choice over, or the choice is among equals "
        "(ids of a token type that is 0 for every token, masks of a detector that found nothing)."
    ),
    "it is multiplied by zero": (
        "another factor is 0 throughout: the first step of a grid of anchors, a quantized gate that is shut for all "
        "inputs because its weights are random."
    ),
    "its values are overwritten": "the operation writes over all of its argument (`copy_`, `setitem`).",
    "there are no values to change": (
        "the argument or the result is empty: boxes of a detector that found none, a cache before the first token, an "
        "expert that no token was sent to."
    ),
    "it gives memory that nothing has written yet": (
        "`torch.empty`, `tensor.new`: the values are no one's; what fills them is proven."
    ),
    "it runs on no changed value of its argument": (
        "the argument is a number that sets a size (`view` with a tensor among the lengths): the operation refuses any "
        "other value."
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
        _count_families(results),
        sum(r.status == "proven" for r in results),
        f"{sum(r.n_operations for r in ran):,}",
        f"{sum(r.n_passes for r in ran):,}",
        _share(_total(r.replays for r in ran)),
        _share(_total(r.perturbations for r in ran)),
        f"{median(r.traced / r.plain for r in ran):.2f} x" if ran else "",
    ]
    return "| " + " | ".join(map(str, cells)) + " |"


def _count_families(results: list[Result]) -> int:
    """Each model of transformers is a family of its own: what it reads stands in its place."""
    return len({(r.library, r.name if r.library == "transformers" else r.family) for r in results})


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
