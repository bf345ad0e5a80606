"""`explore` as a function: what it reads, what it writes, what it refuses."""

import base64
import hashlib
import json
import re
import warnings
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr
from torch import nn

import neurolens as nl
from neurolens.errors import InputError, LabelError, NeurolensWarning, StoreError
from neurolens.explorer import document, evidence, exploration
from neurolens.explorer.scores import MOST_NUMBERS

FOLDER = Path(exploration.__file__).parent
IDS = [f"image{k}" for k in range(8)]


def make_net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 5)).eval()


@pytest.fixture(scope="module")
def stimuli():
    return nl.Stimuli.from_array(np.random.default_rng(0).random((8, 3, 8, 8), dtype=np.float32), ids=IDS)


@pytest.fixture(scope="module")
def trace(stimuli):
    return nl.trace(make_net(), stimuli)


class Parts(HTMLParser):
    """Elements of a page: names with attributes, and what is inside scripts."""

    def __init__(self):
        super().__init__()
        self.tags, self.texts, self.inside = [], {}, None

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.inside = dict(attrs).get("id", f"script{len(self.texts)}") if tag == "script" else None

    def handle_endtag(self, tag):
        self.inside = None

    def handle_data(self, text):
        if self.inside is not None:
            self.texts[self.inside] = self.texts.get(self.inside, "") + text


def read(path):
    parts = Parts()
    parts.feed(path.read_text(encoding="utf-8"))
    return parts, json.loads(parts.texts["data"])


