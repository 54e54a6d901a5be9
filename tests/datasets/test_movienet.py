from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from reelgenre.datasets import inner_fence, read_movienet
from reelgenre.datasets.movienet import FENCE_S, SPLITS, TRAILERS
from reelgenre.errors import StoreError
from reelgenre.genres import GENRES

SHARED = Path(__file__).parents[3] / "shared" / "data"
HEADER = "imdb_id,youtube_id,genres,title,duration\n"


def trailers(folder: Path, *rows: str) -> Path:
    file = folder / "trailers.csv"
    file.write_text(HEADER + "".join(f"{row}\n" for row in rows))
    return file


def test_known_faults_are_cleaned_and_reported(tmp_path: Path) -> None:
    file = trailers(
        tmp_path,
        "tt1,aaaaaaaaaaa,\"['Action', '-1ru6xV7SOMDrama']\",Scarface (1932),158.3",
        "tt2,bbbbbbbbbbb,[],No genre,100.0",
        "tt3,ccccccccccc,\"['xMusical', 'Nonsense', 'War', 'War']\",Film,300.0",
        "tt4,aaaaaaaaaaa,\"['War']\",The same id,50.0",
    )
    table = read_movienet(file)
    assert {v.video: v.labels for v in table.videos} == {
        "aaaaaaaaaaa": ("Action", "Drama"),
        "bbbbbbbbbbb": (),
        "ccccccccccc": ("Musical", "War"),
    }
    assert table.classes == GENRES
    per_video = [(f.video, f.done) for f in table.faults if f.video]
    assert sorted(per_video) == [
        ("aaaaaaaaaaa", "left out"),
        ("aaaaaaaaaaa", "read as 'Drama'"),
        ("bbbbbbbbbbb", "kept, without labels"),
        ("ccccccccccc", "kept"),
        ("ccccccccccc", "left out"),
        ("ccccccccccc", "read as 'Musical'"),
    ]
    # Three trailers are not the published 26,412, and no split has its published count.
    assert sum(not fault.video for fault in table.faults) == 4


@pytest.mark.parametrize(
    "genres",
    [
        "__import__('os').system('touch pwned')",
        "['a'] + ['b']",
        "\"['a', __import__('os')]\"",
        "['a\\'b']",
        "Drama",
        "",
        "[",
    ],
)
def test_genres_are_taken_apart_and_never_evaluated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, genres: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(StoreError, match="line 2"):
        read_movienet(trailers(tmp_path, f"tt1,aaaaaaaaaaa,{genres},Film,100"))
    assert not (tmp_path / "pwned").exists()


@pytest.mark.parametrize(
    "row",
    ["tt1,short,[],Film,100", "tt1,aaaaaaaaaaa,[],Film,long", "tt1,aaaaaaaaaaa,[]", "a,b,c,d,e,f"],
)
def test_rows_that_make_no_sense_name_the_line(tmp_path: Path, row: str) -> None:
    with pytest.raises(StoreError, match="line 2"):
        read_movienet(trailers(tmp_path, row))


def test_splits_files_are_checked(tmp_path: Path) -> None:
    file = trailers(tmp_path, "tt1,aaaaaaaaaaa,\"['War']\",Film,100.0")
    splits = tmp_path / "splits.json"
    splits.write_text(json.dumps({"tst": ["aaaaaaaaaaa"]}))
    assert read_movienet(file, splits).counts == {"tst": 1}
    for content in ("[]", '{"tst": "aaaaaaaaaaa"}', "{", '{"tst": ["bbbbbbbbbbb"]}'):
        splits.write_text(content)
        with pytest.raises(StoreError):
            read_movienet(file, splits)


def test_the_inner_fence_is_that_of_a_box_plot() -> None:
    # By hand: quartiles 2 and 4 of 1..5, so the range between them is 2.
    assert inner_fence([3, 1, 5, 2, 4]) == (-1.0, 7.0)
    durations = np.random.default_rng(0).gamma(9, 13, 1000)
    matplotlib_rule = np.percentile(durations, 75) + 1.5 * np.subtract(
        *np.percentile(durations, [75, 25])
    )
    assert inner_fence(durations.tolist())[1] == pytest.approx(matplotlib_rule)
    for bad in ([], [1.0, float("nan")]):
        with pytest.raises(ValueError, match="finite"):
            inner_fence(bad)


@pytest.mark.skipif(not SHARED.exists(), reason="needs the published lists in ../shared/data")
def test_the_published_lists_are_as_the_paper_says() -> None:
    with_file = read_movienet(SHARED / "movienet_trailers.csv", SHARED / "movienet_splits.json")
    assert with_file == read_movienet(SHARED / "movienet_trailers.csv")
    assert len(with_file.videos) == TRAILERS
    assert with_file.counts == SPLITS
    durations = [v.duration_s for v in with_file.videos if v.duration_s is not None]
    assert FENCE_S[0] <= min(durations)
    assert max(durations) <= FENCE_S[1]
    # Exactly the faults that are known, none of them about the file as a whole.
    assert sorted({f.done for f in with_file.faults}) == ["kept, without labels", "read as 'Drama'"]
    assert sum(f.done == "kept, without labels" for f in with_file.faults) == 21
    assert len(with_file.faults) == 22
