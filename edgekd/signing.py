"""Signatures of files, made and checked by the tools that people keep their keys in; none is made by edgekd."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Literal, get_args

from edgekd.errors import MissingExtraError, StoreError

Tool = Literal["ssh-keygen", "minisign", "cosign"]
TOOLS: tuple[Tool, ...] = get_args(Tool)
# What ssh's signatures are for: one that was made for an e-mail or a commit does not pass for one of a bundle.
NAMESPACE = "edgekd-bundle"
MAX_SIGNATURE_BYTES = 64 * 1024
_HOW_TO_INSTALL = {
    "ssh-keygen": "on Debian: apt-get install openssh-client",
    "minisign": "on Debian: apt-get install minisign",
    "cosign": "see https://docs.sigstore.dev/cosign/system_config/installation",
}
# Options up to the key.
_SIGN = {
    "ssh-keygen": ("-Y", "sign", "-n", NAMESPACE, "-f"),
    # The trusted comment would name a file that is renamed after it is signed.
    "minisign": ("-S", "-t", "edgekd bundle", "-s"),
    "cosign": ("sign-blob", "--yes", "--tlog-upload=false", "--key"),
}
_SSH_PUBLIC = re.compile(r"(ssh|ecdsa|sk-ssh|sk-ecdsa)-\S+ ")
_TIMEOUT_S = 120.0  # of checking, which asks nobody anything


def sign_file(file: Path, key: Path, tool: Tool | None = None) -> bytes:
    """Sign the bytes of a file; the tool asks for the key's passphrase itself, where it has one.

    Args:
        file: What to sign.
        key: Secret key of the tool. For ssh-keygen also a public key, whose other half an agent or a token has.
        tool: `None` tells it by the key.

    Raises:
        StoreError: A key that can't be read or is none, or a tool that does not sign by it.
        MissingExtraError: The tool is not installed.
    """
    tool = tool or _tool_of(_first_line(key), str(key))
    command = [_find(tool), *_SIGN[tool], str(key)]
    if tool == "ssh-keygen":  # given a file it would ask before it writes over a signature
        with file.open("rb") as content:
            done = subprocess.run(command, stdin=content, stdout=subprocess.PIPE, check=False)
        signature = done.stdout
    else:
        with tempfile.TemporaryDirectory(prefix="edgekd-") as folder:
            made = Path(folder) / "signature"
            where = ("-x", made, "-m", file) if tool == "minisign" else ("--output-signature", made, file)
            done = subprocess.run([*command, *map(str, where)], stdout=subprocess.DEVNULL, check=False)
            signature = made.read_bytes() if made.is_file() else b""
    if done.returncode or not signature:
        raise StoreError(
            f"{tool} did not sign (exit code {done.returncode})",
            where=str(key),
            next_step="its own words are above; without a terminal it can ask for no passphrase",
        )
    return signature


def check_signature(file: Path, signature: Path, key: Path) -> tuple[bool, str]:
    """Check a signature offline.

    Args:
        file: What was signed.
        signature: As `sign_file` gave it.
        key: Public key of the tool, or ssh's file of allowed signers.

    Returns:
        Whether it holds, and whose it is or what the tool said.

    Raises:
        StoreError: A key or signature that can't be read, or is none.
        MissingExtraError: The tool is not installed.
    """
    line = _first_line(signature)
    tool = _tool_of(line, str(signature))
    with tempfile.TemporaryDirectory(prefix="edgekd-") as folder:
        if tool == "ssh-keygen":
            signers = _allowed_signers(key, Path(folder))
            names = _run(tool, "-Y", "find-principals", "-s", str(signature), "-f", str(signers))
            if names.returncode:
                return False, "made with a key that is not the one given"
            name = names.stdout.decode(errors="replace").splitlines()[0]
            options = ["-Y", "verify", "-n", NAMESPACE, "-I", name, "-s", str(signature), "-f", str(signers)]
            done = _run(tool, *options, reads=file)
        elif tool == "minisign":
            done = _run(tool, "-V", "-p", str(key), "-m", str(file), "-x", str(signature))
        else:
            offline = ["--insecure-ignore-tlog=true", "--offline=true"]
            done = _run(tool, "verify-blob", *offline, "--key", str(key), "--signature", str(signature), str(file))
    said = "; ".join((done.stdout + done.stderr).decode(errors="replace").strip().splitlines())
    words = said.removeprefix(f'Good "{NAMESPACE}" signature ')
    return done.returncode == 0, f"{tool}: {''.join(each for each in words if each.isprintable())}"


def _allowed_signers(key: Path, folder: Path) -> Path:
    """Give the file of allowed signers, or make one of a public key."""
    line = _first_line(key)
    if not _SSH_PUBLIC.match(line):
        return key
    made = folder / "allowed_signers"
    made.write_text(f'given namespaces="{NAMESPACE}" {line}\n', encoding="utf-8")
    return made


def _tool_of(line: str, where: str) -> Tool:
    """Tell whose key or signature a file is by its first line."""
    if "SIGSTORE" in line or "COSIGN" in line or re.fullmatch(r"[A-Za-z0-9+/]{64,}={0,2}", line):
        return "cosign"
    if line.startswith("untrusted comment:"):
        return "minisign"
    if _SSH_PUBLIC.match(line) or re.match(r"-----BEGIN (\w+ )?(PRIVATE KEY|SSH SIGNATURE)-----", line):
        return "ssh-keygen"
    raise StoreError(
        "neither a key nor a signature of a tool that edgekd knows", where=where, allowed=f"those of {', '.join(TOOLS)}"
    )


def _first_line(path: Path) -> str:
    """The first line of a short text that is not blank and no remark."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_SIGNATURE_BYTES)
        lines = [line for line in content.decode().splitlines() if line.strip() and not line.startswith("#")]
    except UnicodeDecodeError:
        lines = []
    except OSError as error:
        raise StoreError(f"can't read it: {error.strerror}", where=str(path)) from None
    return lines[0] if lines else ""


def _run(tool: Tool, *options: str, reads: Path | None = None) -> subprocess.CompletedProcess[bytes]:
    command = [_find(tool), *options]
    with (reads or Path("/dev/null")).open("rb") as content:
        try:
            return subprocess.run(command, stdin=content, capture_output=True, check=False, timeout=_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            raise StoreError(f"{tool} took longer than {_TIMEOUT_S:g} s") from None


def _find(tool: Tool) -> str:
    found = shutil.which(tool)
    if not found:
        raise MissingExtraError(f"{tool} is not installed", next_step=_HOW_TO_INSTALL[tool])
    return found
