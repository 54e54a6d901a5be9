"""Names of files and folders in a store.

store.json                                 format, version, precision
manifest/*.parquet                         segments, see `manifest`
features/NAME-DIGITS/ab/abcd….safetensors  one file per extractor and video
shards/NAME-DIGITS/*.safetensors           many videos, see `packs`
"""

from __future__ import annotations

import re

from reelgenre.errors import StoreError

MARKER = "store.json"
FORMAT = "reelgenre feature store"
VERSION = 1
FEATURES = "features"
SHARDS = "shards"
SUFFIX = ".safetensors"
SHARD_BYTES = 1 << 30

_FINGERPRINT = re.compile(r"([A-Za-z0-9_]{1,64}):([A-Za-z0-9._-]{1,64})")


def name_of(fingerprint: str) -> str:
    """The extractor's name in its fingerprint."""
    return fingerprint.partition(":")[0]


def extractor_folder(fingerprint: str) -> str:
    """The name of an extractor's folder.

    Raises:
        StoreError: the fingerprint is not ``name:digits``, so it could not be a file's name on
            every system.
    """
    match = _FINGERPRINT.fullmatch(fingerprint)
    if match is None:
        raise StoreError(
            f"{fingerprint!r} is no extractor's fingerprint", "It must be of the form name:digits"
        )
    return f"{match[1]}-{match[2]}"


def feature_path(fingerprint: str, content_hash: str) -> str:
    """Where a video's features of one extractor are, relative to the store."""
    folder = extractor_folder(fingerprint)
    return f"{FEATURES}/{folder}/{content_hash[:2]}/{content_hash}{SUFFIX}"
