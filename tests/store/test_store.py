from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open

from reelgenre.errors import StoreError
from reelgenre.sequences import FeatureSequence
from reelgenre.store import FeatureStore, Video
from reelgenre.store import manifest as manifest_module
from reelgenre.store._arrow import pq

CLIP, BEATS = "clip:0123", "beats:4567"
Make = Callable[..., FeatureSequence]
MakeVideo = Callable[..., Video]
Entry = tuple[Video, dict[str, FeatureSequence | None], dict[str, str]]


def same(a: FeatureSequence | None, b: FeatureSequence) -> bool:
    return (
        a is not None
        and np.array_equal(a.values, b.values)
        and np.array_equal(a.times, b.times)
        and a.made_by == b.made_by
    )


def test_what_is_added_is_there_again_after_opening(
    tmp_path: Path, make_sequence: Make, make_video: MakeVideo
) -> None:
    store = FeatureStore.create(tmp_path / "s", precision="float32")
    video = make_video(duration_s=61.5, labels=("Drama", "War"), split="trn")
    sequence = make_sequence(CLIP)
    store.add(video, {CLIP: sequence, BEATS: None}, failures={"asr:9": "no model"})

    for reader in (store, FeatureStore.open(tmp_path / "s")):
        assert reader.videos == {video.content_hash: video}
        assert same(reader.get(video, "clip"), sequence)
        assert reader.get(video.content_hash, BEATS) is None
        with pytest.raises(StoreError, match="no model"):
            reader.get(video, "asr")
        assert reader.find("video0") == video


def test_float16_halves_the_file_and_rounds_only_to_float16(
    tmp_path: Path, make_sequence: Make, make_video: MakeVideo
) -> None:
    sequence = make_sequence(CLIP, steps=200, dim=512)
    sizes = {}
    for precision in ("float16", "float32"):
        store = FeatureStore.create(tmp_path / precision, precision=precision)
        store.add(make_video(), {CLIP: sequence})
        (file,) = (tmp_path / precision / "features").rglob("*.safetensors")
        sizes[precision] = file.stat().st_size
        values = store.get(make_video(), CLIP)
        assert values is not None
        assert np.array_equal(values.values, sequence.values.astype(precision).astype(np.float32))
    assert sizes["float16"] < 0.51 * sizes["float32"]


def test_values_that_float16_cannot_hold_are_refused_and_nothing_is_listed(
    tmp_path: Path, make_video: MakeVideo
) -> None:
    store = FeatureStore.create(tmp_path / "s")
    big = FeatureSequence(np.full((1, 2), 1e5, np.float32), np.zeros((1, 2), np.float32), CLIP)
    with pytest.raises(StoreError, match="float32"):
        store.add(make_video(), {CLIP: big})
    assert FeatureStore.open(tmp_path / "s").videos == {}


def test_feature_files_are_plain_safetensors(
    tmp_path: Path, make_sequence: Make, make_video: MakeVideo
) -> None:
    store = FeatureStore.create(tmp_path / "s", precision="float32")
    sequence = make_sequence(CLIP)
    store.add(make_video(), {CLIP: sequence})
    (file,) = (tmp_path / "s" / "features").rglob("*.safetensors")
    with safe_open(file, "np") as tensors:
        assert np.array_equal(tensors.get_tensor("values"), sequence.values)
        assert np.array_equal(tensors.get_tensor("times"), sequence.times)
        assert tensors.metadata()["made_by"] == CLIP


def test_a_new_extractor_touches_no_file_of_an_old_one(
    tmp_path: Path, make_sequence: Make, make_video: MakeVideo
) -> None:
    store = FeatureStore.create(tmp_path / "s")
    for n in range(3):
        store.add(make_video(n, labels=("Drama",)), {CLIP: make_sequence(CLIP)})
    before = {p: (p.stat().st_mtime_ns, p.read_bytes()) for p in (tmp_path / "s").rglob("*.*")}
    store.add(make_video(1), {BEATS: make_sequence(BEATS, dim=6)})
    for path, (mtime, content) in before.items():
        assert (path.stat().st_mtime_ns, path.read_bytes()) == (mtime, content)
    opened = FeatureStore.open(tmp_path / "s")
    assert opened.extractors == (CLIP, BEATS)
    assert opened.videos[make_video(1).content_hash].labels == ("Drama",)
    assert set(opened.missing([CLIP, BEATS])) == {
        make_video(0).content_hash,
        make_video(2).content_hash,
    }


