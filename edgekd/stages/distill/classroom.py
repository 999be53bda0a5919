"""The teachers of one training: judged on validation data, and cached where that is possible."""

from __future__ import annotations

import gc
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from edgekd.cache import TeacherCache
from edgekd.datasets import Dataset
from edgekd.metrics import better
from edgekd.progress import Progress
from edgekd.records import TOKEN_TASKS, CacheFacts, DistillSpec, Teaching
from edgekd.stages.distill.caching import count_views, fill, keep_validation, open_cache, read_validation
from edgekd.stages.distill.fit import is_mixed
from edgekd.stages.distill.positions import nats_of_rows
from edgekd.stages.distill.preflight import check_network, check_steady, check_stored
from edgekd.stages.distill.teachers import Teacher, judge, outputs_on_validation, refuse
from edgekd.stages.distill.teaching import CachedTeachers, LiveTeachers, Teachers, combine
from edgekd.stages.distill.terms import Term
from edgekd.stages.distill.validation import batches_of_tokens, primary_metric, scores_of
from edgekd.stages.distill.views import Batch, Views
from edgekd.teachers import StoredLogits


class Classroom:
    """The teachers of one training, judged, and cached where that is possible.

    Attributes:
        teachers: What the loop asks; `None` without any.
        cycle: How many views there are; 0 where every epoch has its own.
        fingerprint: All that decides what they say.
    """

    def __init__(
        self,
        named: Sequence[Teacher],
        terms: Sequence[Term],
        views: Views,
        data: Dataset,
        spec: DistillSpec,
        progress: Progress,
        device: torch.device,
    ) -> None:
        self.named, self.data, self.spec, self.device = named, data, spec, device
        self.teachers: Teachers | None = None
        self.teaching: Teaching | None = None
        self.fingerprint: tuple[str, ...] = ()
        cached = bool(named) and spec.cache != "off" and not any(term.needs_features for term in terms)
        # What the student writes, no cache holds.
        cached = cached and not (spec.generation and spec.generation.on_policy)
        # Nor what is said of other tokens.
        cached = cached and not any(each.other_tokens for each in named)
        # Where nothing is augmented all epochs look the same.
        is_plain = not spec.augmentations and data.task != "masked_token"
        self.cycle = count_views(spec, data.task) if cached or is_plain else (spec.views or 0)
        if not named:
            return
        weights = [each.weight for each in named]
        mixed = is_mixed(spec, device)
        # All of them first: a bad one is found before hours go into the cache of a good one.
        opened = [open_cache(each, views, spec) if cached else None for each in named]
        kept = [read_validation(each, data.validation) if each else None for each in opened]
        outputs = [self._ask(each, views) if said is None else said for each, said in zip(named, kept, strict=True)]
        self.scores = [
            judge(answers, teacher, data, spec, device, is_new=said is None)
            for answers, teacher, said in zip(outputs, named, kept, strict=True)
        ]
        caches: list[TeacherCache] = []
        facts: list[CacheFacts] = []
        for teacher, cache, answers in zip(named, opened, outputs, strict=True):
            if cache is not None:
                filled, known = fill(cache, teacher, views, progress, fast=mixed, draws=spec.cache_draws)
                keep_validation(filled, data.validation, answers)
                caches.append(filled)
                facts.append(known)
                gc.collect()  # the teacher, before the next one is loaded
        self.teachers = (
            CachedTeachers(caches, weights, spec.combine)
            if cached
            else LiveTeachers([each.load() for each in named], weights, spec.combine, mixed=mixed)
        )
        self.teaching = self._describe(outputs, weights, tuple(facts))
        self.fingerprint = (
            *(each.fingerprint for each in named),
            *(f"{each.weight:g}" for each in named),
            spec.combine,
            *(f"{each.kept} {each.precision}" for each in facts),
        )

    def compare(self, control: float) -> None:
        """Hold the teachers against the student that had none.

        Raises:
            ModelError: They know less than it, and the spec does not want such teachers.
        """
        assert self.teaching is not None  # noqa: S101 - there is a control only where there are teachers
        metric, ensemble = self.teaching.metric, self.teaching.ensemble_score
        if better(metric, control, ensemble):
            refuse(
                self.spec,
                f"{'they have' if len(self.named) > 1 else 'it has'} a validation {metric} of {ensemble:.4f}, the "
                f"student that learned without teachers {control:.4f}: there is nothing to learn from",
                ", ".join(each.name for each in self.named),
                "use a better teacher, or train it for longer",
            )

    def _ask(self, teacher: Teacher, views: Views) -> NDArray[np.float32]:
        """Ask a teacher about the validation split."""
        network = teacher.load()
        check_network(network, self.data, teacher.name, self.device)
        check_steady(network, self.data, teacher.name, self.device)
        if isinstance(network, StoredLogits):
            check_stored(network, views=self.cycle or self.spec.epochs, positions=views.positions, name=teacher.name)
        return outputs_on_validation(network, self.data, self.device)

    def _describe(
        self, outputs: Sequence[NDArray[np.float32]], weights: Sequence[float], facts: tuple[CacheFacts, ...]
    ) -> Teaching:
        together = self._together(outputs, weights)
        choices = np.stack([each.argmax(1) for each in outputs])
        classes = self.data.task == "single_label"
        return Teaching(
            metric=primary_metric(self.data),
            combine=self.spec.combine,
            scores={each.name: score for each, score in zip(self.named, self.scores, strict=True)},
            ensemble_score=scores_of(together, self.data.validation, self.data)[0].value,
            disagreement=float((choices != choices[0]).any(0).mean()) if classes else 0.0,
            caches=facts,
        )

    def _together(self, outputs: Sequence[NDArray[np.float32]], weights: Sequence[float]) -> torch.Tensor:
        """Give what all teachers say of the validation split."""
        if self.data.task not in TOKEN_TASKS or len(outputs) == 1:
            return combine([torch.from_numpy(np.array(each)) for each in outputs], weights, self.spec.combine)
        # How likely each finds a text does not tell how likely they find it together: they are asked once more.
        networks = [each.load() for each in self.named]
        together = LiveTeachers(networks, weights, self.spec.combine, mixed=False)
        found = []
        for inputs, labels in batches_of_tokens(self.data.validation, self.data, self.device):
            nothing = torch.arange(len(inputs), device=self.device)
            batch = Batch(inputs=inputs, labels=labels, indices=nothing, positions=nothing, view=0)
            with torch.inference_mode():
                found.append(nats_of_rows(together.said(batch).rows, labels, self.data.outputs))
        return torch.cat(found)
