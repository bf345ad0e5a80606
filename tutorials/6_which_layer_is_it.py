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
# # 6 · Which layer is IT?
#
# **You will be able to**: draw the profile of a network against brain regions, hold it against an untrained twin,
# choose the best operation without scoring it on the data that chose it, and find out whether a score is about more
# than categories.
#
# **Time**: 40 minutes with the exercises, a minute to run. **Data**: `shapes80`, 80 pictures and two simulated
# regions of six simulated subjects, embedded; the network's weights come with a package. No network connection, no
# GPU.
#
# **Real data**: `REAL = True` below, or the environment variable `NEUROLENS_TUTORIALS=real`, takes the 92 photographs
# and human IT of Kriegeskorte et al. 2008 (`kriegeskorte92`, 4.8 MB, read from the folder that `NEUROLENS_DATA`
# names, else downloaded by checksum).
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
if REAL:
    data = nl.datasets.fetch("kriegeskorte92")
    brain = {"human_IT": data.brain["human_IT"].rdm.mean("session").load()}
else:
    data = nl.datasets.fetch("shapes80")
    brain = {name: nl.rdm(data.brain[name].responses) for name in data.brain}
HIGH = list(brain)[-1]  # the region this tutorial is about
print(data.card.title, "->", list(brain))

# %% [markdown]
# The simulated regions have a known answer: `simulated_early` is made of colours and edges by place,
# `simulated_late` of codes for what is shown. They stand for no brain region; they are there so that you can see a
# method be right or wrong.
#
# ## RDMs of a network, trained and not
#
# An *untrained twin* is the same architecture with random weights. Whatever it explains needs no learning.

# %%
OPS = [
    "conv_stem",
    *(f"blocks.{i}" for i in range(7)),
    "conv_head",
    "global_pool",
    "classifier",
]


def compute_rdms(**options):
    """Compute the RDM of each of OPS for the pictures of this tutorial."""
    model = nl.load_model("wheel:efficientnet_lite0", **options)
    return nl.rdm(nl.stream(model, data.stimuli, ops=OPS, batch_size=8, progress=False))


rdms = compute_rdms()
untrained = compute_rdms(pretrained=False, seed=0)

# %% [markdown]
# ## The profile
#
# `nl.compare` scores every operation against every region: the mean over subjects of the similarity of RDMs. One
# permutation of stimulus labels acts on all operations together, so the corrected p knows how many were tried.

# %%
profile = nl.compare(rdms, brain, similarity="spearman", n_permutations=500, seed=0)
control = nl.compare(untrained, brain, similarity="spearman", n_permutations=0)
for region in brain:
    nl.plot.profile(profile, control=control, control_label="untrained", region=region)

# %% [markdown]
# Depth is where an operation lies between input and output. The shaded band is the ceiling that belongs to this
# score; ticks at the bottom mark corrected p below .05.
#
# ## Untrained controls, and where they win
#
# Random filters keep colour, place and contrast: for a region that is about those, training is not needed. Here is
# the advantage of training, trained minus untrained:

# %%
gain = profile.score - control.score
print(gain.transpose("op", "region").to_pandas().round(2))

# %% [markdown]
# For the simulated early region the twin is nearly as good where the region is matched best, and *better* in the
# second half of the network: training removes from late operations what random filters keep. "Layer 1 explains the
# early region" is true. "*Learning* makes layer 1 explain it" does not follow.
#
# For human IT (real data) training helps in all but the first operation, and most in late blocks; but an untrained
# network is not at zero either, and in the first operation it is as good. Always draw the twin, and more than one
# seed of it.

# %% [markdown]
# ## Choosing without double dipping
#
# The best of many scores is too high: the choice runs after the noise. In a world of a hundred operations that know
# **nothing**, the best one looks like this:

# %%
rng = np.random.default_rng(0)
target = brain[HIGH]
ids = target.stimulus.values.tolist()
nothing = nl.rdm(
    {
        f"op {i}": xr.DataArray(
            rng.normal(size=(len(ids), 4)), {"stimulus": ids}, ("stimulus", "unit")
        )
        for i in range(100)
    }
)


def split_choice(rdms, n_splits=20):
    """Choose on one half of the stimuli, score on the other; return both scores, and what was chosen."""
    rng = np.random.default_rng(0)
    rows = []
    for _ in range(n_splits):
        order = rng.permutation(len(ids))
        halves = [np.sort(half) for half in np.array_split(order, 2)]
        choosing, scoring = (
            nl.compare_rdms(
                rdms.isel(stimulus=half, stimulus_b=half),
                target.isel(stimulus=half, stimulus_b=half),
                method="spearman",
            ).mean("subject")
            for half in halves
        )
        best = choosing.idxmax("op").item()
        rows.append((best, float(choosing.max()), float(scoring.sel(op=best))))
    return rows


dipped = split_choice(nothing)
print(
    f"operations that know nothing: chosen at {np.mean([row[1] for row in dipped]):.3f},"
)
print(
    f"the same on other stimuli:              {np.mean([row[2] for row in dipped]):+.3f}"
)

# %% [markdown]
# Now the network. What is reported is the score on the half that did not choose, and *how often* each operation was
# chosen: "the best layer" is often a handful of layers.

# %%
real_rows = split_choice(rdms)
names, counts = np.unique([row[0] for row in real_rows], return_counts=True)
print(
    {
        str(name): f"{count / len(real_rows):.0%}"
        for name, count in zip(names, counts, strict=True)
    }
)
print(
    f"score on stimuli that did not choose: {np.mean([row[2] for row in real_rows]):.2f}"
)