def test_missing_knows_absent_failed_and_new(
    tmp_path: Path, make_sequence: Make, make_video: MakeVideo
) -> None:
    store = FeatureStore.create(tmp_path / "s")
    stored, absent, failed, new = (make_video(n) for n in range(4))
    store.add(stored, {CLIP: make_sequence(CLIP)})
    store.add(absent, {CLIP: None})
    store.add(failed, failures={CLIP: "broken file"})
    keys = [v.content_hash for v in (stored, absent, failed, new)]
    assert store.missing([CLIP], keys) == {new.content_hash: (CLIP,)}
    assert store.missing([CLIP]) == {}
    assert store.missing([CLIP], keys, retry_failed=True) == {
        failed.content_hash: (CLIP,),
        new.content_hash: (CLIP,),
    }
    assert store.missing([CLIP, BEATS], [stored.content_hash]) == {stored.content_hash: (BEATS,)}
    # A failure that succeeds later is forgotten.
    store.add(failed, {CLIP: make_sequence(CLIP)})
    assert FeatureStore.open(tmp_path / "s").missing([CLIP], retry_failed=True) == {}


def test_facts_that_are_not_given_stay(
    tmp_path: Path, make_sequence: Make, make_video: MakeVideo
) -> None:
    store = FeatureStore.create(tmp_path / "s")
    store.add(make_video(duration_s=3.0), {CLIP: make_sequence(CLIP)})
    store.add(make_video(labels=(), split="val"))
    store.add(make_video(), {BEATS: None})
    for reader in (store, FeatureStore.open(tmp_path / "s")):
        (video,) = reader.videos.values()
        assert (video.duration_s, video.labels, video.split) == (3.0, (), "val")


def test_a_fact_passed_through_does_not_undo_a_newer_one(
    tmp_path: Path, make_sequence: Make, make_video: MakeVideo
) -> None:
    FeatureStore.create(tmp_path / "s").add(make_video(labels=("Old",)))
    slow, fast = FeatureStore.open(tmp_path / "s"), FeatureStore.open(tmp_path / "s")
    (known,) = slow.videos.values()
    fast.add(make_video(labels=("New",)))
    slow.add(known, {CLIP: make_sequence(CLIP)})
    (video,) = FeatureStore.open(tmp_path / "s").videos.values()
    assert video.labels == ("New",)


def test_two_files_of_the_same_name_are_two_videos_and_a_copy_is_none(
    tmp_path: Path, make_sequence: Make
) -> None:
    store = FeatureStore.create(tmp_path / "s")
    contents = {"a/trailer.mp4": b"one", "b/trailer.mp4": b"two", "c/copy.mp4": b"one"}
    for name, content in contents.items():
        file = tmp_path / name
        file.parent.mkdir()
        file.write_bytes(content)
    for number, name in enumerate(contents):
        video = store.identify(tmp_path / name)
        if store.missing([CLIP], [video.content_hash]):
            store.add(video, {CLIP: make_sequence(CLIP, seed=number)})
    assert len(store.videos) == 2
    with pytest.raises(StoreError, match="2 videos called 'trailer'"):
        store.find("trailer")
    assert store.identify(tmp_path / "c/copy.mp4") == store.identify(tmp_path / "a/trailer.mp4")


def test_names_and_sources_are_found_after_they_change_here_and_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = [tmp_path / f"{name}.mp4" for name in ("old", "new", "third")]
    for file in files:
        file.write_bytes(b"third" if file.stem == "third" else b"same")
        os.utime(file, (1e9, 1e9))
    store = FeatureStore.create(tmp_path / "s")
    store.add(Video.from_file(files[0]))
    assert store.find("old") == store.identify(files[0])  # From here on there are indexes.
    files[0].unlink()
    store.add(Video.from_file(files[1]))
    FeatureStore.open(tmp_path / "s").add(Video.from_file(files[2]))
    store.refresh()
    store.add(Video.from_name("youtube", "fourth"))

    monkeypatch.setattr("reelgenre.store.videos.hash_file", lambda path: pytest.fail("hashed"))
    for seen in (store, FeatureStore.open(tmp_path / "s")):
        assert seen.find("fourth").source == "youtube:fourth"
        for file in files[1:]:
            assert seen.find(file.stem) == seen.identify(file)
        with pytest.raises(StoreError, match="no videos called 'old'"):
            seen.find("old")


