"""The terms of a loss: what each needs, its weight as training goes on, and how much it counts."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from edgekd import registry
from edgekd.errors import ConfigError, EdgekdError, did_you_mean
from edgekd.records import LossTerm, Schedule, TermShare
from edgekd.stages.distill.positions import Head, Said, by_rows
from edgekd.stages.distill.views import Batch

Loss = Callable[..., torch.Tensor]
_FEATURES = ("student_feature", "teacher_feature")
_TEACHER = ("teacher", "teacher_feature")


@dataclass(frozen=True, kw_only=True)
class Term:
    """A term and the function behind it.

    Attributes:
        inputs: What of a batch the function takes.
    """

    spec: LossTerm
    loss: Loss
    inputs: frozenset[str]

    @property
    def needs_features(self) -> bool:
        """Whether it compares what layers give, not what the network gives."""
        return not self.inputs.isdisjoint(_FEATURES)

    @property
    def needs_teacher(self) -> bool:
        """Whether it can do nothing without a teacher."""
        return not self.inputs.isdisjoint(_TEACHER)

    def options(self, progress: float) -> dict[str, Any]:
        """Options when a share `progress` of the training is done."""
        return {key: at(value, progress) for key, value in self.spec.options.items()}


def load_terms(specs: Sequence[LossTerm]) -> list[Term]:
    """Find the function of every term, and what it wants to see.

    >>> [sorted(term.inputs) for term in load_terms([LossTerm(name="kl")])]
    [['student', 'teacher']]
    """
    found = []
    for spec in specs:
        loss = registry.function("losses", spec.name)
        parameters = inspect.signature(loss).parameters
        # A user's own function with **kwargs takes all that there is at the outputs.
        takes_all = any(each.kind is inspect.Parameter.VAR_KEYWORD for each in parameters.values())
        inputs = registry.PASSED["losses"] & parameters.keys() | (
            {"student", "teacher", "labels"} if takes_all else set()
        )
        options = {key: _scheduled(value) for key, value in spec.options.items()}
        found.append(Term(spec=replace(spec, options=options), loss=loss, inputs=frozenset(inputs)))
    return found


def _scheduled(value: Any) -> Any:
    """Make a schedule of what a recipe wrote in place of a number."""
    return Schedule(**value) if isinstance(value, Mapping) and {"start", "end"} <= value.keys() else value


def at(value: Any, progress: float) -> Any:
    """Give a number, or what its schedule says when a share `progress` of the training is done."""
    return value.at(progress) if isinstance(value, Schedule) else value


class Objective(nn.Module):
    """The whole loss of a training, with what its terms learn on the way (projectors).

    Args:
        terms: At least one.
        student: Its layers are watched where terms name them.
        teacher: The teacher whose layers are watched; needed by feature losses only.
        sample: A small batch, to learn the shapes of features.
        samples: Size of the training split.
        pad: Token that fills up short texts; `None` where nothing is filled up.
        where: For messages.

    Raises:
        ConfigError: A layer that does not exist, or features that can't be compared; all problems at once.
    """

    def __init__(
        self,
        terms: Sequence[Term],
        *,
        student: nn.Module,
        teacher: nn.Module | None,
        sample: torch.Tensor,
        samples: int,
        pad: int | None = None,
        where: str,
    ) -> None:
        super().__init__()
        self.terms, self.pad = tuple(terms), pad
        self.projectors = nn.ModuleDict()
        self._seen: dict[tuple[str, str], torch.Tensor] = {}
        self._hooks: list[Any] = []
        problems: list[EdgekdError] = []
        watched = [(index, term) for index, term in enumerate(terms) if term.needs_features]
        for index, term in watched:
            for role, network in (("student", student), ("teacher", teacher)):
                try:
                    self._watch(role, network, getattr(term.spec, f"{role}_layer"))
                except EdgekdError as error:
                    problems.append(
                        ConfigError(
                            error.what,
                            where=f"{where}: losses.{index}.{role}_layer",
                            allowed=error.allowed,
                            next_step=error.next_step,
                        )
                    )
        if watched and not problems:
            self._look(student, teacher, sample)
            for index, term in watched:
                try:
                    self._prepare(index, term, samples)
                except ConfigError as error:
                    problems.append(
                        ConfigError(
                            error.what,
                            where=f"{where}: losses.{index} ({term.spec.name})",
                            allowed=error.allowed,
                            next_step=error.next_step,
                        )
                    )
        if problems:
            self.release()
            raise ConfigError.of(problems)

    def release(self) -> None:
        """Stop watching layers; the networks are as they were."""
        for hook in self._hooks:
            hook.remove()
        self._hooks.clear()
        self._seen.clear()

    def forward(
        self, student: torch.Tensor, teacher: torch.Tensor | None, batch: Batch, progress: float
    ) -> list[torch.Tensor]:
        """Compute the weighted terms.

        Args:
            student: (B, outputs) float32.
            teacher: The same of the teachers.
            batch: What both have seen.
            progress: Share of the training that is done, for schedules.

        Returns:
            One scalar a term; their sum is the loss.
        """
        there = {"student": student, "teacher": teacher, "labels": batch.labels, "indices": batch.indices}
        return [self._weigh(index, term, there, progress, batch) for index, term in enumerate(self.terms)]

    def at_positions(
        self,
        hidden: torch.Tensor,
        head: Head,
        *,
        said: Said | None,
        batch: Batch,
        vocabulary: int,
        progress: float,
        taught_only: bool = False,
    ) -> list[torch.Tensor]:
        """Compute the weighted terms of a batch of tokens, those of logits a chunk of the positions at a time.

        Args:
            hidden: (B, T, D) of the student.
            head: Makes its logits.
            said: What teachers say.
            batch: What both have seen.
            vocabulary: V.
            progress: Share of the training that is done, for schedules.
            taught_only: Leave out what is learned of labels: the student wrote them itself.

        Returns:
            One scalar a term, in their order; 0 for those that are left out.
        """
        used = [(index, term) for index, term in enumerate(self.terms) if term.needs_teacher or not taught_only]
        of_rows = [(index, term) for index, term in used if not term.needs_features]

        def judge(
            student: torch.Tensor, teacher: torch.Tensor | None, labels: torch.Tensor, known: torch.Tensor | None
        ) -> list[torch.Tensor]:
            found = []
            for index, term in of_rows:
                there: dict[str, Any] = {"student": student, "teacher": teacher, "labels": labels}
                if known is not None and term.needs_teacher:
                    if not bool(known.any()):
                        found.append(student.sum() * 0.0)
                        continue
                    there = {"student": student[known], "teacher": teacher, "labels": labels[known]}
                    there["teacher"] = None if teacher is None else teacher[known]
                found.append(self._weigh(index, term, there, progress, batch))
            return found

        found = [hidden.sum() * 0.0 for _ in self.terms]
        values = by_rows(
            judge,
            [term.needs_teacher for _, term in of_rows],
            head=head,
            hidden=hidden,
            said=said,
            labels=batch.labels,
            vocabulary=vocabulary,
        )
        for (index, _), value in zip(of_rows, values, strict=True):
            found[index] = value
        for index, term in used:
            if term.needs_features:
                found[index] = self._weigh(
                    index, term, {"labels": batch.labels, "indices": batch.indices}, progress, batch
                )
        return found

    def _weigh(self, index: int, term: Term, there: Mapping[str, Any], progress: float, batch: Batch) -> torch.Tensor:
        given: dict[str, Any] = {key: there[key] for key in term.inputs & there.keys()}
        if term.needs_features:
            given |= self._features(term)
        if "mask" in term.inputs:
            given["mask"] = self._mask(batch.inputs, given)
        if str(index) in self.projectors:
            given["projector"] = self.projectors[str(index)]
        weighted: torch.Tensor = at(term.spec.weight, progress) * term.loss(**given, **term.options(progress))
        return weighted

    def _features(self, term: Term) -> dict[str, torch.Tensor]:
        found = {}
        for role in ("student", "teacher"):
            if f"{role}_feature" in term.inputs:
                parts = [self._seen[role, each] for each in _parts(getattr(term.spec, f"{role}_layer"))]
                found[f"{role}_feature"] = (parts[0] if len(parts) == 1 else torch.cat(parts, dim=-1)).float()
        return found

    def _mask(self, inputs: torch.Tensor, features: Mapping[str, torch.Tensor]) -> torch.Tensor | None:
        """(B, T), false where a text is filled up; `None` where features are not one vector for each token."""
        if self.pad is None:
            return None
        sequences = [
            features[name].ndim == 3 and features[name].shape[:2] == inputs.shape
            for name in _FEATURES
            if name in features
        ]
        return inputs.round() != self.pad if sequences and all(sequences) else None

    def _watch(self, role: str, network: nn.Module | None, layer: str | None) -> None:
        if network is None:
            raise ConfigError("features need a live teacher", next_step='set cache = "off"')
        # The layers of a teacher that is wrapped are called as they are without the wrapper.
        layers = dict(getattr(network, "teacher", network).named_modules())
        names = [name for name in layers if name]
        if layer is None:
            raise ConfigError("missing: a feature loss compares two layers", allowed=_some(names))
        for each in _parts(layer):
            if each not in names:
                raise ConfigError(f"no layer '{each}'", allowed=_some(names), next_step=did_you_mean(each, names))
            self._watch_one(role, layers[each], each)

    def _watch_one(self, role: str, module: nn.Module, layer: str) -> None:
        def keep(_module: nn.Module, _inputs: object, output: object) -> None:
            if not isinstance(output, torch.Tensor):
                # Transformers' blocks give their hidden states first.
                output = output[0] if isinstance(output, tuple) else next(iter(vars(output).values()), None)
            if isinstance(output, torch.Tensor):
                self._seen[role, layer] = output

        self._hooks.append(module.register_forward_hook(keep))

    def _look(self, student: nn.Module, teacher: nn.Module | None, sample: torch.Tensor) -> None:
        with torch.no_grad():
            for network in (student, teacher):
                if network is not None:
                    before = network.training
                    network.eval()
                    # A method, not a layer of that name: logits of all positions are not needed, and large.
                    (network.hidden if hasattr(type(network), "hidden") else network)(sample)  # type: ignore[operator]  # it is one
                    network.train(before)

    def _prepare(self, index: int, term: Term, samples: int) -> None:
        """Check the shapes of a term's features, and build what is learned to compare them."""
        features = self._features_or_raise(term)
        shapes = {name.replace("feature", "shape"): tuple(each.shape[1:]) for name, each in features.items()}
        module = inspect.getmodule(term.loss)
        given = {**shapes, "samples": samples, **term.options(0.0)}
        for name in ("check_shapes", "build_projector"):
            function = getattr(module, name, None)
            if function is None:
                continue
            made = function(**{key: given[key] for key in inspect.signature(function).parameters if key in given})
            if name == "build_projector":
                self.projectors[str(index)] = made.to(next(iter(features.values())).device)

    def _features_or_raise(self, term: Term) -> dict[str, torch.Tensor]:
        try:
            return self._features(term)
        except KeyError as error:
            role, layer = error.args[0]
            raise ConfigError(
                f"the {role}'s layer '{layer}' gives no tensor, or is not used", next_step="name another layer"
            ) from None
        except RuntimeError:
            raise ConfigError(
                "layers between plus signs give other shapes", allowed="layers that differ in their last size only"
            ) from None


