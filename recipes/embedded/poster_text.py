"""Read the text off the posters: what the screen_text modality makes of a poster as a picture.

The readings are kept in a file of their own, one JSON line per poster, as they take an hour of one
core; a second run goes on where the first one stopped.

    python recipes/embedded/poster_text.py --data ../shared/data --out build/texts
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pyarrow.parquet as pq
from images import decoded, multi_hot
from texts import Passages, passages_of, sentence_encoder

from reelgenre.extractors.embedded import english_spelling, text_reader
from reelgenre.extractors.loading import Loading
from reelgenre.extractors.titles import ReadFrame, frame_titles

HERE = Path(__file__).parent
SPLITS = ("val", "tst", "trn")
COLUMNS = ["imdb_id", "split", "genres", "jpeg"]


def read_posters(posters: Path, readings: Path, loading: Loading) -> None:
    """Append the text of every poster that ``readings`` does not have yet."""
    done = set()
    if readings.exists():
        done = {json.loads(line)["imdb_id"] for line in readings.open(encoding="utf-8")}
    reader, _ = text_reader(loading)
    rows = pq.read_table(posters, columns=COLUMNS).to_pylist()
    rows.sort(key=lambda row: SPLITS.index(row["split"]))
    with readings.open("a", encoding="utf-8") as file:
        for row in rows:
            if row["imdb_id"] in done:
                continue
            boxes = reader.read(decoded(row["jpeg"]))
            text = " ".join(title.text for title in frame_titles([ReadFrame(0, 1, tuple(boxes))]))
            line = {key: row[key] for key in ("imdb_id", "split", "genres")} | {"text": text}
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
            file.flush()


def passages(readings: Path, loading: Loading) -> Passages:
    """The readings as one passage of one step each: words as read, the embedding as repaired."""
    rows = [json.loads(line) for line in readings.open(encoding="utf-8")]
    rows = sorted((row for row in rows if row["text"]), key=lambda row: str(row["imdb_id"]))
    spelling, _ = english_spelling(loading)
    return passages_of(
        [(row["imdb_id"], row["split"], multi_hot(row["genres"]), [row["text"]]) for row in rows],
        sentence_encoder(),
        spelling.repair,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    loading = Loading(HERE)
    readings = arguments.out / "posters.jsonl"
    read_posters(arguments.data / "posters.parquet", readings, loading)
    passages(readings, loading).save(arguments.out / "posters.npz")


if __name__ == "__main__":
    main()
