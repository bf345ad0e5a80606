import functools
import http.server
import threading

import numpy as np
import pytest
from scipy.io import loadmat
from scipy.spatial.distance import pdist, squareform
from scipy.stats import spearmanr

from neurolens import datasets
from neurolens.datasets import fetching
from neurolens.datasets.cards import Registry, read_registry

pytestmark = pytest.mark.realdata

UPPER = np.triu_indices(92, 1)
REGIONS = {"human_IT": 4, "human_IT_mean": 2, "monkey_IT": 2, "judgements": 3}


@pytest.fixture(scope="module")
def folder(real_data):
    path = real_data / "kriegeskorte92"
    if not path.is_dir():
        pytest.skip("no real data: the folder of NEUROLENS_DATA has no kriegeskorte92")
    return path


@pytest.fixture(scope="module")
def dataset(folder):
    return datasets.fetch("kriegeskorte92", data_home=folder.parent, download=False)


def rdm_of(dataset, region):
    return dataset.brain[region]["rdm"]


def test_ninety_two_photographs_with_unique_readable_ids(dataset):
    assert len(set(dataset.stimuli.ids)) == 92
    dataset.stimuli.check()
    assert dataset.stimuli.read(0).size == (175, 175)
    counts = dataset.stimuli.metadata["category"].value_counts(sort=False).to_dict()
    assert counts == {
        "human body": 12,
        "human face": 12,
        "nonhuman body": 12,
        "nonhuman face": 12,
        "natural object": 23,
        "artificial object": 21,
    }


def test_labels_agree_with_each_other_and_with_the_file(dataset, folder):
    table = dataset.stimuli.metadata
    file = loadmat(folder / "Kriegeskorte_Neuron2008_supplementalData.mat")
    names = [str(name[0]) for name in file["categoryLabels"][0]]
    vectors = dict(zip(names, file["categoryVectors"].astype(bool).T, strict=True))
    assert table["human"].tolist() == vectors["human"].tolist()
    assert table["face"].tolist() == vectors["face"].tolist()
    assert table["animal"].equals(table["animate"])
    assert (table["animate"] ^ table["inanimate"]).all()
    assert (table["animate"] == (table["face"] | table["body"])).all()
    assert (table["human"] | table["nonhuman_animal"]).equals(table["animate"])
    assert (table["natural_object"] == (table["category"] == "natural object")).all()
    assert (table["artificial_object"] == ~table["natural"]).all()
    assert (table["human"] == table["category"].str.startswith("human")).all()
    assert (table["random_48"] ^ table["other_48"]).all()
    assert table["monkey_or_ape"].sum() == vectors["monkeyape"].sum() == 7


@pytest.mark.parametrize("region", REGIONS)
def test_rdms_are_labelled_symmetric_with_zero_diagonal(dataset, region):
    rdm = rdm_of(dataset, region)
    assert rdm.ndim == REGIONS[region]
    assert tuple(rdm.stimulus.values) == tuple(rdm.stimulus_b.values) == dataset.stimuli.ids
    np.testing.assert_array_equal(rdm, rdm.transpose(..., "stimulus_b", "stimulus"))
    assert np.abs(rdm.values[..., range(92), range(92)]).max() == 0
    assert (rdm.values[..., *UPPER] >= 0).all()
    assert rdm.attrs["simulated"] == 0


def test_dims_of_subjects_and_sessions(dataset):
    human = rdm_of(dataset, "human_IT")
    assert human.dims == ("subject", "session", "stimulus", "stimulus_b")
    assert human.subject.values.tolist() == ["BE", "KO", "SN", "TI"]
    assert human.session.values.tolist() == [1, 2]
    judges = rdm_of(dataset, "judgements")
    assert judges.dims == ("subject", "stimulus", "stimulus_b")
    assert judges.subject.values.tolist() == [f"subject{k}" for k in range(1, 17)]


def test_the_published_mean_is_the_mean_of_the_eight_sessions(dataset):
    mean = rdm_of(dataset, "human_IT").mean(("subject", "session"))
    np.testing.assert_allclose(mean, rdm_of(dataset, "human_IT_mean"), atol=1e-12)


def test_rows_of_monkey_it_are_those_of_the_full_matrix_in_another_file(dataset, folder):
    models = loadmat(folder / "92_modelRDMs.mat")["Models"][0]
    full = {str(entry["name"][0]): entry["RDM"] for entry in models}["monkeyIT"]
    np.testing.assert_allclose(rdm_of(dataset, "monkey_IT"), full, atol=1e-12)


@pytest.mark.parametrize("region", REGIONS)
def test_rows_belong_to_the_photographs(dataset, region):
    """Animate and inanimate lie apart, in the order of the ids and in hardly any other."""
    rdm = rdm_of(dataset, region)
    values = rdm.mean([dim for dim in rdm.dims if dim not in ("stimulus", "stimulus_b")]).values
    animate = dataset.stimuli.metadata["animate"].to_numpy()
    apart = (animate[:, None] != animate[None])[UPPER]
    observed = spearmanr(values[UPPER], apart).statistic
    rng = np.random.default_rng(0)
    orders = [rng.permutation(92) for _ in range(50)]
    shuffled = [spearmanr(values[np.ix_(order, order)][UPPER], apart).statistic for order in orders]
    assert observed > 0.4 > max(shuffled)


def test_photographs_are_in_the_order_of_a_pixel_based_model(dataset, folder):
    published = loadmat(folder / "rdm92_V1model.mat")["rdm92_V1model"][UPPER]
    coarse = [np.asarray(dataset.stimuli.read(k).resize((25, 25))).ravel() for k in range(92)]
    ours = squareform(pdist(np.stack(coarse).astype(float), "correlation"))
    order = np.random.default_rng(1).permutation(92)
    assert spearmanr(published, ours[UPPER]).statistic > 0.2
    assert spearmanr(published, ours[np.ix_(order, order)][UPPER]).statistic < 0.1


def test_man_and_monkey_correlate_as_published(dataset):
    """Kriegeskorte et al. (2008) report r = 0.49 over all pairs."""
    human, monkey = (rdm_of(dataset, name).values[UPPER] for name in ("human_IT_mean", "monkey_IT"))
    np.testing.assert_allclose(np.corrcoef(human, monkey)[0, 1], 0.49, atol=0.005)


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


def test_the_download_gives_the_same_dataset(dataset, folder, tmp_path, monkeypatch):
    handler = functools.partial(Quiet, directory=str(folder))
    monkeypatch.delenv("NEUROLENS_DATA", raising=False)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        registry = Registry(
            (f"http://127.0.0.1:{server.server_port}/",), read_registry("kriegeskorte92").files
        )
        monkeypatch.setattr(fetching, "read_registry", lambda name: registry)
        downloaded = datasets.fetch("kriegeskorte92", data_home=tmp_path)
        server.shutdown()
        thread.join()
    assert downloaded.card.obtained.startswith("downloaded from http://127.0.0.1")
    assert downloaded.stimuli.fingerprint() == dataset.stimuli.fingerprint()
    assert downloaded.brain.identical(dataset.brain)
