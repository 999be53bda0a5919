"""The training loop: what is seen depends on (seed, epoch, sample index) alone, so it can go on where it was."""

from __future__ import annotations

import contextlib
import hashlib
import inspect
import logging
import math
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from edgekd import registry, store
from edgekd.datasets import Dataset, Split
from edgekd.errors import TrainingError
from edgekd.progress import Progress, Silent
from edgekd.records import DistillSpec, EpochRecord, LossTerm
from edgekd.stages.distill.checkpoint import Checkpoint, copy_state, load_checkpoint

_log = logging.getLogger("edgekd")
_MOMENTUM = 0.9
_EVALUATION_BATCH = 1000
# Looking at the loss waits for the device; rarely enough costs nothing, often enough wastes no hours.
_STEPS_BETWEEN_LOOKS = 50

Term = tuple[LossTerm, Callable[..., torch.Tensor]]
Augment = Callable[..., torch.Tensor]


@dataclass(frozen=True)
class TeacherEnsemble:
    """Teachers whose logits are averaged by weight."""

    networks: tuple[nn.Module, ...]
    weights: tuple[float, ...]

    def __bool__(self) -> bool:
        return bool(self.networks)

    def logits(self, inputs: torch.Tensor) -> torch.Tensor:
        """Average the teachers' logits: (B, ...) inputs to (B, classes)."""
        with torch.inference_mode():
            total = sum(weight * network(inputs) for network, weight in zip(self.networks, self.weights, strict=True))
        assert isinstance(total, torch.Tensor)  # noqa: S101 - called only when there is a teacher
        # A clone made outside inference mode may take part in autograd.
        return (total / sum(self.weights)).clone()


def pick_device() -> torch.device:
    """The GPU where there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def has_fast_bfloat16(device: torch.device) -> bool:
    """Whether the hardware multiplies bfloat16 itself; emulating it is slower than float32."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return bool(torch.cpu._is_avx512_bf16_supported())  # noqa: SLF001 - torch has no public question for it


def fit(
    network: nn.Module,
    *,
    data: Dataset,
    spec: DistillSpec,
    teachers: TeacherEnsemble,
    terms: Sequence[Term],
    folder: Path | None,
    progress: Progress | None,
    name: str,
    device: torch.device,
) -> tuple[EpochRecord, ...]:
    """Train a network in place and give it the weights of its best epoch.

    Args:
        network: On `device`.
        data: Training and validation splits.
        spec: Schedule.
        teachers: May be empty.
        terms: Weighted losses.
        folder: Where the checkpoint lies; `None` keeps none.
        progress: Hears of batches.
        name: For messages.
        device: Where to train.

    Returns:
        One record an epoch.

    Raises:
        TrainingError: The loss is not a number.
    """
    progress = progress or Silent()
    for teacher in teachers.networks:
        teacher.eval().requires_grad_(requires_grad=False)
    if len(data.input_shape) == 3:
        for each in (network, *teachers.networks):
            each.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs lack it
    loop = _Loop(network, data, spec, teachers, terms, name, device, progress)
    path = folder / "checkpoint.pt" if folder else None
    key = store.fingerprint(_dependencies(network, data, spec, teachers, terms), device.type, loop.mixed)
    state = (load_checkpoint(path, key) if path else None) or Checkpoint(fingerprint=key)
    if state.epoch:
        network.load_state_dict(state.network)
        loop.optimizer.load_state_dict(state.optimizer)
        _log.info("%s: going on after epoch %d of %d", name, state.epoch, spec.epochs)
    progress.start(name, spec.epochs * loop.steps)
    progress.advance(state.epoch * loop.steps)
    try:
        with _deterministic():
            while state.epoch < spec.epochs and not _is_over(state, spec):
                record = loop.run(state.epoch)
                state.history.append(record)
                if state.best_epoch < 0 or _is_better(record, state.history[state.best_epoch]):
                    state.best, state.best_epoch = copy_state(network), state.epoch
                state.epoch += 1
                if path:
                    state.network, state.optimizer = network.state_dict(), loop.optimizer.state_dict()
                    state.save(path)
    finally:
        progress.end()
    network.load_state_dict(state.best)
    return tuple(state.history)


def predict(network: nn.Module, split: Split, scale: float, device: torch.device) -> torch.Tensor:
    """Send a split through a network.

    Returns:
        (N, classes) float32 logits, on `device`.
    """
    network.eval()
    batches = torch.split(_share(split.inputs), _EVALUATION_BATCH)
    with torch.inference_mode():
        return torch.cat([network(_ready(batch.to(device), scale)) for batch in batches])


