"""A plain PyTorch loop on CIFAR-100, as one writes it by hand: what `cifar100.py` measures against.

A `Dataset` of tensors in memory, torchvision's v2 transforms, a `DataLoader`, channels last, SGD
with momentum. Where `bfloat16` is asked for, it autocasts as ours does.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2

BATCH = 128
MEAN, STD = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)
VARIED = v2.Compose(
    [
        v2.RandomCrop(32, padding=4),
        v2.RandomHorizontalFlip(),
        v2.ToDtype(torch.float32, scale=True),
        v2.Normalize(MEAN, STD),
    ]
)
UNVARIED = v2.Compose([v2.ToDtype(torch.float32, scale=True), v2.Normalize(MEAN, STD)])


def precision_of(asked: str) -> str:
    """What Pixelwright takes on a CPU for auto."""
    fast = torch.cpu._is_amx_tile_supported()
    return ("bfloat16" if fast else "float32") if asked == "auto" else asked


class Pictures(Dataset[tuple[Tensor, int]]):
    """Pictures uint8 "n h w 3" and their labels."""

    def __init__(self, images: np.ndarray, labels: np.ndarray, transform: v2.Compose) -> None:
        self.images = torch.from_numpy(images).permute(0, 3, 1, 2).contiguous()
        self.labels = labels.tolist()
        self.transform = transform

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, number: int) -> tuple[Tensor, int]:
        return self.transform(self.images[number]), self.labels[number]


def batches(data: Pictures, workers: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Shuffled batches without end."""
    loader = DataLoader(
        data,
        batch_size=BATCH,
        shuffle=True,
        drop_last=True,
        num_workers=workers,
        persistent_workers=workers > 0,
    )
    while True:
        yield from loader


@dataclass
class Learner:
    """A network with its optimiser.

    Args:
        model: From normalised pictures "n 3 h w" to logits.
        precision: float32 or bfloat16.
        lr: Highest learning rate.
    """

    model: nn.Module
    precision: str
    lr: float = 0.1

    def __post_init__(self) -> None:
        self.model = self.model.to(memory_format=torch.channels_last)
        self.optimizer = torch.optim.SGD(
            self.model.parameters(), lr=self.lr, momentum=0.9, nesterov=True, weight_decay=5e-4
        )

    def autocast(self) -> torch.autocast:
        return torch.autocast("cpu", torch.bfloat16, enabled=self.precision == "bfloat16")

    def step(self, images: Tensor, targets: Tensor) -> float:
        images = images.to(memory_format=torch.channels_last)
        self.optimizer.zero_grad()
        with self.autocast():
            logits = self.model(images)
        loss = F.cross_entropy(logits.float(), targets)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        return loss.item()

    def accuracy(self, data: Pictures) -> float:
        """Share of the pictures whose class comes first."""
        self.model.eval()
        right = 0
        with torch.inference_mode(), self.autocast():
            for images, targets in DataLoader(data, batch_size=500):
                logits = self.model(images.to(memory_format=torch.channels_last))
                right += int((logits.argmax(1) == targets).sum())
        self.model.train()
        return right / len(data)


def rate(along: float) -> float:
    """The factor on the highest rate: up for a twentieth of training, then down half a cosine."""
    up = along / 0.05 if along < 0.05 else (1 + math.cos(math.pi * (along - 0.05) / 0.95)) / 2
    return max(up, 1e-3)


def train(learner: Learner, data: Pictures, workers: int, along: Callable[[int], float]) -> int:
    """Train until `along`, of the steps that were done, comes to one; the number of steps."""
    source, steps = batches(data, workers), 0
    learner.model.train()
    while (now := along(steps)) < 1:
        for group in learner.optimizer.param_groups:
            group["lr"] = learner.lr * rate(now)
        learner.step(*next(source))
        steps += 1
    return steps
