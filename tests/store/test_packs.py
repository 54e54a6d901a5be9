from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open

from reelgenre.errors import StoreError
from reelgenre.sequences import FeatureSequence
from reelgenre.store import FeatureStore, Video
from reelgenre.store._arrow import pq

CLIP, BEATS = "clip:0123", "beats:4567"
Make = Callable[..., FeatureSequence]
MakeVideo = Callable[..., Video]
Entry = tuple[Video, dict[str, FeatureSequence | None], dict[str, str]]


@pytest.fixture(name="store")
def fixture_store(tmp_path: Path, make_sequence: Make, make_video: MakeVideo) -> FeatureStore:
    store = FeatureStore.create(tmp_path / "s")

    def entries() -> Iterator[Entry]:
        for n in range(12):
            clip = None if n == 7 else make_sequence(CLIP, steps=1 + n % 5, dim=3, seed=n)
            split, labels = ("trn" if n < 9 else "tst"), ("Drama",) if n % 2 else ()
            beats = make_sequence(BEATS, steps=2, dim=8, seed=n)
            yield make_video(n, split=split, labels=labels), {CLIP: clip, BEATS: beats}, {}

    store.add_many(entries())
    return store


def test_packed_values_are_the_files_values_without_a_copy(
    store: FeatureStore, make_video: MakeVideo
) -> None:
    unpacked = {n: store.values(make_video(n), CLIP) for n in range(12)}
    told: list[tuple[float, float | None]] = []
    shards = store.pack(
        shard_bytes=60, hook=lambda _, done, total, __=None: told.append((done, total))
    )
    assert len(shards) > 3
    assert told == [(n, 23) for n in range(1, 24)]
    for reader in (store, FeatureStore.open(store.storage.address)):
        for n, expected in unpacked.items():
            values = reader.values(make_video(n), "clip")
            if expected is None:
                assert values is None
                continue
            assert values is not None
            assert np.array_equal(values, expected)
            assert values.dtype == np.float16
            assert not values.flags.owndata
            assert not values.flags.writeable
            assert reader.locate(make_video(n).content_hash, CLIP) is not None


def test_packing_again_adds_only_what_is_new(
    store: FeatureStore, make_sequence: Make, make_video: MakeVideo
) -> None:
    assert len(store.pack([CLIP])) == 1
    assert store.pack([CLIP]) == ()
    store.add(make_video(50), {CLIP: make_sequence(CLIP, steps=4, dim=3)})
    (shard,) = store.pack(["clip"])
    with safe_open(shard, "np") as tensors:
        assert tensors.get_tensor("values").shape == (4, 3)
        assert tensors.get_tensor("offsets").tolist() == [0, 4]
    assert {p.parent.name for p in Path(store.storage.address).glob("shards/*/*")} == {"clip-0123"}


def test_features_written_after_packing_win_over_the_shard(
    store: FeatureStore, make_sequence: Make, make_video: MakeVideo
) -> None:
    store.pack()
    newer = make_sequence(CLIP, steps=9, dim=3, seed=99)
    store.add(make_video(0), {CLIP: newer})
    for reader in (store, FeatureStore.open(store.storage.address)):
        values = reader.values(make_video(0), CLIP)
        assert values is not None
        assert np.array_equal(values, newer.values.astype(np.float16))
    store.pack()
    values = store.values(make_video(0), CLIP)
    assert values is not None
    assert values.shape == (9, 3)


def test_packing_and_reading_hold_one_video_in_memory_not_the_set(
    tmp_path: Path, make_sequence: Make, make_video: MakeVideo
) -> None:
    store = FeatureStore.create(tmp_path / "s")
    for n in range(24):
        store.add(make_video(n), {CLIP: make_sequence(CLIP, steps=500, dim=512, seed=n)})
    total = store.info().value_bytes
    assert total == 24 * 500 * 512 * 2
    tracemalloc.start()
    try:
        store.pack()
        checksum = 0
        for key in store.videos:
            values = store.values(key, CLIP)
            assert values is not None
            checksum += int(values[0, 0] > 0)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert 0 < checksum < 24
    assert peak < total / 6


def test_export_is_one_parquet_table(
    store: FeatureStore, make_video: MakeVideo, tmp_path: Path
) -> None:
    assert store.export(tmp_path / "all.parquet") == 12
    table = pq.read_table(tmp_path / "all.parquet")
    assert table.column_names[:6] == [
        "content_hash", "video_id", "source", "duration_s", "labels", "split",
    ]  # fmt: skip
    assert table.column_names[6:] == ["clip", "clip_times", "beats", "beats_times"]
    assert table.schema.field("clip").metadata[b"made_by"] == CLIP.encode()
    for row in table.to_pylist():
        expected = store.get(row["content_hash"], CLIP)
        if expected is None:
            assert row["clip"] is None
            assert row["clip_times"] is None
            continue
        assert np.array_equal(np.array(row["clip"], np.float32), expected.values)
        assert np.array_equal(np.array(row["clip_times"], np.float32), expected.times)
        assert tuple(row["labels"]) == store.videos[row["content_hash"]].labels

    assert store.export(tmp_path / "part.parquet", extractors=["beats"], split="tst") == 3
    part = pq.read_table(tmp_path / "part.parquet")
    assert part.column_names[6:] == ["beats", "beats_times"]
    assert set(part["split"].to_pylist()) == {"tst"}
    with pytest.raises(StoreError, match="no video"):
        store.export(tmp_path / "none.parquet", split="val")
    assert not (tmp_path / "none.parquet").exists()


@pytest.mark.parametrize("kind", ["file", "zip", "memory"])
def test_a_store_is_read_from_any_address_and_written_at_none(
    store: FeatureStore, make_video: MakeVideo, tmp_path: Path, kind: str
) -> None:
    import shutil

    import fsspec  # type: ignore[import-untyped]

    folder = Path(store.storage.address)
    store.pack()
    if kind == "file":
        address = f"file://{folder}"
    elif kind == "zip":
        archive = shutil.make_archive(str(tmp_path / "store"), "zip", folder)
        address = f"zip://::{archive}"
    else:
        memory = fsspec.filesystem("memory")
        memory.put(str(folder), f"/{tmp_path.name}/there", recursive=True)
        address = f"memory://{tmp_path.name}/there"
    remote = FeatureStore.open(address)
    assert remote.videos == store.videos
    for key in store.videos:
        ours, theirs = store.get(key, CLIP), remote.get(key, CLIP)
        assert (ours is None) == (theirs is None)
        if ours is not None and theirs is not None:
            assert np.array_equal(ours.values, theirs.values)
    values = remote.values(make_video(0), CLIP)
    assert values is not None
    assert values.dtype == np.float16
    assert remote.verify().problems == ()
    assert remote.export(tmp_path / "out.parquet") == 12
    for change in (
        lambda: remote.add(make_video(0)),
        lambda: remote.pack(),
        lambda: remote.verify(repair=True),
    ):
        with pytest.raises(StoreError, match="only be read"):
            change()


def test_addresses_that_lead_nowhere_are_clear_errors(tmp_path: Path) -> None:
    for address in (tmp_path / "none", "memory://none", "nosuch://x", f"zip://::{tmp_path}/no.zip"):
        with pytest.raises(StoreError):
            FeatureStore.open(address)
