"""Measured sets by their published layout: every number is where the files say, and one script reads them all."""

import numpy as np
import published_layouts as layouts
import pytest
import xarray as xr
from sklearn.linear_model import Ridge
from sklearn.model_selection import LeaveOneGroupOut, cross_val_score
from sklearn.svm import LinearSVC

import neurolens as nl
from neurolens import brain, datasets
from neurolens.errors import LabelError, StoreError

WRITERS = {
    "algonauts2023": layouts.write_algonauts,
    "haxby2001": layouts.write_haxby,
    "majajhong2015": layouts.write_majajhong,
    "nsd": layouts.write_nsd,
    "things_fmri": layouts.write_things,
}
SUBJECTS = {
    "algonauts2023": "subj02",
    "haxby2001": "subj2",
    "majajhong2015": "Tito",
    "nsd": "subj02",
    "things_fmri": "sub-02",
}


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder of data with all five sets, and what was written into each."""
    folder = tmp_path_factory.mktemp("data")
    return folder, {name: write(folder / name) for name, write in WRITERS.items()}


@pytest.fixture(scope="module")
def sets(home):
    return {name: datasets.fetch(name, data_home=home[0], download=False) for name in WRITERS}


def mean_by(ids, values):
    return {name: values[np.array(ids) == name].mean(axis=0) for name in dict.fromkeys(ids)}


@pytest.mark.parametrize("name", [*WRITERS, "shapes80"])
def test_one_script_reads_every_set_by_its_name(name, home):
    """The promise: swapping the set changes one word."""
    dataset = datasets.fetch(name, data_home=home[0], download=False)
    rng = np.random.default_rng(0)
    features = xr.DataArray(
        rng.normal(size=(len(dataset.stimuli), 5)),
        dims=("stimulus", "feature"),
        coords={"stimulus": list(dataset.stimuli.ids)},
    )
    for region in list(dataset.brain.children)[:2]:
        scores = nl.encode(features, dataset.brain[region], model=Ridge(), cv=2, join="inner", progress=False)
        assert set(scores.region.values) == {region}
        assert scores.score.dims == ("neuroid", "fold")
        assert np.isfinite(scores.score.values).all()
        for responses in brain.by_subject(dataset.brain[region]).values():
            assert responses.dims[-2:] == ("stimulus", "neuroid")
            if "repetition" in responses.dims:
                assert np.isfinite(brain.noise_ceiling(responses).values).mean() > 0.5
    assert dataset.card.licence
    assert dataset.card.access
    assert dataset.card.size
    assert name in repr(dataset)


@pytest.mark.parametrize("name", WRITERS)
def test_a_subject_and_a_region_can_be_chosen(name, home, sets):
    subject, region = SUBJECTS[name], next(iter(sets[name].brain.children))
    part = datasets.fetch(name, subjects=subject, regions=[region], data_home=home[0], download=False)
    assert list(part.brain.children) == [region]
    assert list(part.brain[region].children) == [subject]
    expected = sets[name].brain[region][subject]["responses"]
    xr.testing.assert_identical(part.brain[region][subject]["responses"], expected)
    with pytest.raises(LabelError, match=rf"no subject of {name} named 'nobody'; there are .*{subject}"):
        datasets.fetch(name, subjects="nobody", data_home=home[0], download=False)
    with pytest.raises(LabelError, match=rf"no region of {name}.* named 'nowhere'; there are"):
        datasets.fetch(name, regions="nowhere", data_home=home[0], download=False)


def test_a_part_of_an_embedded_set_is_chosen_alike():
    part = datasets.fetch("shapes80", subjects=["simulated_2"], regions="simulated_late")
    assert list(part.brain.children) == ["simulated_late"]
    assert part.brain["simulated_late"]["responses"].subject.values.tolist() == ["simulated_2"]
    with pytest.raises(LabelError, match="no subject of shapes80 named 'simulated_9'"):
        datasets.fetch("shapes80", subjects="simulated_9")


@pytest.mark.parametrize("name", WRITERS)
def test_a_set_that_is_not_there_says_how_to_get_it(name, tmp_path):
    with pytest.raises(StoreError, match=rf"'{name}' cannot be had: there is no folder.*By hand: "):
        datasets.fetch(name, data_home=tmp_path)
    (tmp_path / name).mkdir()
    with pytest.raises(StoreError, match="is incomplete: nothing there is called"):
        datasets.fetch(name, data_home=tmp_path)


def test_nsd_values_are_those_of_the_files(home, sets):
    betas, images, order = home[1]["nsd"]
    visual, streams = layouts.make_nsd_atlases()
    for number, subject in enumerate(("subj01", "subj02")):
        stored = np.round(betas[subject] * 300) / 300
        scored = (stored - stored.mean(axis=1, keepdims=True)) / stored.std(axis=1, ddof=1, keepdims=True)
        trials = scored.reshape(1500, *layouts.NSD_SHAPE)
        shown = images[number][order]
        for region, where in (
            ("V1", np.isin(visual, [1, 2])),
            ("early", streams == 1),
            ("ventral", streams == 5),
        ):
            data = sets["nsd"].brain[region][subject]["responses"]
            assert data.sizes["neuroid"] == where.sum()
            for image in (1, 50, images[number][-1]):
                found = data.sel(stimulus=f"nsd{image:05d}")
                expected = trials[shown == image][:, where]
                np.testing.assert_allclose(found.values[: len(expected)], expected, atol=1e-4)
                assert np.isnan(found.values[len(expected) :]).all()
    assert "parietal" not in sets["nsd"].brain.children  # no voxel carries its number


def test_nsd_marks_shared_images_and_the_test_set(home, sets):
    _, _, order = home[1]["nsd"]
    data = sets["nsd"].brain["V1"]["subj01"]["responses"]
    counts = np.bincount(order, minlength=400)[:100]
    assert data.shared.values.sum() == 100
    test = data.stimulus.values[data.split.values == "test"]
    assert sorted(test) == [f"nsd{k + 1:05d}" for k in np.flatnonzero(counts == 3)]
    assert set(data.session.values[0]) == {1.0} or data.session.dims == ("repetition", "stimulus")


def test_nsd_keeps_place_ncsnr_and_photographs(sets):
    data = sets["nsd"].brain["hV4"]["subj01"]["responses"]
    image = brain.to_nifti(data.ncsnr.drop_attrs().assign_coords(data.neuroid.coords), like=data, fill=0)
    expected = np.arange(60).reshape(layouts.NSD_SHAPE) / 40
    visual, _ = layouts.make_nsd_atlases()
    np.testing.assert_allclose(image.get_fdata(), np.where(visual == 7, expected, 0), rtol=1e-6)
    ceiling = brain.ncsnr_ceiling(data.ncsnr, 3)
    np.testing.assert_allclose(ceiling, data.ncsnr**2 / (data.ncsnr**2 + 1 / 3))
    stimuli = sets["nsd"].stimuli
    assert len(stimuli) == 700
    assert np.asarray(stimuli.read(stimuli.ids.index("nsd00200")))[0, 0, 0] == 199


def test_nsd_sessions_without_one_between_are_refused(tmp_path):
    layouts.write_nsd(tmp_path / "nsd", subjects=(1,), n_sessions=2)
    folder = next(tmp_path.glob("nsd/nsddata_betas/ppdata/subj01/func1pt8mm/*"))
    (folder / "betas_session02.hdf5").rename(folder / "betas_session03.hdf5")
    with pytest.raises(StoreError, match=r"lacks the sessions \[2\]"):
        datasets.fetch("nsd", data_home=tmp_path)


def test_things_values_are_those_of_the_tables(home, sets):
    values, trials = home[1]["things_fmri"]
    names = trials.stimulus.str.removesuffix(".jpg").to_numpy()
    rows = {"V1": slice(0, 4), "FFA": slice(4, 8), "IT": slice(4, 12)}
    assert list(sets["things_fmri"].brain.children) == list(rows)
    for region, part in rows.items():
        data = sets["things_fmri"].brain[region]["sub-02"]["responses"]
        assert data.sizes["repetition"] == 12
        for name in ("test3_14n", "concept4_01s"):
            expected = values["sub-02"][part][:, names == name].T
            np.testing.assert_allclose(data.sel(stimulus=name).values[: len(expected)], expected, rtol=1e-6)
            assert str(data.split.sel(stimulus=name).values) == (
                "test" if name.startswith("test") else "train"
            )
        assert "catch" not in data.stimulus.values
    assert data.nc_testset.values.max() == 60
    assert sets["things_fmri"].stimuli.metadata.loc["concept4_01s", "concept"] == "concept4"
    sets["things_fmri"].stimuli.check()


def test_things_parcels_are_read_where_they_are_asked_for(home):
    part = datasets.fetch("things_fmri", regions="glasser-V1", data_home=home[0])
    assert list(part.brain.children) == ["glasser-V1"]


def test_things_tables_of_different_subjects_are_refused(home, tmp_path):
    layouts.write_things(tmp_path / "things_fmri", subjects=("sub-01",))
    table = tmp_path / "things_fmri/betas_csv/sub-01_VoxelMetadata.csv"
    table.write_text("\n".join(table.read_text().splitlines()[:-2]) + "\n")
    with pytest.raises(StoreError, match="Are all three of one subject"):
        datasets.fetch("things_fmri", data_home=tmp_path)


def test_majajhong_values_are_those_of_the_assembly(home, sets):
    values, shown = home[1]["majajhong2015"]
    for region, sites in (("V4", [4, 5]), ("IT", [6, 7])):
        data = sets["majajhong2015"].brain[region]["Tito"]["responses"]
        assert data.neuroid.values.tolist() == [f"site{k}" for k in sites]
        for name, expected in mean_by(shown, values[sites, :, 0].T).items():
            mean = brain.average_repetitions(data).sel(stimulus=name)
            np.testing.assert_allclose(mean, expected, rtol=1e-5)
    assert sets["majajhong2015"].stimuli.metadata["variation"].eq(3).all()
    sets["majajhong2015"].stimuli.check()


def test_majajhong_images_without_a_row_are_named(tmp_path):
    layouts.write_majajhong(tmp_path / "majajhong2015")
    table = tmp_path / "majajhong2015/image_dicarlo_hvm-public.csv"
    table.write_text("\n".join(table.read_text().splitlines()[:-2]) + "\n")
    with pytest.raises(StoreError, match="lacks 2 images of the assembly, such as"):
        datasets.fetch("majajhong2015", data_home=tmp_path)


def test_algonauts_values_are_those_of_both_hemispheres(home, sets):
    responses = home[1]["algonauts2023"]
    data = sets["algonauts2023"].brain["V1"]["subj02"]["responses"]
    expected = np.concatenate([responses["subj02", "lh"][:, :4], responses["subj02", "rh"][:, :4]], axis=1)
    np.testing.assert_array_equal(data.values, expected)
    assert data.hemisphere.values.tolist() == ["left"] * 4 + ["right"] * 4
    assert data.vertex.values.tolist() == [1, 4, 7, 10] * 2
    assert list(sets["algonauts2023"].brain.children) == ["V1", "FFA-1"]
    stimuli = sets["algonauts2023"].stimuli
    assert stimuli.metadata["split"].value_counts().to_dict() == {"train": 24, "test": 1}
    assert set(data.stimulus.values) <= set(stimuli.ids)
    stimuli.check()


def test_algonauts_responses_and_images_of_other_number_are_refused(tmp_path):
    layouts.write_algonauts(tmp_path / "algonauts2023", subjects=("subj01",))
    next(tmp_path.glob("algonauts2023/subj01/training_split/training_images/*.png")).unlink()
    with pytest.raises(StoreError, match=r"12 responses \(lh\) to 11 training images"):
        datasets.fetch("algonauts2023", data_home=tmp_path)


def test_haxby_regions_overlap_and_answer_as_they_were_made(home, sets):
    dataset = sets["haxby2001"]
    assert list(dataset.brain.children) == ["ventral_temporal", "face"]
    ventral = dataset.brain["ventral_temporal"]["subj1"]["responses"]
    face = dataset.brain["face"]["subj1"]["responses"]
    assert (ventral.sizes["neuroid"], face.sizes["neuroid"]) == (12, 6)
    assert face.sizes["repetition"] == 3
    mean = brain.average_repetitions(face).mean("neuroid")
    assert str(mean.idxmax("stimulus").values) == "face"
    assert len(dataset.stimuli) == 8


def test_haxby_labels_that_do_not_fit_the_volumes_are_refused(tmp_path):
    layouts.write_haxby(tmp_path / "haxby2001", subjects=("subj1",))
    labels = tmp_path / "haxby2001/subj1/labels.txt"
    labels.write_text("\n".join(labels.read_text().splitlines()[:-5]) + "\n")
    with pytest.raises(StoreError, match=r"labels 241 volumes, but .* has 246"):
        datasets.fetch("haxby2001", data_home=tmp_path)


@pytest.fixture(scope="module")
def real_slice(real_data):
    return datasets.fetch("haxby2001_1slice", data_home=real_data, download=False)


@pytest.mark.realdata
def test_eight_categories_are_decoded_from_the_real_slice(real_slice):
    """Known from an analysis by hand: a linear classifier, leaving one run out, reaches .81 (chance .125)."""
    data = real_slice.brain["slice"]["sub001"]["responses"]
    assert dict(data.sizes) == {"repetition": 12, "stimulus": 8, "neuroid": 530}
    trials = brain.flatten_repetitions(data)
    accuracy = cross_val_score(
        LinearSVC(), trials.values, trials.condition.values, groups=trials.run.values, cv=LeaveOneGroupOut()
    ).mean()
    assert 0.78 <= accuracy <= 0.86


@pytest.mark.realdata
def test_categories_predict_runs_that_were_held_out_up_to_the_ceiling(real_slice):
    """What the other runs say of each category, against the ceiling for a single block."""
    data = real_slice.brain["slice"]["sub001"]["responses"]
    trials = brain.flatten_repetitions(data)
    codes = (trials.condition.values[:, None] == data.stimulus.values).astype(float)
    features = xr.DataArray(codes, dims=("stimulus", "category"), coords={"stimulus": trials.stimulus.values})
    scores = nl.encode(features, trials, model=Ridge(), cv=LeaveOneGroupOut(), groups="run", progress=False)
    r = scores.score.mean("fold")
    ceiling = brain.noise_ceiling(data, units="r", n_averaged=1)
    reliable = brain.split_half(data).values > 0.7
    assert reliable.sum() > 80
    share = (r / ceiling).values[reliable]
    assert (
        0.85 < np.median(share) < 1.1
    )  # the mean of eleven blocks is nearly the best prediction of the twelfth
    assert r.values[~reliable].mean() < r.values[reliable].mean() / 2
