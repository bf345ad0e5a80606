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
# # 5 · Encoding models
#
# **You will be able to**: predict voxels from a network with ridge regression, score it by cross-validation, and
# recognise four ways to a wrong number: repetitions on both sides, features chosen outside the folds, the ceiling
# of a single trial, and correlations pooled over folds.
#
# **Time**: 40 minutes with the exercises, a minute to run. **Data**: `shapes80`, 80 pictures and two simulated
# regions drawn by this project, embedded, and voxels simulated here, whose truth is known. No network connection, no
# GPU.
#
# **Real data**: `REAL = True` below, or the environment variable `NEUROLENS_TUTORIALS=real`, takes a slice of the
# fMRI of Haxby et al. 2001 (`haxby2001_1slice`, 1.3 MB, read from the folder that `NEUROLENS_DATA` names, else
# downloaded by checksum) for the first model and two of the errors; where the truth has to be known, voxels are
# simulated all the same.
#
# **Licence**: BSD-3-Clause, text and pictures; the weights are Apache-2.0; the real slice is CC BY-SA 3.0.

# %%
import os
import warnings
from pathlib import Path

import matplotlib.pyplot as plt
import nibabel
import numpy as np
import pandas as pd
import xarray as xr
from sklearn.feature_selection import SelectKBest, f_regression
from sklearn.pipeline import make_pipeline

import neurolens as nl
from neurolens.testing import check

REAL = os.environ.get("NEUROLENS_TUTORIALS") == "real"  # True: real data
home = Path(os.environ.get("NEUROLENS_DATA", "neurolens_data"))
name = "haxby2001_1slice" if REAL else "shapes80"
data = nl.datasets.fetch(name, data_home=home)  # files not there are downloaded
print(data.card.title)

# %% [markdown]
# ## Predicting voxels
#
# An encoding model says: the response of a voxel is a weighted sum of features. The network gives features; the
# weights are fitted on some pictures, and the prediction is scored on others. With more features than pictures,
# weights need a penalty, and ridge regression chooses one for each voxel *within the training pictures*.
#
# Which pictures were shown in the real blocks is not published, so no network can see them. There, the features are
# what is known of a block: its place in the run, whether it showed something animate, and its category.


# %%
def prepare_shapes():
    """Return features from a network, and the responses of two regions."""
    acts = nl.stream(
        nl.load_model("wheel:efficientnet_lite0"),
        data.stimuli,
        ops=["conv_stem", "blocks.2", "blocks.6"],
        batch_size=8,
        progress=False,
        reduce=nl.activations.RandomProjection(2000, seed=0),
    )
    return {address: acts[address] for address in acts}, {
        name: node.responses.isel(subject=0).load() for name, node in data.brain.items()
    }


def prepare_slice():
    """Return features of blocks, and their responses: a block is a stimulus, and knows its run."""
    blocks = data.brain["slice/sub001"].responses
    n_runs, n_kinds, n_voxels = blocks.shape
    run = blocks.run.values.ravel()
    kind = np.tile(blocks.stimulus.values, n_runs)
    names = [f"run {i}, {name}" for i, name in zip(run, kind, strict=True)]
    coords = {"stimulus": names, "run": ("stimulus", run)}
    known = {
        "place in the run": np.eye(n_kinds)[blocks.onset.values.argsort(1).argsort(1)],
        "animate": np.isin(kind, ["face", "cat"]),
        "category": kind[:, None] == blocks.stimulus.values,
    }
    features = {
        name: xr.DataArray(
            values.reshape(len(names), -1).astype(float), coords, ("stimulus", "unit")
        )
        for name, values in known.items()
    }
    responses = blocks.values.reshape(len(names), n_voxels)
    return features, {"real slice": nl.brain.responses(responses, stimulus=coords)}


features, regions = prepare_slice() if REAL else prepare_shapes()
split = {"cv": "run"} if REAL else {"cv": 5, "seed": 0}  # why: leak 1 below
scores = {}
for name, region in regions.items():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        scores[name] = nl.encode(features, region, **split, progress=False)
    print(name, scores[name].score.dims, dict(scores[name].score.sizes))

