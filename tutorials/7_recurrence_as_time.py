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
# # 7 · Recurrence as time
#
# **You will be able to**: turn the passes of a recurrent network into an axis, compare each pass with each moment of
# time-resolved data (MEG, EEG, recordings), and tell a match of dynamics from one that any early stage would give.
#
# **Time**: 30 minutes with the exercises, half a minute to run. **Data**: `shapes80`, 80 pictures drawn by this
# project, embedded, and sensors simulated here, whose truth is known. No network connection, no GPU.
#
# **Real data**: `REAL = True` below, or the environment variable `NEUROLENS_TUTORIALS=real`, takes 92 photographs
# (`kriegeskorte92`, 4.8 MB, read from the folder that `NEUROLENS_DATA` names, else downloaded by checksum), read by
# the trained first stages of EfficientNet-Lite0 (17 MB, from a package); the sensors are simulated all the same.
#
# **Licence**: BSD-3-Clause, text and pictures; the network is Apache-2.0; the photographs have no licence of their
# own: look at them, do not pass them on.

# %%
import os

import matplotlib.pyplot as plt
import numpy as np
import torch
from scipy.stats import spearmanr
from torch import nn

import neurolens as nl
from neurolens.testing import check

REAL = os.environ.get("NEUROLENS_TUTORIALS") == "real"  # True: real data
data = nl.datasets.fetch("kriegeskorte92" if REAL else "shapes80")

# %% [markdown]
# ## A network with a loop
#
# The picture goes in at every step, and the state is refined by the same weights, six times. These weights are random:
# this tutorial is about the method, not about vision. So are those that read the picture, but for real data.


# %%
def make_reader():
    """Return what reads the picture, and how many channels it gives."""
    if not REAL:
        return nn.Conv2d(3, 12, 9, stride=6), 12
    trained = nl.load_model("wheel:efficientnet_lite0").module
    stages = trained.conv_stem, trained.bn1, trained.blocks[:2]
    return nn.Sequential(*stages, nn.AvgPool2d(4), nn.GroupNorm(24, 24)), 24


class Looping(nn.Module):
    """A convolution that reads the picture, and one that reads the state, over and over."""

    def __init__(self) -> None:
        super().__init__()
        self.read, width = make_reader()
        self.refine = nn.Conv2d(width, width, 5, padding=2)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        drive = self.read(image)
        state = torch.zeros_like(drive)
        for _ in range(6):
            state = torch.tanh(0.3 * drive + 6 * self.refine(state))
        return state.mean((2, 3))


torch.manual_seed(0)
model = Looping().eval()


def prepare(picture):
    """Turn a picture into a tensor (channel, y, x) of contrasts around 0."""
    return torch.from_numpy(np.asarray(picture, dtype=np.float32) / 127.5 - 1).permute(
        2, 0, 1
    )


stimuli = nl.Stimuli.from_array(
    np.stack([prepare(data.stimuli.read(i)).numpy() for i in range(len(data.stimuli))]),
    ids=data.stimuli.ids,
)
acts = nl.stream(model, stimuli, ops=["tanh"], progress=False)
state = acts["tanh"]
print(state.dims, state.shape)

# %% [markdown]
# The operation `tanh` ran six times: `pass` is a dim. By default passes are features like others; `over="pass"` makes
# one RDM for each.

# %%
passes = nl.rdm(state, over=("pass",))
print(passes.dims)
alike = nl.compare_rdms(passes, passes.rename({"pass": "pass_b"}), method="spearman")
print(alike.to_pandas().round(2))

# %% [markdown]
# Neighbouring passes are alike, distant ones less so. Remember this table: it limits all that follows.
#
# ## Sensors that follow the network
#
# Sixty sensors, 0 to 600 ms. In this simulated brain the state of pass k is present around 80 k ms, smeared over time
# and buried in noise, through random mixing weights for each pass.

