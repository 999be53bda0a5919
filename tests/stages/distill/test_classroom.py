"""What teachers were worth: the same student without them, and what it learns of classes that it never sees."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from edgekd.datasets import Dataset, Split, transfer_split
from edgekd.errors import ModelError
from edgekd.records import DistillSpec, LossTerm, TransferSpec
from edgekd.stages.distill import Distilled, distill

Make = Callable[..., nn.Module]
KL, CE = LossTerm(name="kl", weight=0.7, options={"temperature": 2.0}), LossTerm(name="cross_entropy", weight=0.3)
SPEC = DistillSpec(
    epochs=4, batch_size=16, learning_rate=0.1, mixed_precision="off", losses=(KL, CE), control=True, cache="off"
)


def outcome(trained: Distilled) -> tuple[object, list[bytes]]:
    return trained.history, [value.numpy().tobytes() for value in trained.network.state_dict().values()]


def control_of(trained: Distilled) -> Distilled:
    assert trained.control is not None
    return trained.control


# --- the control ---------------------------------------------------------------------------------


def test_the_control_is_the_same_student_trained_on_labels_alone(data: Dataset, make: Make, quarters: Make) -> None:
    trained = distill(make(), data=data, teachers=[quarters()], spec=SPEC)
    alone = distill(make(), data=data, spec=replace(SPEC, control=False, losses=(replace(CE, weight=1.0),)))
    assert outcome(control_of(trained)) == outcome(alone), "same first weights, same order, same schedule"
    without = distill(make(), data=data, teachers=[quarters()], spec=replace(SPEC, control=False))
    assert outcome(trained) == outcome(without), "the control changes nothing for the student"
    assert without.control is None
    assert control_of(trained).control is None
    assert control_of(trained).teaching is None


def test_where_labels_are_not_learned_the_control_learns_them_all_the_same(
    data: Dataset, make: Make, quarters: Make
) -> None:
    trained = distill(make(), data=data, teachers=[quarters()], spec=replace(SPEC, losses=(KL,)))
    alone = distill(make(), data=data, spec=replace(SPEC, control=False, losses=(LossTerm(name="cross_entropy"),)))
    assert outcome(control_of(trained)) == outcome(alone)


def worse(quarters: Make) -> nn.Module:
    """A teacher that takes the last class for the first: right on three quarters, which chance would not be."""
    teacher = quarters()
    teacher.state_dict()["last.weight"][3] = -1.0  # shares memory with the network
    return teacher


def test_a_teacher_that_knows_less_than_the_control_is_refused_or_warned_of(
    data: Dataset, make: Make, quarters: Make, caplog: pytest.LogCaptureFixture
) -> None:
    spec = replace(SPEC, epochs=6)
    with pytest.raises(
        ModelError,
        match=r"^teacher-0: it has a validation accuracy of 0\.7500, the student that learned without teachers 1\.0000",
    ) as caught:
        distill(make(), data=data, teachers=[worse(quarters)], spec=spec)
    assert "\n" not in str(caught.value)
    caplog.set_level(logging.WARNING, "edgekd")
    warned = distill(make(), data=data, teachers=[worse(quarters)], spec=replace(spec, weak_teachers="warn"))
    assert "there is nothing to learn from" in caplog.text
    assert control_of(warned).score == 1.0
    # As good as the control is good enough.
    good = distill(make(), data=data, teachers=[quarters()], spec=spec)
    assert good.teaching is not None
    assert good.teaching.ensemble_score == control_of(good).score == 1.0


def test_what_a_teaching_tells_is_what_numpy_counts(data: Dataset, make: Make, quarters: Make) -> None:
    teachers = [quarters(), worse(quarters), quarters(order=(0, 1, 3, 2))]
    spec = replace(SPEC, control=False, weak_teachers="warn")  # the last is right on half, of twenty samples
    trained = distill(make(), data=data, teachers=teachers, teacher_weights=[1, 1, 0.5], spec=spec)
    inputs = torch.from_numpy(data.ready(data.validation))
    with torch.no_grad():
        said = [teacher(inputs).double().numpy() for teacher in teachers]
    choices = np.stack([each.argmax(1) for each in said])
    labels = data.validation.labels
    assert trained.teaching is not None
    assert list(trained.teaching.scores.values()) == pytest.approx((choices == labels).mean(1).tolist())
    assert trained.teaching.disagreement == pytest.approx(np.ptp(choices, axis=0).astype(bool).mean())
    together = np.average(said, axis=0, weights=[1, 1, 0.5]).argmax(1)
    assert trained.teaching.ensemble_score == pytest.approx((together == labels).mean())
    assert (trained.teaching.metric, trained.teaching.combine) == ("accuracy", "logits")


def test_a_killed_control_goes_on_too(
    data: Dataset, make: Make, quarters: Make, tmp_path: Path, stop: Callable[[int], object]
) -> None:
    def train(folder: Path | None, after: int = 10**6) -> Distilled:
        return distill(
            make(),
            data=data,
            teachers=[quarters()],
            spec=SPEC,
            folder=folder,
            progress=stop(after),  # type: ignore[arg-type]
        )

    whole = train(None)
    for after in (4, 7, 16, 19):  # the control takes the first twelve steps
        with pytest.raises(KeyboardInterrupt):
            train(tmp_path / str(after), after)
        assert (tmp_path / str(after) / "control" / "checkpoint.pt").is_file()
        again = train(tmp_path / str(after))
        assert outcome(again) == outcome(whole)
        assert outcome(control_of(again)) == outcome(control_of(whole))


# --- transfer sets -------------------------------------------------------------------------------


def mistakes(network: nn.Module, data: Dataset) -> dict[str, float]:
    """Share of each class's validation samples that are wrong."""
    with torch.no_grad():
        chosen = network(torch.from_numpy(data.ready(data.validation))).argmax(1).numpy()
    labels = data.validation.labels
    return {name: float((chosen != labels)[labels == each].mean()) for each, name in enumerate(data.classes)}