def test_what_is_known_is_not_written_again(tmp_path: Path, make_video: MakeVideo) -> None:
    store = FeatureStore.create(tmp_path / "s")
    store.add(make_video(labels=("War",), split="trn"))
    segments = sorted((tmp_path / "s" / "manifest").iterdir())
    store.add(make_video(labels=("War",)))
    assert sorted((tmp_path / "s" / "manifest").iterdir()) == segments
    store.add(make_video(labels=()))
    (video,) = FeatureStore.open(tmp_path / "s").videos.values()
    assert (video.labels, video.split) == ((), "trn")


def test_an_unchanged_file_is_not_hashed_again_and_a_changed_one_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from reelgenre.store import videos as videos_module

    file = tmp_path / "v.mp4"
    file.write_bytes(b"first")
    os.utime(file, ns=(10**18, 10**18))
    store = FeatureStore.create(tmp_path / "s")
    store.add(store.identify(file))
    hashed: list[Path] = []
    original = videos_module.hash_file

    def counting(path: Path) -> str:
        hashed.append(path)
        return original(path)

    monkeypatch.setattr(videos_module, "hash_file", counting)
    first = FeatureStore.open(tmp_path / "s").identify(file)
    assert hashed == []
    file.write_bytes(b"other")  # The same size at another time.
    os.utime(file, ns=(10**18 + 1, 10**18 + 1))
    assert store.identify(file).content_hash != first.content_hash
    assert hashed == [file]


def test_a_file_that_has_just_changed_is_hashed_every_time(tmp_path: Path) -> None:
    file = tmp_path / "v.mp4"
    file.write_bytes(b"aaaa")
    store = FeatureStore.create(tmp_path / "s")
    first = store.identify(file)
    assert first.stamp is None
    store.add(first)
    stat = file.stat()
    file.write_bytes(b"bbbb")  # Within the same tick of the clock: the stamp is the same.
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert store.identify(file).content_hash != first.content_hash


def test_unreadable_video_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="cannot be read"):
        Video.from_file(tmp_path / "none.mp4")


@pytest.mark.parametrize(
    "fingerprint", ["../../evil:1", "a/b:c", "clip", "clip:", ":x", "clip:a/b", "a:b:c", "ü:1"]
)
def test_a_fingerprint_cannot_leave_the_store(
    tmp_path: Path, make_sequence: Make, make_video: MakeVideo, fingerprint: str
) -> None:
    store = FeatureStore.create(tmp_path / "s")
    with pytest.raises(StoreError, match="fingerprint"):
        store.add(make_video(), {fingerprint: make_sequence(fingerprint)})
    with pytest.raises(StoreError, match="fingerprint"):
        store.add(make_video(), failures={fingerprint: "x"})


def test_a_sequence_must_be_stored_under_its_own_fingerprint(
    tmp_path: Path, make_sequence: Make, make_video: MakeVideo
) -> None:
    store = FeatureStore.create(tmp_path / "s")
    with pytest.raises(StoreError, match="made by clip:0123"):
        store.add(make_video(), {BEATS: make_sequence(CLIP)})


def test_names_are_enough_unless_two_extractors_share_one(
    tmp_path: Path, make_sequence: Make, make_video: MakeVideo
) -> None:
    store = FeatureStore.create(tmp_path / "s", precision="float32")
    old, new = make_sequence("clip:1"), make_sequence("clip:2", seed=1)
    store.add(make_video(), {"clip:1": old})
    assert same(store.get(make_video(), "clip"), old)
    store.add(make_video(), {"clip:2": new})
    with pytest.raises(StoreError, match="several"):
        store.get(make_video(), "clip")
    assert same(store.get(make_video(), "clip:2"), new)
    with pytest.raises(StoreError, match="nothing of an extractor asr"):
        store.get(make_video(), "asr")


