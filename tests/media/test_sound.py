"""Sound comes out mono, at the asked rate, and every sample at its time."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reelgenre.media import Frames, Sound, SoundBlock, open_media
from reelgenre.media.soundtrack import BlockWriter
from reelgenre.media.timeline import Timeline


def clicks(times: Any, seconds: Any, rate: Any, channels: Any = 1) -> Any:
    samples = np.zeros((channels, int(seconds * rate)), np.float32)
    for time in times:
        samples[:, int(time * rate) : int(time * rate) + rate // 500] = 0.9
    return samples


@pytest.mark.parametrize(
    ("container", "codec", "rate"),
    [
        ("mp4", "aac", 48_000),
        ("mp4", "aac", 22_050),
        ("mkv", "libopus", 48_000),
        ("wav", "pcm_s16le", 8_000),
        ("mkv", "flac", 96_000),
        ("ts", "aac", 44_100),
        ("mp3", "libmp3lame", 44_100),
    ],
)
def test_a_click_is_heard_at_its_time(make: Any, container: Any, codec: Any, rate: Any) -> None:
    times = (0.5, 1.25, 2.7)
    path = make.write(
        f"click.{container}", make.tone(codec=codec, rate=rate, samples=clicks(times, 3.0, rate))
    )
    decoded = make.decode(path, rate=16_000)
    first = decoded.blocks[0].start
    assert abs(first) < 0.06
    # Neither can say how much of its start only filled the encoder's filters.
    early = 0.06 if container in ("ts", "mp3") else 0.004
    for time in times:
        near = slice(int((time - 0.1 - first) * 16_000), int((time + 0.1 - first) * 16_000))
        heard = first + (near.start + np.argmax(abs(decoded.sound[near]) > 0.25)) / 16_000
        assert heard == pytest.approx(time, abs=early)
    assert decoded.report.duration_s == pytest.approx(3.0, abs=0.1)


def test_blocks_are_whole_seconds_and_every_rate_gets_its_own(make: Any) -> None:
    path = make.write("tone.mkv", make.tone(seconds=3.5, codec="flac"))
    for rate in (8_000, 16_000, 32_000, 44_100):
        decoded = make.decode(path, rate=rate)
        assert [len(b.samples) for b in decoded.blocks[:3]] == [rate] * 3
        assert {b.rate for b in decoded.blocks} == {rate}
        assert len(decoded.sound) == pytest.approx(3.5 * rate, abs=2)
        # 440 Hz at half of full scale, whatever the rate.
        spectrum = abs(np.fft.rfft(decoded.sound[:rate]))
        assert np.argmax(spectrum) == 440
        assert abs(decoded.sound).max() == pytest.approx(0.5, abs=0.03)
        assert decoded.sound.dtype == np.float32


def test_gaps_are_silence_and_time_goes_on(make: Any) -> None:
    tone = make.tone(seconds=1.0, codec="pcm_s16le").data[0]
    path = make.folder / "gap.mkv"
    late = make.tone(seconds=1.0, codec="pcm_s16le", samples=tone, pts=[3 * 48_000])
    # Two stretches in one stream: written as one track with a jump in its timestamps.
    import av

    with av.open(str(path), "w") as out:
        stream = out.add_stream("pcm_s16le", rate=48_000, layout="mono")
        for track in (make.tone(seconds=1.0, samples=tone), late):
            for frame in make._frames(track):
                out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    decoded = make.decode(path)
    sound = decoded.sound
    assert len(sound) == pytest.approx(4 * 16_000, abs=20)
    assert abs(sound[:15_900]).max() > 0.4
    assert not sound[16_400:47_600].any()
    assert abs(sound[48_100:]).max() > 0.4
    assert decoded.report.duration_s == pytest.approx(4.0, abs=0.01)


def test_sound_that_starts_after_the_picture(make: Any) -> None:
    track = make.tone(seconds=1.0, codec="flac", pts=[48_000])
    decoded = make.decode(make.write("late.mkv", make.pictures(50), track))
    assert decoded.blocks[0].start == pytest.approx(1.0, abs=0.002)
    assert len(decoded.sound) == pytest.approx(16_000, abs=4)


def test_surround_is_mixed_down_with_the_voice_in_front(make: Any) -> None:
    def level(channel: Any) -> Any:
        samples = np.zeros((6, 48_000), np.float32)
        samples[channel] = 0.8 * np.sin(2 * np.pi * 440 * np.arange(48_000) / 48_000)
        track = make.tone(codec="flac", layout="5.1", samples=samples)
        sound = make.decode(make.write("surround.mkv", track)).sound
        return float(np.sqrt((sound[2000:-2000] ** 2).mean()))

    left, right, center, effects, back = (level(c) for c in range(5))
    assert left == pytest.approx(right, rel=0.02)
    assert center == pytest.approx(left * 2**0.5, rel=0.02)
    assert back < center
    assert effects == 0


def test_mixing_down_never_exceeds_full_scale(make: Any) -> None:
    wave = np.sign(np.sin(2 * np.pi * 100 * np.arange(48_000) / 48_000)).astype(np.float32)
    for layout, channels in (("stereo", 2), ("5.1", 6)):
        track = make.tone(codec="flac", layout=layout, samples=np.repeat(wave[None], channels, 0))
        sound = make.decode(make.write("loud.mkv", track), rate=48_000).sound
        assert 0.9 < abs(sound).max() <= 1.0


def test_the_main_track_is_chosen(make: Any) -> None:
    silent = make.tone(samples=np.zeros((1, 96_000), np.float32), disposition="comment")
    tone = make.tone(seconds=2.0, disposition="default")
    decoded = make.decode(make.write("tracks.mkv", make.pictures(50), silent, tone))
    assert abs(decoded.sound).max() > 0.4


def test_two_consumers_of_one_rate_hear_the_same(make: Any) -> None:
    path = make.write("tone.mp4", make.tone(seconds=2.5))
    with open_media(path) as media:
        first, second, pictures = (media.view(n) for n in (Sound(16_000), Sound(16_000), Frames()))
        media.run()
        a = np.concatenate([b.samples for b in first.sound()])
        b = np.concatenate([b.samples for b in second.sound()])
        assert len(a) > 39_000
        assert np.array_equal(a, b)
        assert list(pictures.frames()) == []


@given(
    st.lists(
        st.tuples(st.integers(-100, 600), st.integers(1, 250)),
        min_size=1, max_size=8,
    )
)  # fmt: skip
def test_writer_puts_every_sample_at_its_time(stretches: Any) -> None:
    """Against a plain model: an array in which the first to claim a place keeps it."""
    rate = 100
    blocks: list[SoundBlock] = []
    writer = BlockWriter(rate, blocks.append)
    model: dict[int, float] = {}
    end = None
    for number, (at_sample, length) in enumerate(stretches):
        start = Fraction(at_sample, rate)
        writer.begin(start)
        half = length // 2
        value = np.full(length, number + 1, np.float32)
        for part in (value[:half], value[half:]):
            if len(part):
                writer.write(part)
        for at in range(round(start * rate), round(start * rate) + length):
            if at >= 0 and (end is None or at >= end):
                model[at] = number + 1
        end = max([end or 0, *[at + 1 for at in model]]) if model else end
    writer.finish()
    if not model:
        assert blocks == []
        return
    first = min(model)
    expected = [model.get(at, 0.0) for at in range(first, max(model) + 1)]
    assert blocks[0].start == pytest.approx(first / rate)
    assert np.concatenate([b.samples for b in blocks]).tolist() == expected
    assert all(len(b.samples) == rate for b in blocks[:-1])


@given(
    st.lists(st.tuples(st.none() | st.integers(-(10**12), 10**12), st.integers(1, 50)), max_size=60)
)
def test_time_never_jumps(frames: Any) -> None:
    """Whatever a stream claims, time goes back by a second at most and ahead by the gap allowed."""
    line = Timeline(Fraction(1, 100), max_gap_s=10)
    last, end = None, 0
    for pts, duration in frames:
        tick = line.place(pts, duration)
        if last is not None:
            assert last - 100 <= tick <= end + 1000
        last, end = tick, tick + duration


@given(st.lists(st.integers(1, 900), min_size=1, max_size=60), st.integers(-5000, 5000))
def test_sound_timestamps_are_believed(steps: Any, start: Any) -> None:
    line = Timeline(Fraction(1, 100), max_gap_s=10)
    stamps = np.cumsum([start, *steps]).tolist()
    assert [line.place(pts, 1) for pts in stamps] == stamps
    assert line.exact
    assert line.jumps == 0
