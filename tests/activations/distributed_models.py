"""Models and stimuli that workers of a cluster can import."""

import time

import torch
from torch import nn

from neurolens.stimuli import Stimuli

N = 30


def make_stimuli():
    x = torch.randn(N, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    x[7, 0, 0, 0] = -1e9
    return Stimuli.from_array(
        x, ids=[f"s{i}" for i in range(N)], metadata={"half": [i < 15 for i in range(N)]}
    )


class Branching(nn.Module):
    """Three ways, none of them taken by the first batch alone; NaN where a value is far below zero."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(3, 4, 3)
        self.fc = nn.Linear(144, 7)

    def forward(self, x):
        way = round(abs(float(x[0, 1, 1, 1])) * 100) % 3
        y = self.conv(x)
        if way == 1:
            y = torch.relu(y)
        elif way == 2:
            y = torch.relu(y - 1) * 2
        y = torch.relu(self.fc(y.flatten(1)))
        return torch.log(x[:, 0, 0, 0] + 1e8), y


class Slow(nn.Module):
    """Takes its time."""

    def __init__(self, seconds):
        super().__init__()
        torch.manual_seed(0)
        self.fc = nn.Linear(192, 5)
        self.seconds = seconds

    def forward(self, x):
        time.sleep(self.seconds)
        return self.fc(x.flatten(1))