def test_create_refuses_foreign_folders_other_precisions_and_existing_stores(
    tmp_path: Path,
) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").touch()
    with pytest.raises(StoreError, match="other files"):
        FeatureStore.create(tmp_path / "mine")
    FeatureStore.create(tmp_path / "s")
    with pytest.raises(StoreError, match="already"):
        FeatureStore.create(tmp_path / "s")
    assert FeatureStore.create(tmp_path / "s", exist_ok=True).precision == "float16"
    with pytest.raises(StoreError, match="keeps float16"):
        FeatureStore.create(tmp_path / "s", precision="float32", exist_ok=True)
    with pytest.raises(StoreError, match="precision"):
        FeatureStore.create(tmp_path / "t", precision="int8")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("marker", "message"),
    [
        (None, "no feature store"),
        ("{", "cannot be read"),
        ('{"format": "other"}', "no feature store"),
        ('{"format": "reelgenre feature store", "version": 99}', "Update"),
        ('{"format": "reelgenre feature store", "version": 1, "precision": "x"}', "precision"),
    ],
)
def test_open_refuses_what_is_no_store(tmp_path: Path, marker: str | None, message: str) -> None:
    if marker is not None:
        (tmp_path / "store.json").write_text(marker)
    with pytest.raises(StoreError, match=message):
        FeatureStore.open(tmp_path)


def test_a_store_travels_to_worker_processes_as_its_address(
    tmp_path: Path, make_sequence: Make, make_video: MakeVideo
) -> None:
    store = FeatureStore.create(tmp_path / "s", precision="float32")
    store.add(make_video(), {CLIP: make_sequence(CLIP, steps=5000, dim=64)})
    store.pack()
    assert store.values(make_video(), CLIP) is not None
    sent = pickle.dumps(store)
    assert len(sent) < 1000
    assert same(pickle.loads(sent).get(make_video(), CLIP), make_sequence(CLIP, 5000, 64))


def test_batches_before_an_error_are_kept(
    tmp_path: Path, make_sequence: Make, make_video: MakeVideo
) -> None:
    store = FeatureStore.create(tmp_path / "s")

    def entries() -> Iterator[Entry]:
        for n in range(5):
            yield make_video(n), {CLIP: make_sequence(CLIP)}, {}
        raise RuntimeError("the source ends badly")

    with pytest.raises(RuntimeError):
        store.add_many(entries(), batch=2)
    assert len(FeatureStore.open(tmp_path / "s").videos) == 5


def test_opening_gives_the_same_before_and_after_compaction(
    tmp_path: Path, make_sequence: Make, make_video: MakeVideo
) -> None:
    store = FeatureStore.create(tmp_path / "s")
    for n in range(10):
        store.add(make_video(n, duration_s=float(n)), {CLIP: None, BEATS: None})
        store.add(make_video(n), {CLIP: make_sequence(CLIP, seed=n)})
    store.add(make_video(99, labels=("Drama",)))
    before = FeatureStore.open(tmp_path / "s")
    manifest_module.compact(tmp_path / "s" / "manifest", store.storage)
    after = FeatureStore.open(tmp_path / "s")
    assert len(list((tmp_path / "s" / "manifest").glob("*.parquet"))) == 1
    assert after.videos == before.videos
    assert {e: dict(after.outcomes(e)) for e in after.extractors} == {
        e: dict(before.outcomes(e)) for e in before.extractors
    }


def test_many_single_additions_leave_few_segments(tmp_path: Path, make_video: MakeVideo) -> None:
    store = FeatureStore.create(tmp_path / "s")
    for n in range(90):
        store.add(make_video(n))
    assert len(list((tmp_path / "s" / "manifest").glob("*.parquet"))) <= 65
    assert len(FeatureStore.open(tmp_path / "s").videos) == 90


def test_the_manifest_is_a_table_for_any_parquet_reader(
    tmp_path: Path, make_sequence: Make, make_video: MakeVideo
) -> None:
    store = FeatureStore.create(tmp_path / "s")
    store.add(make_video(labels=("War",), split="trn"), {CLIP: make_sequence(CLIP), BEATS: None})
    (segment,) = (tmp_path / "s" / "manifest").glob("*.parquet")
    rows = pq.read_table(segment).to_pylist()
    assert [(r["video_id"], r["extractor"], r["dim"], r["steps"], r["status"]) for r in rows] == [
        ("video0", CLIP, 4, 3, "stored"),
        ("video0", BEATS, None, None, "absent"),
    ]
    assert {tuple(r["labels"]) for r in rows} == {("War",)}


