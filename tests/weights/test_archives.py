"""Zenodo and GitHub: what they state of a file is what the first fetch is held to."""

from __future__ import annotations

import hashlib
import http.server
import json
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from reelgenre.errors import WeightsError
from reelgenre.weights import (
    Artefact,
    ArtefactFile,
    GitHubFile,
    UrlFile,
    ZenodoFile,
    archives,
    fetching,
    resolve,
    where,
)

from .conftest import open_loopback, sha256
from .hub_server import git_sha1

DATA = bytes(i * i % 251 for i in range(2_000_000))
NAME = "Cnn14_emb128_mAP=0.412.pth"
COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Archive(http.server.ThreadingHTTPServer):
    """Answers by path, whatever host was asked."""

    answers: dict[str, bytes]
    breaks_after: int | None = None
    asked: list[str]


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Archive

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        body = self.server.answers.get(self.path)
        if body is None:
            self.send_error(404)
            return
        start = int((self.headers["Range"] or "bytes=0-").removeprefix("bytes=").rstrip("-"))
        self.send_response(206 if start else 200)
        self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        self.send_header("Content-Length", str(len(body) - start))
        self.end_headers()
        self.wfile.write(body[start:][: self.server.breaks_after])

    def log_message(self, *_: object) -> None:
        pass


def _record(data: bytes, **changes: object) -> bytes:
    digest = hashlib.md5(data, usedforsecurity=False).hexdigest()
    file = {"key": NAME, "size": len(data), "checksum": f"md5:{digest}", **changes}
    return json.dumps({"files": [{"key": "other.pth", "size": 1}, file]}).encode()


@pytest.fixture
def archive(monkeypatch: pytest.MonkeyPatch) -> Iterator[Archive]:
    with Archive(("127.0.0.1", 0), _Handler) as server:
        content = json.dumps({"size": len(DATA), "sha": git_sha1(DATA), "type": "file"}).encode()
        server.asked = []
        server.answers = {
            "/api/records/77": _record(DATA),
            "/records/77/files/Cnn14_emb128_mAP%3D0.412.pth?download=1": DATA,
            f"/repos/won/taggers/contents/fcn/best.pth?ref={COMMIT}": content,
            f"/won/taggers/{COMMIT}/fcn/best.pth": DATA,
            "/repos/won/taggers/contents/fcn/best.pth": content,
            "/won/taggers/HEAD/fcn/best.pth": DATA,
        }

        def opener(request: urllib.request.Request) -> AbstractContextManager[Any]:
            parts = urlsplit(request.full_url)
            assert parts.scheme == "https"
            here = f"http://127.0.0.1:{server.server_port}{parts.path}"
            url = f"{here}?{parts.query}" if parts.query else here
            return open_loopback(urllib.request.Request(url, headers=dict(request.header_items())))

        monkeypatch.setattr(archives, "open_https", opener)
        monkeypatch.setattr(fetching, "open_https", opener)
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


ZENODO = ZenodoFile(77, NAME)
GITHUB = GitHubFile("won/taggers", COMMIT, "fcn/best.pth")
NEWEST = GitHubFile("won/taggers", None, "fcn/best.pth")


def _artefact(origin: ZenodoFile | GitHubFile, pin: str | None = None) -> Artefact:
    file = ArtefactFile("best.pth", None, pin, origin, pickled=True)
    return Artefact("tagger", "a toy", "MIT", "https://example.org", (file,))


@pytest.mark.parametrize("origin", [ZENODO, GITHUB, NEWEST])
def test_fetched_verified_recorded_and_never_asked_for_again(
    archive: Archive, origin: ZenodoFile | GitHubFile, cache: Path
) -> None:
    resolved = resolve(_artefact(origin))
    assert resolved.files["best.pth"].read_bytes() == DATA
    assert resolved.artefact.files[0].sha256 == sha256(DATA)
    assert not list((cache / "weights/downloads").iterdir())
    assert len(archive.asked) == 2, "a statement and the file"
    archive.asked.clear()
    archive.answers.clear()
    assert resolve(_artefact(origin)) == resolved
    assert archive.asked == []


