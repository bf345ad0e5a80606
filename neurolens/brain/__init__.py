"""Brain data: labelled responses and how reliable they are."""

from neurolens.brain.reliability import (
    estimate_ncsnr,
    explainable_variance,
    ncsnr_ceiling,
    noise_ceiling,
    split_half,
)
from neurolens.brain.repetitions import average_repetitions, flatten_repetitions, stack_repetitions
from neurolens.brain.responses import by_subject, check_responses, responses

__all__ = [
    "average_repetitions",
    "by_subject",
    "check_responses",
    "estimate_ncsnr",
    "explainable_variance",
    "flatten_repetitions",
    "ncsnr_ceiling",
    "noise_ceiling",
    "responses",
    "split_half",
    "stack_repetitions",
]
