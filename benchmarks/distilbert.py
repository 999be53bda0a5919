"""DistilBERT's promise on a pair of our own: half the layers, faster, and nearly as good (Sanh et al. 2019).

A BERT of six layers guesses masked tokens of news and of an encyclopaedia, then learns topics of news from there
(Devlin et al. 2019). Four students of three layers learn them by the same schedule: taught and begun as every second of
its layers, taught without that, begun as them without being taught, and alone. Three seeds, of the teacher's second
training too. The validation split chooses epochs; the test split is read once by each network, at the end. The first
seed's pair becomes files, whose speeds are compared in turns.

The folders text_agnews (its test.csv, here split into training, validation and test) and lm_wikitext2 are asked for by
EDGEKD_DATA. Only the training split of the news is read for guessing.
"""

from __future__ import annotations

import argparse
import csv
import statistics
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from results_file import Results
from torch import nn
from training import WORK, build, errors_of, logits_of, train

from edgekd import api, registry, stats, store
from edgekd.datasets import Dataset, open_dataset
from edgekd.datasets._places import find
from edgekd.records import DataSpec, DistillSpec, InitSpec, LossTerm, Model

NAME = "distilbert"
LAYERS = 6
SIZE = {"hidden": 128, "heads": 4, "intermediate": 512}
LENGTH, VOCABULARY = 48, 8000
# Of 7,600 news the places where one split ends and the next one begins.
SPLITS = (5300, 5900)
# Little is guessed so often that it could be learned by heart.
DROPOUT, PRETRAINING_DROPOUT = 0.2, 0.0
PRETRAINING = DistillSpec(
    epochs=10, batch_size=32, optimizer="adamw", learning_rate=1e-3, weight_decay=0.01, gradient_clip=1.0, cache="off"
)
SCHEDULE = DistillSpec(
    epochs=6, batch_size=64, optimizer="adamw", learning_rate=5e-4, weight_decay=0.01, gradient_clip=1.0, cache="off"
)
LAST = ("network.bert.encoder.layer.2", "network.bert.encoder.layer.5")
TAUGHT = (
    LossTerm(name="kl", weight=0.5, options={"temperature": 2.0}),
    LossTerm(name="cross_entropy", weight=0.5),
    LossTerm(name="cosine", weight=0.5, student_layer=LAST[0], teacher_layer=LAST[1]),
)
BEGUN = InitSpec(layers=(0, 2, 4))
LABELS = (LossTerm(name="cross_entropy"),)
# By name: losses and first weights.
ARMS = {
    "distilled": (TAUGHT, BEGUN),
    "taught": (TAUGHT, None),
    "begun": (LABELS, BEGUN),
    "alone": (LABELS, None),
}
PRECISIONS = ("fp32", "dynamic_wi8_afp32", "static_wi8_ai8")
# Of ranges: on the validation split it loses least in TFLite.
METHOD = "mse"


