"""Brain data in every accepted form become the same RDMs."""

import numpy as np
import pytest
import xarray as xr
from scipy.spatial.distance import pdist, squareform

import neurolens as nl
from neurolens.comparison.targets import read_responses, read_targets
from neurolens.errors import InputError, LabelError

IDS = ["a", "b", "c", "d", "e", "f"]


def draw_responses(seed=0, n_neuroids=20, **coords):
    values = np.random.default_rng(seed).random((6, n_neuroids))
    named = {name: ("neuroid", labels) for name, labels in coords.items()}
    return xr.DataArray(values, {"stimulus": IDS, **named}, ("stimulus", "neuroid"))


def scipy_rdm(values):
    return squareform(pdist(values, "correlation"))


def to_rdm(values, **coords):
    ids = {"stimulus": IDS, "stimulus_b": IDS}
    return xr.DataArray(values, {**coords, **ids}, [*coords, *ids])


def test_regions_on_neuroids_are_split_and_unlabelled_ones_counted():
    labels = np.array(["V1"] * 8 + ["IT"] * 9 + [""] * 3)
    responses = draw_responses(region=labels)
    got = read_targets(responses, metric="correlation")
    assert list(got) == ["V1", "IT"]
    for region, target in got.items():
        np.testing.assert_allclose(target, scipy_rdm(responses.values[:, labels == region]), rtol=1e-9)
        assert target.attrs["n_unlabelled_neuroids"] == 3


def test_subjects_on_neuroids_get_an_rdm_each():
    subjects = np.array([1] * 12 + [2] * 8)
    responses = draw_responses(subject=subjects, region=["V1"] * 20)
    target = read_targets(responses, metric="correlation")["V1"]
    assert target.dims == ("subject", "stimulus", "stimulus_b")
    np.testing.assert_allclose(target[1], scipy_rdm(responses.values[:, subjects == 2]), rtol=1e-9)


def test_sessions_are_averaged():
    squares = np.stack([scipy_rdm(draw_responses(s).values) for s in range(4)]).reshape(2, 2, 6, 6)
    target = read_targets(to_rdm(squares, subject=[1, 2], session=[1, 2]), metric="correlation")[""]
    np.testing.assert_allclose(target, squares.mean(axis=1))


def test_a_tree_a_dict_and_a_dim_of_regions_say_the_same():
    squares = {region: to_rdm(scipy_rdm(draw_responses(i).values)) for i, region in enumerate(("V1", "IT"))}
    tree = xr.DataTree.from_dict({region: rdm.to_dataset(name="rdm") for region, rdm in squares.items()})
    stacked = to_rdm(np.stack([rdm.values for rdm in squares.values()]), region=["V1", "IT"])
    for brain in (squares, tree, stacked, xr.Dataset(squares)):
        got = read_targets(brain, metric="correlation")
        assert list(got) == ["V1", "IT"]
        for region in got:
            np.testing.assert_array_equal(got[region], squares[region])


def draw_tree(shown):
    """Region, then subject, then responses, as measured sets are laid out; subjects have neuroids of their own."""
    nodes, n_neuroids = {}, 12
    for r, region in enumerate(("V1", "IT")):
        for s, (subject, ids) in enumerate(shown.items()):
            labels = {"region": [region] * (n_neuroids + s), "subject": [subject] * (n_neuroids + s)}
            data = draw_responses(10 * r + s, n_neuroids + s, **labels).sel(stimulus=ids)
            nodes[f"{region}/{subject}"] = data.to_dataset(name="responses")
    return xr.DataTree.from_dict(nodes, name="measured")


def test_nodes_below_a_region_are_its_subjects():
    tree = draw_tree({"subj01": IDS, "subj02": IDS[::-1]})
    got = read_targets(tree, metric="correlation")
    assert list(got) == ["V1", "IT"]
    for region, target in got.items():
        assert target.dims == ("subject", "stimulus", "stimulus_b")
        assert target.subject.values.tolist() == ["subj01", "subj02"]
        for subject in target.subject.values:
            values = tree[f"{region}/{subject}/responses"].sel(stimulus=IDS).values
            np.testing.assert_allclose(target.sel(subject=subject), scipy_rdm(values), rtol=1e-9)
    nested = {
        region: {name: node["responses"] for name, node in tree[region].children.items()} for region in tree
    }
    for same in (nested, {region: tree[region] for region in tree}):
        for region, target in read_targets(same, metric="correlation").items():
            xr.testing.assert_identical(target, got[region])
    laid = read_responses(tree)
    assert laid.sizes == {"stimulus": 6, "neuroid": 2 * (12 + 13)}
    assert [set(laid.subject.values[laid.region == r]) for r in got] == [{"subj01", "subj02"}] * 2
    np.testing.assert_array_equal(
        laid.isel(neuroid=slice(12, 25)).sel(stimulus=IDS), tree["V1/subj02/responses"].sel(stimulus=IDS)
    )


