"""Signatures by the tools themselves: each signs, checks, and finds another file or another key."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from edgekd import signing
from edgekd.errors import MissingExtraError, StoreError
from edgekd.signing import TOOLS, Tool, check_signature, sign_file

Keys = tuple[Path, Path]  # secret and public


def need(tool: str) -> None:
    if not shutil.which(tool):
        pytest.skip(f"{tool} is not installed: {signing._HOW_TO_INSTALL[tool]}")


def ssh_keys(folder: Path, name: str = "id") -> Keys:
    need("ssh-keygen")
    secret = folder / name
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "me", "-f", secret], check=True)
    return secret, secret.with_suffix(".pub")


def minisign_keys(folder: Path, name: str = "m") -> Keys:
    need("minisign")
    secret, public = folder / f"{name}.key", folder / f"{name}.pub"
    subprocess.run(["minisign", "-G", "-W", "-p", public, "-s", secret], check=True, capture_output=True)
    return secret, public


def cosign_keys(folder: Path, name: str = "cosign") -> Keys:
    need("cosign")
    subprocess.run(
        ["cosign", "generate-key-pair", "--output-key-prefix", name],
        check=True,
        capture_output=True,
        cwd=folder,
        env={"COSIGN_PASSWORD": ""},
    )
    return folder / f"{name}.key", folder / f"{name}.pub"


MAKERS = [ssh_keys, minisign_keys, cosign_keys]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "a file"
    path.write_bytes(bytes(range(256)) * 100)
    return path


@pytest.mark.parametrize("make", MAKERS)
def test_a_signature_holds_for_its_file_and_key_alone(
    make: Callable[..., Keys], file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COSIGN_PASSWORD", "")
    secret, public = make(tmp_path)
    signature = tmp_path / "a file.sig"
    signature.write_bytes(sign_file(file, secret))
    assert check_signature(file, signature, public)[0]
    other = tmp_path / "other"
    other.write_bytes(file.read_bytes() + b"\0")
    assert not check_signature(other, signature, public)[0]
    _, another = make(tmp_path, "another")
    holds, detail = check_signature(file, signature, another)
    assert not holds
    assert detail


def test_allowed_signers_say_whose_a_signature_is(file: Path, tmp_path: Path) -> None:
    secret, public = ssh_keys(tmp_path)
    signature, allowed = tmp_path / "a file.sig", tmp_path / "allowed"
    signature.write_bytes(sign_file(file, secret))
    allowed.write_text(f'# who may\n\nrelease@example.org namespaces="edgekd-bundle" {public.read_text()}')
    holds, detail = check_signature(file, signature, allowed)
    assert holds
    assert "release@example.org" in detail
    allowed.write_text(f'release@example.org namespaces="git" {public.read_text()}')
    assert not check_signature(file, signature, allowed)[0]


def test_a_signature_for_something_else_is_none_of_a_bundle(file: Path, tmp_path: Path) -> None:
    secret, public = ssh_keys(tmp_path)
    subprocess.run(["ssh-keygen", "-q", "-Y", "sign", "-n", "git", "-f", secret, file], check=True, capture_output=True)
    assert not check_signature(file, tmp_path / "a file.sig", public)[0]


def test_a_key_that_wants_a_passphrase_without_a_terminal_signs_nothing(file: Path, tmp_path: Path) -> None:
    need("ssh-keygen")
    secret = tmp_path / "id"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "secret", "-f", secret], check=True)
    code = "from pathlib import Path; from edgekd.signing import sign_file; sign_file(Path({!r}), Path({!r}))"
    done = subprocess.run(
        [sys.executable, "-c", code.format(str(file), str(secret))],
        stdin=subprocess.DEVNULL,
        start_new_session=True,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode
    assert "ssh-keygen did not sign" in done.stderr


@pytest.mark.parametrize("content", [b"", b"text", b"\xff\xfe", b"-----BEGIN CERTIFICATE-----\n"])
def test_what_is_no_key_is_refused(file: Path, tmp_path: Path, content: bytes) -> None:
    key = tmp_path / "key"
    key.write_bytes(content)
    with pytest.raises(StoreError, match="allowed: those of ssh-keygen, minisign, cosign"):
        sign_file(file, key)
    with pytest.raises(StoreError, match="allowed: those of ssh-keygen, minisign, cosign"):
        check_signature(file, key, key)


def test_a_key_that_is_gone_is_named(file: Path, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="gone: can't read it: No such file"):
        sign_file(file, tmp_path / "gone")


@pytest.mark.parametrize("tool", TOOLS)
def test_a_tool_that_is_not_there_is_named_with_the_way_to_it(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tool: Tool
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingExtraError, match=f"{tool} is not installed; (on Debian: apt-get install|see https)"):
        sign_file(file, file, tool)


@pytest.mark.parametrize(
    ("line", "tool"),
    [
        ("-----BEGIN OPENSSH PRIVATE KEY-----", "ssh-keygen"),
        ("-----BEGIN RSA PRIVATE KEY-----", "ssh-keygen"),
        ("-----BEGIN SSH SIGNATURE-----", "ssh-keygen"),
        ("ssh-ed25519 AAAA me", "ssh-keygen"),
        ("sk-ssh-ed25519@openssh.com AAAA me", "ssh-keygen"),
        ("untrusted comment: minisign encrypted secret key", "minisign"),
        ("-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----", "cosign"),
        ("-----BEGIN ENCRYPTED COSIGN PRIVATE KEY-----", "cosign"),
        ("MEUCIQC" + "a" * 88 + "==", "cosign"),
    ],
)
def test_the_tool_is_told_by_the_first_line(line: str, tool: Tool) -> None:
    assert signing._tool_of(line, "key") == tool
