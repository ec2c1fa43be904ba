"""The reader of strace recordings, on a small recording in strace's own form.
It accepts the recording, and finds a sync that is missing or late.
"""

from __future__ import annotations

from tests.system.strace_check import calls, journeys, verdict

# Two log nodes (threads 21/22 and 31/32: loop and disk) and the primary (11); the third log node
# (41/42) is slow.
RECORDING = r"""
11 1700000000.000100 recvfrom(9<TCP:[CLIENT]>, "SET needle-1\r\n", 262144, 0, NULL) = 36 <0.000010>
11 1700000000.000200 sendto(5<TCP:[LOG]>, "\0\0\0\1SET k needle-1", 20, 0, NULL, 0) = 20 <0.000010>
21 1700000000.000300 pwrite64(7</data/a/1.seg>, "\0\0..SET needle-1\r\n", 60, 4096) = 60 <0.000020>
31 1700000000.000310 pwrite64(7</data/b/1.seg>, "\0\0..SET needle-1\r\n", 60, 4096) = 60 <0.000020>
22 1700000000.000400 fdatasync(7</data/a/1.seg> <unfinished ...>
32 1700000000.000410 fdatasync(7</data/b/1.seg>) = 0 <0.000190>
41 1700000000.000420 pwrite64(7</data/c/1.seg>, "\0\0..SET needle-1\r\n", 60, 4096 <unfinished ...>
22 1700000000.000700 <... fdatasync resumed>) = 0 <0.000300>
41 1700000000.000710 <... pwrite64 resumed>) = 60 <0.000290>
42 1700000000.000720 fdatasync(7</data/c/1.seg>) = 0 <0.009000>
11 1700000000.000800 write(9<TCP:[CLIENT]>, "+OK\r\n", 5) = 5 <0.000010>
11 1700000000.001100 recvfrom(9<TCP:[CLIENT]>, "SET needle-2\r\n", 262144, 0, NULL) = 36 <0.000010>
21 1700000000.001300 pwrite64(7</data/a/1.seg>, "\0\0..needle-2\r\n", 60, 4156) = 60 <0.000020>
31 1700000000.001310 pwrite64(7</data/b/1.seg>, "\0\0..needle-2\r\n", 60, 4156) = 60 <0.000020>
22 1700000000.001400 fdatasync(7</data/a/1.seg>) = 0 <0.000100>
32 1700000000.001410 fdatasync(7</data/b/1.seg>) = 0 <0.000150>
11 1700000000.001800 write(9<TCP:[CLIENT]>, "+OK\r\n", 5) = 5 <0.000010>
"""
# Parts that would make the lines too long.
for short, long in {
    "CLIENT": "127.0.0.1:7000->127.0.0.1:50000",
    "LOG": "127.0.0.1:50001->127.0.0.1:7401",
    "SET needle-": r"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$8\r\nneedle-",
}.items():
    RECORDING = RECORDING.replace(short, long)
SAMPLE = RECORDING.strip().splitlines()

NODES = {
    11: "primary",
    21: "log-a",
    22: "log-a",
    31: "log-b",
    32: "log-b",
    41: "log-c",
    42: "log-c",
}
VALUES = ["needle-1", "needle-2"]


def judged(lines: list[str]):  # type: ignore[no-untyped-def]
    return verdict(journeys(lines, VALUES, NODES))


def test_the_sample_holds() -> None:
    result = judged(SAMPLE)
    assert result.holds, result.early
    assert result.covered == {2: 2}


def test_calls_cut_in_two_are_joined() -> None:
    joined = [
        call for call in calls(SAMPLE) if call.name == "fdatasync" and call.path == "/data/a/1.seg"
    ]
    assert [round(call.end % 1, 6) for call in joined] == [0.0007, 0.0015]


def test_a_missing_sync_is_found() -> None:
    result = judged([line for line in SAMPLE if not (line.startswith("32 1700000000.0014"))])
    assert not result.holds
    assert "needle-2" in result.early[0]


def test_a_late_sync_is_found() -> None:
    lines = [line.replace("<0.000190>", "<0.005000>") for line in SAMPLE]
    assert "needle-1" in judged(lines).early[0]


def test_a_sync_begun_before_the_write_ended_covers_nothing() -> None:
    lines = [
        line.replace("1700000000.001410 fdatasync", "1700000000.001315 fdatasync")
        for line in SAMPLE
    ]
    assert "needle-2" in judged(lines).early[0]


def test_a_failed_sync_covers_nothing() -> None:
    lines = [
        line.replace("= 0 <0.000150>", "= -1 EIO (Input/output error) <0.000150>")
        for line in SAMPLE
    ]
    assert "needle-2" in judged(lines).early[0]


def test_a_sync_of_another_file_covers_nothing() -> None:
    lines = [
        line.replace(
            "fdatasync(7</data/b/1.seg>) = 0 <0.000150>",
            "fdatasync(8</data/b/meta>) = 0 <0.000150>",
        )
        for line in SAMPLE
    ]
    assert "needle-2" in judged(lines).early[0]


def test_an_unanswered_set_does_not_pass_silently() -> None:
    result = judged([line for line in SAMPLE if "001800" not in line])
    assert not result.holds
    assert result.answered == 1
