from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save

from reelgenre.errors import StoreError
from reelgenre.sequences import FeatureSequence
from reelgenre.store import FeatureStore, Video
from reelgenre.store.tensors import DamagedError, decode, encode, parse

CLIP, BEATS = "clip:0123", "beats:4567"
Make = Callable[..., FeatureSequence]
MakeVideo = Callable[..., Video]


@pytest.fixture(name="folder")
def fixture_folder(tmp_path: Path, make_sequence: Make, make_video: MakeVideo) -> Path:
    store = FeatureStore.create(tmp_path / "s", precision="float32")
    for n in range(3):
        store.add(make_video(n, split="trn"), {CLIP: make_sequence(CLIP, seed=n), BEATS: None})
    return tmp_path / "s"


def file_of(folder: Path, video: Video) -> Path:
    (path,) = (folder / "features").rglob(f"{video.content_hash}.safetensors")
    return path


def flip(path: Path, position: int) -> None:
    content = bytearray(path.read_bytes())
    content[position] ^= 1
    path.write_bytes(content)


DAMAGES: dict[str, Callable[[Path], object]] = {
    "gone": lambda path: path.unlink(),
    "empty": lambda path: path.write_bytes(b""),
    "cut short": lambda path: path.write_bytes(path.read_bytes()[:-3]),
    "one bit of the values": lambda path: flip(path, -30),
    "one bit of the header": lambda path: flip(path, 20),
    "longer": lambda path: path.write_bytes(path.read_bytes() + b"xxxx"),
    "a pickle": lambda path: path.write_bytes(b"\x80\x04cos\nsystem\n."),
    "huge header": lambda path: path.write_bytes(b"\xff" * 64),
}


@pytest.mark.parametrize("kind", DAMAGES)
def test_a_damaged_feature_file_is_one_clear_error_and_can_be_made_again(
    folder: Path, make_sequence: Make, make_video: MakeVideo, kind: str
) -> None:
    hurt = make_video(1)
    DAMAGES[kind](file_of(folder, hurt))
    store = FeatureStore.open(folder)
    with pytest.raises(StoreError, match="verify --repair"):
        store.get(hurt, CLIP)
    assert store.get(make_video(0), CLIP) is not None

    report = store.verify()
    assert not report.ok
    assert [p.path for p in report.problems] == [file_name(hurt)]
    assert store.missing([CLIP]) == {}  # Looking changes nothing.
    report = store.verify(repair=True)
    assert report.ok
    assert report.features == 2
    assert store.missing([CLIP], retry_failed=True) == {hurt.content_hash: (CLIP,)}
    store.add(hurt, {CLIP: make_sequence(CLIP, seed=1)})
    again = FeatureStore.open(folder)
    assert again.verify().problems == ()
    assert again.videos[hurt.content_hash].split == "trn"


def file_name(video: Video) -> str:
    return f"features/clip-0123/{video.content_hash[:2]}/{video.content_hash}.safetensors"


def test_a_file_in_anothers_place_is_found(folder: Path, make_video: MakeVideo) -> None:
    shutil.copy(file_of(folder, make_video(0)), file_of(folder, make_video(1)))
    store = FeatureStore.open(folder)
    with pytest.raises(StoreError, match="belongs to another"):
        store.get(make_video(1), CLIP)
    assert not store.verify().ok


@pytest.mark.parametrize("content", [b"", b"PAR1 not really PAR1", b"\x00" * 500])
def test_a_damaged_manifest_is_never_silently_skipped_and_is_rebuilt_from_the_features(
    folder: Path, make_video: MakeVideo, content: bytes
) -> None:
    (first, *_) = sorted((folder / "manifest").glob("*.parquet"))
    first.write_bytes(content)
    with pytest.raises(StoreError, match=f"{first.name}.*verify --repair"):
        FeatureStore.open(folder)
    report = FeatureStore.repair(folder)
    assert report.ok
    assert {p.cause for p in report.problems} == {
        "the manifest segment is damaged",
        "the file is whole but not listed",
    }
    store = FeatureStore.open(folder)
    assert len(store.videos) == 3
    assert all(store.get(make_video(n), CLIP) is not None for n in range(3))
    assert first.with_name(f"{first.name}.damaged").exists()


