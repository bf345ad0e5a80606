"""The pictures of graphs: `python docs/images/graphs.py [FOLDER]` draws six kinds of networks, to be looked at."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
import torchvision
import transformers
from torch import Tensor, nn

import neurolens as nl


class Area(nn.Module):
    """A cortical area: input from below, from itself and from above."""

    def __init__(self, n_below: int, n_units: int, n_above: int) -> None:
        super().__init__()
        self.feedforward = nn.Conv2d(n_below, n_units, 3, stride=2, padding=1)
        self.lateral = nn.Conv2d(n_units, n_units, 3, padding=1)
        self.feedback = nn.ConvTranspose2d(n_above, n_units, 2, stride=2) if n_above else None

    def forward(self, below: Tensor, own: Tensor | None, above: Tensor | None) -> Tensor:
        """Return the activity of the area at the next moment."""
        drive = self.feedforward(below)
        if own is not None:
            drive = drive + self.lateral(own)
        if above is not None and self.feedback is not None:
            drive = drive + self.feedback(above)
        return torch.relu(drive)


class VentralStream(nn.Module):
    """V1 to IT with lateral and feedback connections, over four moments."""

    def __init__(self) -> None:
        super().__init__()
        self.V1, self.V2 = Area(3, 16, 32), Area(16, 32, 64)
        self.V4, self.IT = Area(32, 64, 128), Area(64, 128, 0)
        self.decoder = nn.Linear(128, 10)

    def forward(self, image: Tensor) -> Tensor:
        """Return scores of ten categories."""
        v1 = v2 = v4 = it = None
        for _ in range(4):
            v1 = self.V1(image, v1, v2)
            v2 = self.V2(v1, v2, v4)
            v4 = self.V4(v2, v4, it)
            it = self.IT(v4, it, None)
        return self.decoder(it.mean((2, 3)))


class Reader(nn.Module):
    """An LSTM that reads words one by one."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(50, 16)
        self.cell = nn.LSTMCell(16, 24)
        self.readout = nn.Linear(24, 5)

    def forward(self, words: Tensor) -> Tensor:
        """Return scores after the last word."""
        embedded = self.embed(words)
        state = None
        for position in range(words.shape[1]):
            state = self.cell(embedded[:, position], state)
        return self.readout(state[0])


def build_networks() -> Iterator[tuple[str, nn.Module, Any, Mapping[str, Any]]]:
    """Yield name, network, inputs, and how it is drawn."""
    image = torch.randn(1, 3, 224, 224)
    words = torch.randint(0, 50, (1, 5))
    yield "ventral_stream", VentralStream(), torch.randn(1, 3, 64, 64), {"rolled": True}
    yield "ventral_stream_areas", VentralStream(), torch.randn(1, 3, 64, 64), {"rolled": True, "fold": 1}
    yield "lstm", Reader(), words, {}
    yield "lstm_rolled", Reader(), words, {"rolled": True, "show": ["shape", "parameters", "flops"]}
    yield "resnet18", torchvision.models.resnet18(), image, {}
    yield "resnet18_blocks", torchvision.models.resnet18(), image, {"fold": 2}
    yield "inception_v3", torchvision.models.inception_v3(init_weights=False), image, {"fold": 2}
    yield "swin_t", torchvision.models.swin_t(), image, {"fold": 3}
    gpt2 = transformers.GPT2LMHeadModel(transformers.GPT2Config(n_layer=3))
    yield "gpt2", gpt2, {"input_ids": words}, {"fold": 4}


def draw_all(folder: Path) -> None:
    """Draw every network into a folder."""
    torch.manual_seed(0)
    for name, network, inputs, how in build_networks():
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            nl.trace(network.eval(), inputs, keep=None).draw(folder / f"graph_{name}.png", **how)


if __name__ == "__main__":
    draw_all(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
