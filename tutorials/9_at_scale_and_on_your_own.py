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
# # 9 · At scale, and on your own
#
# **You will be able to**: use your own model and your own folder of images, make activations small before they
# reach the disk, take up a run that was killed, spread it over workers, and write the job for a SLURM cluster.
#
# **Time**: 30 minutes with the exercises, half a minute to run. **Data**: `shapes80`, 80 pictures drawn by this
# project, embedded, written to a folder as if they were yours. No network connection, no GPU, no cluster.
#
# **Real data**: `REAL = True` below, or the environment variable `NEUROLENS_TUTORIALS=real`, takes 92 photographs
# (`kriegeskorte92`, 4.8 MB, read from the folder that `NEUROLENS_DATA` names, else downloaded by checksum) and the
# trained first stages of EfficientNet-Lite0 (17 MB, from a package). For data of your own, change `images`, `prepare`
# and `Mine`.
#
# **Licence**: BSD-3-Clause, text and pictures; the network is Apache-2.0; the photographs have no licence of their
# own: look at them, do not pass them on.

# %%
import hashlib
import os
import tempfile
from pathlib import Path

import numpy as np
import torch
from dask.distributed import Client
from dask_jobqueue import SLURMCluster
from torch import nn

import neurolens as nl
from neurolens.errors import ResumeError
from neurolens.testing import check

REAL = os.environ.get("NEUROLENS_TUTORIALS") == "real"  # True: real data
folder = Path(tempfile.mkdtemp())

# %% [markdown]
# ## Your images
#
# Any folder will do; the name of a file is the id of the stimulus. A table with a column of paths (`from_frame`),
# arrays (`from_array`), texts (`from_texts`) and torch datasets work as well.

# %%
images = folder / "images"  # yours: Path("the/folder/of/your/images")
if not images.exists():
    source = nl.datasets.fetch("kriegeskorte92" if REAL else "shapes80").stimuli
    images.mkdir()
    for i, name in enumerate(source.ids):
        source.read(i).save(images / f"{name}.png")


def prepare(picture):
    """Turn a picture into what the model wants: a tensor (channel, y, x) around 0."""
    picture = picture.convert("RGB").resize((160, 160))
    return torch.from_numpy(np.asarray(picture, dtype=np.float32) / 127.5 - 1).permute(
        2, 0, 1
    )


stimuli = nl.Stimuli.from_folder(images, transform=prepare)
print(stimuli)

# %% [markdown]
# ## Your model
#
# Any `nn.Module`, as it is. Nothing is registered, no layer list written; the transform above is its preprocessing.
# To use it by name, in scripts and on workers, point at the file: `nl.load_model("my_models.py:make_model")`.


# %%
def make_features():
    """Return three stages, and how many channels the last one gives."""
    if not REAL:
        read, relu = nn.Conv2d(3, 16, 7, stride=3), nn.ReLU()
        return nn.Sequential(read, relu, nn.Conv2d(16, 32, 5, stride=2)), 32
    trained = nl.load_model("wheel:efficientnet_lite0").module
    stem = nn.Sequential(trained.conv_stem, trained.bn1)
    return nn.Sequential(stem, *trained.blocks[:2]), 24


class Mine(nn.Module):
    """A small network of one's own."""

    def __init__(self) -> None:
        super().__init__()
        self.features, width = make_features()
        self.readout = nn.Linear(width, 8)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.readout(torch.relu(self.features(image)).mean((2, 3)))


torch.manual_seed(0)
model = Mine().eval()
stages = ["features.0", "features.2", "readout"]
ops = stages if REAL else "**"  # with a trained network, all operations are gigabytes
store = nl.extract(
    model, stimuli, folder / "whole", ops=ops, batch_size=16, progress=False
)
print(list(store))


def measure_size(path):
    """Return the bytes of all files below a folder."""
    return sum(file.stat().st_size for file in Path(path).rglob("*") if file.is_file())


print(f"{measure_size(folder / 'whole') / 1e6:.1f} MB for {len(stimuli)} images")

# %% [markdown]
# ## Small before the disk
#
# For a million images that would be a lot. Distances need few numbers: a random projection keeps those of any two
# stimuli to within some percent (Johnson and Lindenstrauss), without looking at the data. Pooling over place is
# smaller still, but it *is* another representation.

