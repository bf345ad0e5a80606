# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     name: python3
# ---

# %% [markdown]
# # 8 · From NIfTI files to an encoding map
#
# **You will be able to**: read fMRI runs from NIfTI files with their events, clean them run by run, make one response
# for each block, fit an encoding model that never sees the run it predicts, test it, and draw the map.
#
# **Time**: 35 minutes with the exercises, half a minute to run. **Data**: NIfTI files simulated here, with a known
# map, in the form of Haxby et al. 2001. No network connection, no GPU.
#
# **Real data**: `REAL = True` below, or the environment variable `NEUROLENS_TUTORIALS=real`, takes a slice of the
# real ones (`haxby2001_1slice`, 1.3 MB, read from the folder that `NEUROLENS_DATA` names, else downloaded by
# checksum).
#
# **Licence**: BSD-3-Clause, text and simulated data; the real slice is CC BY-SA 3.0.

# %%
import os
import tempfile
import warnings
from pathlib import Path

import matplotlib.pyplot as plt
import nibabel
import numpy as np
import pandas as pd
import xarray as xr

import neurolens as nl
from neurolens.testing import check

REAL = os.environ.get("NEUROLENS_TUTORIALS") == "real"  # True: real data
CATEGORIES = [
    "face",
    "house",
    "cat",
    "bottle",
    "scissors",
    "shoe",
    "chair",
    "scrambledpix",
]
REPETITION_TIME = 2.5  # s


# %% [markdown]
# ## The files
#
# In each of twelve runs, eight blocks of 22.5 s, one a category, in random order. The simulated slice has two
# patches: voxels in one prefer faces and cats, voxels in the other houses. All voxels drift and are noisy. The real
# slice is the posterior half of one axial slice of a brain, without a known map.


# %%
def simulate_run(path, rng):
    """Write one run as NIfTI and its events as TSV, as a scanner and a stimulus computer would."""
    order = rng.permutation(CATEGORIES)
    onsets = 15 + 35.0 * np.arange(8)
    table = pd.DataFrame({"onset": onsets, "duration": 22.5, "trial_type": order})
    times = REPETITION_TIME * np.arange(121)
    images = (
        1000
        + 8 * rng.normal(size=(24, 24, 1, 121))
        + 20 * np.sin(times / 100 + rng.uniform(0, 6))
    )
    for onset, category in zip(onsets, order, strict=True):
        # the response comes 5 s late
        shown = (times >= onset + 5) & (times < onset + 27.5)
        if category in ("face", "cat"):
            images[4:9, 6:12, 0, shown] += 10 if category == "face" else 6
        if category == "house":
            images[14:20, 6:12, 0, shown] += 10
    affine = np.diag([3.5, 3.5, 3.5, 1])
    image = nibabel.Nifti1Image(images.astype(np.float32), affine)
    image.header.set_zooms((3.5, 3.5, 3.5, REPETITION_TIME))
    image.header.set_xyzt_units("mm", "sec")
    path.mkdir(parents=True)
    nibabel.save(image, path / "bold.nii.gz")
    table.to_csv(path / "events.tsv", sep="\t", index=False)


if REAL:
    home = Path(os.environ.get("NEUROLENS_DATA", "neurolens_data"))
    # files not there are downloaded
    nl.datasets.fetch("haxby2001_1slice", data_home=home)
    runs = sorted(home.glob("haxby2001_1slice/haxby2001/sub001/BOLD/task001_run*"))
    files, tables = (
        [run / "bold_1slice.nii.gz" for run in runs],
        [run / "bold_events.tsv" for run in runs],
    )
else:
    home = Path(tempfile.mkdtemp())
    rng = np.random.default_rng(0)
    for number in range(1, 13):
        simulate_run(home / f"run{number:02d}", rng)
    runs = sorted(home.glob("run*"))
    files, tables = (
        [run / "bold.nii.gz" for run in runs],
        [run / "events.tsv" for run in runs],
    )
print(len(files), "runs; the first blocks of the first:")
print(pd.read_csv(tables[0], sep="\t").head(3).to_string(index=False))

# %% [markdown]
# ## Series
#
# A series has dims `time, neuroid`; `run` is a coord of time, and every voxel keeps its place. Means, drifts and
# scales differ from run to run and say nothing of stimuli: they are removed *within each run*.

