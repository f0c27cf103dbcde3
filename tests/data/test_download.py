"""Fetching: resumed, checked, mirrored, and never a half or a wrong file under its name."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from local_server import Server
from pixelwright.data.published.download import Patience, Remote, fetch
from pixelwright.errors import DataError, MachineError
from pixelwright.types import Event

CONTENT = np.random.default_rng(1).bytes(300_000)
MD5 = f"md5:{hashlib.md5(CONTENT, usedforsecurity=False).hexdigest()}"
SHA256 = f"sha256:{hashlib.sha256(CONTENT).hexdigest()}"


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        running.files["/set.bin"] = CONTENT
        yield running


class Waits:
    """Patience that waits for nothing and remembers for how long it would have."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.patience = Patience(timeout=5.0, sleep=self.seconds.append)


def remote(server: Server, *paths: str, checksum: str = MD5, size: int | None = None) -> Remote:
    urls = tuple(server.url(path) for path in paths or ("/set.bin",))
    return Remote("set.bin", urls, checksum, size)


def notes(events: list[Event]) -> str:
    return " ".join(event.data["text"] for event in events if event.kind == "note")


@pytest.mark.parametrize("checksum", [MD5, SHA256, MD5.upper().replace("MD5", "md5")])
def test_a_file_is_fetched_and_its_progress_told(
    server: Server, tmp_path: Path, checksum: str
) -> None:
    events: list[Event] = []
    path = fetch(remote(server, checksum=checksum), tmp_path / "data", on_event=events.append)
    assert path.read_bytes() == CONTENT
    assert {p.name for p in path.parent.iterdir()} == {"set.bin", "set.bin.sha256"}
    assert (path.parent / "set.bin.sha256").read_text() == f"{SHA256[7:]}  set.bin\n"
    assert events[-1].data == {
        **{"what": "fetch set.bin", "done": 300_000, "total": 300_000, "unit": "bytes"},
    }
    assert notes(events) == ""


def test_a_finished_file_is_checked_and_not_fetched_again(server: Server, tmp_path: Path) -> None:
    fetch(remote(server), tmp_path)
    fetch(remote(server), tmp_path)
    assert len(server.asked) == 1


def test_a_file_put_there_by_hand_is_checked_and_taken(tmp_path: Path) -> None:
    (tmp_path / "set.bin").write_bytes(CONTENT)
    nowhere = Remote("set.bin", ("http://127.0.0.1:9/x",), MD5)
    assert fetch(nowhere, tmp_path) == tmp_path / "set.bin"


def test_f52_a_wrong_checksum_is_told_with_both_sums_and_the_file_kept_as_bad(
    server: Server, tmp_path: Path
) -> None:
    server.files["/set.bin"] = CONTENT[:-1] + b"?"
    with pytest.raises(DataError, match=MD5) as told:
        fetch(remote(server), tmp_path)
    found = hashlib.md5(server.files["/set.bin"], usedforsecurity=False).hexdigest()
    assert f"has the checksum md5:{found}" in str(told.value)
    assert [path.name for path in tmp_path.iterdir()] == ["set.bin.bad"]
    server.files["/set.bin"] = CONTENT
    assert fetch(remote(server), tmp_path).read_bytes() == CONTENT


def test_f52_a_file_that_changed_on_the_disk_is_found(server: Server, tmp_path: Path) -> None:
    for checksum, whose in ((MD5, "the published one"), ("", "the kept one")):
        path = fetch(remote(server, checksum=checksum), tmp_path)
        path.write_bytes(CONTENT[::-1])
        with pytest.raises(DataError, match=whose):
            fetch(remote(server, checksum=checksum), tmp_path)
        assert not path.exists()


def test_f52_without_a_published_checksum_the_computed_one_is_told_and_kept(
    server: Server, tmp_path: Path
) -> None:
    events: list[Event] = []
    fetch(remote(server, checksum=""), tmp_path, on_event=events.append)
    assert f"Nobody publishes a checksum of set.bin. It has {SHA256}" in notes(events)
    events.clear()
    fetch(remote(server, checksum=""), tmp_path, on_event=events.append)
    assert notes(events) == ""