# %%
projected = nl.extract(
    model,
    stimuli,
    folder / "projected",
    ops=ops,
    batch_size=16,
    progress=False,
    reduce=nl.activations.RandomProjection(300, seed=0),
)
for name in ("features.0", "features.2"):
    exact, approximate = (
        nl.rdm(store[name], metric="euclidean"),
        nl.rdm(projected[name], metric="euclidean"),
    )
    pairs = np.triu_indices(len(stimuli), 1)
    error = abs(approximate.values[pairs] / exact.values[pairs] - 1).mean()
    print(
        f"{name}: {store[name][0].size:,} -> {projected[name][0].size} numbers; distances off by {error:.1%} on average"
    )
print(
    f"{measure_size(folder / 'projected') / measure_size(folder / 'whole'):.1%} of the disk"
)

# %% [markdown]
# ## Killed, and taken up again
#
# Long runs die: the power, the queue, the colleague. Here the reading of images fails after some of them. The same
# call again computes only the blocks that are missing.

# %%
log, blackout = folder / "read.log", folder / "blackout"


def prepare_while_powered(picture):
    """Prepare a picture, note that it was read, and fail after thirty where there is a blackout."""
    with log.open("a") as file:
        file.write("x")
    if blackout.exists() and log.stat().st_size > 30:
        raise RuntimeError("the power is gone")
    return prepare(picture)


fragile = nl.Stimuli.from_folder(images, transform=prepare_while_powered)


def extract_readout(name):
    """Extract the readout of all images, ten in a block."""
    log.write_text("")
    nl.extract(
        model, fragile, folder / name, ops="readout", batch_size=10, progress=False
    )


blackout.touch()
try:
    extract_readout("broken")
except Exception as error:
    print("stopped:", str(error).splitlines()[0])
n_before = log.stat().st_size

# %%
blackout.unlink()
extract_readout("broken")
n_again = log.stat().st_size
extract_readout("unbroken")
n_whole = log.stat().st_size
print(
    f"read before the failure: {n_before}; to finish: {n_again}; in one go: {n_whole}"
)


def hash_store(path):
    """Return one hash of every file of a store and its content."""
    files = sorted(file for file in Path(path).rglob("*") if file.is_file())
    digest = hashlib.sha256()
    for file in files:
        digest.update(str(file.relative_to(path)).encode() + file.read_bytes())
    return digest.hexdigest()


print(
    "bit-identical:", hash_store(folder / "broken") == hash_store(folder / "unbroken")
)

# %% [markdown]
# A run with another model, other weights, images or settings is not taken up, but refused by name. Half a store of
# one network and half of another can't happen.

# %%
torch.manual_seed(1)
try:
    nl.extract(
        Mine().eval(),
        fragile,
        folder / "broken",
        ops="readout",
        batch_size=10,
        progress=False,
    )
except ResumeError as error:
    print(str(error).splitlines()[0])

# %% [markdown]
# The code of the transform counts, too: had a number in it changed between the calls, the store would be refused.
#
# ## Workers
#
# Blocks do not depend on each other, so they can be computed anywhere that sees the folder. `client=` hands them to
# the workers of dask; one that dies loses nothing. Here: two workers in this process.

# %%
with Client(
    processes=False, n_workers=2, threads_per_worker=1, dashboard_address=":0"
) as client:
    nl.extract(
        model,
        stimuli,
        folder / "spread",
        ops="readout",
        batch_size=10,
        progress=False,
        client=client,
    )
spread, alone = nl.open(folder / "spread"), nl.open(folder / "unbroken")
print("same numbers:", np.allclose(spread["readout"], alone["readout"], atol=1e-6))

# %% [markdown]
# ## SLURM
#
# On a cluster the workers are jobs. `dask-jobqueue` writes them; nothing is submitted before `scale`. Look at the job
# first:

# %%
cluster = SLURMCluster(
    queue="gpu",
    account="brainlab",
    cores=1,  # blocks at once in a job
    processes=1,  # one model each
    job_cpu=8,  # cores of the job: torch uses them
    memory="32GB",
    walltime="04:00:00",
    job_extra_directives=["--gres=gpu:1"],
    job_script_prologue=["export OMP_NUM_THREADS=8"],
    scheduler_options={"dashboard_address": None},
)
job = cluster.job_script()
cluster.close()
print(
    "\n".join(
        line for line in job.splitlines() if line.startswith(("#SBATCH", "export"))
    )
)

