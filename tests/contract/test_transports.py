"""What every transport must do. A new one joins by adding how to connect to `TARGETS`."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from edgekd import registry
from edgekd.errors import TargetError
from edgekd.records import Target
from edgekd.transports import Transport

TARGETS: dict[str, Target | str] = {
    "local": Target(name="here", description="", transport="local", runtimes=()),
    "emulated_arm64": "arm64",  # a fixture: what is there is known late
    "ssh": "ssh",
    "adb": "phone",
}


@pytest.fixture(params=TARGETS)
def transport(request: pytest.FixtureRequest) -> Iterator[Transport]:
    found = TARGETS[request.param]
    target: Target = request.getfixturevalue(found) if isinstance(found, str) else found
    with registry.function("transports", target.transport)(target) as connected:
        yield connected


def test_arguments_arrive_as_they_are(transport: Transport) -> None:
    words = ["a b", "$HOME", "`id`", "semi;colon", "quote'\"", "*", "back\\slash", "", "ü", "new\nline", "-n"]
    program = "import sys; print(repr(sys.argv[1:]))"
    done = transport.run([transport.python, "-c", program, *words], 60)
    assert done.stdout.strip() == repr(words)


def test_exit_code_stdout_and_stderr_are_kept_apart(transport: Transport) -> None:
    program = "import sys; print('out'); print('err', file=sys.stderr); sys.exit(7)"
    done = transport.run([transport.python, "-c", program], 60)
    assert (done.code, done.stdout.strip(), done.stderr.strip()) == (7, "out", "err")


def test_bytes_come_back_as_they_went(transport: Transport, tmp_path: Path) -> None:
    content = bytes(range(256)) * 300 + b"\r\n\0\r"
    (tmp_path / "a file's name").write_bytes(content)
    remote = transport.push(tmp_path / "a file's name")
    transport.pull(remote, tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == content


def test_equal_names_do_not_collide(transport: Transport, tmp_path: Path) -> None:
    remotes = []
    for content in (b"one", b"two"):
        (tmp_path / "model").write_bytes(content)
        remotes.append(transport.push(tmp_path / "model"))
        (tmp_path / "model").unlink()
    for remote, content in zip(remotes, (b"one", b"two"), strict=True):
        transport.pull(remote, tmp_path / "back")
        assert (tmp_path / "back").read_bytes() == content


def test_an_empty_file_is_a_file(transport: Transport, tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    transport.pull(transport.push(tmp_path / "empty"), tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == b""


def test_much_output_does_not_block(transport: Transport) -> None:
    program = "import sys; sys.stdout.write('x' * 10**6); sys.stderr.write('y' * 10**6)"
    done = transport.run([transport.python, "-c", program], 60)
    assert (done.code, len(done.stdout), len(done.stderr)) == (0, 10**6, 10**6)


def test_output_that_is_no_utf8_is_no_crash(transport: Transport) -> None:
    done = transport.run([transport.python, "-c", "import os; os.write(1, b'a\\xff')"], 60)
    assert done.stdout == "a\ufffd"


def test_output_ends_where_the_program_ended_it(transport: Transport) -> None:
    for text in ("", "no line", "a line\n", "\n\n"):
        program = f"import sys; sys.stdout.write({text!r}); sys.stderr.write({text!r})"
        done = transport.run([transport.python, "-c", program], 60)
        assert (done.stdout, done.stderr) == (text, text)


def test_programs_get_no_input_and_nothing_of_each_other(transport: Transport) -> None:
    program = "import os, sys; print(repr(sys.stdin.read()), os.getcwd()); os.chdir('/'); sys.exit(3)"
    first, second = (transport.run([transport.python, "-c", program], 60) for _ in range(2))
    assert first == second
    assert first.stdout.startswith("'' ")
    assert not transport.run([transport.python, "-c", "pass"], 60).code


def test_programs_may_run_at_the_same_time(transport: Transport) -> None:
    program = "import sys, time; time.sleep(0.5); print(sys.argv[1])"
    with ThreadPoolExecutor() as pool:
        done = list(pool.map(lambda word: transport.run([transport.python, "-c", program, word], 120), "abc"))
    assert [each.stdout.strip() for each in done] == ["a", "b", "c"]


def test_timeout_ends_the_program(transport: Transport) -> None:
    begun = time.monotonic()
    with pytest.raises(TargetError, match=r"longer than 0\.5 s"):
        transport.run([transport.python, "-c", "import time; time.sleep(60)"], 0.5)
    assert time.monotonic() - begun < 30
    assert transport.run([transport.python, "-c", "print('next')"], 60).stdout == "next\n"


def test_timeout_ends_a_program_that_never_stops_printing(transport: Transport) -> None:
    with pytest.raises(TargetError, match="longer than 1 s"):
        transport.run([transport.python, "-c", "while True: print('y' * 1000)"], 1)


def test_closing_ends_what_another_thread_runs(transport: Transport) -> None:
    begun = time.monotonic()
    with ThreadPoolExecutor() as pool:
        running = pool.submit(transport.run, [transport.python, "-c", "import time; time.sleep(100)"], 200)
        time.sleep(1)
        transport.close()
        try:
            assert running.result().code
        except TargetError as error:
            assert "lost" in str(error)  # noqa: PT017 - one of two right answers
    assert time.monotonic() - begun < 30


def test_no_such_program(transport: Transport) -> None:
    try:
        done = transport.run(["no-such-program-of-edgekd"], 60)
    except TargetError as error:
        assert "no-such-program-of-edgekd" in str(error)  # noqa: PT017 - one of two right answers
    else:
        assert done.code in (126, 127)  # the shell on the way says it


def test_no_such_file(transport: Transport, tmp_path: Path) -> None:
    with pytest.raises(TargetError):
        transport.push(tmp_path / "gone")
    with pytest.raises(TargetError):
        transport.pull(os.path.join("gone", "gone"), tmp_path / "back")  # noqa: PTH118 - a path over there


def test_check_finds_it_right(transport: Transport) -> None:
    findings = transport.check()
    assert findings
    assert all(finding.right for finding in findings), findings


def test_close_removes_the_scratch_folder(transport: Transport, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    remote = transport.push(tmp_path / "file")
    transport.close()
    transport.close()
    assert (tmp_path / "file").read_bytes() == b"x"
    with pytest.raises(TargetError):
        transport.pull(remote, tmp_path / "back")
