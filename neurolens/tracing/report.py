"""What `Trace.validate` gives back: what was proven, and what was not, in words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from neurolens.recording.proofs import Finding, Verdict
from neurolens.recording.validation import Proofs
from neurolens.tracing.source import find_source

if TYPE_CHECKING:
    from neurolens.tracing.trace import Trace

_SHOWN = 10


@dataclass(frozen=True, slots=True, repr=False)
class Report:
    """What four proofs found about a trace. True if none failed.

    Attributes
    ----------
    trace
        The trace that was validated.
    proofs
        The findings of each proof: same answer, replay, perturbation, witness.

    Examples
    --------
    >>> import torch
    >>> import neurolens as nl
    >>> model = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.ReLU())
    >>> trace = nl.trace(model, torch.ones(2, 4))
    >>> report = trace.validate()
    >>> report.passed, report.failed
    (True, ())
    """

    trace: Trace
    proofs: Proofs

    @property
    def passed(self) -> bool:
        """Whether no proof failed."""
        return self.proofs.passed

    def __bool__(self) -> bool:
        """Tell whether no proof failed, so that a report can be asserted."""
        return self.passed

    @property
    def failed(self) -> tuple[str, ...]:
        """Addresses of the passes for which a proof failed."""
        return tuple(dict.fromkeys(self._address(finding) for finding in self.proofs.failures))

    def __repr__(self) -> str:
        """Show what each proof found, what was not tested and why, and the first failures."""
        proofs = self.proofs
        head = "passed" if self.passed else "FAILED"
        lines = [
            f"Validation of {self.trace.model.name}: {head}",
            f"  1 same answer   {self._answer()}",
            f"  2 replay        {_count(proofs.replays, 'operations gave the same bits when run again from the kept')}"
            " activations of their parents",
            f"  3 perturbation  {_count(proofs.perturbations, 'parents change their child when they are changed')}",
            f"  4 witness       {self._witness()}",
        ]
        if proofs.n_sources:
            lines.append(
                f"  not seen        the making of {proofs.n_sources} source(s): they came from outside torch"
            )
        lines += _reasons("not tested", proofs, Verdict.UNTESTED) + _reasons(
            "explained", proofs, Verdict.EXPLAINED
        )
        for finding in proofs.failures[:_SHOWN]:
            lines.append(
                f"  FAILED  {self._address(finding)}: {finding.reason}{_gap(finding)}{self._line(finding)}"
            )
        if len(proofs.failures) > _SHOWN:
            lines.append(f"  ... and {len(proofs.failures) - _SHOWN} more")
        return "\n".join(lines)

    def _answer(self) -> str:
        answer = self.proofs.answer
        text = {
            Verdict.PROVEN: "the outputs equal the plain model's bit for bit",
            Verdict.UNTESTED: f"not tested: {answer.reason}",
        }.get(answer.verdict, f"FAILED: {answer.reason}{_largest(answer.difference)}")
        if any(answer.fast_path):
            gap = max(answer.fast_path)
            text += f"; with torch's attention fast path they would differ by up to {gap:.2g}"
        return text

    def _witness(self) -> str:
        seen = self.proofs.testimony
        text = f"{seen.inside} kernels ran inside recorded operations"
        if seen.autograd:
            text += f", {seen.autograd} in autograd inside forward"
        if seen.sources:
            text += f", {seen.sources} took in what was made outside torch"
        outside = sum(seen.outside.values())
        if not outside:
            return f"{text}, none outside"
        names = ", ".join(f"{name} ({count})" for name, count in seen.outside.most_common(5))
        return f"{text}; FAILED: {outside} ran outside: {names}"

    def _address(self, finding: Finding) -> str:
        return self.trace.pass_address(finding.event.index)

    def _line(self, finding: Finding) -> str:
        source = find_source(finding.event)
        return "" if source is None else f"\n          {source}"


def _count(findings: Sequence[Finding], what: str) -> str:
    proven = sum(finding.verdict is Verdict.PROVEN for finding in findings)
    return f"{proven} of {len(findings)} {what}"


def _reasons(title: str, proofs: Proofs, verdict: Verdict) -> list[str]:
    reasons = Counter(f.reason for f in (*proofs.replays, *proofs.perturbations) if f.verdict is verdict)
    return [f"  {title:<15} {count}: {reason}" for reason, count in reasons.most_common(_SHOWN)]


def _gap(finding: Finding) -> str:
    return f" (largest difference {finding.difference:.3g})" if finding.difference else ""


def _largest(differences: Sequence[float]) -> str:
    return f" (largest difference {max(differences):.3g})" if differences else ""
