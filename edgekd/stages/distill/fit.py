"""The training loop: what is seen depends on (seed, epoch, sample index) alone, so it can go on where it was."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import inspect
import logging
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import nn

from edgekd import registry, store
from edgekd.datasets import Dataset
from edgekd.errors import TrainingError
from edgekd.metrics import better
from edgekd.progress import Progress, Silent
from edgekd.records import TOKEN_TASKS, DistillSpec, EpochRecord, TermShare
from edgekd.stages.distill.checkpoint import Checkpoint, copy_state, load_checkpoint
from edgekd.stages.distill.generating import is_own, own_batch
from edgekd.stages.distill.optimization import average_of, limit_norms, make_optimizer, scales_of, set_rates
from edgekd.stages.distill.positions import Positions
from edgekd.stages.distill.processes import Alone, Processes
from edgekd.stages.distill.teachers import hash_of
from edgekd.stages.distill.teaching import Teachers
from edgekd.stages.distill.terms import Objective, shares_of
from edgekd.stages.distill.validation import loss_of, predict, primary_metric, scores_of
from edgekd.stages.distill.views import Batch, Views

_log = logging.getLogger("edgekd")
# Looking at the loss waits for the device; rarely enough costs nothing, often enough wastes no hours.
_STEPS_BETWEEN_LOOKS = 50
_SMALL_SHARE = 0.01


@dataclass(frozen=True, kw_only=True)
class Lesson:
    """What one training is made of.

    Attributes:
        network: On the device of `processes`; trained in place.
        data: For the validation split.
        views: What is learned from.
        objective: The loss.
        teachers: `None` where no term needs them.
        cycle: How many views there are; 0 where every epoch has its own.
        teaching: Hashes of all that decides what the teachers say.
        name: For messages.
    """

    network: nn.Module
    data: Dataset
    views: Views
    spec: DistillSpec
    objective: Objective
    teachers: Teachers | None
    teaching: tuple[str, ...]
    cycle: int
    name: str
    processes: Processes = field(default_factory=Alone)


def has_fast_bfloat16(device: torch.device) -> bool:
    """Whether the hardware multiplies bfloat16 itself; emulating it is slower than float32."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return bool(torch.cpu._is_avx512_bf16_supported())  # noqa: SLF001 - torch has no public question for it


def is_mixed(spec: DistillSpec, device: torch.device) -> bool:
    """Whether a training computes in bfloat16."""
    return spec.mixed_precision == "auto" and has_fast_bfloat16(device)


def fit(
    lesson: Lesson, *, folder: Path | None, progress: Progress | None
) -> tuple[dict[str, torch.Tensor], tuple[EpochRecord, ...]]:
    """Train a network in place.

    Args:
        lesson: All that the training is made of.
        folder: Where the checkpoint lies; `None` keeps none.
        progress: Hears of batches.

    Returns:
        The weights of the best epoch, and one record an epoch.

    Raises:
        TrainingError: The loss is not a number.
    """
    progress = progress or Silent()
    spec, processes = lesson.spec, lesson.processes
    path = folder / "checkpoint.pt" if folder else None
    key = store.fingerprint(_dependencies(lesson), processes.device.type, is_mixed(spec, processes.device))
    state = (load_checkpoint(path, key) if path and processes.rank == 0 else None) or Checkpoint(fingerprint=key)
    state = processes.share(state)
    loop = _Loop(lesson, progress)
    if state.epoch:
        loop.load(state)
        _log.info("%s: going on after epoch %d of %d", lesson.name, state.epoch, spec.epochs)
    progress.start(lesson.name, spec.epochs * loop.steps)
    progress.advance(state.epoch * loop.steps)
    try:
        with _deterministic():
            while state.epoch < spec.epochs and not _is_over(state, spec):
                record = loop.run(state.epoch)
                state.history.append(record)
                if state.best_epoch < 0 or _is_better(record, state.history[state.best_epoch]):
                    state.best, state.best_epoch = loop.weights(), state.epoch
                state.epoch += 1
                if path:
                    loop.save(state)
                    if processes.rank == 0:
                        state.save(path)
    finally:
        progress.end()
        processes.end()
    _warn_of_small_terms(lesson.name, state.history)
    return processes.share(state.best), tuple(state.history)