def main() -> None:
    """Train what is not there yet, then state what it shows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one seed of one epoch on a tenth of the news")
    quick = parser.parse_args().quick
    results, folder = Results(NAME, quick=quick, keep=True), WORK / (f"{NAME}-quick" if quick else NAME)
    files = deal_news(folder)
    text = open_text(folder, files["train"])
    data = open_data(folder, files, text.tokens.tokenizer if text.tokens else "")
    if quick:
        text, data = (replace(each, train=each.train.take(np.arange(0, len(each.train), 10))) for each in (text, data))
    pretrained = pretrain(results, text, folder / "pretraining", epochs=1 if quick else PRETRAINING.epochs)
    for seed in range(1 if quick else 3):
        spec = replace(SCHEDULE, seed=seed)
        if quick:
            spec = replace(spec, epochs=1, weak_teachers="warn")
        learn(results, data, spec, folder / f"seed-{seed}", pretrained)
    if not any(run["kind"] == "files" for run in results.runs):
        results.add(kind="files", **measure_files(data, folder))
    claim(results, data)


def deal_news(folder: Path) -> dict[str, Path]:
    """Files of the splits: label, title and description."""
    files = {name: (folder / f"{name}.csv").absolute() for name in ("train", "validation", "test")}
    if not all(file.exists() for file in files.values()):
        with find(Path("text_agnews") / "test.csv").open(encoding="utf-8", newline="") as table:
            rows = list(csv.reader(table))
        order = np.random.default_rng(0).permutation(len(rows))
        folder.mkdir(parents=True, exist_ok=True)
        for (name, file), places in zip(files.items(), np.split(order, SPLITS), strict=True):
            print(name, len(places), flush=True)
            with file.open("w", encoding="utf-8", newline="") as table:
                csv.writer(table).writerows(rows[place] for place in places)
    return files


def open_text(folder: Path, news: Path) -> Dataset:
    """What is guessed: news and lines of an encyclopaedia, one after another in windows."""
    corpus = folder / "corpus.txt"
    if not corpus.exists():
        with news.open(encoding="utf-8", newline="") as table:
            lines = [f"{title} {description}" for _, title, description in csv.reader(table)]
        for name in ("valid.txt", "test.txt"):
            lines += find(Path("lm_wikitext2") / name).read_text(encoding="utf-8").splitlines()
        store.write_bytes(corpus, "\n".join(" ".join(line.split()) for line in lines if line.strip()).encode())
    options = {
        "path": corpus.absolute(),
        "separator": "\n",
        "train_tokenizer": "wordpiece",
        "vocabulary": VOCABULARY,
        "lowercase": True,
        "length": LENGTH,
        "task": "masked_token",
    }
    return open_dataset(DataSpec(source="text_stream", validation=0.03, test=0.01, options=options))


def open_data(folder: Path, files: dict[str, Path], tokenizer: str) -> Dataset:
    """News by topic, as the tokens of what is guessed."""
    file = (folder / "tokenizer.json").absolute()
    store.write_bytes(file, tokenizer.encode())
    options = {
        "path": files["train"],
        "validation_path": files["validation"],
        "test_path": files["test"],
        "header": False,
        "text": ("2", "3"),
        "label": "1",
        "classes": ("World", "Sports", "Business", "Sci/Tech"),
        "first_class": 1,
        "length": LENGTH,
        "tokenizer": file,
    }
    return open_dataset(DataSpec(source="text", options=options))


def pretrain(results: Results, text: Dataset, folder: Path, *, epochs: int) -> Path:
    """Let six layers guess tokens; give the file of their weights."""
    size = {**SIZE, "layers": LAYERS, "dropout": PRETRAINING_DROPOUT}
    spec = replace(PRETRAINING, epochs=epochs)
    trained = train(build("bert_masked", text, 0, **size), data=text, spec=spec, folder=folder, name="pretraining")
    if not any(run["kind"] == "pretraining" for run in results.runs):
        results.add(kind="pretraining", windows=len(text.train), length=LENGTH, facts=trained.facts)
    return folder / "weights.safetensors"


def network(data: Dataset, layers: int, seed: int) -> nn.Module:
    """Build an encoder with a classifier."""
    return build("bert", data, seed, **SIZE, layers=layers, dropout=DROPOUT)


def learn(results: Results, data: Dataset, spec: DistillSpec, folder: Path, pretrained: Path) -> None:
    """Train one seed's teacher and students; each is kept as it ends."""
    teacher = train(
        network(data, LAYERS, spec.seed),
        data=data,
        spec=replace(spec, init=InitSpec(weights=pretrained)),
        folder=folder / "teacher",
        name=f"teacher {spec.seed}",
    )
    keep(results, data, spec.seed, "teacher", teacher.network, teacher.facts)
    for arm, (losses, init) in ARMS.items():
        trained = train(
            # Other first weights than the teacher's.
            network(data, LAYERS // 2, spec.seed + 1000),
            data=data,
            spec=replace(spec, losses=losses, init=init),
            teachers=[teacher.network],
            folder=folder / arm,
            name=f"{arm} {spec.seed}",
        )
        keep(results, data, spec.seed, arm, trained.network, trained.facts)


def keep(results: Results, data: Dataset, seed: int, arm: str, network: nn.Module, facts: object) -> None:
    """Try a network on the test split, once, and keep what came out."""
    if any((run["kind"], run.get("seed"), run.get("arm")) == ("training", seed, arm) for run in results.runs):
        return
    logits = logits_of(network, data.test, 1.0)
    right = (logits.argmax(1) == data.test.labels).astype(int).tolist()
    encoder = sum(each.numel() for name, each in network.named_parameters() if ".encoder." in name)
    results.add(
        kind="training",
        seed=seed,
        arm=arm,
        test_accuracy=1 - errors_of(logits, data.test.labels) / len(data.test),
        right=right,
        parameters=sum(each.numel() for each in network.parameters()),
        encoder_parameters=encoder,
        facts=facts,
    )
    print(seed, arm, results.runs[-1]["test_accuracy"], flush=True)


def measure_files(data: Dataset, folder: Path) -> dict[str, object]:
    """Export the first seed's teacher and student; compare their latencies, and how often files are right."""
    place = folder / "files"
    files: dict[str, Model] = {}
    for arm, layers in (("teacher", LAYERS), ("distilled", LAYERS // 2)):
        blank = network(data, layers, 0)
        trained = load(blank, folder / "seed-0" / arm / "weights.safetensors")
        made = api.export(trained, calibration=data, precisions=PRECISIONS, method=METHOD, folder=place / arm)
        files |= {f"{arm}.{model.precision}.{model.format}": model for model in made.models}
    compared = {
        form: api.compare(files[f"teacher.fp32.{form}"].path, files[f"distilled.fp32.{form}"].path, time_limit_s=20)
        for form in ("onnx", "tflite")
    }
    measured = api.benchmark(list(files.values()), data=data, runs=200, time_limit_s=10)
    right = {each.model: list(each.samples) for each in measured if each.metric == "accuracy"}
    names = {model.name: name for name, model in files.items()}
    return {
        "size_bytes": {name: model.size_bytes for name, model in files.items()},
        "ratio": {form: [each.ratio, each.low, each.high] for form, each in compared.items()},
        "right": {names.get(name, name): values for name, values in right.items()},
    }


def load(blank: nn.Module, weights: Path) -> nn.Module:
    """Give a network the weights of an earlier training."""
    loaded: nn.Module = registry.function("teachers", "torch")(network=blank, weights=weights)
    return loaded


def claim(results: Results, data: Dataset) -> None:
    """Hold what came out against what DistilBERT promises."""
    by_arm: dict[str, list[dict[str, Any]]] = {}
    for run in sorted((run for run in results.runs if run["kind"] == "training"), key=lambda run: int(run["seed"])):
        by_arm.setdefault(run["arm"], []).append(run)
    for arm, runs in by_arm.items():
        scores = [run["test_accuracy"] for run in runs]
        results.claim(f"accuracy_{arm}", statistics.fmean(scores), "share", low=min(scores), high=max(scores))
    teacher, student = by_arm["teacher"], by_arm["distilled"]
    kept = [one["test_accuracy"] / other["test_accuracy"] for one, other in zip(student, teacher, strict=True)]
    mean = statistics.fmean(kept)
    results.claim(
        "accuracy_kept",
        mean,
        "of the teacher's",
        low=min(kept),
        high=max(kept),
        bound="at least 0.97",
        holds=mean >= 0.97,
    )
    for name, arm in (
        ("over_the_student_alone", "alone"),
        ("over_its_layers_alone", "begun"),
        ("over_other_first_weights", "taught"),
    ):
        gain = stats.gain_interval([run["right"] for run in student], [run["right"] for run in by_arm[arm]])
        results.claim(
            name,
            gain.estimate,
            f"share, mean of {len(student)} seeds",
            low=gain.low,
            high=gain.high,
            bound="above 0, as an estimate",
            holds=gain.estimate > 0,
        )
    fewer = 1 - student[0]["encoder_parameters"] / teacher[0]["encoder_parameters"]
    results.claim("fewer_parameters_in_the_encoder", fewer, "share", bound="at least 0.4", holds=fewer >= 0.4)
    (files,) = (run for run in results.runs if run["kind"] == "files")
    for form, (ratio, low, high) in files["ratio"].items():
        ends = {} if low is None else {"low": 1 / high, "high": 1 / low}
        results.claim(
            f"faster_{form}", 1 / ratio, "x, fp32 on one core", **ends, bound="at least 1.6", holds=1 / ratio >= 1.6
        )
    for form in ("onnx", "tflite"):
        for precision in PRECISIONS[1:]:
            right = [files["right"][f"distilled.{each}.{form}"] for each in ("fp32", precision)]
            drop = stats.paired_drop_interval(*right)
            results.claim(
                f"drop_{precision}_{form}",
                drop.estimate,
                f"share of {len(data.test)}",
                low=drop.low,
                high=drop.high,
                bound="at most 0.005",
                holds=drop.estimate <= 0.005,
            )


if __name__ == "__main__":
    main()
