"""What a recipe says of data, networks and training: plain parameters, nothing else."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from annotated_types import Ge, Interval

from edgekd.records.names import Count, NotNegative, Options, Positive, Seed, Share, Whole

Combine = Literal["logits", "probabilities", "confidence"]


@dataclass(frozen=True, kw_only=True)
class DataSpec:
    """A dataset by plug-in name, and how it is split.

    Where the source says to which group each sample belongs (a speaker, a patient), no group is in two splits.

    Attributes:
        validation: Share of the training samples held out for choices.
        test: Share of all samples held out for the end, where the source has no test split.
        seed: Seed of the splits.
        options: Parameters of the plug-in.
    """

    source: str
    validation: Share = 0.1
    test: Share = 0.2
    seed: Seed = 0
    options: Options = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class TransferSpec:
    """What the student learns from instead of the training split: other data, or a part of it.

    Attributes:
        source: Plug-in of other data; `None` takes the recipe's own training split.
        labelled: Whether its labels may be used; labels that are not used need not exist.
        keep_classes: Only samples of these classes.
        drop_classes: No samples of these classes.
    """

    source: str | None = None
    labelled: bool = True
    keep_classes: tuple[str, ...] = ()
    drop_classes: tuple[str, ...] = ()
    options: Options = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class NetworkSpec:
    """A network by plug-in name or `module:function`."""

    model: str
    options: Options = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """A number that changes over the training, between two shares of its epochs.

    Attributes:
        begin: Share of the training up to which it is `start`.
        finish: Share of the training from which on it is `end`.
    """

    start: float
    end: float
    shape: Literal["linear", "cosine"] = "linear"
    begin: Annotated[float, Interval(ge=0, le=1)] = 0.0
    finish: Annotated[float, Interval(ge=0, le=1)] = 1.0

    def at(self, progress: float) -> float:
        """Its value when a share `progress` of the training is done.

        >>> Schedule(start=1, end=0).at(0.25)
        0.75
        """
        done = min(1.0, max(0.0, (progress - self.begin) / max(self.finish - self.begin, 1e-12)))
        if self.shape == "cosine":
            done = (1 - math.cos(math.pi * done)) / 2
        return self.start + (self.end - self.start) * done


@dataclass(frozen=True, kw_only=True)
class LossTerm:
    """One weighted term of the training loss, by plug-in name.

    Attributes:
        student_layer: Path of the module whose output a feature loss compares, as `named_modules` calls it; of several,
            with `+` between them, the outputs lie side by side along their last axis.
        teacher_layer: The same in the teacher.
        options: Of the plug-in; a number may be a `Schedule`.
    """

    name: str
    weight: NotNegative | Schedule = 1.0
    student_layer: str | None = None
    teacher_layer: str | None = None
    options: Options = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class AugmentationTerm:
    """One augmentation, by plug-in name; they apply in order."""

    name: str
    options: Options = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class QuantizationTraining:
    """How the student learns on with the rounding of a file that it will become.

    Attributes:
        precision: Of the file: one with integer weights.
        learning_rate: Falls from here to zero along a cosine; `None` is a hundredth of the student's with `sgd`, a
            tenth with `adamw`.
        samples: Of the training split, from which the ranges of activations are taken first.
        learn_ranges: Share of the training in which ranges learn too; 0 keeps those that were observed.
    """

    precision: str = "static_wi8_ai8"
    epochs: Count = 5
    learning_rate: Positive | None = None
    samples: Count = 256
    learn_ranges: Annotated[float, Interval(ge=0, le=1)] = 1.0


@dataclass(frozen=True, kw_only=True)
class InitSpec:
    """What an untrained student takes over from its first teacher, which is as wide as it.

    Attributes:
        layers: Numbers, from 0, of the teacher's layers that become the student's, in order; empty spreads them evenly:
            every second one where the student has half as many (Sanh et al. 2019, arXiv:1910.01108, section 3).
        others: Take over too what lies beside the layers and has the same name and shape: embeddings, the head.
        weights: A file of weights in place of the teacher, such as a student of general distillation.
    """

    layers: tuple[Whole, ...] = ()
    others: bool = True
    weights: Path | None = None


@dataclass(frozen=True, kw_only=True)
class WritingSpec:
    """Texts that networks write, where the next token is learned: a teacher's in place of the data's, or the student's.

    Attributes:
        samples: So many texts are written by the first teacher before the training, and learned from in place of the
            training split (sequence-level distillation, Kim & Rush 2016, arXiv:1606.07947); 0 for none.
        on_policy: Share of the batches whose texts the student writes itself, as it is by then; the teachers say what
            they would have gone on with (GKD, Agarwal et al. 2024, arXiv:2306.13649).
        prompt: So many tokens of a training sample begin a text; 0 for the token that begins any text.
        temperature: Of the draws; 0 always takes the most likely token.
        top_p: Only the most likely tokens that make up so much of the probability are drawn from.
        seed: Of the texts that the teacher writes; not changed by `seeds`.
    """

    samples: Annotated[int, Ge(0)] = 0
    on_policy: Annotated[float, Interval(ge=0, le=1)] = 0.0
    prompt: Annotated[int, Ge(0)] = 1
    temperature: NotNegative = 1.0
    top_p: Annotated[float, Interval(gt=0, le=1)] = 1.0
    seed: Seed = 0


@dataclass(frozen=True, kw_only=True)
class DistillSpec:
    """How a network is trained, with teachers (a student) or without (a teacher).

    Attributes:
        batch_size: Samples of one update, over all processes and accumulated parts.
        optimizer: `sgd` has Nesterov momentum, where momentum is above 0.
        learning_rate: At the top of the schedule, which begins with a linear warm-up.
        schedule: `cosine` falls to zero; `step` multiplies by `step_factor` at each of `step_epochs`.
        patience: Stop after so many epochs without a better validation score; `None` never.
        mixed_precision: `auto` computes in bfloat16 where the hardware does.
        gradient_clip: Largest norm of all gradients together; `None` for no limit.
        accumulate: Parts that a batch is computed in, for batches that memory does not hold.
        ema: Decay of an exponential moving average of the weights, which is then what is validated and kept.
        max_norm: Largest norm of the incoming weights of a unit (Hinton et al. 2012, arXiv:1207.0580).
        compile: Let `torch.compile` fuse the student's operators.
        sampling: `balanced` draws every class equally often, with replacement.
        augmentation_seed: Of the views; not changed by `seeds`, so that repeats share a teacher's cache.
        views: How many augmented views of each sample there are; epochs cycle through them. `None`: with a cache
            as many as epochs, 16 at most; without, every epoch has its own.
        cache: Whether teachers' logits are computed once and kept; `auto` where the losses need only logits.
        cache_budget: Largest size of one teacher's cache, e.g. `"500 MB"`.
        cache_folder: A folder for this cache alone, which must fit; `None` finds one by what it depends on.
        cache_draws: Of tokens: keep draws from what a teacher says, not its largest logits, so that forward KL at
            temperature 1 has the expected gradient of all its logits (Anshumann et al. 2025, Random Sampling KD).
        generation: Texts that networks write themselves; `None` for none.
        combine: What is averaged over several teachers: `logits`, `probabilities`, or `confidence`: probabilities,
            where each sample trusts the teachers that are sure of it.
        weak_teachers: What to do with a teacher that is near chance, or worse than the control.
        control: Train the same student without teachers too, to know what they were worth.
        seeds: How often to repeat it all with other seeds; the best on validation data is kept.
        trackers: Experiment trackers of accelerate: `tensorboard`, `mlflow`, `wandb`.
        quantization: Of the student that ships, when it is trained; `None` leaves its files to calibration.
        init: Weights that training begins with; `None` draws them by the seed. A control begins with them too.
    """

    epochs: Count = 30
    batch_size: Count = 128
    optimizer: Literal["adamw", "sgd"] = "sgd"
    learning_rate: Positive = 0.1
    momentum: Share = 0.9
    weight_decay: NotNegative = 5e-4
    schedule: Literal["cosine", "step", "constant"] = "cosine"
    step_epochs: tuple[Count, ...] = ()
    step_factor: Positive = 0.1
    warmup_epochs: NotNegative = 1.0
    patience: Count | None = None
    seed: Seed = 0
    mixed_precision: Literal["auto", "off"] = "auto"
    gradient_clip: Positive | None = None
    accumulate: Count = 1
    ema: Share | None = None
    max_norm: Positive | None = None
    compile: bool = False
    sampling: Literal["shuffled", "balanced"] = "shuffled"
    augmentations: tuple[AugmentationTerm, ...] = ()
    augmentation_seed: Seed = 0
    losses: tuple[LossTerm, ...] = ()
    views: Count | None = None
    cache: Literal["auto", "on", "off"] = "auto"
    cache_budget: str | None = None
    cache_folder: Path | None = None
    cache_draws: bool = False
    generation: WritingSpec | None = None
    combine: Combine = "logits"
    weak_teachers: Literal["refuse", "warn"] = "refuse"
    control: bool = False
    seeds: Count = 1
    trackers: tuple[str, ...] = ()
    quantization: QuantizationTraining | None = None
    init: InitSpec | None = None


@dataclass(frozen=True, kw_only=True)
class TeacherSpec:
    """A teacher: where it comes from, and how it is trained when it brings no weights.

    Attributes:
        source: Plug-in that loads it.
        model: The network that the weights are of, where the source is `torch`; a hub name for `transformers`.
        weights: The file or folder; `None` trains a torch network by `train`. With both, training goes on from there.
        weight: Its share among several teachers.
        classes: Its classes in its own order, where that is not the data's.
        output: What it gives; probabilities become logits.
        tokenizer: Its own file or folder, where it is a language model that cuts texts into other tokens than the data;
            what it says is then compared by loss `uld`.
        input_scale: What a network's inputs (raw values times the data's scale) are multiplied by before it sees them.
        input_mean: Taken away then, for each channel.
        input_std: Divided by last, for each channel.
    """

    source: str = "torch"
    model: str | None = None
    weights: Path | None = None
    weight: Positive = 1.0
    train: DistillSpec | None = None
    classes: tuple[str, ...] = ()
    output: Literal["logits", "probabilities"] = "logits"
    tokenizer: Path | None = None
    input_scale: Positive = 1.0
    input_mean: tuple[float, ...] = ()
    input_std: tuple[Positive, ...] = ()
    options: Options = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class AssistantSpec:
    """A network between teachers and student in size: taught by those, it teaches the next (Mirzadeh et al. 2020).

    Attributes:
        train: How it is distilled; `None` as the student is.
    """

    model: str
    train: DistillSpec | None = None
    options: Options = field(default_factory=dict)
