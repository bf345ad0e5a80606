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
# # 1 · What a network computes
#
# **You will be able to**: record every operation of a network, find one by its name, tell an operation from its
# passes, see which branch ran and why, and draw the graph.
#
# **Time**: 20 minutes with the exercises, seconds to run. **Data**: six pictures of `shapes80`, drawn by this
# project, embedded. No network connection, no GPU.
#
# **Real data**: `REAL = True` below, or the environment variable `NEUROLENS_TUTORIALS=real`, takes photographs
# (`kriegeskorte92`, 4.8 MB, read from the folder that `NEUROLENS_DATA` names, else downloaded by checksum) and the
# trained first stages of EfficientNet-Lite0 (17 MB, from a package).
#
# **Licence**: BSD-3-Clause, text and pictures; the network is Apache-2.0; the photographs have no licence of their
# own: look at them, do not pass them on.

# %%
import os
import warnings

import torch
from IPython.display import SVG
from torch import nn

import neurolens as nl
from neurolens.testing import check

REAL = os.environ.get("NEUROLENS_TUTORIALS") == "real"  # True: real data
data = nl.datasets.fetch("kriegeskorte92" if REAL else "shapes80")
print(data.card.title)

# %% [markdown]
# ## A small recurrent network
#
# The image is read once, by the *stem*; the result is then refined by the same layer, four times. The stem is a
# convolution with random weights or, with real data, what EfficientNet-Lite0 does up to its second block, trained on
# a million photographs. Nothing in this code knows that it will be recorded.


# %%
def make_stem():
    """Return what reads the picture, and how many channels it gives."""
    if not REAL:
        return nn.Conv2d(3, 8, 7, stride=4), 8
    trained = nl.load_model("wheel:efficientnet_lite0").module
    return nn.Sequential(trained.conv_stem, trained.bn1, trained.blocks[:2]), 24