def test_f56_a_cut_connection_is_resumed_where_it_was_cut(server: Server, tmp_path: Path) -> None:
    server.cut_after["/set.bin"] = [100_000, 50_000]
    waits, events = Waits(), list[Event]()
    path = fetch(remote(server), tmp_path, patience=waits.patience, on_event=events.append)
    assert path.read_bytes() == CONTENT
    assert [asked[1:] for asked in server.asked] == [
        (None, None),
        ("bytes=100000-", '"1"'),
        ("bytes=150000-", '"1"'),
    ]
    assert waits.seconds == [1, 2]
    assert "cut the connection after 100,000 of 300,000 bytes. Going on with set.bin" in notes(
        events
    )


def test_f56_a_later_run_resumes_what_an_earlier_one_left(server: Server, tmp_path: Path) -> None:
    server.cut_after["/set.bin"] = [60_000]
    with pytest.raises(MachineError, match="cannot be fetched"):
        fetch(remote(server), tmp_path, patience=Patience(retries=0))
    assert (tmp_path / "set.bin.part").stat().st_size == 60_000
    assert not (tmp_path / "set.bin").exists()
    assert fetch(remote(server), tmp_path).read_bytes() == CONTENT
    assert server.asked[1][1] == "bytes=60000-"


def test_f56_a_file_that_changed_at_the_server_is_fetched_from_its_start(
    server: Server, tmp_path: Path
) -> None:
    server.files["/set.bin"] = bytes(300_000)
    server.cut_after["/set.bin"] = [60_000]
    with pytest.raises(MachineError):
        fetch(remote(server), tmp_path, patience=Patience(retries=0))
    server.files["/set.bin"], server.etags["/set.bin"] = CONTENT, '"2"'
    events: list[Event] = []
    assert fetch(remote(server), tmp_path, on_event=events.append).read_bytes() == CONTENT
    assert server.asked[1][1:] == ("bytes=60000-", '"1"')
    assert "from its start" in notes(events)


@pytest.mark.parametrize("header", [{"ETag": None}, {"ETag": 'W/"1"'}])
def test_f56_without_a_validator_nothing_is_pieced_together(
    server: Server, tmp_path: Path, header: dict[str, str | None]
) -> None:
    server.headers = header
    server.cut_after["/set.bin"] = [60_000]
    fetch(remote(server), tmp_path, patience=Waits().patience)
    assert [asked[1] for asked in server.asked] == [None, None]


def test_f56_the_date_stands_in_for_a_missing_etag(server: Server, tmp_path: Path) -> None:
    date = "Sat, 19 May 2012 10:00:00 GMT"
    server.headers = {"ETag": 'W/"1"', "Last-Modified": date}
    server.etags["/set.bin"] = date
    server.cut_after["/set.bin"] = [60_000]
    assert fetch(remote(server), tmp_path, patience=Waits().patience).read_bytes() == CONTENT
    assert server.asked[1][1:] == ("bytes=60000-", date)


def test_f56_a_server_that_knows_no_ranges_is_asked_for_all(server: Server, tmp_path: Path) -> None:
    server.ranges = False
    server.cut_after["/set.bin"] = [60_000]
    assert fetch(remote(server), tmp_path, patience=Waits().patience).read_bytes() == CONTENT


def test_f56_a_part_that_is_whole_already_is_only_renamed(server: Server, tmp_path: Path) -> None:
    server.cut_after["/set.bin"] = [60_000]
    with pytest.raises(MachineError):
        fetch(remote(server), tmp_path, patience=Patience(retries=0))
    (tmp_path / "set.bin.part").write_bytes(CONTENT)
    assert fetch(remote(server), tmp_path).read_bytes() == CONTENT
    assert server.asked[-1][1] == "bytes=300000-"


def test_f56_five_retries_with_growing_pauses_then_the_mirror(
    server: Server, tmp_path: Path
) -> None:
    server.codes["/main.bin"] = [500] * 9
    waits, events = Waits(), list[Event]()
    path = fetch(
        remote(server, "/main.bin", "/set.bin"),
        tmp_path,
        patience=waits.patience,
        on_event=events.append,
    )
    assert path.read_bytes() == CONTENT
    assert [asked[0] for asked in server.asked] == ["/main.bin"] * 6 + ["/set.bin"]
    assert waits.seconds == [1, 2, 4, 8, 16]
    assert "answers 500 Internal Server Error (tried 6 times). Trying 127.0.0.1" in notes(events)


def test_f56_a_server_that_recovers_is_enough(server: Server, tmp_path: Path) -> None:
    server.codes["/set.bin"] = [503, 500, 429]
    assert fetch(remote(server), tmp_path, patience=Waits().patience).read_bytes() == CONTENT