# %% [markdown]
# On the cluster, and only there (this is not run here):
#
#     cluster.scale(jobs=10)
#     with Client(cluster) as client:
#         nl.extract(model, stimuli, "/project/acts.zarr", ops="features.*", client=client)
#
# A time limit that ends a job is no harm: submit again, and the run goes on.
#
# ## Exercises
#
# **1.** How many images did the second call save, compared with beginning anew?

# %% tags=["exercise"]
saved = ...

# %% tags=["check"]
check(
    saved,
    {
        "Give a number of images.": lambda n: int(n) == n,
        "Something was saved: whole blocks of ten that were on disk.": lambda n: n > 0,
        "What one go reads, minus what finishing read.": lambda n: (
            n == n_whole - n_again
        ),
    },
)

# %% tags=["wrong"]
[2.5, 0, n_again]

# %% tags=["solution"]
saved = n_whole - n_again

# %% [markdown]
# **2.** Average over place instead: extract `features.2` with `nl.activations.Pooling()` into `folder / "pooled"`.
# How similar is its Euclidean RDM to the exact one (Spearman)? Give the number.

# %% tags=["exercise"]
similarity = ...

# %% tags=["check"]
check(
    similarity,
    {
        "Give one number.": lambda value: np.ndim(value) == 0,
        "A reduction may cost something: 1 is too good. Was the store reduced?": lambda value: (
            float(value) < 0.9999
        ),
        "Compare both with metric='euclidean' and method='spearman'.": lambda value: (
            np.isclose(
                float(value),
                float(
                    nl.compare_rdms(
                        nl.rdm(
                            store["features.2"].mean(("y", "x")), metric="euclidean"
                        ),
                        nl.rdm(store["features.2"], metric="euclidean"),
                        method="spearman",
                    )
                ),
                atol=1e-3,
            )
        ),
    },
)

# %% tags=["wrong"]
[[0.9], 1.0, 0.1]

# %% tags=["solution"]
pooled = nl.extract(
    model,
    stimuli,
    folder / "pooled",
    ops="features.2",
    reduce=nl.activations.Pooling(),
    progress=False,
)
similarity = float(
    nl.compare_rdms(
        nl.rdm(pooled["features.2"], metric="euclidean"),
        nl.rdm(store["features.2"], metric="euclidean"),
        method="spearman",
    )
)

# %% [markdown]
# **3.** Plan a study of 73,000 images (as many as the Natural Scenes Dataset has). How many gigabytes (10⁹ bytes)
# would `features.0` alone take, as float32 and before compression?

# %% tags=["exercise"]
gigabytes = ...

# %% tags=["check"]
size = store["features.0"][0].size * 4 * 73_000 / 1e9
check(
    gigabytes,
    {
        "Give one number.": lambda value: np.ndim(value) == 0,
        "A float32 takes 4 bytes.": lambda value: (
            not np.isclose(float(value), size / 4, rtol=0.01)
        ),
        "Numbers of one image x 4 bytes x 73,000 / 10⁹.": lambda value: np.isclose(
            float(value), size, rtol=0.01
        ),
    },
)

# %% tags=["wrong"]
[[size], size / 4, 1e-9 * size]

# %% tags=["solution"]
gigabytes = store["features.0"].isel(stimulus=0).size * 4 * 73_000 / 1e9

# %% [markdown]
# ## What can go wrong in a real study
#
# * **A transform that is not the model's.** Your own model has no preprocessing but yours: use that of its training.
# * **`.eval()` and loaded weights.** `extract` runs in eval mode; whether the checkpoint was loaded, it can't know.
#   Score a few images against published accuracy.
# * **Renamed images** are other stimuli. Ids are the join with brain data: choose them before the scan.
# * **Reducing before deciding.** Pooling and PCA can't be undone: a question about place needs place. PCA fitted on
#   all stimuli has seen the test stimuli.
# * **Other machines, other bits.** Another number of threads, a GPU, another version of torch change the last digits.
#   The store says what it was made with.
# * **Disk quotas** end runs at night. The size is estimated before anything is written: read the estimate.