class Settling(nn.Module):
    """Feed-forward stem, recurrent refinement, readout."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, width = make_stem()
        self.refine = nn.Conv2d(width, width, 3, padding=1)
        self.readout = nn.Linear(width, 4)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        drive = state = torch.relu(self.stem(image))
        for _ in range(4):
            state = torch.tanh(drive + self.refine(state))
        summary = state.mean((2, 3))
        if summary.abs().max() > 0.3:
            summary = summary / 2
        return self.readout(summary)


torch.manual_seed(0)
model = Settling().eval()
every = len(data.stimuli) // 6
stimuli = data.stimuli.select(data.stimuli.ids[: 6 * every : every])


def to_tensor(image):
    """Turn a picture into numbers between -1 and 1: channel, y, x."""
    width, height = image.size
    pixels = torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8)
    return pixels.reshape(height, width, 3).permute(2, 0, 1) / 127.5 - 1


images = torch.stack([to_tensor(stimuli.read(index)) for index in range(len(stimuli))])

# %% [markdown]
# ## Every operation has an address
#
# `nl.trace` runs the model once. What comes back is a mapping from address to operation, in the order of execution.
# An address is the path of the module, then the plain name of the function. (A warning points at the line with the
# `if`: there, numbers left torch for Python, and Python decided what to run.)

# %%
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    trace = nl.trace(model, images)
print(trace)


# %% [markdown]
# The exercises trace models of yours; this keeps them short, and starts every model from the same weights.


# %%
def trace_quietly(kind):
    """Trace a new model of this kind, without the warning about its branches."""
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return nl.trace(kind().eval(), images)


# %% [markdown]
# ## Passes: the same operation, again
#
# The loop ran four times, and its operations have four *passes*. All passes together are one array with a dim `pass`:
# recurrence becomes an axis that you can index, average, or compare with time-resolved data.

# %%
settling = trace["tanh"].activation
print(settling.dims, settling.shape)
change = abs(settling.diff("pass")).mean(("stimulus", "channel", "y", "x"))
print("mean change from pass to pass:", change.values.round(3))

# %% [markdown]
# `"tanh:2"` is the second pass alone; a module's path means what the module returned.

# %%
print(trace["tanh:2"].activation.shape)
print(trace["stem"].activation.dims)

# %% [markdown]
# ## Which branch ran, and who decided?

# %%
branch = trace["div"].branch
print(branch.source.text, "->", branch.taken, "decided by", branch.decided_by)

# %% [markdown]
# ## Where does an operation come from?

# %%
operation = trace["add"]
print("code:    ", operation.source.text)
print("parents: ", [parent.address for parent in operation.passes[0].parents])
print(
    "depth:   ",
    round(operation.depth, 2),
    "(0 is the input, 1 the end of the longest path)",
)

# %% [markdown]
# ## Is it all true?
#
# A recording is a claim about what happened. `validate` proves it: it runs the model without recording, runs every
# operation again from the kept activations of its parents, changes parents to see that children change, and counts
# the kernels that ran outside every operation.

# %%
report = trace.validate()
print(report)

# %% [markdown]
# ## The graph
#
# `trace.draw()` shows it in a notebook; with a path it writes a file. `rolled=True` draws the four passes of an
# operation as one box, and a loop where a pass reads the one before. Any number can be the colour: here, how much of
# the activation is exactly zero.

# %%
zeros = {
    address: float((array == 0).mean()) for address, array in trace.activations.items()
}
print(max(zeros, key=zeros.get), "is the sparsest")
trace.draw("graph.svg", color=zeros, label="share of zeros", rolled=True)
SVG("graph.svg")

# %% [markdown]
# ## Exercises
#
# Write your answer in place of the `...`, run the cell, then run the check below it. The solution is folded away
# under the check: look only after you tried.
#
# **1.** How many operations ran exactly once? (`operation.n_passes`; the trace is a mapping, so `trace.values()`.)

# %% tags=["exercise"]
n_once = ...

# %% tags=["check"]
check(
    n_once,
    {
        "Count operations, not passes: three operations ran in the loop.": lambda n: (
            n != len(trace.steps)
        ),
        "Leave out those that ran four times.": lambda n: n < len(trace),
        "Ask every operation for its n_passes.": lambda n: n == len(trace) - 3,
    },
)

# %% tags=["wrong"]
[len(trace.steps), len(trace), 0]

# %% tags=["solution"]
n_once = sum(operation.n_passes == 1 for operation in trace.values())

# %% [markdown]
# **2.** Which operation, apart from the input, keeps the most numbers? Give its address. (`trace.activations` is a
# mapping from address to labelled array; an array has a `.size`.)

# %% tags=["exercise"]
largest = ...

# %% tags=["check"]
check(
    largest,
    {
        "Give an address, such as 'refine.conv2d'.": lambda address: address in trace,
        "The input is given, not computed.": lambda address: address != "input",
        "Another operation has more: the passes of a loop count, too.": lambda address: (
            trace.activations[address].size
            == max(
                array.size
                for name, array in trace.activations.items()
                if name != "input"
            )
        ),
    },
)

# %% tags=["wrong"]
["stem convolution", "input", "mean"]

# %% tags=["solution"]
sizes = {
    address: array.size
    for address, array in trace.activations.items()
    if address != "input"
}
largest = max(sizes, key=sizes.get)

# %% [markdown]
# **3.** A network may decide for itself when to stop. Write `Stopping`: as `Settling`, but at most ten steps, and it
# leaves the loop once no value of the state changes by more than 0.05 in a step. How many passes are recorded?


# %% tags=["exercise"]
class Stopping(Settling):
    """Your answer: write its forward."""

    def forward(self, image): ...


# %% tags=["check"]
def count_passes(kind, function):
    """Return how often this function ran at one place of this model, at most."""
    return max(
        (
            operation.n_passes
            for address, operation in trace_quietly(kind).items()
            if address.split("_")[0] == function
        ),
        default=0,
    )


def count_steps():
    """Return after how many steps the state of Settling has settled."""
    torch.manual_seed(0)
    settling = Settling().eval()
    drive = before = torch.relu(settling.stem(images))
    state, n_steps = torch.tanh(drive + settling.refine(before)), 1
    while (state - before).abs().max() > 0.05 and n_steps < 10:
        before, state = state, torch.tanh(drive + settling.refine(state))
        n_steps += 1
    return n_steps


check(
    Stopping,
    {
        "forward has to return what the readout gives.": lambda kind: (
            kind().eval()(images).shape == (6, 4)
        ),
        "A tanh in a loop has several passes.": lambda kind: (
            trace_quietly(kind)["tanh"].n_passes > 1
        ),
        "It has to stop before ten steps on these images.": lambda kind: (
            trace_quietly(kind)["tanh"].n_passes < 10
        ),
        "The state decides: compare it (<, >) with 0.05 in every step.": lambda kind: (
            count_passes(kind, "tanh") - 1
            <= max(count_passes(kind, name) for name in ("lt", "le", "gt", "ge"))
        ),
        "It stopped too early or too late: the *largest* change has to be 0.05 at most.": lambda kind: (
            trace_quietly(kind)["tanh"].n_passes == count_steps()
        ),
    },
)


# %% tags=["wrong"]
class WithoutReadout(Settling):
    """Wrong: returns the state."""

    def forward(self, image):
        return self.stem(image)


class WithoutLoop(Settling):
    """Wrong: one step."""

    def forward(self, image):
        return self.readout(torch.tanh(self.stem(image)).mean((2, 3)))


class WithoutStop(Settling):
    """Wrong: ten steps, always."""

    def forward(self, image):
        drive = state = torch.relu(self.stem(image))
        for _ in range(10):
            state = torch.tanh(drive + self.refine(state))
        return self.readout(state.mean((2, 3)))


class TooEarly(Settling):
    """Wrong: waits for the mean change, not for the largest."""

    def forward(self, image):
        drive = state = torch.relu(self.stem(image))
        for _ in range(10):
            before, state = state, torch.tanh(drive + self.refine(state))
            if (state - before).abs().mean() < 0.05:
                break
        return self.readout(state.mean((2, 3)))


[WithoutReadout, WithoutLoop, WithoutStop, Settling, TooEarly]


# %% tags=["solution"]
class Stopping(Settling):
    """Stop when the state has settled."""

    def forward(self, image):
        drive = state = torch.relu(self.stem(image))
        for _ in range(10):
            new = torch.tanh(drive + self.refine(state))
            change = (new - state).abs().max()
            state = new
            if change < 0.05:
                break
        return self.readout(state.mean((2, 3)))


# %% [markdown]
# ## What can go wrong in a real study
#
# * `keep="**"` holds every activation in memory. For many images use `nl.extract` (disk) or `nl.stream` (a budget).
# * An activation is that of *these* inputs in *this* mode: call `.eval()` first, or dropout and batch statistics are
#   in it.
# * Names are kept while the code is kept. They count places in a module's code: a line more in that module may move
#   the numbers after it, never those of another module.
