"""Files of Zenodo records and GitHub repositories: both state the size and a hash of each."""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.request
from dataclasses import replace
from typing import Any
from urllib.parse import quote

from reelgenre.errors import WeightsError
from reelgenre.weights.artefacts import ArchiveFile, Statement, ZenodoFile
from reelgenre.weights.download import open_https

_LIMIT = 2**22  # bytes of a description


def archive_statement(origin: ArchiveFile) -> Statement:
    """What the archive says of a file: size and md5, or size and git's hash.

    Raises:
        WeightsError: no network, no such file, or no usable statement.
    """
    if isinstance(origin, ZenodoFile):
        described = _described(f"https://zenodo.org/api/records/{origin.record}")
    else:
        url = f"https://api.github.com/repos/{origin.repo}/contents/{quote(origin.path)}"
        described = _described(f"{url}?ref={origin.revision}" if origin.revision else url)
    try:
        if isinstance(origin, ZenodoFile):
            wanted = origin.name.casefold()
            (file,) = (file for file in described["files"] if file["key"].casefold() == wanted)
            algorithm, digest = file["checksum"].split(":")
            address = replace(origin, name=file["key"]).address
            if algorithm == "md5":
                return Statement(int(file["size"]), "md5", str(digest), address=address)
        else:
            return Statement(int(described["size"]), "git-sha1", str(described["sha"]))
    except (KeyError, TypeError, ValueError, AttributeError):
        pass
    raise WeightsError(
        f"{origin.place} states no size and hash of the file",
        "Look there; report this if the file is there, or put it in place by hand",
    )


def _described(url: str) -> Any:
    try:
        with open_https(urllib.request.Request(url)) as response:  # noqa: S310 - checked there
            return json.loads(response.read(_LIMIT))
    except urllib.error.HTTPError as error:
        raise WeightsError(
            f"{url} was refused (HTTP {error.code} {error.reason})",
            "Run again later; if this repeats, the file was removed at its source",
        ) from error
    except (urllib.error.URLError, http.client.HTTPException, OSError) as error:
        reason = getattr(error, "reason", None) or error
        raise WeightsError(
            f"{url} cannot be fetched ({reason})", "Check the network and run again"
        ) from error
    except ValueError:
        return None