# %%
rng = np.random.default_rng(0)
milliseconds = np.arange(0, 601, 20)
patterns = (
    state.stack(unit=("channel", "y", "x"))
    .transpose("pass", "stimulus", "unit")
    .values.astype(float)
)
patterns -= patterns.mean(1, keepdims=True)
patterns /= np.sqrt((patterns**2).mean((1, 2), keepdims=True))
n_units = patterns.shape[2]
sources = np.stack(
    [
        pattern @ rng.normal(size=(n_units, 60)) / np.sqrt(n_units)
        for pattern in patterns
    ]
)
peak_times = 80 * np.arange(1, 7)
weight = np.exp(-0.5 * ((milliseconds - peak_times[:, None]) / 45) ** 2)  # (pass, time)
signal = np.einsum("pt,psn->snt", weight, sources)
sensors = nl.brain.responses(
    signal + 0.5 * rng.normal(size=signal.shape),
    stimulus=data.stimuli.ids,
    time=milliseconds / 1000,
)
print(sensors.dims, sensors.shape)

# %% [markdown]
# One RDM for each moment, and each compared with each pass:

# %%
moments = nl.rdm(sensors)
table = nl.compare_rdms(passes, moments, method="spearman")
figure, (left, right) = plt.subplots(1, 2, figsize=(8.6, 3.2), layout="constrained")
image = left.pcolormesh(
    milliseconds, table["pass"], table.transpose("pass", "time"), cmap="viridis"
)
left.plot(
    peak_times,
    np.arange(1, 7),
    "o",
    color="white",
    markeredgecolor="black",
    label="truth",
)
figure.get_layout_engine().set(wspace=0.08)
left.set(xlabel="time from onset (ms)", ylabel="pass")
left.legend(frameon=True, fontsize=8, loc="lower right")
figure.colorbar(image, ax=left, label="Spearman's rho")
for k, color in zip((1, 3, 6), ("#0072b2", "#009e73", "#d55e00"), strict=True):
    right.plot(milliseconds, table.sel({"pass": k}), color=color, label=f"pass {k}")
right.axhline(0, color="black", linewidth=0.8)
right.set(xlabel="time from onset (ms)", ylabel="Spearman's rho")
_ = right.legend(frameon=False, fontsize=8)

# %% [markdown]
# Later passes match later moments. Before you write that the network *explains the dynamics*, ask what a network
# without any would give.
#
# ## The control: what the first pass gives already
#
# Passes resemble each other, and so a network that ran once matches many moments. What a *later* pass adds is what is
# left when the RDM of pass 1 is taken out:

# %%
first = passes.sel({"pass": 1}, drop=True)
partial = nl.compare_rdms(
    passes.sel({"pass": slice(2, None)}), moments, method="spearman", control=first
)
figure, ax = plt.subplots(figsize=(5.5, 3), layout="constrained")
for k, color in zip((2, 4, 6), ("#0072b2", "#009e73", "#d55e00"), strict=True):
    ax.plot(
        milliseconds,
        partial.sel({"pass": k}),
        color=color,
        label=f"pass {k}",
    )
ax.axhline(0, color="black", linewidth=0.8)
ax.set(
    xlabel="time from onset (ms)",
    ylabel="partial similarity (rho)",
    ylim=(-0.05, 1.4 * float(partial.max())),
)
_ = ax.legend(
    title="without pass 1", frameon=False, fontsize=8, ncols=3, loc="upper center"
)

# %% [markdown]
# ## Many moments, one test
#
# Thirty-one moments are thirty-one chances to be lucky. One permutation of stimulus labels acts on all moments
# together, and each moment is held against the *largest* value over time. Moments take the place of models here: what
# is tested is whether each has to do with pass 6, as it is, and beyond pass 1.

# %%
late = passes.sel({"pass": 6}, drop=True)
for name, options in {
    "pass 6": {},
    "pass 6 without pass 1": {"control": first},
}.items():
    tested = nl.rsa.infer(
        moments, late, n_permutations=500, n_bootstraps=0, seed=0, **options
    )
    found = milliseconds[tested.p_corrected.values < 0.05]
    print(
        f"{name}: {len(found)} moments, from {found.min()} to {found.max()} ms"
        if len(found)
        else f"{name}: none"
    )

