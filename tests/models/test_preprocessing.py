"""What a model is fed, against its library's own way from the file to the tensor: bit for bit, on real photographs.

Always on the two large ones that scikit-learn brings, and on 92 of a study where its data are.
"""

import shutil
import warnings
from importlib import resources

import numpy as np
import pytest
import scipy.io
import torch
import torchvision
from PIL import Image

import neurolens as nl
from neurolens import Stimuli

SETS = [pytest.param(2, id="large"), pytest.param(92, marks=pytest.mark.realdata, id="objects")]


@pytest.fixture(scope="module", params=SETS)
def photographs(request, tmp_path_factory):
    """A folder with photographs, in one sub-folder as datasets of libraries want it."""
    return lay_large(tmp_path_factory) if request.param == 2 else lay_objects(request, tmp_path_factory)


def lay_large(tmp_path_factory):
    """Two JPEG files, 427 by 640 pixels."""
    folder = tmp_path_factory.mktemp("large") / "objects"
    folder.mkdir()
    with resources.as_file(resources.files("sklearn.datasets") / "images") as images:
        for name in ("china.jpg", "flower.jpg"):
            shutil.copy(images / name, folder)
    return folder.parent


def lay_objects(request, tmp_path_factory):
    real_data = request.getfixturevalue("real_data")
    file = real_data / "kriegeskorte92" / "Kriegeskorte_Neuron2008_supplementalData.mat"
    data = scipy.io.loadmat(file, simplify_cells=True)
    folder = tmp_path_factory.mktemp("photographs")
    (folder / "objects").mkdir()
    for number, stimulus in enumerate(data["stimuli_92objs"]):
        Image.fromarray(stimulus["image"]).save(folder / "objects" / f"{number:02d}.png")
    return folder


def list_files(folder):
    return sorted(file for file in folder.rglob("*") if file.is_file())


def read_as_torchvision(folder, weights):
    return [image for image, _ in torchvision.datasets.ImageFolder(folder, transform=weights.transforms())]


def read_as_timm(folder, name):
    timm = pytest.importorskip("timm", reason="the extra 'models' is not installed")
    config = timm.data.resolve_data_config(pretrained_cfg=timm.get_pretrained_cfg(name).to_dict())
    config.pop("crop_border_pixels", None)
    dataset = timm.data.ImageDataset(folder, transform=timm.data.create_transform(**config))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # it leaves its files open
        return [image for image, _ in dataset]


def read_as_open_clip(folder, name):
    open_clip = pytest.importorskip("open_clip", reason="the extra 'models' is not installed")
    size = open_clip.get_model_config(name)["vision_cfg"]["image_size"]
    transform = open_clip.image_transform(size, is_train=False)
    return [transform(Image.open(file)) for file in list_files(folder)]


def read_as_lite(folder, size):
    """The reference implementation: a square by Pillow, then (x - 127) / 128."""
    images = [Image.open(file) for file in list_files(folder)]
    squares = [np.asarray(i.resize((size, size), Image.Resampling.BICUBIC), np.float32) for i in images]
    return [torch.from_numpy(((square - 127) / 128).transpose(2, 0, 1)) for square in squares]


WEIGHTS = torchvision.models.get_weight
PIPELINES = {
    "torchvision:squeezenet1_1": lambda f: read_as_torchvision(f, WEIGHTS("SqueezeNet1_1_Weights.DEFAULT")),
    "torchvision:resnet50": lambda f: read_as_torchvision(f, WEIGHTS("ResNet50_Weights.IMAGENET1K_V2")),
    "torchvision:resnet50/IMAGENET1K_V1": lambda f: read_as_torchvision(
        f, WEIGHTS("ResNet50_Weights.IMAGENET1K_V1")
    ),
    "torchvision:swin_v2_t": lambda f: read_as_torchvision(f, WEIGHTS("Swin_V2_T_Weights.DEFAULT")),
    "timm:resnet10t": lambda f: read_as_timm(f, "resnet10t"),
    "timm:test_vit": lambda f: read_as_timm(f, "test_vit"),
    "timm:mobilenetv3_small_050.lamb_in1k": lambda f: read_as_timm(f, "mobilenetv3_small_050.lamb_in1k"),
    "open_clip:RN50": lambda f: read_as_open_clip(f, "RN50"),
    "wheel:efficientnet_lite0": lambda f: read_as_lite(f, 224),
    "wheel:efficientnet_lite2": lambda f: read_as_lite(f, 260),
}


@pytest.mark.parametrize("spec", PIPELINES)
def test_a_model_is_fed_what_its_library_feeds_it(photographs, spec):
    expected = torch.stack(PIPELINES[spec](photographs))
    model = nl.load_model(spec, pretrained=False)
    stimuli = Stimuli.from_folder(photographs)
    assert len(stimuli) == len(expected) >= 2
    assert torch.equal(stimuli.batch(range(len(stimuli)), model.preprocess), expected)


@pytest.mark.parametrize("kind", ["ViTImageProcessor", "CLIPImageProcessor", "ConvNextImageProcessor"])
def test_a_transformer_is_fed_what_its_processor_makes_of_all_images_at_once(photographs, kind, tmp_path):
    transformers = pytest.importorskip("transformers", reason="the extra 'models' is not installed")
    config = transformers.ViTConfig(
        hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8, image_size=32
    )
    config.save_pretrained(tmp_path)
    processor = getattr(transformers, kind)()
    processor.save_pretrained(tmp_path)
    model = nl.load_model(f"transformers:{tmp_path}", pretrained=False)
    images = [Image.open(file) for file in list_files(photographs)]
    expected = processor(images=images, return_tensors="pt")["pixel_values"]
    batch = Stimuli.from_folder(photographs).batch(range(len(images)), model.preprocess)
    assert torch.equal(batch["pixel_values"], expected)