class _Loop:
    """One training: everything that stays the same from epoch to epoch."""

    def __init__(self, lesson: Lesson, progress: Progress) -> None:
        self.lesson, self.progress, self.spec = lesson, progress, lesson.spec
        self.views, self.processes = lesson.views, lesson.processes
        self.device = self.processes.device
        # Made first: wrappers and hooks must not be copied into it.
        self.average = average_of(lesson.network, self.spec.ema) if self.spec.ema else None
        learned = [*lesson.network.parameters(), *lesson.objective.parameters()]
        self.of_tokens = lesson.data.task in TOKEN_TASKS
        self.wrapped, self.optimizer = self.processes.prepare(
            Positions(lesson.network) if self.of_tokens else lesson.network,
            make_optimizer(learned, self.spec, scales_of(lesson.network)),
        )
        # Looked up again: sharding puts others in their place.
        self.trained = [*lesson.network.parameters(), *lesson.objective.parameters()]
        self.forward = torch.compile(self.wrapped) if self.spec.compile else self.wrapped
        self.batch_size = min(self.spec.batch_size, len(self.views))
        self.batch_size -= self.batch_size % self.processes.count  # where there are fewer samples than a batch has
        # A last, smaller batch would be another distribution for BatchNorm; every epoch leaves out others.
        self.steps = len(self.views) // self.batch_size
        self.mixed = is_mixed(self.spec, self.device)
        self.metric = primary_metric(lesson.data)

    def load(self, state: Checkpoint) -> None:
        """Go on from a checkpoint."""
        self.processes.load(self.wrapped, self.lesson.objective, self.optimizer, (state.network, state.optimizer))
        self.lesson.objective.load_state_dict(state.objective)
        if self.average is not None:
            self.average.load_state_dict(state.average)

    def save(self, state: Checkpoint) -> None:
        """Put all that changes into a checkpoint."""
        state.network, state.optimizer = self.processes.state(self.wrapped, self.lesson.objective, self.optimizer)
        state.objective = self.lesson.objective.state_dict()
        state.average = self.average.state_dict() if self.average is not None else {}

    def weights(self) -> dict[str, torch.Tensor]:
        """The weights that would be kept if the training ended here."""
        if self.average is not None:
            return copy_state(self.average.module)
        if self.processes.count == 1:
            return copy_state(self.lesson.network)
        # Cloned: on the CPU the gathered state is the very weights that go on training.
        state = self.processes.state(self.wrapped, self.lesson.objective, self.optimizer)[0]
        prefix = "network." if self.of_tokens else ""
        return {key.removeprefix(prefix): value.detach().clone() for key, value in state.items()}

    def run(self, epoch: int) -> EpochRecord:
        """Train one epoch and validate."""
        started = time.perf_counter()
        with _seeded(self.spec.seed, epoch, self.processes.rank):
            train_loss, terms = self._train(epoch)
        seconds = time.perf_counter() - started
        loss, score = self._validate()
        rate = self.optimizer.param_groups[0]["lr"]
        _log.debug(
            "%s: epoch %d/%d  loss %.4f  validation %s %.4f  %.0f samples/s",
            self.lesson.name,
            epoch + 1,
            self.spec.epochs,
            train_loss,
            self.metric,
            score,
            self.steps * self.batch_size / seconds,
        )
        measured = {"train_loss": train_loss, "validation_loss": loss, f"validation_{self.metric}": score}
        self.processes.track({**measured, "learning_rate": rate}, epoch)
        return EpochRecord(
            epoch=epoch,
            learning_rate=rate,
            train_loss=train_loss,
            validation_loss=loss,
            validation_score=score,
            metric=self.metric,
            terms=terms,
        )

    def _train(self, epoch: int) -> tuple[float, tuple[TermShare, ...]]:
        # A network that is to become integers has no statistics of a batch any more: its norms are what they will be.
        self.wrapped.train(self.spec.quantization is None)
        order = self._order(epoch)
        total = torch.zeros((), device=self.device)
        shares: tuple[TermShare, ...] = ()
        for step in range(self.steps):
            indices = order[step * self.batch_size : (step + 1) * self.batch_size]
            set_rates(self.optimizer, self.spec, epoch * self.steps + step, self.steps)
            self.optimizer.zero_grad(set_to_none=True)
            for part, share in self._parts(indices, epoch):
                terms = self._terms(part, epoch, step)
                if step == 0 and not shares:
                    shares = shares_of(terms, self.lesson.objective, self._student_weights, self._progress(epoch, step))
                loss = share * sum(terms, start=torch.zeros((), device=self.device))
                self.processes.backward(loss)
                total += loss.detach()
            self._step()
            if (step + 1) % _STEPS_BETWEEN_LOOKS == 0 or step + 1 == self.steps:
                self._look(total, epoch)
            self.progress.advance()
        return float(self.processes.mean(total)) / self.steps, shares

    def _order(self, epoch: int) -> torch.Tensor:
        """Which samples come in which place: the same on every process."""
        generator = torch.Generator().manual_seed(_mix(self.spec.seed, epoch))
        if self.spec.sampling == "shuffled":
            return torch.randperm(len(self.views), generator=generator).to(self.device)
        _, places, counts = np.unique(self.views.labels.cpu().numpy(), return_inverse=True, return_counts=True)
        share = torch.from_numpy(1 / counts[places])
        return torch.multinomial(share, len(self.views), replacement=True, generator=generator).to(self.device)

    def _parts(self, indices: torch.Tensor, epoch: int) -> Iterator[tuple[Batch, float]]:
        """Deal a batch out over processes, and this one's into parts that memory holds; with the share of each."""
        view = epoch % self.lesson.cycle if self.lesson.cycle else epoch
        own = indices[self.processes.rank :: self.processes.count]
        for part in own.chunk(self.spec.accumulate):
            yield self.views.batch(part, view), len(part) / len(own)

    def _terms(self, batch: Batch, epoch: int, step: int) -> list[torch.Tensor]:
        if self.of_tokens:
            return self._terms_at_positions(batch, epoch, step)
        teacher = self.lesson.teachers.outputs(batch) if self.lesson.teachers else None
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.mixed):
            student = self.forward(batch.inputs).float()
        terms: list[torch.Tensor] = self.lesson.objective(student, teacher, batch, self._progress(epoch, step))
        return terms

    def _terms_at_positions(self, batch: Batch, epoch: int, step: int) -> list[torch.Tensor]:
        spec, number = self.spec.generation, epoch * self.steps + step
        own = spec is not None and is_own(spec, number)
        if spec is not None and own:
            seed = _mix(self.spec.seed, number) + self.processes.rank
            batch = own_batch(self.lesson.network, batch, spec, self.lesson.data.tokens, seed=seed)
        use = functools.partial(
            self.lesson.objective.at_positions,
            said=self.lesson.teachers.said(batch) if self.lesson.teachers else None,
            batch=batch,
            vocabulary=self.lesson.data.outputs,
            progress=self._progress(epoch, step),
            taught_only=own,
        )
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.mixed):
            terms: list[torch.Tensor] = self.forward(batch.inputs, use)
        return terms

    def _step(self) -> None:
        if self.processes.count > 1:  # the wrapper averages the gradients of the network only
            for each in self.lesson.objective.parameters():
                each.grad = None if each.grad is None else self.processes.mean(each.grad)
        if self.spec.gradient_clip:
            nn.utils.clip_grad_norm_(self.trained, self.spec.gradient_clip)
        self.optimizer.step()
        if self.spec.max_norm:
            limit_norms(self.lesson.network, self.spec.max_norm)
        if self.average is not None:
            self.average.update_parameters(self.processes.whole(self.lesson.network))

    def _progress(self, epoch: int, step: int) -> float:
        return (epoch * self.steps + step) / max(self.spec.epochs * self.steps - 1, 1)

    @property
    def _student_weights(self) -> list[nn.Parameter]:
        return [each for each in self.lesson.network.parameters() if each.requires_grad]

    def _look(self, total: torch.Tensor, epoch: int) -> None:
        if not math.isfinite(float(total)):
            raise TrainingError(
                f"the loss is {float(total)} in epoch {epoch + 1}",
                where=self.lesson.name,
                next_step=f"lower learning_rate (now {self.spec.learning_rate:g}), raise warmup_epochs "
                f"(now {self.spec.warmup_epochs:g}) or set gradient_clip; the last good epoch's checkpoint is kept",
            )

    def _validate(self) -> tuple[float, float]:
        data = self.lesson.data
        judged = self.average.module if self.average is not None else self.wrapped
        outputs = predict(judged, data.validation, data, self.device)
        loss, score = loss_of(outputs, data.validation, data), scores_of(outputs, data.validation, data)[0].value
        if not math.isfinite(score):
            raise TrainingError(
                "the validation score is not a number", where=self.lesson.name, next_step="lower learning_rate"
            )
        return loss, score


