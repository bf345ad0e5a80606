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
# **You will be able to**: record every operation of a network, find one by its name, tell an operation from its passes,
# see which branch ran and why, and draw the graph.
#
# **Time**: 10 minutes to read, seconds to run. **Data**: `shapes80`, drawn by this project (see its card). Needs no
# network connection and no GPU.

# %%
import warnings

import torch
from torch import nn

import neurolens as nl

data = nl.datasets.fetch("shapes80")
print(data.card.title)

# %% [markdown]
# ## A small recurrent network
#
# The image is convolved once; the result is then refined by the same layer, four times. Nothing in this code knows
# that it will be recorded.


# %%
class Settling(nn.Module):
    """Feed-forward stem, recurrent refinement, readout."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 7, stride=4)
        self.refine = nn.Conv2d(8, 8, 3, padding=1)
        self.readout = nn.Linear(8, 4)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        state = torch.relu(self.stem(image))
        for _ in range(4):
            state = torch.tanh(state + self.refine(state))
        summary = state.mean((2, 3))
        if summary.abs().max() > 0.5:
            summary = summary / 2
        return self.readout(summary)


torch.manual_seed(0)
model = Settling().eval()
stimuli = data.stimuli.select(data.stimuli.ids[:6])


def to_tensor(image):
    """Turn a picture into numbers between 0 and 1: channel, y, x."""
    width, height = image.size
    pixels = torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8)
    return pixels.reshape(height, width, 3).permute(2, 0, 1) / 255


images = torch.stack([to_tensor(stimuli.read(index)) for index in range(len(stimuli))])

# %% [markdown]
# ## Every operation has an address
#
# `nl.trace` runs the model once. What comes back is a mapping from address to operation, in the order of execution. An
# address is the path of the module, then the plain name of the function. (A warning points at the line with the `if`:
# there, numbers left torch for Python, and Python decided what to run.)

# %%
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    trace = nl.trace(model, images)
print(trace)

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
print("depth:   ", round(operation.depth, 2), "(0 is the input, 1 the end of the longest path)")

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
# `trace.draw()` shows it in a notebook; with a path it writes a file. Any number can be its colour: here, how much of
# the activation is exactly zero.

# %%
zeros = {address: float((array == 0).mean()) for address, array in trace.activations.items()}
graph = trace.draw(color=zeros, label="share of zeros")
print(max(zeros, key=zeros.get), "is the sparsest")

# %% [markdown]
# ## Exercises
#
# 1. How many operations ran once, and how many more than once? (`operation.n_passes`)
# 2. Which operation has the most numbers per image? (`activation.sizes`)
# 3. Make the loop stop early when the state hardly changes. What are the branches of the operations after it?

# %% tags=["solution"]
once = [address for address, operation in trace.items() if operation.n_passes == 1]
assert len(once) == len(trace) - 3, "three operations ran in the loop: refine.conv2d, add, tanh"
sizes = {address: array.size for address, array in trace.activations.items() if "stimulus" in array.dims}
assert max(sizes, key=sizes.get) == "input", "the image itself"

# %% [markdown]
# ## What can go wrong in a real study
#
# * `keep="**"` holds every activation in memory. For many images use `nl.extract` (disk) or `nl.stream` (a budget).
# * An activation is that of *these* inputs in *this* mode: call `.eval()` first, or dropout and batch statistics are
#   in it.
# * Names are kept while the code is kept. They count places in a module's code: a line more in that module may move the
#   numbers after it, never those of another module.