def shares_of(
    terms: Sequence[torch.Tensor], objective: Objective, weights: Sequence[nn.Parameter], progress: float
) -> tuple[TermShare, ...]:
    """Say how much each term counts: its part of the loss, and of the gradient at the student's weights.

    Args:
        terms: As `objective` gave them; the graph is kept.
        objective: For names and weights.
        weights: Of the student.
        progress: Share of the training that is done.
    """
    if len(terms) < 2:
        return ()
    sizes = [abs(float(each.detach())) for each in terms]
    norms = [_gradient_norm(each, weights) for each in terms]
    return tuple(
        TermShare(
            name=term.spec.name,
            weight=float(at(term.spec.weight, progress)),
            loss=size / max(sum(sizes), 1e-30),
            gradient=norm / max(sum(norms), 1e-30),
        )
        for term, size, norm in zip(objective.terms, sizes, norms, strict=True)
    )


def _gradient_norm(term: torch.Tensor, weights: Sequence[nn.Parameter]) -> float:
    if not term.requires_grad:
        return 0.0
    gradients = torch.autograd.grad(term, list(weights), retain_graph=True, allow_unused=True)
    norms = [each.float().norm() for each in gradients if each is not None]
    return float(torch.stack(norms).norm()) if norms else 0.0


def _parts(layer: str | None) -> list[str]:
    """Give the layers whose features lie side by side: those between plus signs."""
    return str(layer).split("+")


def _some(names: Sequence[str], shown: int = 12) -> str:
    return ", ".join(names[:shown]) + (f" and {len(names) - shown} more" if len(names) > shown else "")
