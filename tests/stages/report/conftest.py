"""Runs that leave all that a report can show, and a browser that opens it."""

from __future__ import annotations

import hashlib
import math
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edgekd.records import (
    Budget,
    CacheFacts,
    Conditions,
    EpochRecord,
    Format,
    Measurement,
    Model,
    OperatorTime,
    Role,
    Run,
    Stretch,
    Teaching,
    TermShare,
    Waiver,
)
from edgekd.stages.gate import gate
from edgekd.stages.report import report

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

SAMPLES = 2000
# Share of the test samples that each network has right, by name; the shipped student is that of seed 1.
SCORES: dict[str, tuple[Role, float]] = {
    "teacher-0": ("teacher", 0.931),
    "teacher-1": ("teacher", 0.927),
    "assistant-0": ("assistant", 0.915),
    "student-seed-0": ("repeat", 0.888),
    "student-seed-1": ("repeat", 0.893),
    "student-seed-2": ("repeat", 0.886),
    "control-seed-0": ("control", 0.872),
    "control-seed-1": ("control", 0.878),
    "control-seed-2": ("control", 0.875),
}
SHIPPED = "student-seed-1"
PARAMETERS = {"teacher-0": 852_618, "teacher-1": 466_906, "assistant-0": 272_186}


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def measured(name: str, role: Role, answers: NDArray[np.float64], *, of: str | None = None) -> Measurement:
    """Answers of a torch network, one a test sample; `of` is the name of the file behind it."""
    return Measurement(
        model_sha256=digest(of or name),
        model=name,
        format="torch",
        precision="fp32",
        role=role,
        target="training",
        metric="accuracy",
        unit="1",
        samples=tuple(answers.tolist()),
    )


def answers(share: float, seed: int) -> NDArray[np.float64]:
    """Exactly that share of the samples right, the wrong ones among those that are hard for all."""
    noise = np.random.default_rng(seed).normal(0, 0.05, SAMPLES)
    difficulty = np.random.default_rng(99).random(SAMPLES) + noise
    right: NDArray[np.float64] = (np.argsort(np.argsort(difficulty)) < round(share * SAMPLES)).astype(np.float64)
    return right


def history(top: float, seed: int, *, epochs: int = 30, terms: bool = False) -> tuple[EpochRecord, ...]:
    noise = np.random.default_rng(seed).normal(0, 1, (epochs, 3))
    return tuple(
        EpochRecord(
            epoch=epoch,
            learning_rate=0.05 * (1 + math.cos(math.pi * epoch / epochs)),
            train_loss=float(2.2 * math.exp(-epoch / 7) + 0.1 + 0.01 * noise[epoch, 0]),
            validation_loss=float(2.0 * math.exp(-epoch / 6) + 0.3 + 0.02 * noise[epoch, 1]),
            validation_score=float(top - 0.6 * math.exp(-epoch / 5) + 0.004 * noise[epoch, 2]),
            terms=_terms(epoch, epochs) if terms else (),
        )
        for epoch in range(epochs)
    )


def _terms(epoch: int, epochs: int) -> tuple[TermShare, ...]:
    hint = 0.006 * math.exp(-2 * epoch / epochs)
    soft = 0.7 + 0.2 * epoch / epochs
    return (
        TermShare(name="kl", weight=0.9, loss=soft + 0.02, gradient=soft),
        TermShare(name="cross_entropy", weight=0.1, loss=0.97 - soft, gradient=1 - soft - hint),
        TermShare(name="hint", weight=0.5, loss=0.01, gradient=hint),
    )


def cache(teacher: str) -> CacheFacts:
    return CacheFacts(
        teacher=teacher,
        path=f"cache/{teacher}",
        samples=45_000,
        views=8,
        classes=100,
        kept=16,
        size_bytes=45_000 * 8 * 100,
        precision="bfloat16",
        error=0.0123,
    )