def test_a_fact_that_comes_late_still_loses_only_to_newer_ones(tmp_path: Path) -> None:
    store = FeatureStore.create(tmp_path / "s")
    place = tmp_path / "s" / "manifest"

    def told(split: str | None, now: int) -> None:
        rows = manifest_module.rows_of(Video.from_name("test", "v", split=split), {}, now)
        manifest_module.append(place, list(rows))

    told("val", 3)
    told(None, 7)
    manifest_module.compact(place, store.storage)
    # Of another process: newer than what is known of the split, older than the compacted rows.
    told("trn", 6)
    (video,) = FeatureStore.open(tmp_path / "s").videos.values()
    assert video.split == "trn"


Event = tuple[int, str | None, str, str | None, int]
EVENTS = st.lists(
    st.tuples(
        st.integers(0, 3),
        st.sampled_from([None, "a:1", "b:2"]),
        st.sampled_from(["stored", "absent", "failed"]),
        st.sampled_from([None, "trn", "val"]),
        st.booleans(),
    ),
    max_size=8,
)


@settings(max_examples=20, deadline=None)
@given(events=EVENTS, data=st.data())
def test_merging_is_last_writer_wins_in_any_order_and_grouping(
    tmp_path_factory: pytest.TempPathFactory,
    events: list[tuple[int, str | None, str, str | None, bool]],
    data: st.DataObject,
) -> None:
    folder = tmp_path_factory.mktemp("s")
    store = FeatureStore.create(folder)
    place = folder / "manifest"
    expected_split: dict[str, str | None] = {}
    expected: dict[tuple[str, str], tuple[str, int]] = {}
    segments = []
    for now, (number, extractor, status, split, _) in enumerate(events, start=1):
        video = Video.from_name("test", f"v{number}", split=split)
        outcome = manifest_module.Outcome(None, None, status, None, now)  # type: ignore[arg-type]
        outcomes = {} if extractor is None else {extractor: outcome}
        segments.append(list(manifest_module.rows_of(video, outcomes, now)))
        expected_split[video.content_hash] = split or expected_split.get(video.content_hash)
        if extractor is not None:
            expected[video.content_hash, extractor] = (status, now)
    for (*_, compact), rows in zip(events, data.draw(st.permutations(segments)), strict=True):
        manifest_module.append(place, rows)
        if compact:
            manifest_module.compact(place, store.storage)
    opened = FeatureStore.open(folder)
    assert {k: v.split for k, v in opened.videos.items()} == expected_split
    assert {
        (key, extractor): (o.status, o.written_ns)
        for extractor in opened.extractors
        for key, o in opened.outcomes(extractor).items()
    } == expected


def test_without_pyarrow_the_error_says_what_to_install() -> None:
    code = (
        "import sys; sys.modules['pyarrow'] = None\n"
        "from reelgenre.errors import StoreError\n"
        "try:\n    import reelgenre.store\n"
        "except StoreError as error:\n    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "reelgenre[train]" in done.stdout


def test_info_counts(tmp_path: Path, make_sequence: Make, make_video: MakeVideo) -> None:
    store = FeatureStore.create(tmp_path / "s")
    store.add(make_video(0, split="trn", labels=("A",)), {CLIP: make_sequence(CLIP, steps=5)})
    store.add(make_video(1, split="trn"), {CLIP: None})
    store.add(make_video(2, split="tst"), failures={CLIP: "x"})
    store.pack()
    store.add(make_video(3), {CLIP: make_sequence(CLIP, steps=7)})
    info = store.info()
    assert (info.videos, info.labelled, info.splits) == (4, 1, {"trn": 2, "tst": 1})
    (clip,) = info.extractors
    assert (clip.dim, clip.stored, clip.absent, clip.failed, clip.steps, clip.packed) == (
        4, 2, 1, 1, 12, 1,
    )  # fmt: skip
    assert info.value_bytes == 12 * 4 * 2
