"""Feature sequences of many videos on disk."""

from reelgenre.store.info import ExtractorInfo, StoreInfo
from reelgenre.store.manifest import Outcome
from reelgenre.store.store import FeatureStore
from reelgenre.store.tensors import Precision
from reelgenre.store.verification import Problem, VerifyReport
from reelgenre.store.videos import FileStamp, Video, hash_file, hash_name

__all__ = [
    "ExtractorInfo",
    "FeatureStore",
    "FileStamp",
    "Outcome",
    "Precision",
    "Problem",
    "StoreInfo",
    "VerifyReport",
    "Video",
    "hash_file",
    "hash_name",
]