class _Loop:
    """One training: everything that stays the same from epoch to epoch."""

    def __init__(
        self,
        network: nn.Module,
        data: Dataset,
        spec: DistillSpec,
        teachers: TeacherEnsemble,
        terms: Sequence[Term],
        name: str,
        device: torch.device,
        progress: Progress,
    ) -> None:
        self.network, self.data, self.spec, self.teachers = network, data, spec, teachers
        self.terms, self.name, self.device, self.progress = terms, name, device, progress
        self.inputs = _share(data.train.inputs).to(device)
        self.labels = _share(data.train.labels).to(device, torch.int64)
        self.validation_labels = _share(data.validation.labels).to(device, torch.int64)
        self.augmentations: list[tuple[Augment, dict[str, object]]] = [
            (registry.function("augmentations", term.name), dict(term.options)) for term in spec.augmentations
        ]
        self.batch_size = min(spec.batch_size, len(data.train))
        # A last, smaller batch would be another distribution for BatchNorm; every epoch leaves out others.
        self.steps = len(data.train) // self.batch_size
        self.optimizer = _make_optimizer(network, spec)
        self.mixed = spec.mixed_precision == "auto" and has_fast_bfloat16(device)

    def run(self, epoch: int) -> EpochRecord:
        """Train one epoch and validate."""
        started = time.perf_counter()
        with _seeded(self.spec.seed, epoch):
            train_loss = self._train(epoch)
        seconds = time.perf_counter() - started
        loss, accuracy = self._validate()
        rate = self.optimizer.param_groups[0]["lr"]
        _log.debug(
            "%s: epoch %d/%d  loss %.4f  validation accuracy %.2f %%  %.0f samples/s",
            self.name,
            epoch + 1,
            self.spec.epochs,
            train_loss,
            accuracy * 100,
            self.steps * self.batch_size / seconds,
        )
        return EpochRecord(
            epoch=epoch,
            learning_rate=rate,
            train_loss=train_loss,
            validation_loss=loss,
            validation_score=accuracy,
        )

    def _train(self, epoch: int) -> float:
        self.network.train()
        generator = torch.Generator().manual_seed(_mix(self.spec.seed, epoch))
        order = torch.randperm(len(self.labels), generator=generator).to(self.device)
        total = torch.zeros((), device=self.device)
        for step in range(self.steps):
            indices = order[step * self.batch_size : (step + 1) * self.batch_size]
            rate = _learning_rate(self.spec, epoch * self.steps + step, self.steps)
            for group in self.optimizer.param_groups:
                group["lr"] = rate
            loss = self._loss(indices, epoch)
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]  # torch's stubs
            self.optimizer.step()
            total += loss.detach()
            if (step + 1) % _STEPS_BETWEEN_LOOKS == 0 or step + 1 == self.steps:
                self._look(total, epoch)
            self.progress.advance()
        return float(total) / self.steps

    def _loss(self, indices: torch.Tensor, epoch: int) -> torch.Tensor:
        inputs, labels = self.inputs[indices], self.labels[indices]
        for augment, options in self.augmentations:
            inputs = augment(seed=self.spec.seed, view=epoch, indices=indices, inputs=inputs, **options)
        ready = _ready(inputs, self.data.scale)
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.mixed):
            teacher = self.teachers.logits(ready).float() if self.teachers else None
            student = self.network(ready).float()
        total: torch.Tensor = sum(
            (
                term.weight * loss(student=student, teacher=teacher, labels=labels, **term.options)
                for term, loss in self.terms
            ),
            start=student.new_zeros(()),
        )
        return total

    def _look(self, total: torch.Tensor, epoch: int) -> None:
        if not math.isfinite(float(total)):
            raise TrainingError(
                f"the loss is {float(total)} in epoch {epoch + 1}",
                where=self.name,
                next_step=f"lower learning_rate (now {self.spec.learning_rate:g}) or raise warmup_epochs "
                f"(now {self.spec.warmup_epochs:g}); the checkpoint of the last good epoch is kept",
            )

    def _validate(self) -> tuple[float, float]:
        logits = predict(self.network, self.data.validation, self.data.scale, self.device)
        loss = functional.cross_entropy(logits, self.validation_labels)
        accuracy = (logits.argmax(1) == self.validation_labels).float().mean()
        if not math.isfinite(float(loss)):
            raise TrainingError("the validation loss is not a number", where=self.name, next_step="lower learning_rate")
        return float(loss), float(accuracy)