def _is_better(record: EpochRecord, best: EpochRecord) -> bool:
    if record.validation_score == best.validation_score:
        return record.validation_loss < best.validation_loss
    return better(record.metric, record.validation_score, best.validation_score)


def _is_over(state: Checkpoint, spec: DistillSpec) -> bool:
    return spec.patience is not None and state.epoch - 1 - state.best_epoch >= spec.patience


def _warn_of_small_terms(name: str, history: Sequence[EpochRecord]) -> None:
    """Warn of terms that hardly moved the student in any epoch."""
    balances = [record.terms for record in history if record.terms]
    for each in zip(*balances, strict=True):
        largest = max(term.gradient for term in each)
        if largest < _SMALL_SHARE:
            _log.warning(
                "%s: loss '%s' is at most %.2g %% of the gradient: raise its weight or leave it out",
                name,
                each[0].name,
                largest * 100,
            )


def _mix(seed: int, epoch: int) -> int:
    return int.from_bytes(hashlib.sha256(f"{seed}/{epoch}".encode()).digest()[:7])


@contextlib.contextmanager
def _seeded(seed: int, epoch: int, rank: int) -> Iterator[None]:
    """Dropout and the like depend on (seed, epoch, process) only; the caller's generator is left alone."""
    with torch.random.fork_rng():
        torch.manual_seed(_mix(seed, epoch) + rank)
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


def _dependencies(lesson: Lesson) -> list[object]:
    """List all that the trained weights depend on, the user's own code included."""
    spec = asdict(lesson.spec)
    # Where things lie, who is told, and what is done with the network afterwards change nothing.
    for key in ("cache_folder", "cache", "cache_budget", "trackers", "control", "seeds", "weak_teachers"):
        del spec[key]
    augmentations = [registry.function("augmentations", term.name) for term in lesson.spec.augmentations]
    terms = lesson.objective.terms
    simulated = ["simulation"] if lesson.spec.quantization else []
    writing = ["frameworks/writing.py"] if lesson.spec.generation else []
    return [
        spec,
        [term.spec for term in terms],
        lesson.data.sha256,
        lesson.views.fingerprint,
        hashlib.sha256(np.ascontiguousarray(lesson.views.labels.cpu().numpy()).data).hexdigest(),
        hash_of(lesson.network),
        lesson.teaching,
        torch.__version__,
        torch.get_num_threads(),
        lesson.processes.count,
        store.code_fingerprint("stages/distill", "augmentations", "losses", "metrics", *simulated, *writing),
        _hash_code([type(module) for module in lesson.network.modules()]),
        _hash_code([*augmentations, *(term.loss for term in terms)]),
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
