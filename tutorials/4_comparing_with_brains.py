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
# # 4 · Comparing with brains
#
# **You will be able to**: score a model's RDM against subjects, draw the noise ceiling that belongs to that score,
# choose a rank measure, test by permutation, and recognise a t test that is wrong since the stimuli are a sample,
# too.
#
# **Time**: 40 minutes with the exercises, a minute to run. **Data**: `shapes80`, 80 pictures and two simulated
# regions of six simulated subjects, embedded. No network connection, no GPU.
#
# **Real data**: `REAL = True` below, or the environment variable `NEUROLENS_TUTORIALS=real`, takes the 92 photographs
# and human IT of Kriegeskorte et al. 2008 (`kriegeskorte92`, 4.8 MB, read from the folder that `NEUROLENS_DATA`
# names, else downloaded by checksum).
#
# **Licence**: BSD-3-Clause, text and pictures; the photographs have no licence of their own: look at them, do not
# pass them on.

# %%
import os

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from scipy import stats
from scipy.spatial.distance import pdist, squareform

import neurolens as nl
from neurolens.testing import check

REAL = os.environ.get("NEUROLENS_TUTORIALS") == "real"  # True: real data
if REAL:
    data = nl.datasets.fetch("kriegeskorte92")
    subjects = data.brain["human_IT"].rdm.mean("session").load()
else:
    data = nl.datasets.fetch("shapes80")
    subjects = nl.rdm(data.brain["simulated_late"].responses)
print(dict(subjects.sizes))

# %% [markdown]
# ## Three models
#
# Two theories, *same category or not* and *both animate or not*, and one model of the picture itself: the distance
# between 16 x 16 grey pixels.

# %%
category = subjects.category.values
animate = subjects.animate.values


def label_rdm(values):
    """Label a square matrix of distances."""
    return (
        subjects.isel(subject=0, drop=True)
        .copy(data=np.asarray(values, dtype=float))
        .drop_attrs()
    )


grey = [
    np.asarray(data.stimuli.read(i).convert("L").resize((16, 16)), float).ravel()
    for i in range(len(data.stimuli))
]
models = {
    "category": label_rdm(category[:, None] != category),
    "animate": label_rdm(animate[:, None] != animate),
    "pixels": label_rdm(squareform(pdist(grey, "correlation"))),
}
_ = nl.plot.rdms(models, by="category")
# %% [markdown]
# ## A score and its ceiling
#
# No model can do better than the noise allows. With several subjects, the score is **the mean over subjects of the
# similarity with each subject's RDM**. Its ceiling: how well does the subjects' own mean do by that very score? With
# the subject included it is too high (upper bound), with the subject left out too low (lower bound).

# %%
scores = {
    name: nl.compare_rdms(rdm, subjects, method="spearman")
    for name, rdm in models.items()
}
ceiling = nl.rsa.noise_ceiling(subjects, method="spearman")
for name, score in scores.items():
    print(f"{name:>9}: {float(score.mean()):.2f}   subjects {score.values.round(2)}")
print(
    f"  ceiling: {float(ceiling.ceiling_low):.2f} to {float(ceiling.ceiling_high):.2f}"
)

# %% [markdown]
# ### The wrong pair
#
# It is tempting to average subjects' RDMs first: noise averages out, and scores rise. That is another score, and the
# band above does not bound it. The same model, category and animate added up, may then rise from below the band into
# it, and seem to have reached the ceiling. The subjects' mean RDM, taken for a "model", even leaves it.

# %%
mean_rdm = subjects.mean("subject")
both = models["category"] + models["animate"]  # far apart: pairs that differ in both
right = float(nl.compare_rdms(both, subjects, method="spearman").mean())
against_mean = float(nl.compare_rdms(both, mean_rdm, method="spearman"))
perfect = float(nl.compare_rdms(mean_rdm, mean_rdm, method="spearman"))
figure, ax = plt.subplots(figsize=(7, 3), layout="constrained")
ax.axhspan(
    float(ceiling.ceiling_low),
    float(ceiling.ceiling_high),
    color="0.85",
    label="ceiling of the mean over subjects",
)
ax.bar(
    [
        "right: mean over\nsubjects",
        "wrong: against\nthe mean RDM",
        "wrong: the mean RDM\nagainst itself",
    ],
    [right, against_mean, perfect],
    color=["#0072b2", "#d55e00", "#d55e00"],
    width=0.5,
)
ax.set(
    ylabel="similarity (Spearman's rho)",
    title="model: category + animate",
    ylim=(0, 1.3),
)
_ = ax.legend(frameon=False, fontsize=8, loc="upper left")
# %% [markdown]
# ## Which rank measure?
#
# Ranks ask only for order. But theories such as *category* have **ties**: most pairs are equal. Kendall's tau-b and,
# less so, Spearman's rho forgive ties: saying "equal" costs nothing where order is hard. Take a truth, a model that
# orders all pairs correctly but for noise, and a lazy one that only halves the pairs into near and far:

# %%
rng = np.random.default_rng(0)
truth = label_rdm(squareform(pdist(rng.normal(size=(len(category), 6)))))
upper = truth.values[np.triu_indices(len(category), 1)]
detailed = label_rdm(
    squareform(upper + 0.62 * upper.std() * rng.normal(size=len(upper)))
)
lazy = label_rdm(squareform((upper > np.median(upper)).astype(float)))
for method in ("kendall-tau-b", "spearman", "kendall-tau-a", "rho-a"):
    values = [
        float(nl.compare_rdms(rdm, truth, method=method)) for rdm in (detailed, lazy)
    ]
    winner = "detailed" if values[0] > values[1] else "lazy"
    print(
        f"{method:>14}: detailed {values[0]:.2f}, lazy {values[1]:.2f} -> {winner} wins"
    )

# %% [markdown]
# `rho-a`, the default here, is the Spearman correlation expected when ties are broken at random: who does not commit
# gets nothing. Use it (or tau-a) whenever models with ties compete with models without.

# %% [markdown]
# ## Is it more than chance?
#
# An RDM of 80 stimuli has 3,160 entries, but not 3,160 independent ones: each stimulus is in 79. What can be
# exchanged under "the model has nothing to do with the brain" are *labels of stimuli*, rows and columns together.

# %%
result = nl.rsa.infer(
    models, subjects, method="rho-a", n_permutations=1000, n_bootstraps=200, seed=0
)
print(
    result[["score", "ci_low", "ci_high", "p", "p_corrected"]].to_dataframe().round(3)
)
print("intervals generalise to:", result.attrs["generalises_to"])

# %% [markdown]
# ## A t test that is wrong
#
# Many papers test the subjects' scores against zero with a t test, and conclude on *stimuli* of this kind. Let us be
# gods: in this world model and brain are **unrelated** for the population of stimuli. An experiment draws 20 stimuli
# and 10 subjects. All subjects see the same 20 stimuli, and share a brain: if the sample happens to fit the model, it
# fits for all of them.


# %%
def draw_experiment(rng, n_stimuli=20, n_subjects=10):
    """Draw the scores of the subjects of one experiment in which the model knows nothing of the brain."""
    model = stats.rankdata(pdist(rng.normal(size=(n_stimuli, 3))))
    brain = pdist(rng.normal(size=(n_stimuli, 3)))
    noisy = brain + 3 * brain.std() * rng.normal(size=(n_subjects, len(brain)))
    return np.array(
        [np.corrcoef(model, stats.rankdata(subject))[0, 1] for subject in noisy]
    )


def reject_rate(n_experiments=400, **sizes):
    """Return how often the t test over subjects finds something, one-sided at .05."""
    rng = np.random.default_rng(0)
    found = [
        stats.ttest_1samp(
            draw_experiment(rng, **sizes), 0, alternative="greater"
        ).pvalue
        < 0.05
        for _ in range(n_experiments)
    ]
    return float(np.mean(found))


rate = reject_rate()
print(f"a false discovery in {rate:.0%} of experiments; promised were 5%")

# %% [markdown]
# The t test is not broken: it answers "would *other subjects*, shown **these very stimuli**, score above zero?", and
# for an accidental fit the answer is yes. Stimuli that are a sample need a test that knows it. Permutation of labels,
# on the same kind of data:

# %%
rng = np.random.default_rng(0)
p_values = []
for _ in range(60):
    ids = [f"s{i}" for i in range(20)]
    coords = {"stimulus": ids, "stimulus_b": ids}
    dims = ("stimulus", "stimulus_b")
    model = xr.DataArray(squareform(pdist(rng.normal(size=(20, 3)))), coords, dims)
    brain = pdist(rng.normal(size=(20, 3)))
    noisy = np.stack(
        [
            squareform(brain + 3 * brain.std() * rng.normal(size=len(brain)))
            for _ in range(10)
        ]
    )
    measured = xr.DataArray(
        abs(noisy), coords | {"subject": range(10)}, ("subject", *dims)
    )
    tested = nl.rsa.infer(
        {"model": model},
        measured,
        n_permutations=199,
        n_bootstraps=0,
        resample="subject",
    )
    p_values.append(float(tested.p.squeeze()))
