"""Small sets in the layout each is published in, with values whose place in the answer is known."""

from __future__ import annotations

import h5py
import nibabel
import numpy as np
import pandas as pd
import xarray as xr
from PIL import Image
from scipy.io import savemat

AFFINE = np.diag([1.8, 1.8, 1.8, 1])
NSD_SHAPE = (5, 4, 3)
NSD_TRIALS = 750


def write_image(path, values, affine=AFFINE):
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.Nifti1Image(np.asarray(values), affine).to_filename(path)


def write_photographs(folder, names, size=16):
    folder.mkdir(parents=True, exist_ok=True)
    for k, name in enumerate(names):
        Image.fromarray(np.full((size, size, 3), k % 250, dtype="uint8")).save(folder / name)


def make_nsd_atlases():
    visual, streams = np.zeros(NSD_SHAPE, "int16"), np.full(NSD_SHAPE, -1, "int16")
    visual[0], visual[1], visual[2] = 1, 2, 7  # V1v, V1d, hV4
    streams[:3], streams[3] = 1, 5  # early, ventral
    return visual, streams


def write_nsd(root, subjects=(1, 2), n_sessions=2):
    """Betas turned round as MATLAB writes them, whole numbers of 300 times the % signal change."""
    rng = np.random.default_rng(0)
    n_images = 400
    order = np.r_[
        rng.permutation(n_images), rng.permutation(n_images), rng.permutation(n_images), np.arange(400)
    ]
    order = np.r_[order, rng.permutation(n_images)][:1500] % n_images
    images = np.stack([np.r_[np.arange(1, 101), 100 + 300 * s + np.arange(1, 301)] for s in range(8)])
    design = {"masterordering": order[None] + 1, "subjectim": images, "sharedix": np.arange(1, 101)[None]}
    (root / "nsddata/experiments/nsd").mkdir(parents=True)
    savemat(root / "nsddata/experiments/nsd/nsd_expdesign.mat", design)
    visual, streams = make_nsd_atlases()
    betas = {}
    for subject in subjects:
        name = f"subj{subject:02d}"
        rois = root / f"nsddata/ppdata/{name}/func1pt8mm/roi"
        write_image(rois / "prf-visualrois.nii.gz", visual)
        write_image(rois / "streams.nii.gz", streams)
        folder = root / f"nsddata_betas/ppdata/{name}/func1pt8mm/betas_fithrf_GLMdenoise_RR"
        write_image(folder / "ncsnr.nii.gz", np.arange(60, dtype="float32").reshape(NSD_SHAPE) / 40)
        betas[name] = rng.normal(2, 3, size=(n_sessions, NSD_TRIALS, *NSD_SHAPE))
        for session in range(n_sessions):
            with h5py.File(folder / f"betas_session{session + 1:02d}.hdf5", "w") as file:
                stored = np.round(betas[name][session] * 300).astype("int16").transpose(0, 3, 2, 1)
                file.create_dataset("betas", data=stored, chunks=(1, *stored.shape[1:]))
    (root / "nsddata_stimuli/stimuli/nsd").mkdir(parents=True)
    with h5py.File(root / "nsddata_stimuli/stimuli/nsd/nsd_stimuli.hdf5", "w") as file:
        brick = np.zeros((2600, 6, 6, 3), dtype="uint8")
        brick[:, 0, 0, 0] = np.arange(2600) % 256
        file["imgBrick"] = brick
    return betas, images, order


def write_things(root, subjects=("sub-01", "sub-02"), n_voxels=12):
    """Tables as pandas writes them: the response table in its "fixed" HDF5 form, one row a voxel."""
    rng = np.random.default_rng(0)
    names = [f"concept{k}_{e:02d}s.jpg" for k in range(10) for e in range(2)] + ["catch.jpg"]
    tests = [f"test{k}_14n.jpg" for k in range(5)] * 12
    shown = rng.permutation(names + tests)
    kinds = ["catch" if s == "catch.jpg" else "test" if s.startswith("test") else "train" for s in shown]
    trials = pd.DataFrame(
        {
            "trial_type": kinds,
            "session": 1,
            "run": 1 + np.arange(len(shown)) // 9,
            "subject_id": 1,
            "stimulus": shown,
        }
    )
    values = {}
    root = root / "betas_csv"
    root.mkdir(parents=True)
    for subject in subjects:
        voxels = pd.DataFrame(
            {
                "voxel_id": np.arange(n_voxels),
                "subject_id": 1,
                "voxel_x": np.arange(n_voxels),
                "voxel_y": 3,
                "voxel_z": 4,
                "nc_singletrial": 10.0,
                "nc_testset": np.linspace(0, 60, n_voxels),
                "prf-rsquared": 0.0,
                "V1": [1] * 4 + [0] * (n_voxels - 4),
                "lFFA": [0] * 4 + [1] * 2 + [0] * (n_voxels - 6),
                "rFFA": [0] * 6 + [1] * 2 + [0] * (n_voxels - 8),
                "IT": [0] * 4 + [1] * (n_voxels - 4),
                "hV4": 0,
                "glasser-V1": [1] * 4 + [0] * (n_voxels - 4),
            }
        )
        values[subject] = rng.normal(size=(n_voxels, len(shown)))
        voxels.to_csv(root / f"{subject}_VoxelMetadata.csv", index=False)
        trials.to_csv(root / f"{subject}_StimulusMetadata.csv", index=False)
        with h5py.File(root / f"{subject}_ResponseData.h5", "w") as file:
            table = file.create_group("ResponseData")
            table.attrs["pandas_type"] = "frame"
            table["axis0"] = np.array(["voxel_id", *map(str, range(len(shown)))], dtype="S8")
            table["axis1"] = np.arange(n_voxels)
            table["block0_items"] = np.array([str(k) for k in range(len(shown))], dtype="S8")
            table["block0_values"] = values[subject]
            table["block1_items"] = np.array(["voxel_id"], dtype="S8")
            table["block1_values"] = np.arange(n_voxels)[:, None]
    write_things_photographs(root.parent / "images", names[:-1] + tests[:5])
    return values, trials


