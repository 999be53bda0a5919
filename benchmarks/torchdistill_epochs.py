"""Seconds per epoch of torchdistill, in an environment of its own; started by distill_cost.py.

It distils edgekd's ResNet-56 into its ResNet-8 with torchdistill's own box, loss and loaders; the loop is that of its
image classification example, with a validation pass an epoch. Prints one JSON line.
"""

from __future__ import annotations

import importlib
import json
import sys
import time
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import nn
from torch.utils.data import Dataset, RandomSampler, SequentialSampler, TensorDataset

sys.path.insert(0, str(Path(__file__).parents[1]))  # its environment has no edgekd; networks need torch alone
from edgekd.networks import mlperf_resnet8, resnet

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def main(settings: dict[str, Any]) -> None:
    """Train and print the seconds of each epoch after the first.

    Args:
        settings: `data` and `weights` are files, `epochs`, `batch_size`, `threads`, `workers`, and `loading`:
            `torchvision`, its usual transforms of PIL images, or `tensors`, ready ones without augmentation.
    """
    # Importing registers forward passes and losses.
    distillation, _, _ = (
        importlib.import_module(f"torchdistill.{name}")  # noqa: TID251 - no plug-in; mypy has no such module
        for name in ("core.distillation", "core.interfaces.forward_proc", "losses.mid_level")
    )
    torch.set_num_threads(settings["threads"])
    torch.manual_seed(0)
    teacher = resnet.build(classes=10, input_shape=(3, 32, 32), depth=56, shortcut="A", padding="symmetric").eval()
    state = torch.load(settings["weights"], map_location="cpu", weights_only=True)["state_dict"]
    teacher.load_state_dict({key.removeprefix("module."): value for key, value in state.items()})
    student = mlperf_resnet8.build(classes=10, input_shape=(3, 32, 32))
    with np.load(settings["data"]) as archive:
        arrays = {key: archive[key] for key in archive}
    datasets = {
        name: _dataset(arrays[f"x_{name}"], arrays[f"y_{name}"], settings["loading"], augment=name == "train")
        for name in ("train", "validation")
    }
    box = distillation.DistillationBox(
        teacher,
        student,
        datasets,
        _config(settings, len(arrays["y_train"])),
        torch.device("cpu"),
        device_ids=None,
        distributed=False,
        lr_factor=1,
    )
    ends = []
    for epoch in range(settings["epochs"]):
        box.pre_epoch_process(epoch=epoch)
        for samples, labels, extra in box.train_data_loader:
            loss = box.forward_process(samples, targets=labels, supp_dict=extra)
            box.post_forward_process(loss=loss)
        box.post_epoch_process()
        accuracy = _validate(student, box.val_data_loader)
        ends.append(time.perf_counter())
    print(
        json.dumps(
            {
                "epoch_s": np.diff(ends).tolist(),
                "loss": float(loss.detach()),
                "accuracy": accuracy,
                "torchdistill": metadata.version("torchdistill"),
                "torch": torch.__version__,
            }
        )
    )


def _config(settings: dict[str, Any], samples: int) -> dict[str, Any]:
    loading = {
        "batch_size": settings["batch_size"],
        "num_workers": settings["workers"],
        "persistent_workers": settings["workers"] > 0,
    }
    model = {"forward_proc": "forward_batch_only", "forward_hook": {"input": [], "output": ["linear"]}}
    return {
        "num_epochs": settings["epochs"],
        "train_data_loader": {
            "dataset_id": "train",
            "sampler": {"class_or_func": RandomSampler},
            "kwargs": loading | {"drop_last": True},
        },
        "val_data_loader": {
            "dataset_id": "validation",
            "sampler": {"class_or_func": SequentialSampler},
            "kwargs": {"batch_size": 1000},
        },
        "teacher": model | {"requires_grad": False},
        "student": model | {},
        "optimizer": {
            "key": "SGD",
            "kwargs": {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 1e-4},
        },
        "scheduler": {
            "key": "CosineAnnealingLR",
            "kwargs": {"T_max": settings["epochs"] * (samples // settings["batch_size"])},
            "scheduling_step": 1,
        },
        "criterion": {
            "key": "WeightedSumLoss",
            "kwargs": {
                "sub_terms": {
                    "kd": {
                        "criterion": {
                            "key": "KDLoss",
                            "kwargs": {
                                "student_module_path": "linear",
                                "student_module_io": "output",
                                "teacher_module_path": "linear",
                                "teacher_module_io": "output",
                                "temperature": 4.0,
                                "alpha": 0.1,
                                "reduction": "batchmean",
                            },
                        },
                        "weight": 1.0,
                    }
                }
            },
        },
    }


def _dataset(
    images: NDArray[np.uint8], labels: NDArray[np.int64], loading: str, *, augment: bool
) -> Dataset[tuple[torch.Tensor, Any]]:
    if loading == "tensors":
        scaled = torch.from_numpy(images).float() / 255
        ready = (scaled - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]
        return TensorDataset(ready, torch.from_numpy(labels))  # type: ignore[return-value]  # pairs all the same
    transforms = importlib.import_module("torchvision.transforms")  # noqa: TID251 - as above
    crops = [transforms.RandomCrop(32, padding=4), transforms.RandomHorizontalFlip()] if augment else []
    return _Pictures(
        images, labels, transforms.Compose([*crops, transforms.ToTensor(), transforms.Normalize(MEAN, STD)])
    )


class _Pictures(Dataset[tuple[torch.Tensor, Any]]):
    """As torchvision's CIFAR10: an array, a picture at a time, and transforms."""

    def __init__(self, images: NDArray[np.uint8], labels: NDArray[np.int64], transform: Any) -> None:
        self.images, self.labels = np.ascontiguousarray(images.transpose(0, 2, 3, 1)), labels.tolist()
        self.transform = transform

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return self.transform(Image.fromarray(self.images[index])), self.labels[index]

    def __len__(self) -> int:
        return len(self.labels)


def _validate(student: nn.Module, loader: Any) -> float:
    student.eval()
    right = count = 0
    with torch.inference_mode():
        for samples, labels, *_ in loader:
            right += int((student(samples).argmax(1) == labels).sum())
            count += len(labels)
    return right / count


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
