"""The statement is in-toto's and SLSA's by their own message types, and says what the run says."""

from __future__ import annotations

import json
from typing import Any

import pytest
from google.protobuf.json_format import Parse, ParseDict, ParseError
from in_toto_attestation.predicates.provenance.v1 import provenance_pb2
from in_toto_attestation.v1 import statement_pb2
from in_toto_attestation.v1.statement import Statement

from tests.finished import NAME, STARTED


@pytest.fixture
def statement(held: dict[str, bytes]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(held["provenance.json"])
    return found


def test_it_is_a_statement_with_slsa_s_predicate(held: dict[str, bytes], statement: dict[str, Any]) -> None:
    message = Parse(held["provenance.json"], statement_pb2.Statement())
    Statement.copy_from_pb(message).validate()
    assert message.predicate_type == "https://slsa.dev/provenance/v1"
    predicate = ParseDict(statement["predicate"], provenance_pb2.Provenance())
    assert predicate.build_definition.build_type == "urn:edgekd:run:1"
    assert predicate.run_details.builder.version["edgekd"] == "0.1.0"
    times = predicate.run_details.metadata
    assert times.started_on.ToJsonString() == STARTED[1].replace("+00:00", "Z")
    assert times.finished_on.ToJsonString() == STARTED[0]


def test_the_message_types_find_what_is_wrong(statement: dict[str, Any]) -> None:
    statement["predicate"]["runDetails"]["startedOn"] = 1
    with pytest.raises(ParseError):
        ParseDict(statement["predicate"], provenance_pb2.Provenance())


def test_subjects_are_what_ships_and_dependencies_what_it_was_made_of(
    held: dict[str, bytes], statement: dict[str, Any]
) -> None:
    import hashlib

    subjects = {each["name"]: each["digest"]["sha256"] for each in statement["subject"]}
    assert subjects == {
        name: hashlib.sha256(content).hexdigest() for name, content in held.items() if name.startswith("export/")
    }
    assert f"export/{NAME}" in subjects
    definition = statement["predicate"]["buildDefinition"]
    recipe = hashlib.sha256(held["recipe.toml"]).hexdigest()
    assert definition["externalParameters"] == {
        "recipe": {"name": "recipe.toml", "digest": {"sha256": recipe}},
        "overrides": [],
    }
    dependencies = {each["name"]: each for each in definition["resolvedDependencies"]}
    assert dependencies["npz"]["digest"] == {"edgekdData": "d" * 64}
    assert dependencies["teachers/teacher-0.safetensors"]["digest"] == {
        "sha256": hashlib.sha256(b"a teacher").hexdigest()
    }
    assert dependencies["torch"]["uri"] == "pkg:pypi/torch@2.13.0%2Bcpu"
    byproducts = {each["name"] for each in statement["predicate"]["runDetails"]["byproducts"]}
    assert {"distill/student.safetensors", "gate/release.json", "benchmark/measurements.json"} <= byproducts
