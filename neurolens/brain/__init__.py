"""Brain data: labelled responses and how reliable they are."""

from neurolens.brain.reliability import explainable_variance, noise_ceiling, split_half
from neurolens.brain.responses import average_repetitions, by_subject, check_responses, responses

__all__ = [
    "average_repetitions",
    "by_subject",
    "check_responses",
    "explainable_variance",
    "noise_ceiling",
    "responses",
    "split_half",
]
