"""Consumers in other threads: nothing hangs and every error arrives, whoever dies."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from reelgenre.media import Frames, MediaOptions, Sound, SoundBlock, open_media
from reelgenre.media.views import Channel


def within(seconds: Any, work: Any) -> Any:
    """Run ``work`` in a thread; fail if it is not over in time."""
    outcome = []

    def run() -> None:
        try:
            outcome.append(work())
        except Exception as error:  # noqa: BLE001 - whatever it is, the test looks at it
            outcome.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    assert not thread.is_alive(), "it hangs"
    return outcome[0]


@pytest.fixture
def clip(make: Any) -> Any:
    return make.write("clip.mp4", make.pictures(100), make.tone(seconds=4.0))


NARROW = MediaOptions(detector="threshold", threshold=0.001, frame_queue=1, sound_queue=1)


def test_a_full_queue_makes_the_producer_wait() -> None:
    channel: Channel[int] = Channel(2)
    produced = []

    def produce() -> None:
        for number in range(6):
            channel.put(number)
            produced.append(number)
        channel.finish()

    thread = threading.Thread(target=produce, daemon=True)
    thread.start()
    time.sleep(0.2)
    assert produced == [0, 1]
    assert within(10, lambda: list(channel)) == list(range(6))


def test_a_consumer_that_dies_does_not_stop_the_decode(clip: Any) -> None:
    with open_media(clip, NARROW) as media:
        frames, sound = media.view(Frames()), media.view(Sound(16_000))
        heard: list[SoundBlock] = []

        def die() -> None:
            for _ in frames.frames():
                raise RuntimeError("the model fell over")

        threading.Thread(target=lambda: within(60, die), daemon=True).start()
        listener = threading.Thread(target=lambda: heard.extend(sound.sound()), daemon=True)
        listener.start()
        report = within(60, media.run)
        listener.join(20)
    assert report.duration_s == pytest.approx(4.0, abs=0.1)
    assert sum(len(b.samples) for b in heard) == pytest.approx(64_000, abs=1100)


def test_a_view_closed_from_outside_frees_a_waiting_decode(clip: Any) -> None:
    with open_media(clip, NARROW) as media:
        view = media.view(Frames())
        threading.Timer(0.3, view.close).start()
        within(60, media.run)
        assert list(view.frames()) == []


def test_an_error_in_the_decode_reaches_every_consumer(clip: Any, monkeypatch: Any) -> None:
    with open_media(clip) as media:
        views = [media.view(Frames()), media.view(Sound(8_000))]
        monkeypatch.setattr(
            "reelgenre.media.picturetrack.PictureTrack.push",
            lambda *_: (_ for _ in ()).throw(OSError("disk on fire")),
        )
        assert isinstance(within(60, media.run), OSError)
        for consume in (views[0].frames, views[1].sound):
            error = within(10, lambda consume=consume: list(consume()))
            assert isinstance(error, OSError)


def test_closing_the_media_ends_a_decode_that_waits(clip: Any) -> None:
    media = open_media(clip, NARROW)
    media.view(Frames())
    threading.Timer(0.3, media.close).start()
    within(60, media.run)


def test_what_is_queued_outlives_the_with_block(clip: Any) -> None:
    with open_media(clip, MediaOptions(detector="threshold")) as media:
        view = media.view(Frames())
        media.run()
    assert len(list(view.frames())) == 1


def test_progress_is_told_in_seconds(clip: Any) -> None:
    told = []
    with open_media(clip) as media:
        media.run(lambda done, total: told.append((done, total)))
    assert [round(done) for done, _ in told] == [1, 2, 3, 4]
    assert told == sorted(told)
    assert all(total == pytest.approx(4.0, abs=0.1) for _, total in told)


def test_misuse_is_refused(clip: Any) -> None:
    with open_media(clip) as media:
        view = media.view(Frames())
        with pytest.raises(ValueError, match="made for frames"):
            view.sound()
        view.close()
        media.run()
        with pytest.raises(ValueError, match="decoded once"):
            media.run()
        with pytest.raises(ValueError, match="before the decode"):
            media.view(Sound(16_000))
    with pytest.raises(ValueError, match="rate"):
        Sound(0)
    for wrong in ({"detector": "magic"}, {"threshold": 0}, {"short_side": 0}, {"threads": -1}):
        with pytest.raises(ValueError, match="must"):
            MediaOptions(**wrong)
