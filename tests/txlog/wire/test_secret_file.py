"""Which secret files are accepted."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from txlog.secret_file import MAX_BYTES, SecretFileError, read_log_secret, read_private


def secret(folder: Path, content: bytes, mode: int = 0o600) -> Path:
    path = folder / "secret"
    path.write_bytes(content)
    path.chmod(mode)
    return path


@pytest.mark.parametrize("mode", [0o666, 0o644, 0o604, 0o602, 0o660, 0o620, 0o777, 0o601])
def test_a_file_that_others_can_read_or_change_is_refused(tmp_path: Path, mode: int) -> None:
    with pytest.raises(SecretFileError, match=f"mode {mode:04o}.*chmod 600"):
        read_log_secret(secret(tmp_path, b"x" * 32, mode))


@pytest.mark.parametrize("mode", [0o600, 0o400])
def test_a_private_file_is_taken_without_a_word(
    tmp_path: Path, mode: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert read_log_secret(secret(tmp_path, b"x" * 32, mode)) == b"x" * 32
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("mode", [0o640, 0o440])
def test_a_file_that_its_group_can_read_gives_a_warning(
    tmp_path: Path, mode: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert read_log_secret(secret(tmp_path, b"x" * 32, mode)) == b"x" * 32
    assert "its group can read it" in capsys.readouterr().err


def test_a_link_is_judged_by_what_it_leads_to(tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(secret(tmp_path, b"x" * 32, 0o644))
    with pytest.raises(SecretFileError, match="mode 0644"):
        read_log_secret(link)


@pytest.mark.parametrize("around", [b"%s\n", b"%s\r\n", b"%s", b" %s \n\n"])
def test_white_space_around_the_secret_is_not_part_of_it(tmp_path: Path, around: bytes) -> None:
    assert read_log_secret(secret(tmp_path, around % (b"x" * 16))) == b"x" * 16


@pytest.mark.parametrize("content", [b"", b"\n", b" \r\n\n"])
def test_an_empty_secret_is_refused(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(SecretFileError, match="is empty"):
        read_private(secret(tmp_path, content))


def test_a_secret_has_a_least_and_a_greatest_length(tmp_path: Path) -> None:
    with pytest.raises(SecretFileError, match="holds 15 bytes; a secret has at least 16"):
        read_log_secret(secret(tmp_path, b"x" * 15 + b"\n"))
    with pytest.raises(SecretFileError, match="more than"):
        read_log_secret(secret(tmp_path, b"x" * (MAX_BYTES + 1)))
    os.unlink(tmp_path / "secret")
    with pytest.raises(SecretFileError, match="cannot be read"):
        read_log_secret(tmp_path / "secret")
    with pytest.raises(SecretFileError, match="cannot be read"):
        read_log_secret(tmp_path)


def test_a_secret_may_be_any_bytes(tmp_path: Path) -> None:
    assert read_log_secret(secret(tmp_path, bytes(range(128, 160)))) == bytes(range(128, 160))


def test_a_pipe_does_not_hold_the_start(tmp_path: Path) -> None:
    """No process has it open for writing: a plain open would wait for one."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe, 0o600)
    code = (
        "from pathlib import Path; from txlog.secret_file import read_private; "
        f"read_private(Path({str(pipe)!r}))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=20, check=False
    )
    assert f"secret file {pipe} is not a regular file" in result.stderr


@pytest.mark.parametrize("place", ["/dev/zero", "/dev/null"])
def test_a_device_is_refused(place: str) -> None:
    with pytest.raises(SecretFileError, match="is not a regular file"):
        read_private(Path(place))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can read another user's private file")
def test_a_file_of_another_user_is_refused(tmp_path: Path) -> None:
    path = secret(tmp_path, b"x" * 32)
    os.chown(path, 65534, 65534)
    with pytest.raises(SecretFileError, match="belongs to user 65534"):
        read_private(path)


@pytest.mark.parametrize("mode", [0o444, 0o644])
def test_a_refusal_says_how_to_mount_a_secret(tmp_path: Path, mode: int) -> None:
    with pytest.raises(
        SecretFileError,
        match=r"mode: 0400 of a Docker secret, defaultMode: 0400 of a Kubernetes secret",
    ):
        read_private(secret(tmp_path, b"x" * 32, mode))