def test_f56_a_missing_file_is_not_asked_for_again(server: Server, tmp_path: Path) -> None:
    waits = Waits()
    with pytest.raises(MachineError, match="answers 404 Not Found"):
        fetch(remote(server, "/a", "/b"), tmp_path, patience=waits.patience)
    assert (len(server.asked), waits.seconds) == (2, [])


@pytest.mark.parametrize(
    "place", ["file:///etc/passwd", "ftp://127.0.0.1/x", "data:,x", "gopher://x/", "/loop"]
)
def test_f56_redirects_lead_nowhere_but_to_http(server: Server, tmp_path: Path, place: str) -> None:
    server.redirects |= {"/set.bin": "/other", "/other": place, "/loop": "/loop"}
    told = "answers 302" if place == "/loop" else "only http and https are followed"
    with pytest.raises(MachineError, match=told):
        fetch(remote(server), tmp_path, patience=Waits().patience)
    assert list(tmp_path.iterdir()) == []


def test_f56_a_redirect_to_http_is_followed_and_resumed(server: Server, tmp_path: Path) -> None:
    server.redirects["/main"] = server.url("/set.bin")
    server.cut_after["/set.bin"] = [60_000]
    path = fetch(remote(server, "/main"), tmp_path, patience=Waits().patience)
    assert path.read_bytes() == CONTENT
    assert server.asked[-1] == ("/set.bin", "bytes=60000-", '"1"')


def test_f56_a_web_page_instead_of_the_file_is_refused(server: Server, tmp_path: Path) -> None:
    server.headers = {"Content-Type": "text/html; charset=utf-8"}
    with pytest.raises(MachineError, match="answers with a web page"):
        fetch(remote(server), tmp_path, patience=Waits().patience)
    assert list(tmp_path.iterdir()) == []


def test_f56_a_file_of_another_size_than_known_is_refused_before_it_comes(
    server: Server, tmp_path: Path
) -> None:
    with pytest.raises(MachineError, match="offers 300,000 bytes where 299,999"):
        fetch(remote(server, size=299_999), tmp_path)
    assert list(tmp_path.iterdir()) == []
    server.headers = {"Content-Length": None}  # then it is known only at the end
    with pytest.raises(MachineError, match="gave 300,000 bytes where 299,999"):
        fetch(remote(server, size=299_999), tmp_path)
    assert not (tmp_path / "set.bin").exists()


def test_f56_a_declared_length_that_is_too_large_is_a_cut(server: Server, tmp_path: Path) -> None:
    server.headers = {"Content-Length": "300001"}
    with pytest.raises(MachineError, match="cut the connection after 300,000 of 300,001 bytes"):
        fetch(remote(server), tmp_path, patience=Patience(retries=0))


def test_f56_a_full_disk_is_told_before_anything_comes(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("", (), {"free": 299_999}))
    with pytest.raises(MachineError, match=r"needs 300,000 bytes, but .* has 299,999 free"):
        fetch(remote(server), tmp_path)
    assert not (tmp_path / "set.bin.part").exists()


@pytest.mark.parametrize("place", ["http://no-such-host.invalid/x", "http://127.0.0.1:9/x"])
def test_f56_offline_is_one_line_with_the_address_and_what_to_do(
    tmp_path: Path, place: str
) -> None:
    with pytest.raises(MachineError) as told:
        fetch(Remote("set.bin", (place,), MD5), tmp_path, patience=Waits().patience)
    text = str(told.value)
    assert "\n" not in text
    assert f"download {place} with any program, put it at {tmp_path / 'set.bin'}" in text


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"url": 1}', "\0", "not json"])
def test_damaged_notes_of_a_part_file_mean_a_fresh_start(
    server: Server, tmp_path: Path, content: str
) -> None:
    (tmp_path / "set.bin.part").write_bytes(b"old")
    (tmp_path / "set.bin.part.json").write_text(content)
    assert fetch(remote(server), tmp_path).read_bytes() == CONTENT
    assert server.asked[0][1] is None


def test_a_part_of_another_address_is_not_gone_on_with(server: Server, tmp_path: Path) -> None:
    (tmp_path / "set.bin.part").write_bytes(b"old")
    notes = {"url": server.url("/other"), "validator": '"1"'}
    (tmp_path / "set.bin.part.json").write_text(json.dumps(notes))
    assert fetch(remote(server), tmp_path).read_bytes() == CONTENT
