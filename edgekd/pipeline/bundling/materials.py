"""What the files that ship are and what made them, as a CycloneDX list with a card of each model."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

from edgekd import store
from edgekd.pipeline.bundling.evidence import Evidence
from edgekd.records import Check, Model, TensorSpec

_DATA = "data"
_MODEL = "machine-learning-model"
_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "urn:edgekd:bundle")


def write_materials(evidence: Evidence) -> dict[str, Any]:
    """List the files that ship, what they were made of, and the tools.

    Source: CycloneDX 1.6 (https://cyclonedx.org/docs/1.6/json/).

    Returns:
        The list, as JSON has it; its serial number follows from all else in it.
    """
    times = evidence.measured_between
    listed: dict[str, Any] = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            **({"timestamp": times[1]} if times else {}),
            "component": _release(evidence),
            "properties": [
                {"name": f"edgekd:{name}", "value": value}
                for name, value in (evidence.manifest.environment.items() if evidence.manifest else ())
                if name in ("python", "system")
            ],
        },
        "components": [*_files(evidence), *_origins(evidence), *_tools(evidence)],
        "dependencies": list(_dependencies(evidence)),
    }
    return listed | {"serialNumber": f"urn:uuid:{uuid.uuid5(_NAMESPACE, store.fingerprint(listed))}"}


def _all_files(evidence: Evidence) -> dict[str, str]:
    return {**evidence.shipped, **evidence.teachers, **evidence.students}


def _release(evidence: Evidence) -> dict[str, Any]:
    spec = evidence.recipe.get("package", {})
    return {
        "type": _MODEL,
        "bom-ref": "release",
        "name": str(evidence.recipe.get("name", "benchmark")),
        **({"version": str(spec["version"])} if spec.get("version") else {}),
        **({"description": str(spec["description"])} if spec.get("description") else {}),
        **({"authors": [{"name": str(spec["author"])}]} if spec.get("author") else {}),
        **_licence(evidence),
    }


def _files(evidence: Evidence) -> Iterator[dict[str, Any]]:
    models = {each.path.as_posix(): each for each in evidence.models}
    for name, sha256 in sorted(evidence.shipped.items()):
        model = models.get(name)
        is_model = model is not None or evidence.manifest is None
        yield {
            "type": _MODEL if is_model else "file",
            "bom-ref": name,
            "name": name,
            "hashes": _hashes(sha256),
            **_licence(evidence),
            **({"modelCard": _card(evidence, model)} if model else {}),
            **({"properties": _properties(model)} if model else {}),
        }


def _origins(evidence: Evidence) -> Iterator[dict[str, Any]]:
    """What does not ship: weights, and the data."""
    for name, sha256 in sorted({**evidence.teachers, **evidence.students}.items()):
        yield {"type": _MODEL, "bom-ref": name, "name": name, "scope": "excluded", "hashes": _hashes(sha256)}
    if evidence.manifest:
        yield {
            "type": "data",
            "bom-ref": _DATA,
            "name": evidence.data,
            "scope": "excluded",
            "data": [{"type": "dataset", "name": evidence.data}],
            # Of all files, what they are called and how they are split: no hash of a file.
            "properties": [{"name": "edgekd:data", "value": evidence.manifest.data}],
        }


def _tools(evidence: Evidence) -> Iterator[dict[str, Any]]:
    for purl, (name, version) in evidence.tools.items():
        yield {
            "type": "library",
            "bom-ref": purl,
            "name": name,
            "version": version,
            "scope": "excluded",
            "purl": purl,
        }


def _dependencies(evidence: Evidence) -> Iterator[dict[str, Any]]:
    """What each file was made from, as the manifest has it; who was trained depends on the data."""
    files = evidence.manifest.files if evidence.manifest else {}
    known = _all_files(evidence)
    refs = {sha256: name for name, sha256 in sorted(known.items(), reverse=True)}
    yield {"ref": "release", "dependsOn": sorted(evidence.shipped)}
    for name in sorted(known):
        parents = {refs[each] for each in files[name].parents if each in refs} if name in files else set()
        if evidence.manifest and name not in evidence.shipped:
            parents.add(_DATA)
        yield {"ref": name, "dependsOn": sorted(parents - {name})}


def _card(evidence: Evidence, model: Model) -> dict[str, Any]:
    checks = evidence.release.checks if evidence.release else ()
    limits = evidence.recipe.get("package", {}).get("limits")
    return {
        "modelParameters": {
            "modelArchitecture": str(evidence.recipe.get("student", {}).get("model", "")),
            "datasets": [{"ref": _DATA}],
            "inputs": [_format(each) for each in model.inputs],
            "outputs": [_format(each) for each in model.outputs],
        },
        "quantitativeAnalysis": {"performanceMetrics": [_metric(each) for each in checks if each.model == model.name]},
        **({"considerations": {"technicalLimitations": [str(limits)]}} if limits else {}),
    }


def _metric(check: Check) -> dict[str, Any]:
    interval = {"lowerBound": check.low, "upperBound": check.high}
    return {
        "type": " ".join(filter(None, (check.budget.metric, check.budget.statistic))),
        "slice": check.target,
        **({"value": _number(check.observed, check.unit)} if check.observed is not None else {}),
        "confidenceInterval": {
            name: _number(value, check.unit) for name, value in interval.items() if value is not None
        },
    }


def _number(value: float, unit: str) -> str:
    return f"{value!r}" if unit == "1" else f"{value!r} {unit}"


def _format(tensor: TensorSpec) -> dict[str, str]:
    shape = ", ".join("?" if each is None else str(each) for each in tensor.shape)
    return {"format": f"{tensor.dtype} ({shape})"}


def _properties(model: Model) -> list[dict[str, str]]:
    facts = {"format": model.format, "precision": model.precision, "made_by": model.made_by}
    return [{"name": f"edgekd:{name}", "value": value} for name, value in facts.items() if value]


def _licence(evidence: Evidence) -> dict[str, Any]:
    licence = evidence.recipe.get("package", {}).get("licence")
    return {"licenses": [{"expression": str(licence)}]} if licence else {}


def _hashes(sha256: str) -> list[dict[str, str]]:
    return [{"alg": "SHA-256", "content": sha256}]
