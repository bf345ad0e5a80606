"""A trace as text, HTML and a table. Texts are compared with files: REWRITE_GOLDEN=1 writes them anew, to be read."""

import os
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
import torch
import torchvision
from torch import nn

import neurolens as nl

GOLDEN = Path(__file__).parent / "golden"


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.cell = nn.LSTMCell(3, 4)
        self.readout = nn.Linear(4, 2)

    def forward(self, x):
        state = None
        for k in range(x.shape[1]):
            state = self.cell(x[:, k], state)
        return self.readout(state[0])


class Shapes(nn.Module):
    """One operation whose passes all have another shape."""

    def forward(self, x):
        for _ in range(30):
            x = torch.cat([x, x[:, :1]], 1)
        return x


def fully_connected():
    return nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Dropout(0.5)), torch.ones(2, 4)


def attention():
    return nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), torch.ones(2, 3, 8)


def resnet():
    return torchvision.models.resnet18(), torch.ones(1, 3, 64, 64)


MODELS = {
    "fully_connected": fully_connected,
    "attention": attention,
    "recurrent": lambda: (Recurrent(), torch.ones(2, 5, 3)),
    "resnet18": resnet,
    "shapes": lambda: (Shapes(), torch.ones(2, 3)),
}


@pytest.fixture(scope="module")
def traces():
    found = {}
    for name, build in MODELS.items():
        torch.manual_seed(0)
        model, x = build()
        with torch.no_grad():
            found[name] = nl.trace(model.eval(), x)
    return found


def check(name, text):
    """Compare with the golden file; rewrite it where asked to."""
    path = GOLDEN / f"{name}.txt"
    lines = [line.rstrip() for line in text.splitlines()]
    if os.environ.get("REWRITE_GOLDEN"):
        path.parent.mkdir(exist_ok=True)
        path.write_text("\n".join(lines) + "\n")
    assert lines == path.read_text().splitlines()


@pytest.mark.parametrize("name", MODELS)
def test_text_of_a_trace(traces, name):
    check(f"trace_{name}", repr(traces[name]))


@pytest.mark.parametrize("name", MODELS)
def test_text_fits_on_a_screen(traces, name):
    lines = repr(traces[name]).splitlines()
    assert len(lines) <= 30
    assert max(map(len, lines)) <= 120


@pytest.mark.parametrize("name", ["fully_connected", "recurrent"])
def test_text_of_a_table(traces, name):
    frame = traces[name].to_frame()
    frame["source"] = frame["source"].str.replace(r"^.*[/\\](\w+\.py):\d+$", r"\1", regex=True)
    check(f"table_{name}", frame.to_string())


def test_text_of_operations_modules_and_passes(traces):
    attended, recurrent = traces["attention"], traces["recurrent"]
    nodes = [
        attended["input"],
        attended["linear1.linear"],
        attended["linear1"],
        attended["self_attn.multi_head_attention_forward"],
        recurrent["cell.lstm_cell"],
        recurrent["cell.lstm_cell:2"],
        recurrent["cell"],
        recurrent["readout"],
    ]
    check("nodes", "\n".join(map(repr, nodes)))


def test_text_of_a_report(traces):
    text = repr(traces["attention"].validate())
    check("report_attention", re.sub(r"differ by up to [\d.e-]+", "differ by up to ...", text))


def test_text_of_a_report_that_found_a_fault(traces):
    model, x = fully_connected()
    with torch.no_grad():
        traced = nl.trace(model.eval(), x)
        value = traced.resolve("0.linear").values[0]
        traced.recording.tensors[value] = traced.recording.tensors[value] + 0.5
        text = repr(traced.validate())
    check("report_failed", re.sub(r"largest difference [\d.e-]+", "largest difference ...", text))


# ---------------------------------------------------------------------- the table


def test_table_says_what_torch_says(traces):
    model, _ = resnet()
    frame = traces["resnet18"].to_frame()
    assert frame["parameters"].sum() == sum(parameter.numel() for parameter in model.parameters())
    assert frame["passes"].sum() == len(traces["resnet18"].steps)
    assert frame["step"].is_monotonic_increasing
    assert frame["depth"].between(0, 1).all()
    assert frame.loc["fc.linear", "shape"] == "1x1000"
    assert frame.loc["fc.linear", "bytes"] == 4000


# ---------------------------------------------------------------------- HTML


class Outline(HTMLParser):
    """What is inside what: for every <details>, its depth and its summary; and the addresses in code."""

    def __init__(self, text):
        super().__init__()
        self.depth, self.summaries, self.codes, self.open, self.tags = 0, [], [], None, []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        if tag == "details":
            self.depth += 1
        self.open = tag if tag in ("summary", "code") else self.open
        if tag == "summary":
            self.summaries.append([self.depth, ""])

    def handle_endtag(self, tag):
        assert self.tags.pop() == tag
        self.depth -= tag == "details"
        self.open = None if tag == self.open else self.open

    def handle_data(self, data):
        if self.open == "summary":
            self.summaries[-1][1] += data
        elif self.open == "code":
            self.codes.append(data)


def test_html_folds_by_module_and_holds_every_operation(traces):
    traced = traces["resnet18"]
    outline = Outline(traced._repr_html_())
    assert outline.tags == []
    assert sorted(outline.codes) == sorted(traced)
    depths = {text.split(" ")[0]: depth for depth, text in outline.summaries}
    for path in traced.modules:
        if path and traced[path].operations:
            assert depths[path] == path.count(".") + 2
    assert "layer1.0 BasicBlock, 6 operations" in [text for _, text in outline.summaries]


def test_html_is_escaped():
    model = nn.Sequential()
    model.add_module("<b>&", nn.Linear(2, 2))
    text = nl.trace(model, torch.ones(1, 2))._repr_html_()
    assert "<b>&" not in text
    assert text.count("&lt;b&gt;&amp;") == 2
    assert Outline(text).codes == ["input", "<b>&.linear"]
