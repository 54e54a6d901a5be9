"""The frame in the middle of each shot is exactly that frame, upright and at its time."""

from __future__ import annotations

from fractions import Fraction
from typing import Any, ClassVar

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reelgenre.media import MediaOptions, picturetrack
from reelgenre.media.midframes import MidFrames, nearest
from reelgenre.media.pictures import emitted_size, upright


def two_shots(make: Any, first: Any = 40, second: Any = 30, **kwargs: Any) -> Any:
    """Numbered pictures, dark below in the first shot and bright in the second."""
    return [
        make.numbered(i, base=15 if i < first else 230, **kwargs) for i in range(first + second)
    ]


def numbers(make: Any, decoded: Any) -> Any:
    return [make.read_number(f.image) for f in decoded.frames]


def test_middle_of_one_shot_and_of_two(make: Any) -> None:
    decoded = make.decode(make.video(frames=51))
    # Frames 0 to 50 last until 2.04 s; the middle, 1.02 s, is between frames 25 and 26.
    assert numbers(make, decoded) == [25]
    assert decoded.frames[0].time == 1.0
    decoded = make.decode(make.write("two.mp4", make.pictures(two_shots(make))))
    assert decoded.report.shots == ((0.0, 1.6), (1.6, 2.8))
    assert numbers(make, decoded) == [20, 55]
    assert [f.time for f in decoded.frames] == [0.8, 2.2]
    assert [f.shot for f in decoded.frames] == list(decoded.report.shots)


@pytest.mark.parametrize("bframes", [0, 3])
@pytest.mark.parametrize("container", ["mp4", "mkv", "ts", "h264"])
def test_containers_and_b_frames(make: Any, container: Any, bframes: Any) -> None:
    options = {"preset": "ultrafast", "crf": "18", "bf": str(bframes), "b-adapt": "0"}
    track = make.pictures(two_shots(make), options=options)
    decoded = make.decode(make.write(f"clip.{container}", track))
    assert numbers(make, decoded) == [20, 55]
    assert [f.time for f in decoded.frames] == pytest.approx([0.8, 2.2], abs=0.0011)
    assert decoded.report.duration_s == pytest.approx(2.8, abs=0.05)


def test_avi_without_presentation_times(make: Any) -> None:
    # AVI notes decoding times alone, so players and we may be a frame or two off.
    decoded = make.decode(make.write("clip.avi", make.pictures(two_shots(make))))
    assert numbers(make, decoded) == [20, 55]
    assert [f.time for f in decoded.frames] == pytest.approx([0.8, 2.2], abs=0.081)


@given(st.lists(st.integers(1, 40), min_size=2, max_size=30), st.integers(0, 1000))
def test_nearest_is_the_earlier_of_the_nearest(steps: Any, start: Any) -> None:
    ticks = list(np.cumsum([start, *steps]))
    twice = ticks[0] + ticks[-1]
    found = ticks[nearest(ticks, twice)]
    distance = min(abs(2 * t - twice) for t in ticks)
    assert found == min(t for t in ticks if abs(2 * t - twice) == distance)


def test_variable_frame_rate_goes_by_time_not_by_number(make: Any) -> None:
    # 30 frames in 0.6 s, then 10 frames in 4 s: the middle is among the slow ones.
    pts = [20 * i for i in range(30)] + [600 + 400 * i for i in range(10)]
    track = make.pictures(40, pts=pts, time_base=Fraction(1, 1000), rate=50)
    decoded = make.decode(make.write("vfr.mkv", track))
    end = decoded.report.shots[0][1]
    times = np.array(pts) / 1000
    expected = int(np.argmin(abs(times - end / 2)))
    assert expected > 30
    assert numbers(make, decoded) == [expected]
    assert decoded.frames[0].time == pytest.approx(times[expected])