def distilled_run() -> Run:
    """Two teachers taught an assistant, which taught three students; three controls had no teacher."""
    networks = [measured(name, role, answers(share, i)) for i, (name, (role, share)) in enumerate(SCORES.items())]
    student = measured(
        "student", "student", np.asarray(next(m.samples for m in networks if m.model == SHIPPED)), of=SHIPPED
    )
    files: tuple[tuple[str, Role, str], ...] = (
        ("teacher-0", "teacher", "teacher-0"),
        ("teacher-1", "teacher", "teacher-1"),
        ("assistant-0", "assistant", "assistant-0"),
        ("student", "student", SHIPPED),
    )
    models = [
        Model(
            name=name,
            path=Path("/runs/x") / name,
            format="torch",
            precision="fp32",
            role=role,
            sha256=digest(of),
            size_bytes=4 * PARAMETERS.get(name, 78_042),
            parameters=PARAMETERS.get(name, 78_042),
        )
        for name, role, of in files
    ]
    by_assistant = Teaching(
        metric="accuracy",
        combine="logits",
        scores={"assistant-0": 0.918},
        ensemble_score=0.918,
        disagreement=0.0,
        caches=(cache("assistant-0"),),
    )
    return Run(
        name="cifar10-resnet8",
        folder=Path("/runs/x"),
        recipe="[distill]\ncontrol = true\nseeds = 3\n",
        models=tuple(models),
        measurements=(*networks, student),
        histories={
            name: history(
                share + 0.004, i, epochs=40 if role == "teacher" else 30, terms=role in ("repeat", "assistant")
            )
            for i, (name, (role, share)) in enumerate(SCORES.items())
        },
        teachings={
            "assistant-0": Teaching(
                metric="accuracy",
                combine="logits",
                scores={"teacher-0": 0.934, "teacher-1": 0.930},
                ensemble_score=0.941,
                disagreement=0.0423,
                caches=(cache("teacher-0"), cache("teacher-1")),
            ),
            **{f"student-seed-{seed}": by_assistant for seed in range(3)},
        },
    )


@pytest.fixture
def distilled() -> Callable[[], Run]:
    return distilled_run


# --- many files on many targets --------------------------------------------------------------------

FleetMake = Callable[..., Run]
CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
WAIVERS = (
    Waiver(metric="latency", statistic="p90", target="*-0", owner="ada", reason="cold board", expires="2999-12-31"),
    Waiver(metric="accuracy", owner="bob", reason="nobody needs it", expires="2999-12-31", limit="70 %"),
)


def fleet_run(
    *, files: int = 4, targets: int = 2, samples: int = 120, factor: float = 1.0, waived: bool = False
) -> Run:
    """Files of a student on targets, with budgets; `factor` slows them past some, and some of these may be waived."""
    generator = np.random.default_rng(files * targets)
    models: list[Model] = []
    measurements: list[Measurement] = []
    operators: list[OperatorTime] = []
    hard = np.random.default_rng(5).random(samples)
    classes = np.random.default_rng(6).integers(0, len(CLASSES), samples)
    for index in range(files):
        format_: Format = "onnx" if index % 2 else "tflite"
        precision = "static_wi8_ai8" if index % 4 > 1 else "fp32"
        name = f"student-{index}.{precision}.{format_}"
        size = 90_000 - 3_000 * index
        models.append(
            Model(
                name=name,
                path=Path("/runs/fleet/export") / name,
                format=format_,
                precision=precision,
                role="student",
                sha256=digest(name),
                size_bytes=size,
                parameters=19_882,
                made_by="litert-torch 0.10.0",
            )
        )

        def measured(target: str, metric: str, unit: str, values: NDArray[np.float64], **more: Any) -> Measurement:
            return Measurement(
                model_sha256=digest(name),  # noqa: B023  (called before the loop goes on)
                model=name,  # noqa: B023
                format=format_,  # noqa: B023
                precision=precision,  # noqa: B023
                role="student",
                target=target,
                metric=metric,
                unit=unit,
                samples=tuple(values.tolist()),
                **more,
            )

        measurements.append(measured("file", "file_size", "B", np.array([size], float)))
        for place in range(targets):
            target, median_s = f"target-{place}", factor * (1 + place) * (1e-4 - 3e-6 * index)
            where = Conditions(host=target, cpu="Cortex-A76", arch="aarch64", runtime="litert", load_before=0.1)
            times = (median_s * (1 + generator.gamma(1.5, 0.05, samples))).round(9)
            course = tuple(Stretch(start_s=float(s), samples=tuple(times[:20].tolist())) for s in range(20))
            right = (hard < 0.95 - 0.002 * index).astype(float)
            predicted = np.where(right == 1, classes, (classes + 1 + index % 2) % len(CLASSES))
            sure = np.where(right == 1, 0.6 + 0.4 * (1 - hard), 0.55).round(4)
            measurements += [
                measured(target, "latency", "s", times, conditions=where, warmup=tuple(times[:5].tolist())),
                measured(target, "accuracy", "1", right, conditions=where),
                measured(
                    *(target, "recall", "1", predicted.astype(float)),
                    labels=tuple(classes.astype(float).tolist()),
                    parts=CLASSES,
                    conditions=where,
                ),
                measured(*(target, "calibration_error", "1", sure), labels=tuple(right.tolist()), conditions=where),
                measured(target, "peak_memory", "B", np.array([size * 3.0]), conditions=where),
                measured(
                    target,
                    "sustained_latency",
                    "s",
                    times[:100],
                    conditions=where,
                    warmup=tuple(times[:100].tolist()),
                    course=course,
                ),
            ]
            operators += [
                OperatorTime(
                    model=name,
                    model_sha256=digest(name),
                    target=target,
                    layer=f"layer-{number}",
                    operator="Conv" if number % 3 else "Relu",
                    samples=(median_s / (number + 2), median_s / (number + 1)),
                )
                for number in range(12)
            ]
    budgets = [
        Budget(metric=metric, limit=limit, statistic=statistic, target=f"target-{place}")
        for place in range(targets)
        for metric, statistic, limit in (
            ("latency", "p50", f"{120 * (1 + place)} us"),
            ("latency", "p90", f"{150 * (1 + place)} us"),
            ("accuracy", None, "80 %"),
            ("peak_memory", None, "1 MB"),
        )
    ]
    return Run(
        name="fleet",
        folder=Path("/runs/fleet"),
        recipe='name = "fleet"\n',
        models=tuple(models),
        measurements=tuple(measurements),
        operators=tuple(operators),
        release=gate(measurements, budgets=budgets, waivers=WAIVERS if waived else ()),
        environment={"python": "3.11.2", "numpy": "2.2.0"},
    )


