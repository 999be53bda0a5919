"""CIFAR-10 as it is stored for the benchmarks, JPEG files in one .npz, and the ResNets that were published for it."""

from __future__ import annotations

import io
import itertools
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import nn
from training import WORK, build

from edgekd import registry, store
from edgekd.datasets import Dataset, open_dataset
from edgekd.datasets.npz import files
from edgekd.records import DataSpec

JPEGS = "cifar10_jpeg_bytes.npz"
DECODED = WORK / "cifar10-decoded.npz"
HELD_OUT = 0.1
# What torchvision's models, and so akamaster/pytorch_resnet_cifar10, were trained with.
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
MLPERF = "models/mlperf_tiny/image_classification"
MLPERF_WEIGHTS = "pretrainedResnet.h5"
_TORCH_NAMES = {
    "kernel": "weight",
    "gamma": "weight",
    "bias": "bias",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}
WEIGHTS = {
    20: "resnet20-12fca82f.th",
    32: "resnet32-d509ac18.th",
    44: "resnet44-014dd654.th",
    56: "resnet56-4bfd9763.th",
}


def load() -> Dataset:
    """Open the decoded images, 45,000 to learn from, 5,000 held out, 10,000 to test; decodes them on the first call."""
    if not DECODED.exists():
        _decode(find(JPEGS, "cifar10"))
    with np.load(DECODED) as archive:
        classes = tuple(str(name) for name in archive["classes"])
    options = {"path": str(DECODED), "channels": "first", "classes": classes}
    return open_dataset(DataSpec(source="npz", validation=HELD_OUT, options=options))


def find(name: str, folder: str) -> Path:
    """Find a file as recipes do: in the folders of EDGEKD_DATA, or in a folder of theirs."""
    return files(path=Path(folder) / name)[0]


def load_published(depth: int, data: Dataset) -> nn.Module:
    """Load a ResNet as it was published, behind the normalisation that it was trained with."""
    network = build("resnet", data, 0, depth=depth, shortcut="A", padding="symmetric")
    weights = find(WEIGHTS[depth], "resnet_cifar10")
    return Normalised(registry.function("teachers", "torch")(network=network, weights=weights))


def load_mlperf(data: Dataset) -> nn.Module:
    """Build MLPerf Tiny's ResNet-8 with the weights of its reference, which learned CIFAR-10 from raw bytes."""
    import h5py

    network = build("mlperf_resnet8", data, 0)
    layers = ["stem.0", "stack1.conv1", "stack1.conv2"]
    layers += [f"stack{stack}.{layer}" for stack in (2, 3) for layer in ("conv1", "conv2", "shortcut")]
    norms = ["stem.1", *(f"stack{stack}.bn{number}" for stack in (1, 2, 3) for number in (1, 2))]
    # In the order in which Keras made them, which its names tell.
    names = {
        **{f"conv2d{_number(index)}": path for index, path in enumerate(layers)},
        **{f"batch_normalization{_number(index)}": path for index, path in enumerate(norms)},
        "dense": "linear",
    }
    with h5py.File(find(MLPERF_WEIGHTS, MLPERF)) as file:
        stored = {
            path: {
                key.removesuffix(":0"): np.asarray(value) for key, value in file["model_weights"][name][name].items()
            }
            for name, path in names.items()
        }
    # Its input is data.scale times a byte.
    stored["stem.0"]["kernel"] = stored["stem.0"]["kernel"] / np.float32(data.scale)
    state = {}
    for path, arrays in stored.items():
        for key, values in arrays.items():
            axes = {2: (1, 0), 4: (3, 2, 0, 1)}.get(values.ndim, (0,))
            state[f"{path}.{_TORCH_NAMES[key]}"] = torch.from_numpy(np.ascontiguousarray(values.transpose(axes)))
    missing, unexpected = network.load_state_dict(state, strict=False)
    left = [name for name in (*missing, *unexpected) if not name.endswith("num_batches_tracked")]
    if left:
        raise ValueError(f"weights that do not fit: {left}")
    return network.eval()


def _number(index: int) -> str:
    return f"_{index}" if index else ""


class Normalised(nn.Module):
    """A network behind (x - mean) / std of each channel."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("mean", torch.tensor(MEAN)[:, None, None])
        self.register_buffer("std", torch.tensor(STD)[:, None, None])

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """From (B, 3, H, W), 0 to 1, to logits."""
        mean, std = self.get_buffer("mean"), self.get_buffer("std")
        logits: torch.Tensor = self.network((inputs - mean) / std)
        return logits


def _decode(path: Path) -> None:
    with np.load(path) as archive:
        stored = {key: archive[key] for key in archive}
    decoded = {
        "x_train": _images(stored["train_bytes"], stored["train_offsets"]),
        "y_train": stored["y_train"].astype(np.int64),
        "x_test": _images(stored["test_bytes"], stored["test_offsets"]),
        "y_test": stored["y_test"].astype(np.int64),
        "classes": stored["classes"],
    }
    buffer = io.BytesIO()
    np.savez(buffer, **decoded)
    store.write_bytes(DECODED, buffer.getvalue())


def _images(content: NDArray[np.uint8], offsets: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Decode JPEG files that lie one behind the other: (N, 3, 32, 32)."""
    content_bytes = content.tobytes()
    images = np.empty((len(offsets) - 1, 3, 32, 32), np.uint8)
    for index, (start, end) in enumerate(itertools.pairwise(offsets)):
        with Image.open(io.BytesIO(content_bytes[start:end])) as image:
            images[index] = np.asarray(image.convert("RGB")).transpose(2, 0, 1)
    return images
