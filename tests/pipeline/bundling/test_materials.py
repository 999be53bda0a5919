"""The list is CycloneDX 1.6 by its published schema, and says what the run says."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packageurl import PackageURL

from edgekd.pipeline.bundling.evidence import Evidence, read_evidence
from edgekd.pipeline.bundling.materials import write_materials
from tests.finished import NAME, STARTED

SCHEMA = JsonStrictValidator(SchemaVersion.V1_6)


@pytest.fixture
def evidence(finished: Path) -> Evidence:
    names = [file.relative_to(finished).as_posix() for file in finished.rglob("*") if file.is_file()]
    return read_evidence(names, lambda name: (finished / name).read_bytes(), "run")


def bare(evidence: Evidence) -> Evidence:
    return replace(evidence, manifest=None, recipe={}, models=(), release=None)


def components(listed: dict[str, Any]) -> dict[str, Any]:
    found = {component["bom-ref"]: component for component in listed["components"]}
    assert len(found) == len(listed["components"])
    return found


def test_the_schema_finds_what_is_wrong(evidence: Evidence) -> None:
    listed = write_materials(evidence)
    listed["components"][0]["type"] = "model"
    assert SCHEMA.validate_str(json.dumps(listed)) is not None


def test_a_run_is_listed_by_the_schema(evidence: Evidence, held: dict[str, bytes]) -> None:
    listed = write_materials(evidence)
    assert SCHEMA.validate_str(json.dumps(listed)) is None
    assert json.loads(held["sbom.cdx.json"]) == listed
    assert listed["metadata"]["timestamp"] == STARTED[0]


def test_a_benchmark_of_bare_files_is_listed_by_the_schema(evidence: Evidence) -> None:
    listed = write_materials(bare(evidence))
    assert SCHEMA.validate_str(json.dumps(listed)) is None
    found = components(listed)
    assert found.keys() == {NAME, "pkg:generic/onnxruntime@1.32.0"}
    assert found[NAME]["hashes"] == [{"alg": "SHA-256", "content": evidence.models[0].sha256}]


def test_models_have_cards_hashes_and_licences(evidence: Evidence) -> None:
    model = components(write_materials(evidence))[f"export/{NAME}"]
    assert model["type"] == "machine-learning-model"
    assert model["hashes"][0]["content"] == evidence.models[0].sha256
    assert model["licenses"] == [{"expression": "MIT"}]
    card = model["modelCard"]
    assert card["modelParameters"]["inputs"] == [{"format": "float32 (?, 4)"}]
    assert card["considerations"] == {"technicalLimitations": ["Not for medicine."]}
    size, accuracy = card["quantitativeAnalysis"]["performanceMetrics"]
    assert (size["type"], size["value"]) == ("file_size", f"{evidence.models[0].size_bytes}.0 B")
    assert (accuracy["type"], accuracy["value"], accuracy["slice"]) == ("accuracy", "0.95", "host")
    low, high = (float(accuracy["confidenceInterval"][end]) for end in ("lowerBound", "upperBound"))
    assert low < 0.95 < high


def test_the_way_from_data_to_file_is_there(evidence: Evidence) -> None:
    listed = write_materials(evidence)
    graph = {each["ref"]: each["dependsOn"] for each in listed["dependencies"]}
    assert graph[f"export/{NAME}"] == ["distill/student.safetensors"]
    assert graph["distill/student.safetensors"] == ["data", "teachers/teacher-0.safetensors"]
    assert graph["teachers/teacher-0.safetensors"] == ["data"]
    assert {ref for refs in graph.values() for ref in refs} <= components(listed).keys()


def test_tools_are_package_urls_that_others_read(evidence: Evidence) -> None:
    urls = [PackageURL.from_string(each["purl"]) for each in write_materials(evidence)["components"] if "purl" in each]
    named = {url.name: url.version for url in urls}
    assert named["torch"] == "2.13.0+cpu"
    assert named["edgekd"] == "0.1.0"
    assert {url.type for url in urls} == {"pypi"}
    assert "python" not in named
    assert all(url.version != "absent" for url in urls)


def test_the_serial_number_follows_from_the_rest(evidence: Evidence) -> None:
    one, two = write_materials(evidence), write_materials(bare(evidence))
    assert one["serialNumber"] == write_materials(evidence)["serialNumber"] != two["serialNumber"]


def test_what_the_recipe_leaves_open_is_left_out(evidence: Evidence) -> None:
    listed = write_materials(replace(evidence, recipe={"name": "clouds"}, release=None))
    assert SCHEMA.validate_str(json.dumps(listed)) is None
    model = components(listed)[f"export/{NAME}"]
    assert "licenses" not in model
    assert "considerations" not in model["modelCard"]