@pytest.fixture
def fleet() -> FleetMake:
    return fleet_run


# --- a browser -------------------------------------------------------------------------------------


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """The system's Chromium, driven by Playwright: no other browser is fetched."""
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if program is None:
        pytest.skip("no chromium on the path")
    api = pytest.importorskip("playwright.sync_api", reason="no playwright: install the extra 'dev'")
    with api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu"])
        yield opened
        opened.close()


@dataclass
class Tab:
    """A page that was opened, with all that it asked for and complained of."""

    page: Page
    asked: list[str]
    complaints: list[str]


OpenTab = Callable[..., Tab]


@pytest.fixture
def open_tab(browser: Browser, tmp_path: Path) -> Iterator[OpenTab]:
    """Write the report of a run, or take a page that is written, and open it; all charts are drawn."""
    contexts = []

    def opened(what: Run | Path, *, width: int = 1280, height: int = 800, dark: bool = False) -> Tab:
        html = what if isinstance(what, Path) else report(what, folder=tmp_path).html_path
        context = browser.new_context(
            viewport={"width": width, "height": height}, color_scheme="dark" if dark else "light"
        )
        contexts.append(context)
        page = context.new_page()
        tab = Tab(page=page, asked=[], complaints=[])
        page.on("request", lambda request: tab.asked.append(request.url))
        page.on("console", lambda message: tab.complaints.append(message.text))
        page.on("pageerror", lambda error: tab.complaints.append(str(error)))
        page.goto(html.as_uri())
        page.wait_for_function("[...document.querySelectorAll('.plot')].every((each) => each.dataset.drawn)")
        return tab

    yield opened
    for context in contexts:
        context.close()


@pytest.fixture
def find_barriers() -> Callable[[Page], list[str]]:
    """What axe-core finds on a page that keeps people out."""
    api = pytest.importorskip("axe_playwright_python.sync_playwright", reason="no axe: install the extra 'dev'")

    def found_on(page: Page) -> list[str]:
        found = api.Axe().run(page).response
        assert len(found["passes"]) > 10, "axe looked at nothing"
        return [
            f"{each['id']}: {each['help']}: {[node['html'][:200] for node in each['nodes'][:3]]}"
            for each in found["violations"]
            if each["impact"] in ("serious", "critical")
        ]

    return found_on