def test_start_times_other_than_zero_count_from_the_start(make: Any) -> None:
    for start in (-50, 250, 90_000):
        pts = [start + i for i in range(50)]
        decoded = make.decode(make.video("late.mkv", frames=50, pts=pts))
        assert decoded.report.shots[0][0] == pytest.approx(0.0, abs=0.001)
        assert decoded.report.shots[0][1] == pytest.approx(2.0, abs=0.05)
        assert numbers(make, decoded) == [25]


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
def test_rotation_metadata(make: Any, degrees: Any, mirrored: Any) -> None:
    # Turned counterclockwise, then mirrored: how FFmpeg defines the two.
    image = make.numbered(0b101100111010, base=100)
    image[60:90, 10:60] = (220, 30, 30)
    track = make.pictures([image] * 5, display=(degrees, mirrored))
    frame = make.decode(make.write("turned.mp4", track)).frames[0].image
    turned = np.rot90(image, degrees // 90)
    turned = turned[:, ::-1] if mirrored else turned
    assert frame.shape == turned.shape
    assert abs(frame.astype(int) - turned).mean() < 8


@given(st.tuples(*[st.sampled_from([(1, 0, 0, 1), (-1, 0, 0, 1), (0, 1, -1, 0), (0, -1, -1, 0)])]))
def test_upright_moves_every_pixel_where_the_matrix_says(displays: Any) -> None:
    a, b, c, d = displays[0]
    image = np.arange(3 * 5 * 3, dtype=np.uint8).reshape(3, 5, 3)
    shown = upright(image, (a, b, c, d))
    points = {(a * x + c * y, b * x + d * y): image[y, x, 0] for y in range(3) for x in range(5)}
    left, top = min(x for x, _ in points), min(y for _, y in points)
    for (x, y), value in points.items():
        assert shown[y - top, x - left, 0] == value


def test_pixels_that_are_not_square(make: Any) -> None:
    for aspect, size in ((Fraction(2), (320, 96)), (Fraction(1, 2), (160, 192))):
        decoded = make.decode(make.video(frames=9, aspect=aspect))
        height, width = decoded.frames[0].image.shape[:2]
        assert (width, height) == size
        assert numbers(make, decoded) == [4]


@given(
    st.integers(1, 8192), st.integers(1, 8192),
    st.fractions(Fraction(1, 9), Fraction(9)), st.integers(1, 2000),
)  # fmt: skip
def test_emitted_size_never_enlarges_and_keeps_the_shape(
    width: Any, height: Any, aspect: Any, limit: Any
) -> None:
    wide, high = emitted_size(width, height, aspect, limit)
    assert min(wide, high) <= limit
    assert max(wide, high) <= 4 * limit
    sane = aspect if Fraction(1, 4) <= aspect <= 4 else Fraction(1)
    shown = Fraction(width, height) * sane
    if min(wide, high) > 20:
        assert abs(Fraction(wide, high) / shown - 1) < Fraction(1, 15)
    assert wide <= width * max(sane, 1) + 1
    assert high <= height / min(sane, 1) + 1


def test_large_frames_are_brought_to_the_limit(make: Any) -> None:
    decoded = make.decode(
        make.video(frames=3, size=(640, 360)), MediaOptions(short_side=90, detector="threshold")
    )
    assert decoded.frames[0].image.shape == (90, 160, 3)
    assert make.read_number(decoded.frames[0].image) == 1


@pytest.mark.parametrize("budget", [0, 200_000, 1_000_000, 1 << 27])
@pytest.mark.parametrize("container", ["mp4", "ts", "h264"])
def test_any_memory_budget_gives_the_same_frames(make: Any, budget: Any, container: Any) -> None:
    track = make.pictures(two_shots(make, 60, 45))
    path = make.write(f"clip.{container}", track)
    small = MediaOptions(detector="threshold", short_side=48, held_bytes=budget)
    ample = MediaOptions(detector="threshold", short_side=48)
    few, all_ = make.decode(path, small), make.decode(path, ample)
    assert numbers(make, few) == [30, 82]
    assert [f.time for f in few.frames] == [f.time for f in all_.frames]
    for a, b in zip(few.frames, all_.frames, strict=True):
        assert np.array_equal(a.image, b.image)


class Watched(MidFrames):
    """Notes every instance, to read what it held afterwards."""

    made: ClassVar[list[MidFrames]] = []

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.made.append(self)


@pytest.fixture
def watched(monkeypatch: Any) -> Any:
    monkeypatch.setattr(Watched, "made", [])
    monkeypatch.setattr(picturetrack, "MidFrames", Watched)
    return Watched.made


def test_a_long_scene_of_large_frames_stays_within_the_budget(make: Any, watched: Any) -> None:
    # A frame has 86400 bytes as decoded and some 4000 as emitted; eight of the former may be
    # held, as with 4K in the default budget, and 80 of the latter fit.
    path = make.video("long.mp4", frames=160, size=(320, 180))
    budget = 8 * 86_400
    for held in (budget, 20_000):
        options = MediaOptions(detector="threshold", short_side=36, held_bytes=held)
        assert numbers(make, make.decode(path, options)) == [80]
    roomy, tight = watched
    assert budget - 86_400 < roomy.most_bytes <= budget
    assert roomy.fetched == 0
    # Too little even at the size emitted: the frame is decoded once more.
    assert tight.most_bytes <= 20_000
    assert tight.fetched == 1


def test_pieces_bound_what_is_held(make: Any, watched: Any) -> None:
    path = make.video("long.mp4", frames=150)
    for piece_s in (None, 1.0):
        decoded = make.decode(path, MediaOptions(detector="threshold", piece_s=piece_s))
        assert [s for f in decoded.frames for s in f.shot] == [
            s for shot in decoded.report.shots for s in shot
        ]
    whole, pieces = watched
    assert pieces.fetched == 0
    assert pieces.most_bytes < whole.most_bytes / 2


def test_a_gap_in_the_timestamps_is_the_last_frames_time(make: Any) -> None:
    # Nothing for 2 s: the shot goes on, and its middle is the frame that stands meanwhile.
    pts = [i if i < 30 else i + 50 for i in range(60)]
    decoded = make.decode(make.video("gap.mkv", frames=60, pts=pts))
    assert decoded.report.shots == ((0.0, pytest.approx(4.4, abs=0.05)),)
    assert decoded.report.warnings == ()
    # 2.2 s lies between frames 29 (at 1.16 s) and 30 (at 3.2 s), nearer to the latter.
    assert numbers(make, decoded) == [30]
    assert decoded.frames[0].time == pytest.approx(3.2)


def test_interlaced_pictures_show_one_moment(make: Any) -> None:
    # A bar that moves between the two fields combs when the fields are woven together.
    frames = []
    for i in range(10):
        image = np.full((96, 160, 3), 30, np.uint8)
        image[0::2, 10 + 10 * i : 40 + 10 * i] = 220
        image[1::2, 30 + 10 * i : 60 + 10 * i] = 220
        frames.append(image)
    options = {"flags": "+ilme+ildct", "top": "1", "q": "2"}
    track = make.pictures(
        frames, codec="mpeg2video", options=options, field_order="tt", pix_fmt="yuv422p"
    )
    image = make.decode(make.write("interlaced.mkv", track)).frames[0].image.astype(int)
    combing = abs(image[1:-1] * 2 - image[:-2] - image[2:])[10:-10].mean()
    assert combing < 6


def test_hdr_is_tone_mapped(make: Any) -> None:
    # Grey at 10-bit PQ code 594 is 203 cd/m2, diffuse white; 769 is 1000 cd/m2.
    for transfer, codes in ((16, (594, 769)), (18, (769, 1023))):
        means = []
        for code in codes:
            level = round(code / 1023 * 65535)
            image = np.full((64, 64, 3), level, np.uint16)
            track = make.pictures(
                [image] * 3, codec="libx265", pix_fmt="yuv420p10le",
                colour=(9, transfer, 9), options={"x265-params": "log-level=none:crf=5"},
            )  # fmt: skip
            means.append(make.decode(make.write("hdr.mkv", track)).frames[0].image.mean())
        assert 170 < means[0] < 235
        assert means[0] + 10 < means[1]
        assert means[1] > 235


def test_long_shots_come_in_pieces_and_short_ones_whole(make: Any) -> None:
    path = make.write("two.mp4", make.pictures(two_shots(make, first=60, second=15)))
    decoded = make.decode(path, MediaOptions(detector="threshold", piece_s=1.0))
    # 2.4 s: a piece of 1 s, and 1.4 s that are not half as long again. 0.6 s stay whole.
    assert decoded.report.shots == ((0.0, 1.0), (1.0, 2.4), (2.4, 3.0))
    assert [f.shot for f in decoded.frames] == list(decoded.report.shots)
    assert [f.time for f in decoded.frames] == pytest.approx([0.48, 1.68, 2.68])
    with pytest.raises(ValueError, match="piece_s"):
        MediaOptions(piece_s=0.0)