def decode(parts, place, dtype):
    start, length = place
    text = parts.texts["bytes"][start : start + 4 * -(-length // 3)]
    return np.frombuffer(base64.b64decode(text), dtype)


def explore(source, tmp_path, **options):
    return nl.explore(source, out=tmp_path / "page.html", progress=False, **options)


def make_profile(trace, **extra):
    rng = np.random.default_rng(0)
    sizes = {"op": len(trace), **{dim: len(labels) for dim, labels in extra.items()}}
    coords = {"op": list(trace), **extra}
    return xr.Dataset({"score": (tuple(sizes), rng.random(tuple(sizes.values())))}, coords)


# ---------------------------------------------------------------------- the file


def test_the_page_is_one_file_that_names_no_other(trace, tmp_path):
    path = explore(trace, tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["page.html"]
    parts, _ = read(path)
    linked = [(tag, attrs) for tag, attrs in parts.tags if {"src", "href"} & {*attrs}]
    assert linked == []
    assert not any(tag in ("link", "iframe", "object", "embed", "base") for tag, _ in parts.tags)


def test_the_policy_allows_these_scripts_alone_and_no_request(trace, tmp_path):
    parts, _ = read(explore(trace, tmp_path))
    (policy,) = [a["content"] for t, a in parts.tags if a.get("http-equiv") == "Content-Security-Policy"]
    runs = [text for name, text in parts.texts.items() if name not in ("data", "bytes")]
    sums = {f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'" for text in runs}
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'"
    assert {*rules["script-src"].split()} == sums
    assert rules["img-src"] == "data:"


def test_the_library_is_the_one_that_its_record_describes():
    record = (FOLDER / "vendor" / "README.md").read_text(encoding="utf-8")
    found = re.findall(r"\| `(\S+\.js)` \|.*`([0-9a-f]{64})`", record)
    assert [name for name, _ in found] == [file.name for file in (FOLDER / "vendor").glob("*.js")]
    for name, checksum in found:
        assert hashlib.sha256((FOLDER / "vendor" / name).read_bytes()).hexdigest() == checksum
    assert "Permission is hereby granted" in (FOLDER / "vendor" / "cytoscape.LICENSE").read_text(
        encoding="utf-8"
    )


def test_every_script_of_the_folder_is_in_the_page():
    assert {*document.SCRIPTS} == {file.name for file in (FOLDER / "page").glob("*.js")}


def test_the_same_study_gives_the_same_bytes(trace, tmp_path):
    first = explore(trace, tmp_path).read_bytes()
    assert explore(trace, tmp_path).read_bytes() == first


def test_a_failed_write_leaves_the_old_page(trace, tmp_path, monkeypatch):
    path = explore(trace, tmp_path)
    before = path.read_bytes()

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        explore(trace, tmp_path)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["page.html"]


HOSTILE = [
    "<script>alert(1)</script>",
    "</script><b>",
    '"onload="x',
    "../../up",
    "[[script]]",
    "\u2028",
    "<!--",
    "é🧠",
]


def test_strings_never_become_markup(tmp_path):
    values = np.random.default_rng(0).random((len(HOSTILE), 5))
    arrays = {
        n: xr.DataArray(values + k, {"stimulus": HOSTILE}, ("stimulus", "unit"))
        for k, n in enumerate(HOSTILE)
    }
    arrays[HOSTILE[0]].attrs["model"] = "</title><script>alert(2)</script>"
    profile = xr.DataArray(
        np.ones((len(HOSTILE), 1)), {"op": HOSTILE, "region": ["</script><i>"]}, ("op", "region"), name="<b>"
    )
    plain, _ = read(explore(nl.activations.as_activations({"a": arrays["../../up"]}), tmp_path))
    parts, data = read(explore(nl.activations.as_activations(arrays), tmp_path, profile=profile))
    assert [tag for tag, _ in parts.tags] == [tag for tag, _ in plain.tags]
    assert data["ops"]["address"] == HOSTILE
    assert data["stimuli"]["ids"] == HOSTILE
    assert data["profiles"][0]["dims"] == [{"name": "region", "labels": ["</script><i>"]}]
    assert data["name"] == "</title><script>alert(2)</script>"


# ---------------------------------------------------------------------- what is in it


def test_scores_are_those_of_the_profile(trace, tmp_path):
    profile = make_profile(trace, region=["V1", "IT"], time=[0.1, 0.2, 0.3])
    profile["ceiling_low"] = ("region", [0.4, 0.6])
    parts, data = read(explore(trace, tmp_path, profile={"mine": profile}))
    (one,) = data["profiles"]
    assert one["name"] == "mine"
    assert [dim["labels"] for dim in one["dims"]] == [["V1", "IT"], ["0.1", "0.2", "0.3"]]
    scores = decode(parts, one["tables"]["score"], "<f4").reshape(2, 3, len(trace))
    np.testing.assert_allclose(scores, profile.score.transpose("region", "time", "op"), rtol=1e-6)
    low = decode(parts, one["tables"]["ceiling_low"], "<f4").reshape(2, 3)
    np.testing.assert_allclose(low, [[0.4] * 3, [0.6] * 3], rtol=1e-6)


def test_scores_of_subjects_are_there(trace, tmp_path):
    profile = make_profile(trace, region=["V1", "IT"])
    by = np.random.default_rng(1).random((len(trace), 2, 3))
    profile["score_subject"] = (("op", "region", "subject"), by)
    parts, data = read(explore(trace, tmp_path, profile=profile))
    (one,) = data["profiles"]
    assert len(one["subjects"]) == 3
    found = decode(parts, one["bySubject"], "<f4").reshape(2, 3, len(trace))
    np.testing.assert_allclose(found, by.transpose(1, 2, 0), rtol=1e-6)


def test_profiles_of_passes_modules_and_parts_find_their_operation(tmp_path):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.block = nn.Sequential(nn.Linear(3, 3), nn.ReLU())

        def forward(self, x):
            x = self.block(self.block(x))
            return torch.topk(x, 2)[0]

    trace = nl.trace(Net(), torch.rand(4, 3))
    names = ["block", "block.0.linear:1", "topk[values]", "block.1.relu"]
    profile = xr.DataArray([1.0, 2, 3, 4], {"op": names}, ("op",), name="score")
    _, data = read(explore(trace, tmp_path, profile=profile))
    order = list(trace)
    (one,) = data["profiles"]
    assert dict(zip(one["addresses"], one["rows"], strict=True)) == {
        "block": order.index("block.1.relu"),
        "block.1.relu": order.index("block.1.relu"),
        "block.0.linear:1": order.index("block.0.linear"),
        "topk[values]": order.index("topk"),
    }


def test_a_store_knows_modules_by_their_aliases(stimuli, tmp_path):
    store = tmp_path / "acts.zarr"
    nl.extract(make_net(), stimuli, store, progress=False)
    profile = xr.DataArray([1.0, 2], {"op": ["1", "3.linear"]}, ("op",), name="score")
    _, data = read(explore(store, tmp_path, profile=profile))
    addresses = data["ops"]["address"]
    assert [addresses[row] for row in data["profiles"][0]["rows"]] == ["1.relu", "3.linear"]
    assert data["hasArrows"]
    assert data["edges"] == read(explore(nl.trace(make_net(), stimuli), tmp_path))[1]["edges"]


def test_a_store_without_parents_has_no_arrows(stimuli, tmp_path):
    acts = nl.extract(make_net(), stimuli, tmp_path / "acts.zarr", progress=False)
    older = {address: array.drop_attrs() for address, array in acts.items()}
    _, data = read(explore(nl.activations.as_activations(older), tmp_path))
    assert not data["hasArrows"]
    assert data["edges"] == []


def test_rdms_are_those_of_the_activations(trace, tmp_path):
    parts, data = read(explore(trace, tmp_path))
    rdms = nl.rdm(trace.activations)
    for address in rdms.op.values:
        found = data["rdms"][str(list(trace).index(address))]
        levels = decode(parts, found["levels"], "u1").astype(float)
        upper = rdms.sel(op=address).values[np.triu_indices(8, 1)]
        shown = found["low"] + (levels - 1) / 254 * (found["high"] - found["low"])
        np.testing.assert_allclose(shown, upper, atol=(upper.max() - upper.min()) / 254)


def test_given_rdms_are_taken(trace, tmp_path):
    rdms = nl.rdm(trace.activations, metric="euclidean")
    _, data = read(explore(trace, tmp_path, rdms=rdms))
    assert data["metric"] == "euclidean"
    last = data["rdms"][str(len(trace) - 1)]
    assert last["high"] == pytest.approx(float(rdms[-1].max()), rel=1e-6)


def test_activations_may_come_from_a_store_of_more_stimuli(stimuli, tmp_path):
    net = make_net()
    store = tmp_path / "acts.zarr"
    nl.extract(net, stimuli, store, progress=False)
    trace = nl.trace(net, torch.rand(1, 3, 8, 8), keep=None)
    _, data = read(
        explore(trace, tmp_path, activations=nl.open(store), stimuli=stimuli, show=["image5", "image2"])
    )
    assert data["hasArrows"]
    assert len(data["edges"]) > 0
    assert data["stimuli"]["shown"] == ["image5", "image2"]
    assert data["stimuli"]["ids"] == IDS
    assert set(data["stimuli"]["pictures"]) == set(IDS)
    assert len(data["maps"]) == len(trace)


def test_a_trace_that_kept_nothing_still_shows_its_graph(tmp_path):
    trace = nl.trace(make_net(), torch.rand(1, 3, 8, 8), keep=None)
    _, data = read(explore(trace, tmp_path))
    assert data["ops"]["address"] == list(trace)
    assert data["maps"] == {}
    assert data["rdms"] == {}


def test_the_source_line_is_the_users(tmp_path):
    trace = nl.trace(lambda x: torch.relu(x) + 1, torch.rand(2, 3))
    _, data = read(explore(trace, tmp_path))
    place, line = data["ops"]["source"][data["ops"]["address"].index("add")]
    assert re.search(r"test_exploration\.py:\d+$", place)
    assert "torch.relu(x) + 1" in line


def test_pages_stay_within_their_budget():
    for n_items in (10, 300, 3_000, 20_000):
        n = evidence.choose_n_stimuli(n_items)
        assert n_items * n * (n - 1) // 2 <= evidence.RDM_BYTES or n <= evidence.MIN_STIMULI
    assert evidence.choose_n_stimuli(100) == evidence.MOST_STIMULI
    assert 4 / 3 * (evidence.MAP_BYTES + evidence.RDM_BYTES + 4 * MOST_NUMBERS) < 22e6


# ---------------------------------------------------------------------- what is refused


def test_another_source_is_refused(tmp_path):
    with pytest.raises(InputError, match="source cannot be a int"):
        explore(3, tmp_path)


def test_a_missing_store_is_an_error(tmp_path):
    with pytest.raises(StoreError):
        explore(tmp_path / "none.zarr", tmp_path)


def test_a_file_that_is_no_page_is_refused(trace, tmp_path):
    with pytest.raises(InputError, match=r"ends in \.html"):
        nl.explore(trace, out=tmp_path / "page.pdf")


def test_an_unknown_stimulus_is_named(trace, tmp_path):
    with pytest.raises(LabelError, match="image99"):
        explore(trace, tmp_path, show=["image99"])


def test_a_profile_of_another_model_is_refused(trace, tmp_path):
    profile = xr.DataArray([1.0], {"op": ["layer9.conv"]}, ("op",), name="score")
    with pytest.raises(InputError, match=r"layer9\.conv"):
        explore(trace, tmp_path, profile=profile)


def test_operations_that_are_not_there_are_counted(trace, tmp_path):
    profile = xr.DataArray([1.0, 2.0], {"op": ["1.relu", "other"]}, ("op",), name="score")
    with pytest.warns(
        NeurolensWarning, match="1 operations of the profile 'score' are not on the page: 'other'"
    ):
        explore(trace, tmp_path, profile=profile)


@pytest.mark.parametrize("dim", ["neuroid", "fold"])
def test_a_score_for_each_neuroid_or_fold_is_refused(trace, tmp_path, dim):
    with pytest.raises(InputError, match=dim):
        explore(trace, tmp_path, profile=make_profile(trace, **{dim: [0, 1]}))


def test_what_is_no_profile_is_refused(trace, tmp_path):
    for wrong in (xr.Dataset({"p": ("op", [1.0])}), 3, {"a": 3}):
        with pytest.raises(InputError, match="profile"):
            explore(trace, tmp_path, profile=wrong)


def test_too_many_numbers_are_refused(trace, tmp_path):
    profile = make_profile(trace, time=np.arange(MOST_NUMBERS // len(trace) + 1))
    with pytest.raises(InputError, match="Choose regions, subjects or times"):
        explore(trace, tmp_path, profile=profile)


def test_rdms_with_further_dims_are_refused(trace, tmp_path):
    rdms = nl.rdm(trace.activations).expand_dims(subject=["s1"])
    with pytest.raises(InputError, match="subject"):
        explore(trace, tmp_path, rdms=rdms)


def test_nothing_is_warned_about_what_is_ordinary(trace, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        explore(trace, tmp_path, profile=make_profile(trace))