def test_features_without_a_row_are_listed_again(folder: Path, make_sequence: Make) -> None:
    for segment in (folder / "manifest").glob("*.parquet"):
        segment.unlink()
    store = FeatureStore.open(folder)
    assert store.videos == {}
    assert store.verify(repair=True).ok
    assert len(store.videos) == 3
    assert {v.source for v in store.videos.values()} == {f"test:video{n}" for n in range(3)}
    assert store.verify().problems == ()


def test_old_temporary_files_are_swept_and_new_ones_are_left(folder: Path) -> None:
    old, new = folder / "manifest" / ".old.part", folder / "features" / ".new.part"
    for path in (old, new):
        path.write_bytes(b"half")
    os.utime(old, (time.time() - 7200,) * 2)
    FeatureStore.open(folder).verify(repair=True)
    assert not old.exists()
    assert new.exists()


def test_a_damaged_shard_is_found_set_aside_and_packed_again(
    folder: Path, make_video: MakeVideo
) -> None:
    store = FeatureStore.open(folder)
    (shard,) = store.pack()
    flip(shard, -5)
    report = store.verify()
    assert [p.path for p in report.problems] == [shard.relative_to(folder).as_posix()]
    assert store.verify(repair=True).ok
    store = FeatureStore.open(folder)
    values = store.values(make_video(0), CLIP)
    expected = store.get(make_video(0), CLIP)
    assert values is not None
    assert expected is not None
    assert np.array_equal(values, expected.values)
    assert len(store.pack()) == 1
    shard = next((folder / "shards").rglob("*.safetensors"))
    shard.write_bytes(shard.read_bytes()[:100])
    with pytest.raises(StoreError, match=r"shard .* is damaged"):
        FeatureStore.open(folder).values(make_video(0), CLIP)


def test_a_manifest_with_hostile_keys_is_refused(tmp_path: Path) -> None:
    from reelgenre.store import manifest

    FeatureStore.create(tmp_path / "s")
    row = {
        "content_hash": "../../../etc/passwd",
        "video_id": "x",
        "updated_ns": 1,
        "extractor": CLIP,
        "status": "stored",
        "written_ns": 1,
    }
    manifest.append(tmp_path / "s" / "manifest", [row])
    with pytest.raises(StoreError, match="content hashes"):
        FeatureStore.open(tmp_path / "s")


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_no_damage_to_a_feature_file_passes_unnoticed(data: st.DataObject) -> None:
    sequence = FeatureSequence(
        np.arange(6, dtype=np.float32).reshape(3, 2), np.zeros((3, 2), np.float32), CLIP
    )
    whole = encode(sequence, "float16", {"content_hash": "0" * 64})
    start = data.draw(st.integers(0, len(whole) - 1))
    end = data.draw(st.integers(start, min(len(whole), start + 8)))
    content = whole[:start] + data.draw(st.binary(max_size=8)) + whole[end:]
    try:
        values, times, _ = decode(content)
    except DamagedError:
        return
    assert np.array_equal(values, sequence.values.astype(np.float16))
    assert np.array_equal(times, sequence.times)


@given(content=st.binary(max_size=200))
def test_any_bytes_are_either_tensors_or_damaged(content: bytes) -> None:
    for data in (content, len(content).to_bytes(8, "little") + content):
        with contextlib.suppress(DamagedError):
            parse(np.frombuffer(data, np.uint8))


def test_headers_that_lie_are_refused() -> None:
    good = save({"values": np.zeros((2, 2), np.float32)})
    parse(np.frombuffer(good, np.uint8))
    for lie in (
        b'{"values":{"dtype":"F32","shape":[2,2],"data_offsets":[0,160]}}',
        b'{"values":{"dtype":"F32","shape":[-2,-2],"data_offsets":[0,16]}}',
        b'{"values":{"dtype":"F32","shape":[2,3],"data_offsets":[0,16]}}',
        b'{"values":{"dtype":"F32","shape":[2,2],"data_offsets":[-16,0]}}',
        b'{"values":{"dtype":"O","shape":[2,2],"data_offsets":[0,16]}}',
        b'{"values":[1]}',
        b"[]",
        b"7",
    ):
        data = len(lie).to_bytes(8, "little") + lie + b"\0" * 16
        with pytest.raises(DamagedError):
            parse(np.frombuffer(data, np.uint8))