# %%
figure, ax = plt.subplots(figsize=(5.5, 3), layout="constrained")
for (name, result), color, marker in zip(
    scores.items(), ("#0072b2", "#d55e00"), "os", strict=False
):
    r = result.score.mean("fold")
    ax.plot(
        result.op,
        r.median("neuroid"),
        color=color,
        marker=marker,
        label=name.replace("_", " "),
    )
    low, high = r.quantile([0.25, 0.75], "neuroid").values
    ax.fill_between(result.op, low, high, color=color, alpha=0.2)
ax.set(xlabel="features", ylabel="held-out Pearson r\n(median, quartiles of voxels)")
_ = ax.legend(frameon=False, fontsize=8)
# %% [markdown]
# In the real slice even the place of a block in its run predicts a little. What a model predicts has to be held
# against features as trivial as that.

# %% [markdown]
# ## Leak 1: the same picture on both sides
#
# The responses below have *nothing to do* with the features: each picture evokes a random pattern, the features are
# random numbers. But each picture was shown four times, and someone treats every trial as a sample. Let us commit
# the error. (In the real slice, blocks take the place of pictures, and the quarters of a block that of trials: five
# seconds each, neighbours in time.)


# %%
def cut_blocks():
    """Return four quarters of every block of the slice: (repetition 4, stimulus 96, neuroid)."""
    runs = sorted(home.glob("haxby2001_1slice/haxby2001/sub001/BOLD/task001_run*"))
    files, tables = [run / "bold_1slice.nii.gz" for run in runs], []
    for number, run in enumerate(runs, start=1):
        blocks = pd.read_csv(run / "bold_events.tsv", sep="\t")
        blocks["trial_type"] = f"run {number}, " + blocks.trial_type
        quarters = [blocks.assign(onset=blocks.onset + 5 * k) for k in range(4)]
        tables.append(pd.concat(quarters).assign(duration=5).sort_values("onset"))
    first = nibabel.load(files[0])
    bright = np.asarray(first.dataobj).mean(-1)
    mask = nibabel.Nifti1Image((bright > 0.3 * bright.max()).astype("u1"), first.affine)
    series = nl.brain.read_bold(files, mask=mask, repetition_time=2.5)
    return nl.brain.average_blocks(nl.brain.clean_series(series), tables, delay=5.0)


rng = np.random.default_rng(0)
if REAL:
    trials = cut_blocks()
else:
    evoked = rng.normal(size=(60, 40))
    trials = nl.brain.responses(
        evoked + rng.normal(size=(4, 60, 40)),
        stimulus=[f"picture {i:02d}" for i in range(60)],
    )
ids = trials.stimulus.values.tolist()
n_pictures = len(ids)
noise_features = xr.DataArray(
    rng.normal(size=(n_pictures, 300)), {"stimulus": ids}, ("stimulus", "unit")
)

picture = np.repeat(ids, 4)
trial = np.tile(range(4), n_pictures)
names = [f"{name}, trial {k}" for name, k in zip(picture, trial, strict=True)]
coords = {"stimulus": names, "picture": ("stimulus", picture)}
by_picture = trials.transpose("stimulus", "repetition", "neuroid").values
flat = nl.brain.responses(by_picture.reshape(len(names), -1), stimulus=coords)
flat_features = xr.DataArray(
    np.repeat(noise_features.values, 4, axis=0), coords, ("stimulus", "unit")
)


def score_noise(**options):
    """Return the mean held-out r of features that know nothing."""
    with warnings.catch_warnings():
        # on noise, penalties run to the edge of the grid, and say so
        warnings.simplefilter("ignore")
        result = nl.encode(flat_features, flat, cv=5, seed=0, progress=False, **options)
    return float(result.score.mean())


leaking = score_noise()
print(f"trials split at random:          r = {leaking:.2f}")
print(f"trials of a picture kept together: r = {score_noise(groups='picture'):.2f}")

# %% [markdown]
# With 300 numbers for each picture, random features *name* the picture. The model learned, by heart, what each
# picture evokes, and met it again in the test. `groups=` keeps what belongs together on one side; so does averaging
# repetitions first, which `nl.encode` does when they are a dim. For blocks of fMRI it is worse than that: neighbours
# in time share noise as well. Keep whole runs together, as the first model of the real slice did.

# %% [markdown]
# ## Leak 2: choosing features before splitting
#
# Two thousand random features, one voxel. First the best ten features are chosen on **all** data, then ridge
# is cross-validated "properly".

