"""A sample of the zoo: one model of each kind is traced and proven; `make zoo` does it for all of them."""

import json
import multiprocessing
import os
import time
from dataclasses import replace

import pytest
import torch

pytest.importorskip("timm", reason="the extra 'models' is not installed")
pytest.importorskip("transformers", reason="the extra 'models' is not installed")
pytest.importorskip("open_clip", reason="the extra 'models' is not installed")

import timm

from benchmarks import zoo, zoo_page, zoo_proof
from benchmarks.zoo_proof import Specimen, list_specimens, prove

SAMPLE = {
    "torchvision": """
        shufflenet_v2_x0_5 googlenet quantized_resnet18 swin_v2_t lraspp_mobilenet_v3_large
        ssdlite320_mobilenet_v3_large fasterrcnn_mobilenet_v3_large_320_fpn r3d_18 raft_small
    """,
    "timm": """
        test_byobnet test_nfnet xcit_nano_12_p16_224 efficientvit_b0 convit_tiny
        hrnet_w18_small test_vit3 sequencer2d_s repghostnet_050
    """,
    "transformers": """
        bert big_bird mixtral reformer vilt whisper mamba longformer t5 rwkv xlnet dinov2 vitdet
        encodec patchtst
    """,
    "open_clip": """
        ViT-M-32-alt
    """,
}


def specimen_of(key):
    return next(specimen for specimen in list_specimens() if specimen.key == key)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "key", [f"{library}:{name}" for library in SAMPLE for name in SAMPLE[library].split()]
)
def test_traced_and_proven(key):
    result = prove(specimen_of(key), n_runs=1)
    assert result.status == "proven", result.reasons
    assert result.replays.get("proven", 0) > 0.9 * sum(result.replays.values())
    assert result.perturbations.get("proven", 0) > 0.8 * sum(result.perturbations.values())
    assert result.n_passes >= result.n_operations > 20


def test_zoo_is_as_large_as_it_says():
    specimens = list_specimens()
    of = {library: [s for s in specimens if s.library == library] for library in zoo_proof.LIBRARIES}
    assert len({s.key for s in specimens}) == len(specimens)
    tasks = {"classification", "segmentation", "detection", "video", "optical_flow", "quantization"}
    assert {s.family for s in of["torchvision"]} == tasks
    assert len(of["timm"]) >= 150
    assert set(timm.list_modules()) <= {s.family for s in of["timm"]}
    assert {s.name for s in of["timm"]} <= set(timm.list_models())
    assert len(of["transformers"]) >= 40
    assert of["open_clip"]


# ---------------------------------------------------------------------- the runner


class Odd:
    """A library whose models sleep, die, refuse, ask for too much, or are as they should be."""

    @staticmethod
    def build(name):
        if name == "sleeps":
            time.sleep(1000)
        elif name == "dies":
            os._exit(3)
        elif name == "refuses":
            raise ValueError("no such size")
        elif name == "greedy":
            torch.zeros(2**40)
        return torch.nn.Linear(3, 2), torch.ones(1, 3)


@pytest.fixture
def results():
    good = zoo_proof.Result(
        "timm:a", "timm", "f", "a", "proven", plain=1.0, traced=1.5, n_operations=3, n_passes=4
    )
    good.replays, good.perturbations = {"proven": 3}, {"proven": 4, "explained": 1}
    good.reasons = [("perturbation", "explained", "it is multiplied by zero", 1, "mul")]
    bad = replace(good, key="timm:b", name="b", status="failed")
    bad.reasons = [("replay", "failed", "run again, it gives other values", 2, "add")]
    refused = zoo_proof.Result("timm:c", "timm", "g", "c", "error", note="ValueError: no such size")
    return [good, bad, refused]


def test_kept_results_are_read_back_and_the_last_one_counts(tmp_path, results):
    path = tmp_path / "zoo.jsonl"
    for result in [*results, replace(results[1], status="proven")]:
        zoo.append_result(path, result)
    found = zoo.read_results(path)
    assert [r.status for r in found.values()] == ["proven", "proven", "error"]
    assert len(path.read_text().splitlines()) == 4
    assert json.loads(path.read_text().splitlines()[0])["replays"] == {"proven": 3}


def test_page_lists_every_model_and_every_exception(tmp_path, results, monkeypatch):
    monkeypatch.setattr(zoo_page, "PAGE", tmp_path / "zoo.md")
    zoo_page.write_page(results)
    text = (tmp_path / "zoo.md").read_text()
    assert "| 3 | 2 | 1 |" in text  # models, families, proven
    assert "`timm:b`: failed. 2 x replay: run again, it gives other values (add)" in text
    assert "`timm:c`: error. ValueError: no such size" in text
    assert "another factor is 0 throughout" in text  # why a multiplication by zero is no fault
    assert "1.50 x" in text
    assert [f"`{name}`" in text for name in "abc"] == [True] * 3


def test_what_sleeps_dies_or_refuses_is_a_line_and_the_rest_goes_on(monkeypatch):
    monkeypatch.setitem(zoo_proof.LIBRARIES, "odd", Odd)
    expected = {"sleeps": "time", "dies": "memory", "refuses": "error", "greedy": "memory", "small": "proven"}
    specimens = [Specimen("odd", "odd", name) for name in expected]
    limits = zoo.Limits(seconds=6.0, n_bytes=64 * 2**30)
    fork = multiprocessing.get_context("fork")
    found = {r.name: r for r in zoo.run_all(specimens, limits, n_workers=2, context=fork)}
    assert {name: found[name].status for name in expected} == expected
    assert "no such size" in found["refuses"].note
