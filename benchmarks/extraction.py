"""Extraction: images to activations on disk, beside a hand-written hook loop and TorchLens; reading; memory; dask.

`python -m benchmarks.extraction` runs everything and saves the rows; `--small` only shows that it runs.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torchvision import models, transforms

from benchmarks.measuring import Row, Timing, interleave, read_peak_memory, run_apart, save
from neurolens.activations import extract, stream
from neurolens.activations import open as open_activations
from neurolens.activations.memory import keep_freed_memory
from neurolens.models import Model
from neurolens.stimuli import Stimuli
from neurolens.store import create_store

LAYERS = ("maxpool", "layer1", "layer2", "layer3", "layer4")
BATCH = 32
ONE_HEAP = {"distributed.nanny.pre-spawn-environ.MALLOC_ARENA_MAX": 1}  # as docs/clusters.md says
PREPARE = transforms.Compose(
    [
        transforms.Resize(256),
        transforms.CenterCrop(224),
        transforms.ToTensor(),
        transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
    ]
)


def main() -> None:
    """Run all rows, or the one task that a process of its own is asked for."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--peak", type=int, help="stimuli; prints peak memory as JSON")
    parser.add_argument("--store", type=Path)
    asked = parser.parse_args()
    if asked.peak:
        print(json.dumps({"peak": measure_peak(asked.peak, asked.store)}))
        return
    folder = Path(tempfile.mkdtemp(prefix="neurolens-bench-"))
    try:
        n_images, n_runs = (40, 1) if asked.small else (256, 3)
        images = make_images(folder / "images", 2 * n_images)
        layers, ours = compare_layers(images[:n_images], folder, n_runs)
        rows = [
            layers,
            compare_all(images[: 32 if asked.small else 128], folder, min(n_runs, 2)),
            compare_peak(folder, (200, 400) if asked.small else (200, 10_000)),
            compare_reading(folder, 20_000_000 if asked.small else 2_000_000_000, n_runs),
            compare_dask(images, folder, min(n_runs, 2)),
        ]
        if not asked.small:  # last: torch stays wrapped once it has run
            rows.insert(1, compare_torchlens(images[:n_images], folder, ours))
    finally:
        shutil.rmtree(folder)
    if asked.small:
        print("\n".join(f"{row.task}: {row.ours} against {row.peer}: {row.ratio}" for row in rows))
        return
    save("extraction", "Extraction: activations to disk", "python -m benchmarks.extraction", rows)


def make_images(folder: Path, n: int) -> list[Path]:
    """Write JPEG files of 500 x 375 pixels with structure at several scales, as photographs have."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    files = []
    for number in range(n):
        scales = [rng.uniform(0, 255, (3 * k, 4 * k, 3)) for k in (2, 10, 60)]
        layers = [Image.fromarray(s.astype(np.uint8)).resize((500, 375), 3) for s in scales]
        mixed = sum(
            np.asarray(layer, dtype=float) * w for layer, w in zip(layers, (0.5, 0.3, 0.2), strict=True)
        )
        files.append(folder / f"{number:05d}.jpg")
        Image.fromarray(mixed.clip(0, 255).astype(np.uint8)).save(files[-1], quality=90)
    return files


def make_model() -> torch.nn.Module:
    """A network whose weights need no download."""
    torch.manual_seed(0)
    return models.resnet18().eval()


def load(files: list[Path]) -> torch.Tensor:
    """Read a batch as a short script would."""
    return torch.stack([PREPARE(Image.open(file).convert("RGB")) for file in files])


def run_hooks(model: torch.nn.Module, files: list[Path], out: Path) -> None:
    """The loop that users write: hooks, batches, one .npy file a layer and batch, flushed at the end."""
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    kept: dict[str, np.ndarray] = {}

    def hook(name: str) -> torch.utils.hooks.RemovableHandle:
        return model.get_submodule(name).register_forward_hook(
            lambda module, args, output: kept.__setitem__(name, output.detach().clone().numpy())
        )

    handles = [hook(name) for name in LAYERS]
    with torch.no_grad():
        for start in range(0, len(files), BATCH):
            model(load(files[start : start + BATCH]))
            for name, values in kept.items():
                np.save(out / f"{name}_{start}.npy", values)
    for handle in handles:
        handle.remove()


def run_ours(model: torch.nn.Module, files: list[Path], out: Path, **options: object) -> None:
    """The same by extract."""
    shutil.rmtree(out, ignore_errors=True)
    loaded = Model(model, PREPARE, "resnet18", "seed 0", "torchvision's own")
    extract(loaded, Stimuli.from_files(files), out, batch_size=BATCH, progress=False, **options)  # type: ignore[arg-type]


def run_torchlens(model: torch.nn.Module, files: list[Path], out: Path) -> None:
    """The same by TorchLens' own extraction of a data set, to its own shards."""
    import torchlens

    shutil.rmtree(out, ignore_errors=True)
    images = (PREPARE(Image.open(file).convert("RGB")) for file in files)
    torchlens.extract_dataset(model, images, list(LAYERS), BATCH, output_dir=out, progress=False)