# %% [markdown]
# ## Is it about more than categories?
#
# A network trained to tell categories and a region that tells categories will match, even if both know nothing else:
# any theory with the right category blocks does. Two questions separate this: what is left **within** categories, and
# what is left when the category RDM is **taken out**?

# %%
category = target.category.values
theory = target.isel(subject=0, drop=True).copy(
    data=(category[:, None] != category).astype(float)
)
best = profile.score.sel(region=HIGH).idxmax("op").item()
whole = nl.compare_rdms(rdms.sel(op=best), target, method="spearman").mean()
one = rdms.sel(op=best)
by_category = [
    nl.compare_rdms(
        one.isel(stimulus=chosen, stimulus_b=chosen),
        target.isel(stimulus=chosen, stimulus_b=chosen),
        method="spearman",
    ).mean()
    for chosen in (np.flatnonzero(category == name) for name in np.unique(category))
]
within = np.mean(by_category)
partial = nl.compare_rdms(
    rdms.sel(op=best), target, method="spearman", control=theory
).mean()
values = {
    "all pairs": whole,
    "within categories": within,
    "category taken out": partial,
}
figure, ax = plt.subplots(figsize=(5.5, 2.8), layout="constrained")
ax.bar(
    list(values),
    [float(value) for value in values.values()],
    color=["#0072b2", "#56b4e9", "#56b4e9"],
    width=0.5,
)
ax.axhline(0, color="black", linewidth=0.8)
_ = ax.set(ylabel="similarity (Spearman's rho)", title=f"{best} and {HIGH}")
# %% [markdown]
# With the simulated region, nothing is left within a category: of the pictures of one kind it knows nothing, and
# that is how it was made. Taking out the category RDM leaves something, since it is not the whole theory: the
# region also has codes for *animate* and *digit*. Each control answers for what is in it, and for nothing else.
#
# In human IT (real data) both controls leave something: it tells apart pictures of one category, and the network
# partly agrees on which. Six categories are not the whole story there.
# (`within=` of `nl.compare_rdms` pools the pairs of all categories: then categories that are more spread out than
# others still count.)

# %% [markdown]
# ## Exercises
#
# **1.** Which operations score *significantly* for the region `HIGH` (corrected p below .05)? Give a list of
# addresses.

# %% tags=["exercise"]
significant = ...

# %% tags=["check"]
high = profile.sel(region=HIGH)
check(
    significant,
    {
        "Give a list of addresses.": lambda names: (
            not isinstance(names, str) and set(names) <= set(OPS)
        ),
        "Use p_corrected: p alone forgets that eleven operations were tried.": lambda names: (
            set(names) == set(high.op.values[high.p_corrected.values < 0.05].tolist())
        ),
    },
)

# %% tags=["wrong"]
["conv_stem", []]

# %% tags=["solution"]
high = profile.sel(region=HIGH)
significant = high.op.values[high.p_corrected.values < 0.05].tolist()

# %% [markdown]
# **2.** For which operation does the untrained twin come out best against the trained network in the *first* region
# of `brain`? Give its address: the smallest `gain`.

# %% tags=["exercise"]
twin_wins = ...

# %% tags=["check"]
first = gain.sel(region=next(iter(brain)))
check(
    twin_wins,
    {
        "Give one address.": lambda op: op in OPS,
        "There the trained network gains most: gain is trained minus untrained.": lambda op: (
            op != first.idxmax("op").item()
        ),
        "Take the smallest gain in that region.": lambda op: (
            op == first.idxmin("op").item()
        ),
    },
)

# %% tags=["wrong"]
["layer 1", first.idxmax("op").item(), first.sortby(first).op.values[1]]

# %% tags=["solution"]
twin_wins = gain.sel(region=next(iter(brain))).idxmin("op").item()

# %% [markdown]
# **3.** How much does double dipping add? Answer for operations that know nothing,
# with the mean optimism (chosen minus scored) over the rows of `dipped`.

# %% tags=["exercise"]
optimism = ...

# %% tags=["check"]
truth = float(np.mean([row[1] - row[2] for row in split_choice(nothing)]))
check(
    optimism,
    {
        "Give one number.": lambda value: np.ndim(value) == 0,
        "Optimism is positive: chosen minus scored.": lambda value: value > 0,
        "Average row[1] - row[2] over the rows of `dipped`.": lambda value: np.isclose(
            value, truth
        ),
    },
)

# %% tags=["wrong"]
[[row[1] - row[2] for row in dipped], -truth, 2 * truth]

# %% tags=["solution"]
optimism = float(np.mean([row[1] - row[2] for row in dipped]))

# %% [markdown]
# ## What can go wrong in a real study
#
# * **"Layer 5 is IT."** It is the layer, of one network, whose RDM for these stimuli is most similar to that of a
#   part of the brain called IT. Neighbours often do as well: give the selection frequency, and the interval of
#   differences.
# * **Stimuli that carry the result.** Cut-out objects on grey have few low-level differences, natural scenes have
#   confounds of category and background. Control by pixel and Gabor models.
# * **One seed.** Two trainings of the same network differ. So do two untrained twins: draw several.
# * **Spatial averaging.** Global pooling may make an early layer look late, and the reverse.
# * **The ceiling is the subjects' agreement**, not perfection: what subjects don't share is out of reach of any one
#   model.
#
# Further reading: Kriegeskorte et al. 2008, doi:10.1016/j.neuron.2008.10.043; Storrs et al. 2021,
# doi:10.1162/jocn_a_01755; Kriegeskorte et al. 2009 (double dipping), doi:10.1038/nn.2303.
