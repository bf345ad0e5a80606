"""Brain data: from the files of a laboratory to labelled responses, and how reliable they are."""

from neurolens.brain.files import read_responses
from neurolens.brain.imported import read_betas, read_glmsingle
from neurolens.brain.interop import from_brainscore, from_mne, from_rsatoolbox, to_brainscore, to_rsatoolbox
from neurolens.brain.regions import label_regions, region_masks, split_regions
from neurolens.brain.reliability import (
    estimate_ncsnr,
    explainable_variance,
    ncsnr_ceiling,
    noise_ceiling,
    split_half,
)
from neurolens.brain.repetitions import average_repetitions, flatten_repetitions, stack_repetitions
from neurolens.brain.responses import by_subject, check_responses, responses
from neurolens.brain.runs import clean_series, convolve_hrf, delay_features
from neurolens.brain.selection import select_reliable
from neurolens.brain.trials import average_blocks, fit_betas
from neurolens.brain.volumes import read_bold, to_nifti

__all__ = [
    "average_blocks",
    "average_repetitions",
    "by_subject",
    "check_responses",
    "clean_series",
    "convolve_hrf",
    "delay_features",
    "estimate_ncsnr",
    "explainable_variance",
    "fit_betas",
    "flatten_repetitions",
    "from_brainscore",
    "from_mne",
    "from_rsatoolbox",
    "label_regions",
    "ncsnr_ceiling",
    "noise_ceiling",
    "read_betas",
    "read_bold",
    "read_glmsingle",
    "read_responses",
    "region_masks",
    "responses",
    "select_reliable",
    "split_half",
    "split_regions",
    "stack_repetitions",
    "to_brainscore",
    "to_nifti",
    "to_rsatoolbox",
]
