from __future__ import annotations

from reelgenre.extractors.ocr import TextBox
from reelgenre.extractors.titles import ReadFrame, reading_order, titles


def _box(text: str, left: float = 0.3, top: float = 0.5, score: float = 0.95) -> TextBox:
    return TextBox(text, score, left, top, left + 0.3, top + 0.1)


def _frames(*shots: tuple[TextBox, ...]) -> list[ReadFrame]:
    return [ReadFrame(2.0 * i, 2.0 * i + 2.0, boxes) for i, boxes in enumerate(shots)]


def _texts(*shots: tuple[TextBox, ...]) -> list[str]:
    return [title.text for title in titles(_frames(*shots))]


def test_lines_become_one_title_in_reading_order() -> None:
    boxes = (
        _box("OF JAWS", top=0.62),
        _box("DIRECTOR", left=0.65, top=0.42),
        _box("FROM THE", left=0.3, top=0.40),
    )
    assert [box.text for box in reading_order(boxes)] == ["FROM THE", "DIRECTOR", "OF JAWS"]
    assert _texts(boxes) == ["FROM THE DIRECTOR OF JAWS"]


def test_a_title_over_several_shots_is_one_with_all_their_time() -> None:
    found = titles(
        _frames((_box("COMING S0ON", score=0.8),), (_box("COMING SOON"),), (), (_box("COMING"),))
    )
    assert [(title.text, title.start, title.end) for title in found] == [("COMING SOON", 0.0, 8.0)]
    assert found[0].score == 0.95


def test_a_title_that_builds_up_is_its_last_state() -> None:
    assert _texts((_box("THIS"),), (_box("THIS SUMMER"),)) == ["THIS SUMMER"]
    assert _texts((_box("ONE MAN"),), (_box("ONE CITY"),)) == ["ONE MAN", "ONE CITY"]


def test_the_same_title_much_later_is_another() -> None:
    assert _texts((_box("SINTEL"),), (), (), (), (_box("SINTEL"),)) == ["SINTEL", "SINTEL"]


def test_guesses_and_single_characters_are_dropped() -> None:
    assert _texts((_box("noise", score=0.5),), (_box("A"),), (_box("--!"),)) == []


def test_watermarks_are_dropped_and_subtitles_are_not() -> None:
    mark = _box("TRAILERS", left=0.0, top=0.0)
    shots = [(mark, _box(f"line number {word}")) for word in ("one", "fifty", "eight")]
    plain = [(mark,)] * 5
    assert _texts(*shots, *plain) == [
        "line number one",
        "line number fifty",
        "line number eight",
    ]
    # The same words wandering over the screen are no watermark.
    wandering = [(_box("HELP ME", left=0.1 * i),) for i in range(6)]
    assert _texts(*wandering) == ["HELP ME"]
    # Nor is a title that a short clip shows throughout.
    assert _texts(*[(mark,)] * 4) == ["TRAILERS"]


def test_nothing_read_is_nothing() -> None:
    assert titles([]) == []
    assert titles(_frames((), ())) == []
