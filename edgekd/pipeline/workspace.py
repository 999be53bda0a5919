"""A recipe in its run folder, and what the steps share while it runs."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from edgekd import datasets, registry, store
from edgekd.config import LoadedRecipe
from edgekd.errors import ConfigError
from edgekd.pipeline.folder import QUANTIZATION, QUANTIZED
from edgekd.progress import Progress
from edgekd.records import DataSpec, Measurement, Model, NetworkSpec, QuantizationOutcome, TeacherSpec, Tokens

if TYPE_CHECKING:
    from torch import nn

    from edgekd.simulation import Quantized
    from edgekd.stages.distill import Teacher


@dataclass(frozen=True, kw_only=True)
class Step:
    """One step of a run.

    Attributes:
        depends: Earlier steps whose files it reads.
        parameters: The part of the recipe, and of the world, that it depends on.
        code: The parts of edgekd that decide what it makes.
        tools: Packages whose versions decide what it makes.
        needs: Modules that must be installed, known before hours are spent.
        make: Does the work in a folder; returns the files it made.
    """

    name: str
    depends: tuple[str, ...]
    parameters: Callable[[Workspace], object]
    code: tuple[str, ...]
    tools: tuple[str, ...]
    needs: Callable[[Workspace], Iterable[str]]
    make: Callable[[Workspace, Path], Sequence[Path]]


class Workspace:
    """A recipe, its run folder, and what steps share while it runs.

    Attributes:
        open_steps: Names of those that made less than they should, because a target failed: done again next time.
    """

    def __init__(self, loaded: LoadedRecipe, folder: Path, progress: Progress) -> None:
        self.open_steps: set[str] = set()
        self.loaded, self.recipe, self.progress = loaded, loaded.recipe, progress
        self.store = store.RunFolder(folder)

    @functools.cached_property
    def data_fingerprint(self) -> str:
        """Hash of the data's bytes; does not load them."""
        return datasets.fingerprint_of(self.recipe.data)

    @functools.cached_property
    def data(self) -> datasets.Dataset:
        """The data, loaded on first use."""
        return datasets.open_dataset(self.recipe.data)

    def fingerprint(self, step: Step) -> str:
        """Hash of all that a step depends on; the steps before it are done."""
        upstream = [
            store.read_json(self.store.stage(name) / "stage.json", store.StageRecord).outputs for name in step.depends
        ]
        return store.fingerprint(
            step.name,
            step.parameters(self),
            upstream,
            store.code_fingerprint("records", *step.code),
            store.tool_versions(*step.tools),
        )

    @functools.cached_property
    def transfer(self) -> datasets.Split | None:
        """What the student learns from in place of the training split, if anything."""
        spec = self.recipe.transfer
        return datasets.transfer_split(spec, self.data) if spec else None

    @property
    def transfer_fingerprint(self) -> str:
        """Hash of the transfer set's bytes, and of what is taken of them."""
        spec = self.recipe.transfer
        if spec is None or spec.source is None:
            return store.fingerprint(spec)
        other = DataSpec(source=spec.source, options=spec.options)
        return store.fingerprint(datasets.fingerprint_of(other), spec.labelled, spec.keep_classes, spec.drop_classes)

    def network(self, spec: NetworkSpec, seed: int, outputs: int | None = None) -> nn.Module:
        """Build an untrained network; its first weights depend on the seed alone.

        Raises:
            ConfigError: The user's own function does not take what a network needs, or gives none.
        """
        import torch

        build = registry.function("networks", spec.model)
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            given = {"tokens": self.data.tokens} if "tokens" in inspect.signature(build).parameters else {}
            try:
                network = build(
                    classes=outputs or self.data.outputs, input_shape=self.data.input_shape, **given, **spec.options
                )
            except TypeError as error:
                if ":" not in spec.model:
                    raise
                raise ConfigError(
                    f"network '{spec.model}' can't be built: {error}",
                    next_step="it is called with classes, input_shape and its options, each by name",
                ) from error
        return _network_or_raise(network, f"network '{spec.model}'")

    def untrained_teacher(self, spec: TeacherSpec) -> nn.Module:
        """Build the network of a torch teacher, with as many outputs as it has classes of its own."""
        seed = spec.train.seed if spec.train else 0
        return self.network(
            NetworkSpec(model=spec.model or "", options=spec.options), seed, len(spec.classes) or self.data.outputs
        )

    def load_teacher(self, spec: TeacherSpec, weights: Path | None = None) -> nn.Module:
        """Load a teacher by its plug-in, or by the user's own function.

        Args:
            spec: Where it comes from.
            weights: Of a torch teacher, as the first step left them.
        """
        load = registry.function("teachers", spec.source)
        own = self._tokens_of(spec)
        given: dict[str, object] = {
            "weights": weights or spec.weights,
            "model": spec.model,
            "outputs": own.vocabulary if own else len(spec.classes) or self.data.outputs,
            "input_shape": self.data.input_shape,
            "task": self.data.task,
            "tokens": own or self.data.tokens,
        }
        takes = inspect.signature(load).parameters
        if "network" in takes:
            given["network"] = self.untrained_teacher(spec)
        options = {} if spec.source == "torch" else spec.options
        network = load(**{key: value for key, value in given.items() if key in takes}, **options)
        network = _network_or_raise(network, f"teacher '{spec.source}'")
        if own is None or self.data.tokens is None:
            return network
        from edgekd.stages.distill import OtherTokens

        return OtherTokens(network, own, self.data.tokens).eval()

    def teachers_of(self, level: int) -> list[Teacher]:
        """Give the teachers of an assistant, by its number, or of the student: those, or the assistant before it."""
        from edgekd.stages.distill import Teacher, on_device

        if level == 0:
            return [self._teacher(index, spec) for index, spec in enumerate(self.recipe.teachers)]
        spec, name = self.recipe.assistants[level - 1], f"assistant-{level - 1}"
        weights = self.store.stage("assistants") / f"{name}.safetensors"

        def load() -> nn.Module:
            network = self.network(NetworkSpec(model=spec.model, options=spec.options), 0)
            return on_device(registry.function("teachers", "torch")(network=network, weights=weights))

        return [
            Teacher(name=name, fingerprint=store.sha256_of(weights), outputs=self.data.outputs, weight=1.0, load=load)
        ]

    def measurable_teachers(self) -> Iterator[tuple[nn.Module, Model]]:
        """Load teachers and assistants one after another, with their records; not those that know no new samples."""
        from edgekd.teachers import StoredLogits

        for step, last in (("teachers", 0), ("assistants", len(self.recipe.assistants))):
            models = store.read_json(self.store.stage(step) / "models.json", list[Model])
            levels = [0] if step == "teachers" else range(1, last + 1)
            found = [teacher for level in levels for teacher in self.teachers_of(level)]
            for teacher, model in zip(found, models, strict=True):
                network = teacher.load()
                if not any(isinstance(each, StoredLogits) for each in network.modules()):
                    yield network, model

    def _teacher(self, index: int, spec: TeacherSpec) -> Teacher:
        from edgekd.stages.distill import Teacher, on_device

        name = f"teacher-{index}"
        folder = self.store.stage("teachers")
        described = store.read_json(folder / "models.json", list[Model])[index]

        def load() -> nn.Module:
            weights = folder / f"{name}.safetensors" if spec.source == "torch" else None
            return on_device(self._adapted(self.load_teacher(spec, weights), spec, name))

        adapted = replace(spec, weights=None, weight=1.0, train=None, tokenizer=None)
        return Teacher(
            name=name,
            fingerprint=store.fingerprint(described.sha256, adapted, store.code_fingerprint("networks", "teachers")),
            outputs=self.data.outputs,
            weight=spec.weight,
            load=load,
            spec=spec,
            other_tokens=self._tokens_of(spec) is not None,
        )

    def _tokens_of(self, spec: TeacherSpec) -> Tokens | None:
        """Give a teacher's own tokens, where they are not the data's."""
        own = datasets.read_tokens(spec.tokenizer) if spec.tokenizer else None
        return own if own and self.data.tokens and own.tokenizer != self.data.tokens.tokenizer else None

    def _adapted(self, network: nn.Module, spec: TeacherSpec, name: str) -> nn.Module:
        """Give a teacher what it wants, and take from it what the student does."""
        from edgekd.stages.distill import AdaptedTeacher
        from edgekd.teachers import StoredLogits

        if not isinstance(network, StoredLogits):
            return AdaptedTeacher(network, spec, self.data, name) if AdaptedTeacher.is_needed(spec) else network
        # It has no inputs, and may know its own classes.
        adapter = AdaptedTeacher(network, replace(spec, classes=spec.classes or network.names), self.data, name)
        columns = [] if adapter.columns is None else adapter.columns.tolist()
        return network.adapted(columns, probabilities=adapter.probabilities)

    def student(self) -> nn.Module:
        """Load the student that distillation left."""
        network: nn.Module = registry.function("teachers", "torch")(
            network=self.network(self.recipe.student, 0), weights=self.store.stage("distill") / "student.safetensors"
        )
        return network

    def quantized_student(self) -> Quantized | None:
        """Load the student that learned with rounding, if there is one and it gained."""
        place = self.store.stage("distill")
        if not (place / QUANTIZATION).exists():
            return None
        outcome = store.read_json(place / QUANTIZATION, QuantizationOutcome)
        if not outcome.kept:
            return None
        from safetensors.torch import load_file

        from edgekd.simulation import Quantized

        weights = place / f"{QUANTIZED}.safetensors"
        return Quantized.load(
            self.student(),
            self.data.ready(self.data.validation, 2),
            load_file(weights),
            precision=outcome.precision,
            ranges=outcome.ranges,
            sha256=store.sha256_of(weights),
        )


def _network_or_raise(made: object, what: str) -> nn.Module:
    """Refuse what the user's own function gave in place of a network."""
    from torch import nn

    if not isinstance(made, nn.Module):
        raise ConfigError(f"{what} gives {type(made).__name__}", allowed="a torch.nn.Module")
    return made


def write(path: Path, value: object) -> Path:
    """Write records as JSON; gives the path back."""
    store.write_json(path, value)
    return path


def write_models(space: Workspace, folder: Path, models: Sequence[Model]) -> Path:
    """Write records of models, with paths that hold wherever the run folder lies."""
    relative = [replace(model, path=model.path.relative_to(space.store.path)) for model in models]
    return write(folder / "models.json", relative)


def undated(measurements: Sequence[Measurement]) -> list[Measurement]:
    """Take out the time: what the same bytes always give must be the same bytes in every run."""
    return [replace(each, started_at="") for each in measurements]