def test_subjects_who_saw_other_stimuli_share_what_all_saw():
    tree = draw_tree({"subj01": IDS[:5], "subj02": IDS[1:]})
    with pytest.raises(LabelError, match=r"brain\['V1'\]\['subj02'\]"):
        read_targets(tree, metric="correlation")
    target = read_targets(tree, metric="correlation", join="inner")["V1"]
    assert target.stimulus.values.tolist() == IDS[1:5]
    values = tree["V1/subj02/responses"].sel(stimulus=IDS[1:5]).values
    np.testing.assert_allclose(target.sel(subject="subj02"), scipy_rdm(values), rtol=1e-9)
    with pytest.raises(LabelError, match="subj02"):
        read_responses(tree)
    assert read_responses(tree, join="inner").stimulus.values.tolist() == IDS[1:5]


def test_a_profile_of_a_tree_of_regions_and_subjects(network, regions):
    nodes = {
        f"{region}/{subject}": data.sel(subject=subject, drop=True).to_dataset(name="responses")
        for region, data in regions.items()
        for subject in data.subject.values
    }
    tree = xr.DataTree.from_dict(nodes)
    for method, options in (("rsa", {}), ("cka", {}), ("ridge", {"model": nl.Ridge(alphas=10.0)})):
        given = {"method": method, "options": options, "n_permutations": 19, "n_splits": 2, "progress": False}
        profile, want = nl.compare(network, tree, **given), nl.compare(network, regions, **given)
        assert profile.region.values.tolist() == ["V1", "IT"]
        for name in ("score", "p", "score_subject", "ceiling_low"):
            np.testing.assert_array_equal(profile[name], want[name], err_msg=f"{method}: {name}")


def test_trees_of_no_accepted_form_are_named():
    one = draw_responses().to_dataset(name="responses")
    deep = xr.DataTree.from_dict({"V1/subj01/session1": one})
    both = xr.DataTree.from_dict({"V1": one, "V1/subj01": one})
    several = {"V1": {"subj01": draw_responses(subject=[1] * 10 + [2] * 10)}}
    for brain, says in ((deep, "V1/subj01/session1"), (both, "data of its own"), (several, "one subject")):
        for read in (read_targets, read_responses):
            with pytest.raises(InputError, match=says):
                read(brain, **({"metric": "correlation"} if read is read_targets else {}))


def with_nan():
    square = scipy_rdm(draw_responses().values)
    square[2, :] = square[:, 2] = np.nan
    return to_rdm(square)


@pytest.mark.parametrize(
    ("brain", "error", "says"),
    [
        (np.zeros((6, 6)), InputError, "is a ndarray"),
        ({"V1": np.zeros((6, 6))}, InputError, r"brain\['V1'\] is a ndarray"),
        ({"V1": {"a": draw_responses(), "b": 3}}, InputError, r"brain\['V1/b'\] is a int"),
        ({}, InputError, "empty"),
        (with_nan(), InputError, "most at the stimuli 'c'"),
        (draw_responses().rename(neuroid="place"), LabelError, "'neuroid'"),
        (draw_responses().drop_vars("stimulus"), LabelError, "no labels"),
        (to_rdm(np.zeros((2, 6, 6)), run=[1, 2]), InputError, r"'run'.*isel\(run=0\)"),
        (to_rdm(np.zeros((2, 6, 6)), subject=[1, 2]).drop_vars("subject"), LabelError, "'subject'"),
        ({"V1": xr.Dataset({"a": draw_responses(), "b": draw_responses()})}, InputError, "'a', 'b'"),
    ],
)
def test_what_is_no_brain_data_is_named(brain, error, says):
    with pytest.raises(error, match=says):
        read_targets(brain, metric="correlation")


def test_a_node_named_after_its_one_region_is_named_once():
    brain = nl.datasets.fetch("shapes80").brain
    assert list(read_targets(brain, metric="correlation")) == ["simulated_early", "simulated_late"]