# %% [markdown]
# Without the control, pass 6 is "found" long before it is there, for it resembles what was there. With it, there is
# still much too early a beginning: passes 2 to 5 resemble pass 6, too. Only a comparison *between* passes says which
# one it is.

# %% [markdown]
# ## Exercises
#
# **1.** At what time, in ms, is pass 3 most similar to the sensors?

# %% tags=["exercise"]
peak = ...

# %% tags=["check"]
row = table.sel({"pass": 3})
check(
    peak,
    {
        "Give one number.": lambda value: np.ndim(value) == 0,
        "In milliseconds: the coord `time` is in seconds.": lambda value: (
            float(value) > 1
        ),
        "Choose pass 3 by its label: sel({'pass': 3}), then idxmax over time.": lambda value: (
            np.isclose(float(value), 1000 * float(row.idxmax("time")))
        ),
    },
)

# %% tags=["wrong"]
[row, 0.24, 1000 * float(row.idxmin("time"))]

# %% tags=["solution"]
peak = 1000 * float(table.sel({"pass": 3}).idxmax("time"))

# %% [markdown]
# **2.** Order: give Spearman's correlation between the number of a pass and the time of its peak, over the six
# passes.

# %% tags=["exercise"]
order = ...

# %% tags=["check"]
peaks = table.idxmax("time")
truth = float(spearmanr(peaks, peaks["pass"]).statistic)
check(
    order,
    {
        "Give one number between -1 and 1.": lambda value: (
            -1.001 <= float(value) <= 1.001
        ),
        "scipy.stats.spearmanr of table.idxmax('time') and table['pass'].": lambda value: (
            np.isclose(float(value), truth, atol=0.02)
        ),
    },
)

# %% tags=["wrong"]
[240, -truth]

# %% tags=["solution"]
order = float(spearmanr(table.idxmax("time"), table["pass"]).statistic)

# %% [markdown]
# **3.** A rival without loop: a model that is `first`, the RDM of pass 1, at all times. At the moment where pass 6 is
# most similar to the sensors, how much more similar is pass 6 than `first`? Give the difference of rho.

# %% tags=["exercise"]
gain = ...

# %% tags=["check"]
at = table.sel({"pass": 6}).idxmax("time").item()
truth = float(table.sel({"pass": 6, "time": at}) - table.sel({"pass": 1, "time": at}))
check(
    gain,
    {
        "Give one number.": lambda value: np.ndim(value) == 0,
        "Pass 6 minus pass 1: this is the other way round.": lambda value: (
            not np.isclose(float(value), -truth)
        ),
        "Take both at the time of the peak of pass 6.": lambda value: np.isclose(
            float(value), truth
        ),
    },
)

# %% tags=["wrong"]
[table.sel({"pass": 6}), -truth, truth + 0.1]

# %% tags=["solution"]
at = table.sel({"pass": 6}).idxmax("time").item()
gain = float(table.sel({"pass": 6, "time": at}) - table.sel({"pass": 1, "time": at}))

# %% [markdown]
# ## What can go wrong in a real study
#
# * **A diagonal is cheap.** Layers of a feed-forward network, in order of depth, give one too: signal-to-noise
#   rises and falls with time, and stages resemble their neighbours. Compare with a feed-forward model of the same
#   depth.
# * **Peaks of noisy curves** jump. Bootstrap the peak over stimuli and subjects before speaking of an order.
# * **Passes are not milliseconds.** Any increasing map from passes to time is a free choice; fix it before looking,
#   or choose it on other data.
# * **Filters smear time**, high-pass filters even backwards: an early effect may be a filtered late one.
# * **Thirty moments times six passes** are 180 tests. Correct over all of them.
#
# Further reading: Kietzmann et al. 2019, doi:10.1073/pnas.1905544116; Cichy et al. 2014, doi:10.1038/nn.3635.