permuted_rate = float(np.mean(np.array(p_values) < 0.05))
print(f"permutation of labels: {permuted_rate:.0%} of 60 experiments")

# %% [markdown]
# ## Exercises
#
# **1.** Compute the lower ceiling of the first subject by hand: the Spearman similarity of their RDM with the mean
# RDM of the *other* subjects. (`subjects.isel(subject=...)`; the exact definition pools ranks, so expect the third
# digit to differ from `ceiling.ceiling_low_subject`.)

# %% tags=["exercise"]
low = ...

# %% tags=["check"]
with_self = float(
    nl.compare_rdms(subjects.isel(subject=0, drop=True), mean_rdm, method="spearman")
)
check(
    low,
    {
        "Give one number.": lambda value: np.ndim(value) == 0,
        "The subject's own noise is in that mean: leave the subject out.": lambda value: (
            abs(float(value) - with_self) > 0.005
        ),
        "Compare the first subject with the mean of all others.": lambda value: (
            abs(float(value) - float(ceiling.ceiling_low_subject[0])) < 0.03
        ),
    },
)

# %% tags=["wrong"]
[scores["category"], with_self, 0.0]

# %% tags=["solution"]
others = subjects.isel(subject=slice(1, None)).mean("subject")
low = float(
    nl.compare_rdms(subjects.isel(subject=0, drop=True), others, method="spearman")
)

# %% [markdown]
# **2.** More data cures most ills. Does it cure the wrong t test? Give the rate of false discoveries with 40
# subjects.

# %% tags=["exercise"]
rate_40 = ...

# %% tags=["check"]
check(
    rate_40,
    {
        "Give a share between 0 and 1: call reject_rate.": lambda value: 0 < value < 1,
        "That is the rate with 10 subjects.": lambda value: value != rate,
        "Use n_subjects=40 and leave the rest.": lambda value: np.isclose(
            value, reject_rate(n_subjects=40)
        ),
    },
)

# %% tags=["wrong"]
[40, rate, 0.05]

# %% tags=["solution"]
rate_40 = reject_rate(n_subjects=40)
print(f"{rate_40:.0%} with 40 subjects, {rate:.0%} with 10: more subjects are no cure")

# %% [markdown]
# **3.** What is left of the category model's score when the share of *animate* is taken out? Give the mean over
# subjects of the partial Spearman correlation (`control=` of `nl.compare_rdms`).

# %% tags=["exercise"]
partial = ...

# %% tags=["check"]
kept = float(
    nl.compare_rdms(
        models["category"], subjects, method="spearman", control=models["animate"]
    ).mean()
)
check(
    partial,
    {
        "Average over subjects, and give one number.": lambda value: (
            np.ndim(value) == 0
        ),
        "That is the score without control.": lambda value: (
            abs(float(value) - float(scores["category"].mean())) > 1e-6
        ),
        "Model: category; control: animate; method: spearman.": lambda value: (
            abs(float(value) - kept) < 1e-6
        ),
    },
)

# %% tags=["wrong"]
exchanged = nl.compare_rdms(
    models["animate"], subjects, method="spearman", control=models["category"]
)
[scores["category"], float(scores["category"].mean()), float(exchanged.mean())]

# %% tags=["solution"]
partial = float(
    nl.compare_rdms(
        models["category"], subjects, method="spearman", control=models["animate"]
    ).mean()
)

# %% [markdown]
# ## What can go wrong in a real study
#
# * **Ceiling and score of different kinds**: always say "mean over subjects" or "against the mean RDM"; a published
#   band fits one of them.
# * **Reaching the ceiling** means: not distinguishable from a perfect model *with these data*. Noisy data have low
#   ceilings that are easily reached.
# * **A permutation p value** speaks of these stimuli and these subjects. To generalise to others, resample them (the
#   intervals above), and expect wide ones.
# * **Permuting entries of the RDM** instead of stimuli treats thousands of dependent pairs as independent.
# * **Twelve models, one p value.** `p_corrected` counts all that you tried. It cannot count what you tried last week.
#
# Further reading: Nili et al. 2014, doi:10.1371/journal.pcbi.1003553; Schütt et al. 2023, doi:10.7554/eLife.82566.
