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
# # 3 · RDMs, and what each distance hides
#
# **You will be able to**: compute representational dissimilarity matrices (RDMs), read them, choose a distance
# knowing what it is blind to, and tell a distance that noise inflates from one that it does not.
#
# **Time**: 30 minutes with the exercises, half a minute to run. **Data**: `shapes80`, 80 pictures and simulated
# regions drawn by this project, embedded; the network's weights come with a package. No network connection, no GPU.
#
# **Real data**: `REAL = True` below, or the environment variable `NEUROLENS_TUTORIALS=real`, takes the 92 photographs
# of Kriegeskorte et al. 2008 (`kriegeskorte92`, 4.8 MB, read from the folder that `NEUROLENS_DATA` names, else
# downloaded by checksum).
#
# **Licence**: BSD-3-Clause, text and pictures; the weights are Apache-2.0; the photographs have no licence of their
# own: look at them, do not pass them on.

# %%
import os

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr

import neurolens as nl
from neurolens.testing import check

REAL = os.environ.get("NEUROLENS_TUTORIALS") == "real"  # True: real data
data = nl.datasets.fetch("kriegeskorte92" if REAL else "shapes80")
print(data.card.title)

# %% [markdown]
# ## Four patterns
#
# A *pattern* is what one stimulus evoked: one number for each unit or voxel. Take a pattern `a`; the same twice as
# strong; the same with every unit raised by 3; and an unrelated one.

# %%
rng = np.random.default_rng(0)
a, b = rng.normal(size=(2, 50))
patterns = xr.DataArray(
    np.stack([a, 2 * a, a + 3, b]),
    {"stimulus": ["a", "2 a", "a + 3", "other"]},
    ("stimulus", "unit"),
)
metrics = ["correlation", "cosine", "euclidean"]
print(
    "distance from a to:   "
    + "".join(f"{name:>9}" for name in patterns.stimulus.values[1:])
)
for metric in metrics:
    row = nl.rdm(patterns, metric=metric).sel(stimulus="a").values[1:]
    print(f"{metric:>20}  " + "".join(f"{value:9.2f}" for value in row))

# %% [markdown]
# * `correlation` (1 - r) sees neither strength nor a common offset: it asks *which* units respond more than others.
# * `cosine` does not see strength, but an offset.
# * `euclidean` sees both: two stimuli may be far apart only since one drives everything harder.
#
# None is right. Each answers another question, and each hides something.

# %% [markdown]
# ## RDMs of a network
#
# The RDM holds the distance of every two stimuli: symmetric, with a zero diagonal. It forgets which unit did what, so
# RDMs of a network layer and of a brain region can be compared although they have nothing else in common.

# %%
model = nl.load_model("wheel:efficientnet_lite0")
acts = nl.stream(
    model,
    data.stimuli,
    ops=["conv_stem", "blocks.2", "blocks.6"],
    batch_size=8,
    progress=False,
)
layers = {address: acts[address] for address in acts}
rdms = nl.rdm(layers)
print(rdms.dims, rdms.shape)
_ = nl.plot.rdms({name: rdms.sel(op=name) for name in layers}, by="category")
# %% [markdown]
# Blocks along the diagonal are categories whose members resemble each other. Colours are ranks (percentiles of all
# pairs), for RDMs of different distances have no common unit.
#
# Now the same layer, measured by the three distances:

# %%
by_metric = {metric: nl.rdm(layers["blocks.2"], metric=metric) for metric in metrics}
_ = nl.plot.rdms(by_metric, by="category")
# %% [markdown]
# ## What Euclidean distances are often about
#
# How much of an RDM is explained by one number for each stimulus, the *length* of its pattern? Take as a model
# "stimuli differ as the lengths of their patterns differ", and correlate. A layer of ReLUs, where every unit is
# zero or more:

# %%
relu = layers["blocks.2"].clip(min=0)
length = (relu**2).sum(("channel", "y", "x")) ** 0.5
length_rdm = nl.rdm(length.expand_dims(unit=1, axis=-1), metric="euclidean")
shares = {}
for metric in metrics:
    shares[metric] = float(
        nl.compare_rdms(nl.rdm(relu, metric=metric), length_rdm, method="spearman")
    )
    print(f"{metric:>12}: rho = {shares[metric]:.2f} with the difference of lengths")

# %% [markdown]
# ## Noise makes distances larger
#
# Measured patterns are noisy, and noise moves patterns apart, never together. Here are eight conditions that evoke
# *exactly the same* pattern, measured in six runs. True distances are zero.

# %%
rng = np.random.default_rng(1)
names = [f"condition {i}" for i in range(8)]
same = rng.normal(size=30)  # one pattern for all conditions
runs = xr.DataArray(
    same + rng.normal(size=(6, 8, 30)),
    {"run": range(1, 7), "stimulus": names},
    ("run", "stimulus", "neuroid"),
)
plain = nl.rdm(runs.mean("run"), metric="sqeuclidean", normalize="features")
crossed = nl.rdm(runs, metric="crossnobis")
pairs = np.triu_indices(8, 1)

figure, ax = plt.subplots(figsize=(5.5, 3), layout="constrained")
ax.hist(
    plain.values[pairs],
    bins=12,
    color="#d55e00",
    alpha=0.8,
    label="squared Euclidean of the mean",
)
ax.hist(
    crossed.values[pairs],
    bins=12,
    color="#0072b2",
    alpha=0.8,
    label="crossnobis over runs",
)
ax.axvline(0, color="black", linewidth=1, label="truth")
ax.set(
    xlabel="distance (squared noise s.d. per voxel)",
    ylabel="pairs of conditions (count)",
    ylim=(0, 9),
)
_ = ax.legend(frameon=False, fontsize=8)
# %% [markdown]
# The plain distance is never below zero: it measures noise, and conditions measured with more noise look more
# different. `crossnobis` multiplies differences of one run with those of another; independent noise averages out.
# It may be negative, and it should: around a truth of zero an honest estimate falls on both sides.