# %%
mean_image = np.asarray(nibabel.load(files[0]).dataobj).mean(-1)
mask = nibabel.Nifti1Image(
    (mean_image > 0.3 * mean_image.max()).astype(np.int16),
    nibabel.load(files[0]).affine,
)
series = nl.brain.read_bold(
    files, mask=mask, repetition_time=REPETITION_TIME, subject="one"
)
print(series.dims, series.shape)
cleaned = nl.brain.clean_series(series)

voxel = int(cleaned.sizes["neuroid"] // 2)
figure, (top, bottom) = plt.subplots(
    2, 1, figsize=(8, 3.6), layout="constrained", sharex=True
)
top.plot(series.values[:242, voxel], color="0.4", linewidth=1)
top.set(ylabel="raw signal\n(scanner units)")
bottom.plot(cleaned.values[:242, voxel], color="#0072b2", linewidth=1)
bottom.set(
    ylabel="cleaned (s.d.)", xlabel="volume (one every 2.5 s; the line parts two runs)"
)
for ax in (top, bottom):
    ax.axvline(120.5, color="black", linewidth=0.8)

# %% [markdown]
# ## One response for each block
#
# The blood responds about five seconds late: a block is the mean of the volumes from onset + 5 s to end + 5 s.

# %%
blocks = nl.brain.average_blocks(
    cleaned, tables, delay=5.0, ignore=["rest"], stimuli=CATEGORIES
)
print(blocks.dims, blocks.shape)

# %% [markdown]
# ## An encoding model of categories
#
# The simplest features: one for each category, 1 where it was shown. (Which pictures made up a real block was not
# published, so a network could not be shown them.) Every block is a sample; `run` says which must stay together.

# %%
n_runs = blocks.sizes["repetition"]
names = [
    f"run {run:02d} {category}"
    for run in range(1, n_runs + 1)
    for category in CATEGORIES
]
run_of = np.repeat(np.arange(1, n_runs + 1), len(CATEGORIES))
samples = xr.DataArray(
    blocks.transpose("repetition", "stimulus", "neuroid").values.reshape(
        len(names), -1
    ),
    {"stimulus": names, "run": ("stimulus", run_of), "neuroid": blocks.neuroid.values}
    | {name: ("neuroid", blocks[name].values) for name in "ijk"},
    ("stimulus", "neuroid"),
)
one_hot = xr.DataArray(
    np.tile(np.eye(len(CATEGORIES)), (n_runs, 1)),
    {"stimulus": names, "unit": CATEGORIES},
    ("stimulus", "unit"),
)

# %% [markdown]
# `cv="run"`: each run is predicted by a model fitted on the other eleven. Pearson's r is over the eight blocks of the
# run left out, averaged over runs.

# %%
with warnings.catch_warnings():
    # voxels without signal choose the largest penalty, and it says so
    warnings.simplefilter("ignore")
    result = nl.encode(one_hot, samples, cv="run", predictions=True, progress=False)
score = result.score.mean("fold")
print(f"voxels with r > 0.5: {int((score > 0.5).sum())} of {score.size}")

# %% [markdown]
# ## Which voxels are above chance?
#
# If categories did not matter, blocks could change places within their run. The largest r of any voxel under such
# permutations is what each voxel has to beat (family-wise over all voxels).

# %%
tested = nl.encoding.permute_responses(
    result, blocks="stimulus", n_permutations=500, seed=0
)
significant = tested.p_corrected < 0.05
print(f"{int(significant.sum())} voxels at p < .05, corrected over {score.size}")

# %% [markdown]
# ## The map

# %%
background = nibabel.Nifti1Image(
    mean_image.astype(np.float32), nibabel.load(files[0]).affine
)
_ = nl.plot.slices(
    score.assign_attrs(long_name="held-out Pearson r"),
    like=series,
    background=background,
    threshold=0.2,
)

# %% [markdown]
# And back into a file that any viewer of brains opens:

# %%
target = Path(tempfile.mkdtemp()) / "encoding_r.nii.gz"
nibabel.save(nl.brain.to_nifti(score, like=series), target)
print(nibabel.load(target).shape)

# %% [markdown]
# ## Exercises
#
# **1.** Which category drives the best predicted voxel most? Average its blocks over runs.

# %% tags=["exercise"]
preferred = ...

# %% tags=["check"]
at_best = blocks.sel(neuroid=score.idxmax("neuroid").item()).mean("repetition")
check(
    preferred,
    {
        "Give the name of a category.": lambda name: name in CATEGORIES,
        "Find the voxel by score.idxmax('neuroid'), then average blocks over repetition.": lambda name: (
            name == at_best.idxmax("stimulus").item()
        ),
    },
)

# %% tags=["wrong"]
["voxel 3", at_best.idxmin("stimulus").item()]

# %% tags=["solution"]
at_best = blocks.sel(neuroid=score.idxmax("neuroid").item()).mean("repetition")
preferred = at_best.idxmax("stimulus").item()

# %% [markdown]
# **2.** How much of the map is chance? Shuffle the rows of `one_hot` within each run (`rng.permutation(8)` for
# each), fit again, and give the share of voxels with r > 0.2.

# %% tags=["exercise"]
share_of_chance = ...

# %% tags=["check"]
check(
    share_of_chance,
    {
        "Give a share between 0 and 1.": lambda value: 0 <= float(value) <= 1,
        "By chance, some voxels pass.": lambda value: float(value) > 0,
        "That is much: were rows shuffled within every run anew, and labels left?": lambda value: (
            float(value) < 0.15
        ),
    },
)

# %% tags=["wrong"]
[3, 0, 0.5]

# %% tags=["solution"]
rng = np.random.default_rng(1)
shuffled = one_hot.copy(
    data=np.concatenate([np.eye(8)[rng.permutation(8)] for _ in range(n_runs)])
)
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    chance = nl.encode(shuffled, samples, cv="run", progress=False).score.mean("fold")
share_of_chance = float((chance > 0.2).mean())

# %% [markdown]
# **3.** The delay matters. Give the median r over the `significant` voxels when blocks are averaged *without* delay
# (`delay=0`), with the same features and folds.

# %% tags=["exercise"]
r_without_delay = ...


# %% tags=["check"]
def score_delay(delay):
    """Return the median r of the significant voxels for another delay."""
    other = nl.brain.average_blocks(
        cleaned, tables, delay=delay, ignore=["rest"], stimuli=CATEGORIES
    )
    values = other.transpose("repetition", "stimulus", "neuroid").values.reshape(
        len(names), -1
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fitted = nl.encode(one_hot, samples.copy(data=values), cv="run", progress=False)
    return float(np.median(fitted.score.mean("fold").values[significant.values]))


check(
    r_without_delay,
    {
        "Give one number.": lambda value: np.ndim(value) == 0,
        "That is the median with the delay.": lambda value: (
            not np.isclose(
                float(value), float(np.median(score.values[significant.values]))
            )
        ),
        "Average blocks with delay=0, rebuild the samples, encode, median over significant voxels.": lambda value: (
            np.isclose(float(value), score_delay(0.0), atol=1e-6)
        ),
    },
)

# %% tags=["wrong"]
[score, float(np.median(score.values[significant.values])), 0.0]

# %% tags=["solution"]
undelayed = nl.brain.average_blocks(
    cleaned, tables, delay=0.0, ignore=["rest"], stimuli=CATEGORIES
)
values = undelayed.transpose("repetition", "stimulus", "neuroid").values.reshape(
    len(names), -1
)
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    early = nl.encode(
        one_hot, samples.copy(data=values), cv="run", progress=False
    ).score.mean("fold")
r_without_delay = float(np.median(early.values[significant.values]))

# %% [markdown]
# ## What can go wrong in a real study
#
# * **Cleaning across runs.** Removing drifts or scaling over all runs at once lets the test run shape the training
#   runs.
# * **Volumes as samples.** Neighbouring volumes share signal and noise; random folds over volumes make every voxel
#   significant. Leave runs out.
# * **Voxels in white matter, outside the brain, at the edges** look like any others in an array. Draw the map.
# * **A category model explains category differences**, by whatever carries them: luminance, attention, difficulty.
# * **One subject** is a map of one subject. Show all of them, each on their own.
# * **Space**: a score in native space and an atlas in a standard one don't overlap by having the same shape.
#
# Further reading: Haxby et al. 2001, doi:10.1126/science.1063736; Naselaris et al. 2011,
# doi:10.1016/j.neuroimage.2010.07.073; Huth et al. 2012, doi:10.1016/j.neuron.2012.10.014.