def compare_layers(images: list[Path], folder: Path, n_runs: int) -> tuple[Row, Timing]:
    """Five layers of resnet18 to disk; the time that ours takes is given beside the row."""
    model = make_model()
    cases = {
        "ours": lambda files=images: run_ours(model, files, folder / "ours", ops=list(LAYERS)),
        "hooks": lambda files=images: run_hooks(model, files, folder / "hooks"),
    }
    for case in cases.values():
        case(images[:BATCH])  # everything is imported
    times = interleave(cases, n_runs=n_runs, n_warmup=0)
    others = "a loop of hooks and .npy files"
    return _row(say_layers(images), times["ours"], times["hooks"], others, 0.95, len(images)), times["ours"]


def compare_torchlens(images: list[Path], folder: Path, ours: Timing) -> Row:
    """The same five layers by TorchLens."""
    model = make_model()
    lens = interleave({"lens": lambda: run_torchlens(model, images, folder / "lens")}, n_runs=1, n_warmup=0)[
        "lens"
    ]
    return _row(say_layers(images), ours, lens, "TorchLens", None, len(images))


def say_layers(images: list[Path]) -> str:
    """Name the task."""
    return f"resnet18, {len(images)} JPEG files, 5 layers to disk"


def compare_all(images: list[Path], folder: Path, n_runs: int) -> Row:
    """All operations of resnet18: against the slower of running the model and writing as many bytes."""
    model = make_model()
    inputs = [load(images[start : start + BATCH]) for start in range(0, len(images), BATCH)]
    stimuli = Stimuli.from_array(torch.cat(inputs), ids=[file.stem for file in images])
    out = folder / "all"

    def ours() -> None:
        shutil.rmtree(out, ignore_errors=True)
        extract(model, stimuli, out, batch_size=BATCH, progress=False)

    def forward() -> None:
        with torch.no_grad():
            for batch in inputs:
                model(batch)

    ours()
    n_bytes = sum(file.stat().st_size for file in out.rglob("*") if file.is_file())
    block = np.random.default_rng(0).bytes(16_000_000)

    def write() -> None:
        with (folder / "one.bin").open("wb") as stream:
            for _ in range(n_bytes // len(block)):
                stream.write(block)
            stream.flush()
            os.fsync(stream.fileno())
        (folder / "one.bin").unlink()

    times = interleave({"ours": ours, "forward": forward, "write": write}, n_runs=n_runs, n_warmup=0)
    slower = max((times["forward"], times["write"]), key=lambda timing: timing.wall)
    name = "the plain forward" if slower is times["forward"] else "writing one file"
    task = f"resnet18, {len(images)} images, all operations ({n_bytes / 1e9:.2g} GB) to disk"
    row = _row(task, times["ours"], slower, f"{name}, the slower of both", 0.85, len(images))
    return replace(
        row,
        limit=measure_limit(model, stimuli, folder / "limit", times["forward"].cpu / len(inputs), n_runs),
        note="how fast the system's cache takes files changes by the moment: the first section has slowest and fastest",
    )


def measure_limit(model: torch.nn.Module, stimuli: Stimuli, folder: Path, plain: float, n_runs: int) -> str:
    """Say what would be reached if all cores were always busy, computing and storing; `plain` is CPU a batch."""
    batch = stimuli.select(stimuli.ids[:BATCH])
    x = torch.stack([batch.read(index) for index in range(BATCH)])
    arrays = {address: array.copy() for address, array in stream(model, batch, progress=False).items()}

    def compute() -> None:
        with torch.no_grad():
            model(x)

    shutil.rmtree(folder, ignore_errors=True)
    with (
        keep_freed_memory(),
        create_store(folder, stimuli=batch.coords(), attrs={}, block_size=BATCH) as writer,
    ):
        for address, array in arrays.items():
            writer.declare(address, dims=array.dims, shape=array.shape, dtype=array.dtype, attrs={})
        values = {address: array.values for address, array in arrays.items()}
        times = interleave(
            {"compute": compute, "store": lambda: writer.write_block(0, values)}, n_runs=n_runs
        )
    shutil.rmtree(folder)
    cpus = times["compute"].cpu, times["store"].cpu
    size = sum(array.nbytes for array in values.values()) / 1e9
    bound = plain / sum(cpus)
    return (
        f"{bound:.2f} x the plain forward ({plain:.2f} s of CPU a batch) with all cores always busy: "
        f"{cpus[0]:.2f} s a batch to compute in memory that is used again, and "
        f"{cpus[1]:.2f} s to compress, sum and write its {size:.2g} GB ({cpus[1] / size:.2f} s a GB)"
    )


def _row(task: str, ours: Timing, peer: Timing, name: str, target: float | None, n: int) -> Row:
    ratio = peer.wall / ours.wall
    return Row(
        task=task,
        ours=f"{n / ours.wall:.3g} images/s ({ours})",
        peer=f"{name}: {n / peer.wall:.3g} images/s ({peer})",
        ratio=f"{ratio:.2f} x the speed",
        target="" if target is None else f">= {target} x",
        met=None if target is None else ratio >= target,
    )


def measure_peak(n: int, store: Path) -> int:
    """Extract from `n` small images and return the most memory that was resident."""
    torch.set_num_threads(1)
    model = torch.nn.Sequential(
        torch.nn.Conv2d(3, 32, 3), torch.nn.ReLU(), torch.nn.Conv2d(32, 32, 3), torch.nn.Flatten()
    ).eval()
    data = _Noise(n)
    extract(model, Stimuli.from_dataset(data), store, batch_size=BATCH, progress=False)
    return read_peak_memory()


class _Noise(torch.utils.data.Dataset):  # type: ignore[type-arg]
    """Images that are made when they are read."""

    def __init__(self, n: int) -> None:
        self.n = n

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, index: int) -> torch.Tensor:
        return torch.rand(3, 32, 32, generator=torch.Generator().manual_seed(index))