def write_things_photographs(folder, names):
    for name in names:
        write_photographs(folder / name.rsplit("_", 1)[0], [name])


def write_majajhong(root, n_images=6, n_presentations=4):
    """The assembly as its netCDF file holds it: plain coords on neuroid, presentation and time_bin."""
    rng = np.random.default_rng(0)
    ids = [f"{k:03d}abcdef" for k in range(n_images)]
    shown = rng.permutation(np.repeat(ids, n_presentations))[1:]  # one image has one presentation less
    values = rng.normal(size=(8, len(shown), 1)).astype("float32")
    coords = {
        "image_id": ("presentation", shown),
        "object_name": ("presentation", [f"car_{name}" for name in shown]),
        "repetition": ("presentation", np.arange(len(shown))),
        "neuroid_id": ("neuroid", [f"site{k}" for k in range(8)]),
        "region": ("neuroid", ["V4", "V4", "IT", "IT"] * 2),
        "animal": ("neuroid", ["Chabo"] * 4 + ["Tito"] * 4),
        "time_bin_start": ("time_bin", [70]),
        "time_bin_end": ("time_bin", [170]),
    }
    array = xr.DataArray(
        values,
        dims=("neuroid", "presentation", "time_bin"),
        coords=coords,
        name="dicarlo.MajajHong2015.public",
    )
    root.mkdir(parents=True)
    array.to_netcdf(root / "assy_dicarlo_MajajHong2015_public.nc", engine="h5netcdf")
    table = pd.DataFrame({"image_id": ids, "filename": [f"{name}.png" for name in ids], "variation": 3})
    table.sample(frac=1, random_state=0).to_csv(root / "image_dicarlo_hvm-public.csv", index=False)
    write_photographs(root / "image_dicarlo_hvm-public", table["filename"])
    return values, shown


def write_algonauts(root, subjects=("subj01", "subj02"), n_images=12):
    rng = np.random.default_rng(0)
    responses = {}
    for number, subject in enumerate(subjects):
        folder = root / subject
        ids = np.sort(rng.permutation(1000)[:n_images] + 1000 * number)
        names = [f"train-{k + 1:04d}_nsd-{name:05d}.png" for k, name in enumerate(ids)]
        write_photographs(folder / "training_split/training_images", names)
        write_photographs(folder / "test_split/test_images", ["test-0001_nsd-70000.png"])
        (folder / "training_split/training_fmri").mkdir()
        (folder / "roi_masks").mkdir()
        for side, n_vertices in (("lh", 6), ("rh", 7)):
            values = rng.normal(size=(n_images, n_vertices)).astype("float32")
            responses[subject, side] = values
            np.save(folder / f"training_split/training_fmri/{side}_training_fmri.npy", values)
            everywhere = np.zeros(163842)
            everywhere[np.arange(n_vertices) * 3 + 1] = 1
            np.save(folder / f"roi_masks/{side}.all-vertices_fsaverage_space.npy", everywhere)
            visual, faces = np.zeros(n_vertices), np.zeros(n_vertices)
            visual[:2], visual[2:4], faces[3:] = 1, 2, 2
            np.save(folder / f"roi_masks/{side}.prf-visualrois_challenge_space.npy", visual)
            np.save(folder / f"roi_masks/{side}.floc-faces_challenge_space.npy", faces)
        mappings = {
            "prf-visualrois": {0: "Unknown", 1: "V1v", 2: "V1d", 7: "hV4"},
            "floc-faces": {0: "Unknown", 2: "FFA-1"},
        }
        for atlas, names_of in mappings.items():
            np.save(folder / f"roi_masks/mapping_{atlas}.npy", names_of, allow_pickle=True)
    return responses


CATEGORIES = ["face", "house", "cat", "bottle", "scissors", "shoe", "chair", "scrambledpix"]


def write_haxby(root, subjects=("subj1", "subj2"), n_runs=3):
    """All runs in one image, and a label and a run for every volume."""
    rng = np.random.default_rng(0)
    labels = []
    for run in range(n_runs):
        blocks = [part for name in rng.permutation(CATEGORIES) for part in (["rest"] * 4 + [name] * 6)]
        labels += [{"labels": name, "chunks": run} for name in [*blocks, "rest", "rest"]]
    table = pd.DataFrame(labels)
    for subject in subjects:
        folder = root / subject
        values = rng.normal(100, 5, size=(3, 3, 2, len(table)))
        code = {name: k for k, name in enumerate(CATEGORIES)}
        shown = np.array([code.get(name, -1) for name in table["labels"]])
        values[0] += 30 * (shown == 0)  # voxels that answer to faces
        write_image(folder / "bold.nii.gz", values.astype("float32"), np.diag([3.5, 3.5, 3.5, 1]))
        table.to_csv(folder / "labels.txt", sep=" ", index=False)
        face, ventral = np.zeros((3, 3, 2), "uint8"), np.zeros((3, 3, 2), "uint8")
        face[0], ventral[:2] = 1, 1
        write_image(folder / "mask4_vt.nii.gz", ventral, np.diag([3.5, 3.5, 3.5, 1]))
        write_image(folder / "mask8b_face_vt.nii.gz", face, np.diag([3.5, 3.5, 3.5, 1]))
    return table