# %%
many = xr.DataArray(
    rng.normal(size=(n_pictures, 2000)), {"stimulus": ids}, ("stimulus", "unit")
)
one_voxel = (
    trials.mean("repetition").values[:, :1] if REAL else rng.normal(size=(60, 1))
)
voxel = nl.brain.responses(one_voxel, stimulus=ids)


def score_selected(source, regressor):
    """Return the mean held-out r for the one voxel."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return float(
            nl.encode(
                source, voxel, model=regressor, cv=5, seed=0, progress=False
            ).score.mean()
        )


best_ten = f_regression(many.values, voxel.values[:, 0])[0].argsort()[-10:]
outside = score_selected(many.isel(unit=best_ten), nl.Ridge())
print(f"chosen on all data, then cross-validated: r = {outside:.2f}")

# %% [markdown]
# The test pictures helped to choose. Whatever looks at responses, or is fitted at all (scalers, PCA, selection),
# belongs *inside* the fold: give `encode` a pipeline, and it is fitted anew on each fold's training pictures.


# %%
class OneVoxel(SelectKBest):
    """Select features for one voxel: scikit-learn wants its responses as a vector."""

    def fit(self, X, y):
        return super().fit(X, np.ravel(y))


inside = score_selected(many, make_pipeline(OneVoxel(f_regression, k=10), nl.Ridge()))
print(f"chosen inside each fold:                  r = {inside:.2f}")

# %% [markdown]
# ## The ceiling of what, exactly?
#
# Responses are noisy; even the true model can't predict noise. Here is a voxel set whose truth is known: responses
# are a linear function of features, plus noise with twice the signal's s.d., each picture measured 8 times.

# %%
true_features = xr.DataArray(
    rng.normal(size=(200, 5)),
    {"stimulus": [f"p{i}" for i in range(200)]},
    ("stimulus", "unit"),
)
signal = true_features.values @ rng.normal(size=(5, 50)) / np.sqrt(5)
signal /= signal.std(0)
measured = nl.brain.responses(
    signal + 2 * rng.normal(size=(8, 200, 50)),
    stimulus=true_features.stimulus.values.tolist(),
)
result = nl.encode(
    true_features,
    measured,
    score="r2",
    model=nl.Ridge(alphas=1e-3),
    seed=0,
    progress=False,
)
r2 = result.score.mean("fold")  # of the mean over 8 trials: encode averages repetitions
of_mean = nl.brain.noise_ceiling(measured)
of_trial = nl.brain.noise_ceiling(measured, n_averaged=1)

figure, ax = plt.subplots(figsize=(5.5, 3.2), layout="constrained")
ax.plot([0, 1], [0, 1], color="0.6", linewidth=1)
ax.scatter(
    of_mean, r2, color="#0072b2", s=14, label="ceiling of the mean of 8 trials (right)"
)
ax.scatter(
    of_trial,
    r2,
    color="#d55e00",
    s=14,
    marker="s",
    label="ceiling of one trial (wrong)",
)
ax.set(
    xlabel="ceiling (r²)",
    ylabel="held-out r² of the true model",
    xlim=(0, 1),
    ylim=(0, 1),
)
_ = ax.legend(frameon=False, fontsize=8, loc="upper left")
# %%
print(
    f"share of the ceiling reached by the true model: {float((r2 / of_mean).median()):.2f} (right)"
)
print(
    f"with the single-trial ceiling:                   {float((r2 / of_trial).median()):.2f} (more than all there is)"
)

# %% [markdown]
# The mean of 8 trials is less noisy than one trial, and its ceiling is higher. Dividing the score of the one by the
# ceiling of the other triples the "explained" share. A ceiling always says how many trials it is for:
# `of_mean.attrs["n_averaged"]`.

# %% [markdown]
# ## Correlations pooled over folds are negative on noise
#
# Some collect the predictions of all folds and correlate once. On pure noise that should give zero. It gives less:
# when a fold's test pictures happen to respond high, the *others* are low, and so is the mean that the model
# predicts.

# %%
pure = nl.brain.responses(rng.normal(size=(n_pictures, 300)), stimulus=ids)
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    noise_result = nl.encode(
        noise_features, pure, cv=10, seed=0, predictions=True, progress=False
    )
within = noise_result.score.mean("fold")
pooled = xr.corr(noise_result.prediction, noise_result.observed, dim="stimulus")
print(
    f"within folds: {float(within.mean()):+.3f}; pooled over folds: {float(pooled.mean()):+.3f}"
)

# %% [markdown]
# With one picture in each fold there is nothing but pooling. neurolens refuses:

# %%
try:
    nl.encode(noise_features, pure, cv=n_pictures, progress=False)
except ValueError as error:
    print(error)

# %% [markdown]
# ## Exercises
#
# **1.** Which features predict the *last* of the `regions` best? Give their name (of a network: the address): the
# highest median over voxels of the mean over folds, from `last`.

# %%
last = scores[list(regions)[-1]]

# %% tags=["exercise"]
best = ...

# %% tags=["check"]
medians = last.score.mean("fold").median("neuroid")
check(
    best,
    {
        "Give one of the names in last.op.": lambda op: op in last.op.values,
        "Mean over folds, then median over neuroids, then idxmax over op.": lambda op: (
            op == medians.idxmax("op").item()
        ),
    },
)

# %% tags=["wrong"]
["layer 1", medians.idxmin("op").item()]

# %% tags=["solution"]
best = last.score.mean("fold").median("neuroid").idxmax("op").item()

# %% [markdown]
# **2.** A colleague scores responses that are the mean of 3 trials. Give the median ceiling (r²) over the voxels of
# `measured` for that case.

# %% tags=["exercise"]
ceiling_3 = ...

# %% tags=["check"]
of_three = nl.brain.noise_ceiling(measured, n_averaged=3)
check(
    ceiling_3,
    {
        "Give one number: the median over voxels.": lambda value: np.ndim(value) == 0,
        "More than one trial's, less than that of eight.": lambda value: (
            of_trial.median() < value < of_mean.median()
        ),
        "noise_ceiling has an argument for it.": lambda value: np.isclose(
            float(value), float(of_three.median())
        ),
    },
)

# %% tags=["wrong"]
[of_three, float(of_trial.median()), float((of_trial.median() + of_mean.median()) / 2)]

# %% tags=["solution"]
ceiling_3 = float(nl.brain.noise_ceiling(measured, n_averaged=3).median())

# %% [markdown]
# **3.** How bad does leak 1 get with more features? Repeat it (trials split at random, no groups) with 3,000 random
# features for each picture, and give the mean r. Use `flat`, and `np.repeat(..., 4, axis=0)` as above.

# %% tags=["exercise"]
leak_3000 = ...

# %% tags=["check"]
# of a trial with what is evoked: the root of the ceiling of one trial
bound = float(np.sqrt(nl.brain.noise_ceiling(trials, n_averaged=1)).mean())
check(
    leak_3000,
    {
        "Give one number.": lambda value: np.ndim(value) == 0,
        "That is the leak with 300 features.": lambda value: value != leaking,
        "Near zero: were trials of a picture kept together, or drawn anew for each trial?": lambda value: (
            value > leaking / 2
        ),
        "That is more than two trials of a picture share: was the test trial in the training?": lambda value: (
            value < bound
        ),
    },
)

# %% tags=["wrong"]
[[0.5], leaking, 0.0, 0.99]

# %% tags=["solution"]
wide = np.repeat(rng.normal(size=(n_pictures, 3000)), 4, axis=0)
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    leak_3000 = float(
        nl.encode(
            xr.DataArray(wide, coords, ("stimulus", "unit")),
            flat,
            cv=5,
            seed=0,
            progress=False,
        ).score.mean()
    )

# %% [markdown]
# ## What can go wrong in a real study
#
# * **Time leaks.** fMRI volumes a few seconds apart share signal and noise. Never split within a run: `cv="run"`.
# * **Near-duplicates leak** as repetitions do: frames of one film, crops of one photograph, the same object turned.
# * **The edge of the grid.** If many voxels choose the largest or smallest penalty, the grid is too short, or there
#   is nothing to predict. The warning says how many.
# * **Choosing voxels by how well they are predicted**, then reporting how well they are predicted. Choose by
#   reliability on other trials (`nl.brain.select_reliable`).
# * **Ratios above 1, dropped or capped.** A share of the ceiling is a ratio of two estimates; single voxels may
#   exceed 1. If the *median* does, one of the two is wrong.
# * **Comparing layers of different width.** Ridge with a fair penalty makes width matter little, not nothing: project
#   to one size, as here, and say so.