def compare_peak(folder: Path, sizes: tuple[int, int]) -> Row:
    """Peak memory of many stimuli against that of few, each in a process of its own."""
    peaks = [
        run_apart("benchmarks.extraction", "--peak", str(n), "--store", str(folder / f"peak{n}"))["peak"]
        for n in sizes
    ]
    return Row(
        task=f"peak memory of {sizes[1]:,} stimuli",
        ours=f"{peaks[1] / 1e6:.0f} MB",
        peer=f"{sizes[0]} stimuli: {peaks[0] / 1e6:.0f} MB",
        ratio=f"{peaks[1] / peaks[0]:.2f} x the memory",
        target="<= 1.1 x",
        met=peaks[1] <= 1.1 * peaks[0],
    )


def compare_reading(folder: Path, n_bytes: int, n_runs: int) -> Row:
    """Read one operation of an uncompressed store, and the same bytes from a numpy.memmap."""
    n_features = 200_704  # layer1 of resnet18
    n = n_bytes // (2 * 4 * n_features)
    x = torch.randn(n, 16)
    model = torch.nn.Sequential(torch.nn.Linear(16, n_features), torch.nn.ReLU()).eval()
    stimuli = Stimuli.from_array(x, ids=range(n))
    extract(model, stimuli, folder / "read", ops=["0", "1"], compression="none", progress=False)
    values = open_activations(folder / "read")["1"].values
    values.tofile(folder / "read.bin")
    shape = values.shape
    del values

    def ours() -> None:
        open_activations(folder / "read")["1"].values.sum()

    def memmap() -> None:
        np.array(np.memmap(folder / "read.bin", dtype=np.float32, mode="r", shape=shape)).sum()

    times = interleave({"ours": ours, "memmap": memmap}, n_runs=n_runs)
    ratio = times["memmap"].wall / times["ours"].wall
    size = 4 * n * n_features / 1e9
    return Row(
        task=f"reading one operation ({size:.2g} GB) of an uncompressed store, checksums included",
        ours=f"{size / times['ours'].wall:.2g} GB/s",
        peer=f"numpy.memmap: {size / times['memmap'].wall:.2g} GB/s",
        ratio=f"{ratio:.2f} x the speed",
        target=">= 0.7 x",
        met=ratio >= 0.7,
    )


def compare_dask(images: list[Path], folder: Path, n_runs: int) -> Row:
    """Two workers of one thread each against a serial run of two threads."""
    import dask
    from distributed import Client, LocalCluster

    model = make_model()
    with (
        dask.config.set(ONE_HEAP),
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as cluster,
        Client(cluster) as client,
    ):
        plain = client.scatter(model, broadcast=True)
        batches = [images[start : start + BATCH] for start in range(0, len(images), BATCH)]
        cases = {
            "serial": lambda: run_ours(model, images, folder / "serial", ops=list(LAYERS)),
            "dask": lambda: run_ours(model, images, folder / "dask", ops=list(LAYERS), client=client),
            "plain": lambda: client.gather(client.map(run_plain, batches, model=plain, pure=False)),
        }
        few = images[: 2 * BATCH]  # workers import what they need
        run_ours(model, few, folder / "dask", ops=list(LAYERS), client=client)
        times = interleave(cases, n_runs=n_runs, n_warmup=0)
    alone = times["serial"].wall / times["plain"].wall
    dask_row = _row(
        f"resnet18, {len(images)} JPEG files, 5 layers, 2 dask workers",
        times["dask"],
        times["serial"],
        "a serial run with 2 threads",
        0.9,
        len(images),
    )
    return replace(
        dask_row,
        limit=f"reading and the forward alone, on the same workers, {alone:.2f} x",
        note="the first block is computed before others are handed out: it plans the run; the model is sent each time",
    )


def run_plain(files: list[Path], model: torch.nn.Module) -> None:
    """Read a batch and run the model, and that is all."""
    with torch.inference_mode():
        model(load(files))


if __name__ == "__main__":
    begin = time.perf_counter()
    main()
    print(f"{time.perf_counter() - begin:.0f} s", file=sys.stderr)
