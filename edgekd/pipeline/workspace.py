"""A recipe in its run folder, and what the steps share while it runs."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edgekd import datasets, registry, store
from edgekd.config import LoadedRecipe
from edgekd.errors import ConfigError
from edgekd.progress import Progress
from edgekd.records import NetworkSpec

if TYPE_CHECKING:
    from torch import nn


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
    """A recipe, its run folder, and what steps share while it runs."""

    def __init__(self, loaded: LoadedRecipe, folder: Path, progress: Progress) -> None:
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

    def network(self, spec: NetworkSpec, seed: int) -> nn.Module:
        """Build an untrained network; its first weights depend on the seed alone.

        Raises:
            ConfigError: The user's own function does not take what a network needs, or gives none.
        """
        import torch

        build = registry.function("networks", spec.model)
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            try:
                network = build(classes=len(self.data.classes), input_shape=self.data.input_shape, **spec.options)
            except TypeError as error:
                if ":" not in spec.model:
                    raise
                raise ConfigError(
                    f"network '{spec.model}' can't be built: {error}",
                    next_step="it is called with classes, input_shape and its options, each by name",
                ) from error
        if not isinstance(network, torch.nn.Module):
            raise ConfigError(f"network '{spec.model}' gives {type(network).__name__}", allowed="a torch.nn.Module")
        return network

    def teachers(self) -> list[nn.Module]:
        """Load the teachers that the first step left."""
        return [
            registry.function("teachers", "torch")(
                network=self.network(NetworkSpec(model=spec.model, options=spec.options), 0),
                weights=self.store.stage("teachers") / f"teacher-{index}.safetensors",
            )
            for index, spec in enumerate(self.recipe.teachers)
        ]

    def student(self) -> nn.Module:
        """Load the student that distillation left."""
        network: nn.Module = registry.function("teachers", "torch")(
            network=self.network(self.recipe.student, 0), weights=self.store.stage("distill") / "student.safetensors"
        )
        return network
