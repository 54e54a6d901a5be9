# ruff: noqa: E501 - the table keeps one line per file
"""Broken and odd files: what each must give, in one table."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from reelgenre.errors import MediaError
from reelgenre.media import MediaOptions, open_media

CANARY = "the-canary-must-never-be-read"


@dataclass(frozen=True)
class Odd:
    """One kind of file and its outcome.

    Attributes:
        name: what is odd about it.
        build: writes it; gives its path.
        error: what the error must say; None where it must be decoded.
        frames: mid-shot frames at least.
        sound_s: seconds of sound, within a tenth.
        size: width and height of the frames.
        corrupt: damaged packets must be counted.
        warning: what a warning must say.
    """

    name: str
    build: Callable[[Any], Any]
    error: str | None = None
    frames: int = 0
    sound_s: float = 0.0
    size: tuple[int, int] | None = None
    corrupt: bool = False
    warning: str | None = None


def write(name: Any, data: Any) -> Any:
    def build(make: Any) -> Any:
        path = make.folder / name
        path.write_bytes(data)
        return path

    return build


def film(**kwargs: Any) -> Any:
    """A picture track with a number; two seconds unless told otherwise."""
    return lambda make: make.video(**{"name": "film.mp4", "frames": 50, **kwargs})


def both(name: Any = "both.mp4", **kwargs: Any) -> Any:
    return lambda make: make.write(name, make.pictures(50), make.tone(**{"seconds": 2.0, **kwargs}))


def sound(name: Any, **kwargs: Any) -> Any:
    return lambda make: make.write(name, make.tone(**{"seconds": 2.0, **kwargs}))


def changed(build: Any, change: Any) -> Any:
    """A good file whose bytes were changed."""

    def make_it(make: Any) -> Any:
        path = build(make)
        path.write_bytes(change(bytearray(path.read_bytes())))
        return path

    return make_it


def noise_within(start: Any, stop: Any, seed: Any = 0, share: Any = 0.02) -> Any:
    """Random bytes in place of some between two shares of the file."""

    def change(data: Any) -> Any:
        rng = np.random.default_rng(seed)
        low, high = int(len(data) * start), int(len(data) * stop)
        for at in rng.integers(low, high, int((high - low) * share) + 1):
            data[at] = rng.integers(256)
        return data

    return change


def renamed(build: Any, name: Any) -> Any:
    def make_it(make: Any) -> Any:
        path = build(make)
        return path.rename(path.with_name(name))

    return make_it


def pixels(
    codec: Any, pix_fmt: Any, name: Any, size: Any = (160, 96), count: Any = 5, **kwargs: Any
) -> Any:
    return lambda make: make.write(
        name, make.pictures(count, size=size, codec=codec, pix_fmt=pix_fmt, **kwargs)
    )


def joined(first: Any, second: Any, name: Any) -> Any:
    """Two files, one after the other, as broadcasts and careless downloads are joined."""

    def build(make: Any) -> Any:
        a = first(make).read_bytes()
        b = second(make).read_bytes()
        path = make.folder / name
        path.write_bytes(a + b)
        return path

    return build


def two_sizes(make: Any) -> Any:
    path = make.folder / "sizes.ts"
    parts = []
    for number, size in enumerate(((160, 96), (320, 192))):
        part = make.video(f"part{number}.ts", frames=25, size=size,
                          pts=[25 * number + i for i in range(25)])  # fmt: skip
        parts.append(part.read_bytes())
    path.write_bytes(b"".join(parts))
    return path


def cover_art(make: Any) -> Any:
    """A song with a cover that says it is one, and a film behind a cover that does not."""
    cover = make.pictures(1, codec="mjpeg", pix_fmt="yuvj420p", disposition="attached_pic")
    return make.write("song.m4a", make.tone(), cover, container="mp4")


def hidden_cover(make: Any) -> Any:
    cover = make.pictures(1, codec="mjpeg", pix_fmt="yuvj420p", size=(64, 64))
    return make.write("film.mp4", cover, make.pictures(50), make.tone())


def attachments(make: Any) -> Any:
    path = make.folder / "attached.mkv"
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 160, 96, "yuv420p"
        out.add_attachment("font.ttf", "font/ttf", b"not a font")
        for frame in make._frames(make.pictures(50)):
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return path


def folder(make: Any) -> Any:
    return make.folder


def pipe(make: Any) -> Any:
    os.mkfifo(make.folder / "pipe.mp4")
    return make.folder / "pipe.mp4"


def unix_socket(make: Any) -> Any:
    path = make.folder / "s"
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(path))
    server.close()
    return path


def dangling(make: Any) -> Any:
    (make.folder / "link.mp4").symlink_to("nowhere.mp4")
    return make.folder / "link.mp4"


def huge_gif(make: Any) -> Any:
    header = b"GIF89a" + (65535).to_bytes(2, "little") * 2 + b"\x00\x00\x00"
    frame = b"," + b"\0" * 4 + (65535).to_bytes(2, "little") * 2 + b"\0\x02\x02\x4c\x01\0;"
    return write("huge.gif", header + frame)(make)


def encrypted(make: Any) -> Any:
    options = {
        "encryption_scheme": "cenc-aes-ctr",
        "encryption_key": "00112233445566778899aabbccddeeff",
        "encryption_kid": "ffeeddccbbaa99887766554433221100",
    }
    return make.write("drm.mp4", make.pictures(50), options=options)


def without_stamps(make: Any) -> Any:
    return make.video("raw.h264", frames=50)


def stamps_back(make: Any) -> Any:
    """A recording whose clock starts again in the middle."""
    return joined(film(name="a.ts"), film(name="b.ts"), "wrap.ts")(make)


def nan_sound(make: Any) -> Any:
    samples = make.tone().data[0].copy()
    samples[0, 1000:1100] = np.nan
    samples[0, 2000] = np.inf
    return make.write("nan.wav", make.tone(codec="pcm_f32le", samples=samples))


def many_shots(make: Any) -> Any:
    levels = np.random.default_rng(0).permutation(60) * 4
    images = [np.full((48, 64, 3), level, np.uint8) for level in levels]
    return make.write("strobe.mp4", make.pictures(images))


FILES = [
    # Nothing there, or not a file.
    Odd("missing", lambda make: make.folder / "none.mp4", error="no file"),
    Odd("folder", folder, error="folder"),
    Odd("empty", write("empty.mp4", b""), error="is empty"),
    Odd("named pipe", pipe, error="pipe or device"),
    Odd("socket", unix_socket, error="pipe or device"),
    Odd("device", lambda make: Path("/dev/zero"), error="pipe or device"),
    Odd("dangling link", dangling, error="no file"),
    Odd("name too long", lambda make: make.folder / ("x" * 300 + ".mp4"), error="cannot be opened"),
    Odd("null in the name", lambda make: "a\0b.mp4", error="cannot be opened"),
    # Not media.
    Odd("text", write("text.mp4", b"Dear diary,\n" * 100), error="not a video or sound file"),
    Odd("zeros", write("zeros.mp4", b"\0" * 4096), error="only zeros"),
    Odd("random", write("random.mp4", np.random.default_rng(0).bytes(50_000)), error="not a video"),
    Odd("one byte", write("one.mp4", b"x"), error="not a video"),
    Odd("zip", write("zip.mkv", b"PK\x03\x04" + b"\0" * 400), error="not a video"),
    Odd("pdf", write("doc.mp4", b"%PDF-1.7\n%\xe2\xe3\n" + b"obj\n" * 50), error="not a video"),
    Odd("html", write("page.mp4", b"<!DOCTYPE html><html><body>404</body></html>"), error="not a"),
    Odd("subtitles", write("film.srt", b"1\n00:00:01,000 --> 00:00:02,000\nHello\n"), error="not a"),
    # Instructions in place of data.
    Odd("hls playlist", write("a.mp4", b"#EXTM3U\n#EXTINF:1,\nsecret.ts\n"), error="playlist"),
    Odd("concat script", write("a.mp4", b"ffconcat version 1.0\nfile secret.ts\n"), error="playlist"),
    Odd("dash manifest", write("a.mp4", b"<?xml version='1.0'?><MPD></MPD>"), error="playlist"),
    Odd("sdp", write("a.mp4", b"v=0\no=- 0 0 IN IP4 127.0.0.1\nm=video 5004 RTP/AVP 96\n"), error="playlist"),
    # Truncated and damaged.
    Odd("mp4 without index", changed(film(), lambda d: d[: len(d) // 2]), error="without a readable index"),
    Odd("mp4 header alone", changed(film(), lambda d: d[:40]), error="without a readable index"),
    Odd("mkv cut off", changed(film(name="a.mkv"), lambda d: d[: len(d) * 2 // 3]), frames=1),
    Odd("ts cut off", changed(film(name="a.ts"), lambda d: d[: len(d) // 2 + 7]), frames=1),
    Odd("ts from the middle", changed(film(name="a.ts"), lambda d: d[len(d) // 3 :]), error="could be decoded"),
    Odd("damaged middle", changed(both(), noise_within(0.2, 0.6)), frames=1, sound_s=2.0, corrupt=True),
    Odd("damaged flac", changed(sound("a.flac", codec="flac"), noise_within(0.3, 0.5)), sound_s=2.0),
    Odd("encrypted", encrypted, error="encrypted"),
    Odd("unknown codec", changed(film(), lambda d: d.replace(b"avc1", b"zzzz")), error="no decoder"),
    Odd("unknown codec, good sound", changed(both(), lambda d: d.replace(b"avc1", b"zzzz")), sound_s=2.0, warning="no decoder"),
    Odd("declares 4 billion pixels", huge_gif, error="could be decoded"),
    Odd("garbage after the end", changed(film(), lambda d: d + b"\xff" * 5000), frames=1),
    # Names.
    Odd("named as a protocol", renamed(film(), "http:example.mp4"), frames=1),
    Odd("named concat", renamed(film(), "concat:a|b"), frames=1),
    Odd("named as an option", renamed(film(), "-i.mp4"), frames=1),
    Odd("named as a pattern", renamed(film(), "%03d.png"), frames=1),
    Odd("named with quotes and lines", renamed(film(), "it's a \"film\"\n.mp4"), frames=1),
    Odd("named in bytes that are no text", renamed(film(), os.fsdecode(b"caf\xe9\xff.mp4")), frames=1),
    Odd("no extension", renamed(film(), "film"), frames=1),
    Odd("wrong extension", renamed(film(name="a.mkv"), "a.mp3"), frames=1),
    # Short, long, odd in time.
    Odd("one frame", film(frames=1), frames=1, size=(160, 96)),
    Odd("a tenth of a second", film(frames=3), frames=1),
    Odd("cuts on every other frame", many_shots, frames=15),
    Odd("no timestamps", without_stamps, frames=1),
    Odd("clock starts again", stamps_back, frames=1, warning="clock"),
    Odd("size changes in mid-stream", two_sizes, frames=1),
    # Streams.
    Odd("no sound", film(), frames=1),
    Odd("no picture", sound("a.m4a"), sound_s=2.0),
    Odd("cover art", cover_art, sound_s=2.0),
    Odd("cover before the film", hidden_cover, frames=1, sound_s=2.0, size=(160, 96)),
    Odd("attached font", attachments, frames=1),
    Odd("8 kHz telephone", sound("a.wav", codec="pcm_mulaw", rate=8_000), sound_s=2.0),
    Odd("6.1", both("a.mkv", codec="flac", layout="6.1"), frames=1, sound_s=2.0),
    Odd("sound that is not a number", nan_sound, sound_s=2.0),
    # Pixels.
    Odd("odd size", pixels("ffv1", "yuv420p", "a.mkv", size=(161, 97)), frames=1, size=(161, 97)),
    Odd("one pixel", pixels("png", "rgb24", "a.png", size=(1, 1), count=1), frames=1, size=(1, 1)),
    Odd("a strip", pixels("ffv1", "yuv420p", "a.mkv", size=(4000, 8)), frames=1),
    Odd("10 bit", pixels("libx265", "yuv420p10le", "a.mkv", options={"x265-params": "log-level=none"}), frames=1),
    Odd("grey", pixels("ffv1", "gray", "a.mkv"), frames=1),
    Odd("16-bit grey", pixels("ffv1", "gray16le", "a.mkv"), frames=1),
    Odd("alpha", pixels("ffv1", "bgra", "a.mkv"), frames=1),
    Odd("4:4:4", pixels("libx264", "yuv444p", "a.mp4"), frames=1),
    Odd("animated gif", pixels("gif", "rgb8", "a.gif"), frames=1, size=(160, 96)),
    Odd("animated png", pixels("apng", "rgba", "a.apng"), frames=1, size=(160, 96)),
    Odd("still png", pixels("png", "rgb24", "a.png", count=1, options={}), frames=1, size=(160, 96)),
    Odd("still jpeg", pixels("mjpeg", "yuvj420p", "a.jpg", count=1), frames=1, size=(160, 96)),
]  # fmt: skip


@pytest.mark.parametrize("odd", FILES, ids=lambda odd: odd.name)
def test_odd_file(make: Any, odd: Any) -> None:
    path = odd.build(make)
    options = MediaOptions(detector="threshold", threads=1)
    if odd.error is not None:
        with pytest.raises(MediaError) as caught:
            make.decode(path, options)
        assert odd.error in str(caught.value)
        assert caught.value.remedy
        assert "\n" not in str(caught.value)
        return
    decoded = make.decode(path, options)
    assert len(decoded.frames) >= odd.frames
    assert len(decoded.frames) == len(decoded.report.shots)
    assert bool(decoded.frames) == bool(odd.frames)
    assert len(decoded.sound) / 16_000 == pytest.approx(odd.sound_s, abs=0.1)
    assert np.isfinite(decoded.sound).all()
    if odd.size is not None:
        assert {f.image.shape[1::-1] for f in decoded.frames} == {odd.size}
    assert (decoded.report.corrupt > 0) >= odd.corrupt
    assert (odd.warning or "") in "; ".join(decoded.report.warnings)
    times = [f.time for f in decoded.frames]
    assert times == sorted(times)
    assert all(start <= f.time < end for f in decoded.frames for start, end in [f.shot])


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is forbidden to root")
def test_a_file_that_may_not_be_read(make: Any) -> None:
    path = make.video()
    path.chmod(0)
    with pytest.raises(MediaError, match="may not be read"):
        open_media(path)


@pytest.mark.parametrize("name", ["list.m3u8", "list.mp4", "list.ffconcat", "list.txt", "list.mpd"])
@pytest.mark.parametrize(
    "script",
    [
        "#EXTM3U\n#EXT-X-VERSION:3\n#EXTINF:2,\n{0}\n#EXT-X-ENDLIST\n",
        "ffconcat version 1.0\nfile {0}\n",
        "[playlist]\nFile1={0}\n",
        '<?xml version="1.0"?><MPD><Period><BaseURL>{0}</BaseURL></Period></MPD>',
    ],
)  # fmt: skip
def test_a_script_never_opens_the_file_it_names(make: Any, name: Any, script: Any) -> None:
    canary = make.video("canary.ts")
    os.utime(canary, (1, 1))
    path = make.folder / name
    path.write_text(script.format(canary))
    with pytest.raises(MediaError, match="playlist"):
        open_media(path)


def test_a_quicktime_reference_never_opens_the_file_it_names(make: Any) -> None:
    """QuickTime may keep its samples in another file and hold only an alias of it."""
    inner = make.video("inside.mov", frames=50)
    outer = bytearray(inner.read_bytes())
    # The same samples under another name, and a movie whose data reference points there.
    (make.folder / "canary.mov").write_bytes(outer)
    alias = alias_record("canary.mov")
    position = outer.index(b"dref") + 12
    # One entry of 12 bytes that says "in this file"; a larger one makes all parents larger.
    assert outer[position : position + 12] == b"\0\0\0\x0curl \0\0\0\x01"
    entry = (12 + len(alias)).to_bytes(4, "big") + b"alis" + bytes(4) + alias
    for name in (b"moov", b"trak", b"mdia", b"minf", b"dinf", b"dref"):
        at = outer.index(name) - 4
        size = int.from_bytes(outer[at : at + 4], "big") + len(entry) - 12
        outer[at : at + 4] = size.to_bytes(4, "big")
    outer[position : position + 12] = entry
    # What this file itself has in place of the samples is nothing.
    data = outer.index(b"mdat") + 4
    outer[data : outer.index(b"moov") - 4] = bytes(outer.index(b"moov") - 4 - data)
    path = make.folder / "outside.mov"
    path.write_bytes(outer)
    # Opened as usual and told to follow references, FFmpeg finds the pictures.
    with av.open(str(path), options={"enable_drefs": "1"}) as container:
        assert sum(1 for _ in container.decode(video=0)) == 50
    with pytest.raises(MediaError, match="could be decoded"):
        make.decode(path, MediaOptions(threads=1))


def alias_record(name: str) -> bytes:
    """A Macintosh alias, version 2, of a file beside the movie."""
    record = bytearray(150)
    record[6:8] = (2).to_bytes(2, "big")
    record[10] = 6
    record[11:17] = b"volume"
    record[50] = len(name)
    record[51 : 51 + len(name)] = name.encode()
    # From the alias and from the target to the folder that both lie in.
    record[130:134] = b"\0\1\0\1"
    path = f"volume:{name}".encode()
    record += (2).to_bytes(2, "big") + len(path).to_bytes(2, "big") + path
    record += bytes(len(path) % 2) + b"\xff\xff\0\0"
    record[4:6] = len(record).to_bytes(2, "big")
    return bytes(record)