def test_a_record_may_spell_the_name_with_other_capitals(archive: Archive, cache: Path) -> None:
    found = resolve(_artefact(ZENODO))
    spelled = NAME.replace("Cnn", "CNN")
    (path,) = (path for path, body in archive.answers.items() if body == DATA and "77" in path)
    archive.answers["/api/records/77"] = _record(DATA, key=spelled)
    archive.answers[path.replace("Cnn", "CNN")] = archive.answers.pop(path)
    assert resolve(_artefact(ZENODO), cache=cache / "another") == replace(
        found, files={"best.pth": cache / "another" / found.files["best.pth"].relative_to(cache)}
    )
    # Also where all is recorded but the file itself is lost.
    found.files["best.pth"].unlink()
    assert resolve(_artefact(ZENODO)) == found


@pytest.mark.parametrize("origin", [ZENODO, GITHUB])
def test_other_bytes_than_stated(archive: Archive, origin: ZenodoFile | GitHubFile) -> None:
    for path, body in archive.answers.items():
        if body == DATA:
            archive.answers[path] = DATA[::-1]
    with pytest.raises(WeightsError, match="instead of") as caught:
        resolve(_artefact(origin))
    assert "changed at its source" in caught.value.remedy
    assert where(_artefact(origin)).status == "missing"


def test_a_registered_file_of_a_repository_is_fetched_without_asking(archive: Archive) -> None:
    """The site answers few questions an hour; its files it gives to all."""
    file = ArtefactFile("best.pth", len(DATA), sha256(DATA), NEWEST)
    artefact = replace(_artefact(NEWEST), files=(file,))
    assert resolve(artefact).files["best.pth"].read_bytes() == DATA
    assert archive.asked == ["/won/taggers/HEAD/fcn/best.pth"]


@pytest.mark.usefixtures("archive")
def test_the_registered_hash_is_above_the_statement() -> None:
    with pytest.raises(WeightsError, match=f"instead of {sha256(b'x')}"):
        resolve(_artefact(ZENODO, sha256(b"x")))


def test_a_broken_download_goes_on(archive: Archive, cache: Path) -> None:
    archive.breaks_after = 1_200_000
    with pytest.raises(WeightsError, match="zenodo") as caught:
        resolve(_artefact(ZENODO))
    assert "goes on where it stopped" in caught.value.remedy
    (part,) = (cache / "weights/downloads").iterdir()
    assert 0 < part.stat().st_size < len(DATA)
    archive.breaks_after = None
    assert resolve(_artefact(ZENODO)).files["best.pth"].read_bytes() == DATA


@pytest.mark.parametrize(
    "record",
    [
        b"no json",
        b"[]",
        b"{}",
        json.dumps({"files": [{"key": "other.pth"}]}).encode(),
        _record(DATA, checksum="sha1:00"),
        _record(DATA, checksum=None),
        _record(DATA, size="large"),
    ],
)
def test_a_record_without_a_statement(archive: Archive, record: bytes) -> None:
    archive.answers["/api/records/77"] = record
    with pytest.raises(WeightsError, match="states no size and hash"):
        resolve(_artefact(ZENODO))


def test_a_record_that_is_gone(archive: Archive) -> None:
    archive.answers.clear()
    with pytest.raises(WeightsError, match=r"api/records/77 was refused \(HTTP 404") as caught:
        resolve(_artefact(ZENODO))
    assert "\n" not in str(caught.value)


def test_no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: urllib.request.Request) -> AbstractContextManager[Any]:
        raise urllib.error.URLError("no route to host")

    monkeypatch.setattr(archives, "open_https", refuse)
    with pytest.raises(WeightsError, match="no route to host") as caught:
        resolve(_artefact(ZENODO))
    assert "Check the network" in caught.value.remedy


def test_a_bare_address_states_nothing_so_it_must_be_pinned() -> None:
    with pytest.raises(ValueError, match="needs a size and a sha256"):
        ArtefactFile("a.bin", None, None, UrlFile("https://example.org/a.bin"))
    with pytest.raises(ValueError, match="full commit hash"):
        GitHubFile("won/taggers", "master", "a")