@pytest.fixture
def overlapping(data: Dataset) -> Dataset:
    """Samples in which the other quarters are bright now and then, so that a teacher has more to tell than a label."""

    def draw(count: int, seed: int) -> Split:
        chance = np.random.default_rng(seed)
        labels = np.arange(count) % 4
        inputs = chance.integers(0, 200, (count, 1, 4, 4))
        means = inputs.reshape(count, 2, 2, 2, 2).mean((2, 4)).reshape(count, 4)
        for sample, label in enumerate(labels):
            row, column = 2 * (label // 2), 2 * (label % 2)
            short = max(0.0, means[sample].max() + 10 - means[sample, label])
            inputs[sample, 0, row : row + 2, column : column + 2] += int(np.ceil(short))
        return Split(inputs=np.minimum(inputs, 255).astype(np.uint8), labels=labels.astype(np.int64))

    return replace(data, train=draw(400, 0), validation=draw(200, 1))


def linear() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Flatten(), nn.Linear(16, 4))


@pytest.mark.parametrize("cache", ["off", "on"])
def test_the_student_learns_a_class_it_never_sees_through_its_teacher(
    overlapping: Dataset, quarters: Make, cache: str
) -> None:
    """Hinton et al. 2015, section 3: a digit that is left out of the transfer set."""
    teacher = quarters(gain=30.0)
    transfer = transfer_split(TransferSpec(drop_classes=("d",)), overlapping)
    assert set(transfer.labels) == {0, 1, 2}
    spec = replace(
        SPEC,
        epochs=30,
        cache="on" if cache == "on" else "off",
        control=False,
        losses=(LossTerm(name="kl", options={"temperature": 6.0}),),
        learning_rate=0.3,
        weight_decay=0.0,
    )
    taught = distill(linear(), data=overlapping, transfer=transfer, teachers=[teacher], spec=spec)
    labelled = distill(linear(), data=overlapping, transfer=transfer, spec=replace(spec, losses=()))
    assert mistakes(labelled.network, overlapping)["d"] > 0.9, "labels alone say nothing of it"
    assert mistakes(taught.network, overlapping)["d"] < 0.1


def test_no_label_is_needed_where_a_teacher_speaks(overlapping: Dataset, quarters: Make) -> None:
    unlabelled = transfer_split(TransferSpec(labelled=False), overlapping)
    assert set(unlabelled.labels) == {-1}
    spec = replace(SPEC, epochs=20, learning_rate=0.3)
    trained = distill(linear(), data=overlapping, transfer=unlabelled, teachers=[quarters(gain=30.0)], spec=spec)
    assert max(mistakes(trained.network, overlapping).values()) < 0.1
    # Labels that nobody may use change nothing; the control has the training split, which has them.
    known = distill(
        linear(),
        data=overlapping,
        transfer=unlabelled,
        teachers=[quarters(gain=30.0)],
        spec=replace(spec, losses=(KL,)),
    )
    assert [each.train_loss for each in trained.history] == pytest.approx(
        [each.train_loss for each in known.history], rel=1e-6
    )
    assert control_of(trained).history[-1].train_loss < control_of(trained).history[0].train_loss


def test_without_labels_the_default_losses_are_those_of_teachers(overlapping: Dataset, quarters: Make) -> None:
    unlabelled = transfer_split(TransferSpec(labelled=False), overlapping)
    for transfer, terms in ((unlabelled, 0), (overlapping.train, 2)):
        spec = replace(SPEC, epochs=1, losses=(), control=False)
        trained = distill(linear(), data=overlapping, transfer=transfer, teachers=[quarters()], spec=spec)
        # A single term has no balance to report.
        assert len(trained.history[0].terms) == terms
