"""Figures known from elsewhere, through the public API: a real network against real and simulated brain data."""

import numpy as np
import pytest
import xarray as xr

import neurolens as nl

MODEL = "wheel:efficientnet_lite0"
# Measured once with plain forward hooks: Spearman of each module's RDM (correlation distance) with the mean RDM.
HUMAN_IT = {
    "blocks.0": 0.153,
    "blocks.2": 0.176,
    "blocks.4": 0.218,
    "blocks.5": 0.394,
    "blocks.6": 0.251,
    "conv_head": 0.325,
    "classifier": 0.224,
}
BLOCKS = [f"blocks.{i}.{j}" for i, n in enumerate([1, 2, 2, 3, 3, 4, 1]) for j in range(n)]


@pytest.fixture(scope="module")
def twins():
    return {
        "trained": nl.load_model(MODEL),
        "untrained": nl.load_model(MODEL, pretrained=False, seed=0),
    }


def rdms_of(model, stimuli, ops):
    return nl.rdm(nl.stream(model, stimuli, ops=ops, batch_size=16, progress=False))


@pytest.fixture(scope="module")
def kriegeskorte92(real_data):
    return nl.datasets.fetch("kriegeskorte92", data_home=real_data, download=False)


@pytest.fixture(scope="module")
def against_mean_human_it(kriegeskorte92, twins):
    reference = kriegeskorte92.brain["human_IT_mean"]["rdm"]
    return {
        name: nl.compare_rdms(
            rdms_of(model, kriegeskorte92.stimuli, list(HUMAN_IT)), reference, method="spearman"
        )
        for name, model in twins.items()
    }


@pytest.mark.realdata
@pytest.mark.parametrize(("module", "figure"), HUMAN_IT.items())
def test_similarity_with_the_mean_human_it_rdm(against_mean_human_it, module, figure):
    assert float(against_mean_human_it["trained"].sel(op=module)) == pytest.approx(figure, abs=0.01)


@pytest.mark.realdata
def test_untrained_twin_is_far_below(against_mean_human_it):
    assert float(against_mean_human_it["untrained"].max()) < 0.2
    assert str(against_mean_human_it["trained"].idxmax("op").item()) == "blocks.5"


@pytest.mark.realdata
def test_human_it_stays_below_its_ceiling(kriegeskorte92, twins):
    human = kriegeskorte92.brain["human_IT"]["rdm"]
    rdms = rdms_of(twins["trained"], kriegeskorte92.stimuli, ["blocks.5"])
    profile = nl.compare(rdms, human, similarity="spearman", n_permutations=0)
    assert float(profile.score.sel(op="blocks.5")) == pytest.approx(0.27, abs=0.02)
    assert float(profile.ceiling_low) == pytest.approx(0.37, abs=0.01)
    assert float(profile.ceiling_high) == pytest.approx(0.67, abs=0.01)


# ------------------------------------------------------------------------------- the embedded, simulated regions


@pytest.fixture(scope="module")
def shapes80():
    return nl.datasets.fetch("shapes80")


@pytest.fixture(scope="module")
def simulated(shapes80, twins):
    """Similarity (op, subject) with both simulated regions, for both twins."""
    ops = ["conv_stem", "bn1", *BLOCKS, "conv_head", "bn2", "global_pool", "classifier"]
    rdms = {name: rdms_of(model, shapes80.stimuli, ops) for name, model in twins.items()}
    regions = {region: nl.rdm(node["responses"]) for region, node in shapes80.brain.children.items()}
    return {
        (name, region): nl.compare_rdms(one, reference, method="spearman").assign_coords(depth=one.depth)
        for name, one in rdms.items()
        for region, reference in regions.items()
    }


def peak_depths(similarity):
    """Depth of the best operation, for each subject."""
    return [float(one.depth[int(one.argmax("op"))]) for one in similarity.transpose("subject", "op")]


def test_simulated_early_peaks_in_the_first_third_of_every_subject(simulated):
    depths = peak_depths(simulated["trained", "simulated_early"])
    assert len(depths) == 6
    assert max(depths) < 1 / 3


def test_simulated_late_peaks_in_the_last_third_of_every_subject(simulated):
    depths = peak_depths(simulated["trained", "simulated_late"])
    assert len(depths) == 6
    assert min(depths) > 2 / 3


def test_simulated_late_needs_training_in_every_subject(simulated):
    trained = simulated["trained", "simulated_late"].max("op")
    untrained = simulated["untrained", "simulated_late"].max("op")
    assert float((trained - untrained).min()) > 0.15


@pytest.mark.parametrize("low_level", ["simulated_early", "pixels"])
def test_low_level_likeness_says_little_about_kind(shapes80, low_level):
    stimuli = shapes80.stimuli
    kinds = stimuli.metadata["category"].to_numpy()
    coords = {"stimulus": list(stimuli.ids), "stimulus_b": list(stimuli.ids)}
    by_kind = xr.DataArray((kinds[:, None] != kinds).astype(float), coords, ("stimulus", "stimulus_b"))
    if low_level == "pixels":
        pictures = np.stack([stimuli.thumbnail(i, size=14).ravel() for i in range(len(stimuli))])
        early = nl.rdm(
            xr.DataArray(pictures.astype("float32"), {"stimulus": list(stimuli.ids)}, ("stimulus", "unit"))
        )
    else:
        early = nl.rdm(shapes80.brain[low_level]["responses"]).mean("subject")
    assert abs(float(nl.compare_rdms(early, by_kind, method="spearman"))) < 0.15