# %% [markdown]
# ## Exercises
#
# **1.** Which of the three `metrics` cannot tell `a` from `2 a + 3`? Give a list of their names.

# %% tags=["exercise"]
blind = ...

# %% tags=["check"]
check(
    blind,
    {
        "Give names out of `metrics`, as a list.": lambda names: (
            not isinstance(names, str) and set(names) <= set(metrics)
        ),
        "cosine forgives a factor, but an offset turns the pattern.": lambda names: (
            "cosine" not in names
        ),
        "euclidean sees a factor and an offset.": lambda names: (
            "euclidean" not in names
        ),
        "One of them subtracts the mean and divides by the standard deviation.": lambda names: (
            list(names) == ["correlation"]
        ),
    },
)

# %% tags=["wrong"]
["correlation", ["correlation", "cosine"], ["correlation", "euclidean"], []]

# %% tags=["solution"]
blind = ["correlation"]

# %% [markdown]
# **2.** Which two of the layers in `rdms` have the most similar RDMs (Spearman)? Give a set of two names. (Hint:
# `nl.compare_rdms(rdms, rdms.rename(op="op_b"), method="spearman")`.)

# %% tags=["exercise"]
closest = ...

# %% tags=["check"]
table = nl.compare_rdms(rdms, rdms.rename(op="op_b"), method="spearman").values.copy()
np.fill_diagonal(table, -np.inf)  # a layer is most similar to itself
check(
    closest,
    {
        "Give two names: a layer and itself are no pair.": lambda names: (
            len(set(names)) == 2
        ),
        "These are no layers of `rdms`.": lambda names: set(names) <= set(layers),
        "Another pair is more similar.": lambda names: (
            set(names)
            == {list(layers)[i] for i in np.unravel_index(table.argmax(), table.shape)}
        ),
    },
)

# %% tags=["wrong"]
[["blocks.2", "blocks.2"], {"blocks.2", "blocks.9"}, {"conv_stem", "blocks.6"}]

# %% tags=["solution"]
table = nl.compare_rdms(rdms, rdms.rename(op="op_b"), method="spearman").values.copy()
np.fill_diagonal(table, -np.inf)
closest = {list(layers)[i] for i in np.unravel_index(table.argmax(), table.shape)}

# %% [markdown]
# **3.** What would the plain distance between two identical conditions be on average, by theory? Each voxel's mean
# over 6 runs has a noise variance of 1/6, the difference of two conditions twice that. Give the expected distance
# per voxel.

# %% tags=["exercise"]
expected = ...

# %% tags=["check"]
check(
    expected,
    {
        "Noise moves patterns apart: the expectation is above zero.": lambda value: (
            value > 0
        ),
        "Averaging over 6 runs divides the variance by 6.": lambda value: value < 1,
        "Both conditions are noisy: their variances add.": lambda value: (
            not np.isclose(value, 1 / 6, rtol=0.02)
        ),
        "Compare with plain.values[pairs].mean().": lambda value: np.isclose(
            value, 1 / 3, rtol=0.02
        ),
    },
)

# %% tags=["wrong"]
[0, 2, 1 / 6, 1 / 4]

# %% tags=["solution"]
expected = 2 / 6

# %% [markdown]
# **4.** Make the RDM of a theory: 0 for two stimuli of one category, 1 for others. Give it as a DataArray that
# `nl.plot.rdm` draws. (Hint: `rdms.category` is a coord; copy an RDM and replace its values.)

# %% tags=["exercise"]
theory = ...

# %% tags=["check"]
check(
    theory,
    {
        "Give a DataArray (stimulus, stimulus_b).": lambda rdm: (
            rdm.dims == ("stimulus", "stimulus_b")
        ),
        "The diagonal of an RDM is zero.": lambda rdm: not np.diag(rdm).any(),
        "Values are 0 and 1 only.": lambda rdm: set(np.unique(rdm)) == {0, 1},
        "0 within a category, 1 between categories.": lambda rdm: (
            (rdm.values == 0) == (rdm.category.values[:, None] == rdm.category.values)
        ).all(),
    },
)

# %% tags=["wrong"]
layer = rdms.isel(op=0, drop=True)
same_kind = layer.category.values[:, None] == layer.category.values
apart = layer.copy(data=1 - np.eye(len(layer)))
[rdms, layer.copy(data=same_kind.astype(float)), layer, apart]

# %% tags=["solution"]
theory = rdms.isel(op=0, drop=True).copy(
    data=(rdms.category.values[:, None] != rdms.category.values).astype(float)
)
theory.attrs = {"metric": "same category or not"}
_ = nl.plot.rdm(theory, by="category", scale="value", title="theory: categories")

# %% [markdown]
# ## What can go wrong in a real study
#
# * **A distance chosen after seeing the scores** is a hidden comparison. Choose it for what it hides, before.
# * **Mean activation.** A region that responds more to faces has a Euclidean RDM with a face block even if its
#   patterns carry nothing else. Correlation removes the mean over voxels, not that stronger responses have better
#   signal-to-noise.
# * **Patterns of one run.** Stimuli of one run share its noise (drift, attention), so within-run distances are
#   smaller. Randomise, and use distances across runs (crossnobis).
# * **A unit that never varies** has no correlation: such entries are missing, with a warning. Find out why, don't
#   fill.
# * **Averaging RDMs over subjects** before ranking lets the subject with the largest distances win.