def _share(array: NDArray[np.generic]) -> torch.Tensor:
    """Give an array to torch without a copy; nothing here writes to it, so it may be memory-mapped read-only."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The given NumPy array is not writable", UserWarning)
        return torch.from_numpy(np.ascontiguousarray(array))


def _ready(inputs: torch.Tensor, scale: float) -> torch.Tensor:
    ready = inputs.to(torch.float32).mul_(scale) if inputs.dtype != torch.float32 else inputs * scale
    return ready.contiguous(memory_format=torch.channels_last) if ready.ndim == 4 else ready


def _make_optimizer(network: nn.Module, spec: DistillSpec) -> torch.optim.Optimizer:
    parameters = [each for each in network.parameters() if each.requires_grad]
    if spec.optimizer == "adamw":
        return torch.optim.AdamW(parameters, lr=spec.learning_rate, weight_decay=spec.weight_decay)
    return torch.optim.SGD(
        parameters, lr=spec.learning_rate, momentum=_MOMENTUM, nesterov=True, weight_decay=spec.weight_decay
    )


def _learning_rate(spec: DistillSpec, step: int, steps_per_epoch: int) -> float:
    """Linear warm-up, then half a cosine to zero (Loshchilov and Hutter 2017, eq. 5, one cycle)."""
    warmup = spec.warmup_epochs * steps_per_epoch
    cosine = 0.5 * (1 + math.cos(math.pi * step / (spec.epochs * steps_per_epoch)))
    return spec.learning_rate * cosine * min(1.0, (step + 1) / max(warmup, 1))


def _is_better(record: EpochRecord, best: EpochRecord) -> bool:
    return (record.validation_score, -record.validation_loss) > (best.validation_score, -best.validation_loss)


def _is_over(state: Checkpoint, spec: DistillSpec) -> bool:
    return spec.patience is not None and state.epoch - 1 - state.best_epoch >= spec.patience


def _mix(seed: int, epoch: int) -> int:
    return int.from_bytes(hashlib.sha256(f"{seed}/{epoch}".encode()).digest()[:7])


@contextlib.contextmanager
def _seeded(seed: int, epoch: int) -> Iterator[None]:
    """Dropout and the like depend on (seed, epoch) only; the caller's generator is left alone."""
    with torch.random.fork_rng():
        torch.manual_seed(_mix(seed, epoch))
        yield


@contextlib.contextmanager
def _deterministic() -> Iterator[None]:
    before = torch.are_deterministic_algorithms_enabled()
    warned = torch.is_deterministic_algorithms_warn_only_enabled()
    filled = torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]  # torch's stubs lack it
    torch.use_deterministic_algorithms(mode=True, warn_only=True)
    # It would write every new tensor twice, to show code that reads what it never wrote.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # as above
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(mode=before, warn_only=warned)
        torch.utils.deterministic.fill_uninitialized_memory = filled  # type: ignore[attr-defined]  # as above


def _dependencies(
    network: nn.Module, data: Dataset, spec: DistillSpec, teachers: TeacherEnsemble, terms: Sequence[Term]
) -> list[object]:
    """List all that the trained weights depend on, the user's own code included."""
    augmentations = [registry.function("augmentations", term.name) for term in spec.augmentations]
    return [
        spec,
        [term for term, _ in terms],
        data.sha256,
        _hash_state(network),
        [_hash_state(teacher) for teacher in teachers.networks],
        teachers.weights,
        torch.__version__,
        torch.get_num_threads(),
        store.code_fingerprint("stages/distill", "augmentations", "losses"),
        _hash_code([type(module) for each in (network, *teachers.networks) for module in each.modules()]),
        _hash_code([*augmentations, *(loss for _, loss in terms)]),
    ]


def _hash_code(objects: Sequence[Callable[..., object]]) -> list[str]:
    """Hash the files that define classes and functions; torch's own are covered by its version."""
    files = set()
    for each in objects:
        if not each.__module__.startswith("torch."):
            # What a notebook defines has no file; its name must do.
            with contextlib.suppress(TypeError, OSError):
                files.add(inspect.getsourcefile(each) or each.__qualname__)
    return sorted(store.sha256_of(Path(file)) if Path(file).is_file() else file for file in files)


def _hash_state(network: nn.Module) -> str:
    digest = hashlib.sha256(repr(network).encode())
    for key, value in network.state_dict().items():
        digest.update(key.encode() + value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
