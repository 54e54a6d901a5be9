from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reelgenre.datasets import LabelledVideo, label_store, read_labels, sorted_id_split
from reelgenre.errors import StoreError
from reelgenre.store import FeatureStore, Video


def test_csv_with_any_labels_and_any_split(tmp_path: Path) -> None:
    file = tmp_path / "labels.csv"
    file.write_text(
        '\ufeffvideo,labels,split,duration,note\n"a, b.mp4",cat|dog,fold1,12.5,x\nc.mp4,,,,\n',
        encoding="utf-8",
    )
    table = read_labels(file)
    assert table.videos == (
        LabelledVideo("a, b.mp4", ("cat", "dog"), "fold1", 12.5),
        LabelledVideo("c.mp4", ()),
    )
    assert table.classes == ("cat", "dog")
    assert table.counts == {"fold1": 1}
    assert np.array_equal(table.targets(), [[1, 1], [0, 0]])


@given(
    rows=st.lists(
        st.tuples(
            st.text(min_size=1).filter(lambda s: s.strip() and "\ud800" not in s),
            st.lists(st.text(min_size=1).filter(str.strip), max_size=4),
            st.sampled_from([None, "trn", "tst"]),
        ),
        min_size=1,
        unique_by=lambda row: row[0].strip(),
    )
)
def test_json_lines_keep_any_text(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[tuple[str, list[str], str | None]],
) -> None:
    file = tmp_path_factory.mktemp("labels") / "labels.jsonl"
    lines = [json.dumps({"video": v, "labels": x, "split": s}) for v, x, s in rows]
    file.write_text("\n".join(lines))
    table = read_labels(file)
    assert [(v.video, set(v.labels), v.split) for v in table.videos] == [
        (v.strip(), {x.strip() for x in labels}, s) for v, labels, s in rows
    ]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("x.csv", "", "line 1"),
        ("x.csv", "name,labels\na,b\n", "line 1"),
        ("x.csv", "video,labels\na,b,c\n", "line 2"),
        ("x.csv", "video,labels,split\na,b\n", "line 2"),
        ("x.csv", "video,labels\n,b\n", "line 2"),
        ("x.csv", "video,labels,duration\na,b,long\n", "line 2: duration"),
        ("x.csv", "video,labels,duration\na,b,nan\n", "line 2: duration"),
        ("x.csv", "video,labels\na,x\na,y\n", "line 3: it contradicts"),
        ("x.csv", "video,labels\n", "no video"),
        ("x.jsonl", "{\n", "line 1: it is not JSON"),
        ("x.jsonl", "[1]", "line 1"),
        ("x.jsonl", '{"video": "a"}', "labels"),
        ("x.jsonl", '{"video": "a", "labels": "Drama"}', "labels"),
        ("x.jsonl", '{"video": "a", "labels": [1]}', "labels"),
        ("x.jsonl", '{"video": "a", "labels": [], "split": 3}', "split"),
        ("x.jsonl", "[" * 100_000, "line 1"),
    ],
)
def test_wrong_files_name_the_line(tmp_path: Path, name: str, text: str, message: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(StoreError, match=message):
        read_labels(tmp_path / name)


def test_files_that_are_no_text_or_not_there(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_bytes(b"video,labels\n\xff\xfe,b\n")
    with pytest.raises(StoreError, match="UTF-8"):
        read_labels(tmp_path / "x.csv")
    with pytest.raises(StoreError, match="cannot be read"):
        read_labels(tmp_path / "none.csv")


def test_a_repeated_row_is_reported_and_counted_once(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("video,labels\na,x\na,x\n")
    table = read_labels(tmp_path / "x.csv")
    assert len(table.videos) == 1
    assert [fault.video for fault in table.faults] == ["a"]


@given(names=st.sets(st.text(max_size=5)).map(list))
def test_the_sorted_split_depends_on_the_names_alone(names: list[str]) -> None:
    splits = sorted_id_split(names)
    assert splits == sorted_id_split(names[::-1])
    assert splits["trn"] + splits["val"] + splits["tst"] == sorted(names)
    assert abs(len(splits["trn"]) - 0.7 * len(names)) <= 0.5
    assert abs(len(splits["tst"]) - 0.2 * len(names)) <= 0.5


def test_splits_that_overlap_or_name_strangers_are_refused(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("video,labels\na,x\nb,y\n")
    table = read_labels(tmp_path / "x.csv")
    assert table.with_splits({"trn": ["b"]}).counts == {"trn": 1}
    with pytest.raises(StoreError, match="in the splits"):
        table.with_splits({"trn": ["a"], "tst": ["a"]})
    with pytest.raises(StoreError, match="without labels"):
        table.with_splits({"trn": ["z"]})


def test_labels_find_videos_by_content_or_by_name(tmp_path: Path) -> None:
    store = FeatureStore.create(tmp_path / "s")
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    for folder in ("one", "two"):
        (tmp_path / folder / "trailer.mp4").write_text(folder)
        store.add(store.identify(tmp_path / folder / "trailer.mp4"))
    store.add(Video.from_name("youtube", "abcdefghijk"))
    # Moved since: only its content says which one it is.
    (tmp_path / "two" / "trailer.mp4").rename(tmp_path / "moved.mp4")
    (tmp_path / "labels.csv").write_text(
        "video,labels,split\n"
        "one/trailer.mp4,x,trn\nmoved.mp4,y,tst\nabcdefghijk,x|y,val\ntrailer,z,\nnone,z,\n"
    )
    report = label_store(store, read_labels(tmp_path / "labels.csv"), base=tmp_path)
    assert (report.labelled, report.unknown, report.ambiguous) == (3, ("none",), ("trailer",))
    labels = {
        v.source: (v.labels, v.split) for v in FeatureStore.open(tmp_path / "s").videos.values()
    }
    assert labels == {
        str(tmp_path / "one/trailer.mp4"): (("x",), "trn"),
        str(tmp_path / "two/trailer.mp4"): (("y",), "tst"),
        "youtube:abcdefghijk": (("x", "y"), "val"),
    }


def test_copies_with_different_labels_are_reported(tmp_path: Path) -> None:
    store = FeatureStore.create(tmp_path / "s")
    for name in ("a.mp4", "b.mp4"):
        (tmp_path / name).write_text("the same")
    store.add(store.identify(tmp_path / "a.mp4"))
    (tmp_path / "labels.csv").write_text("video,labels\na.mp4,x\nb.mp4,y\n")
    report = label_store(store, read_labels(tmp_path / "labels.csv"), base=tmp_path)
    assert report.contradictory == ("b.mp4",)
    assert [v.labels for v in store.videos.values()] == [("x",)]
