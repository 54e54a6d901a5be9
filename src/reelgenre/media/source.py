"""Opening a file that somebody else made: as data, and never as instructions to open another."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.error import FFmpegError
from av.packet import Packet
from av.stream import Disposition, Stream
from av.video.stream import VideoStream

from reelgenre.errors import MediaError
from reelgenre.media.types import MediaInfo

# Demuxers that read the one file they are given and nothing else, chosen by content, never by
# name. Left out on purpose: playlists, manifests and scripts (hls, dash, concat, sdp, imf, ...),
# numbered image sequences, network and device inputs, generators, bare text and bare samples.
_CONTAINERS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,flv,live_flv,kux,mpegts,mpeg,mpegvideo,asf,asf_o,"
    "ogg,rm,wtv,mxf,mxf_opatom,gxf,nut,nuv,dv,ivf,swf,roq,smk,bink,vivo,amv,nsv,pva,ty,xmv,thp,"
    "h261,h263,h264,hevc,vvc,av1,obu,m4v,cavsvideo,vc1,dirac,dnxhd,mjpeg,mjpeg_2000,yuv4mpegpipe,"
    "wav,w64,aiff,au,caf,mp3,aac,ac3,eac3,ac4,dts,dtshd,truehd,mlp,flac,ape,wv,tta,tak,mpc,mpc8,"
    "amr,amrnb,amrwb,oma,voc,qcp,shn,dsf,iff,spdif,loas,"
    "gif,apng,webp_pipe,png_pipe,jpeg_pipe,bmp_pipe,tiff_pipe,psd_pipe,jpegxl_pipe,jpegxl_anim,"
    "j2k_pipe,dds_pipe,exr_pipe,pam_pipe,pbm_pipe,pgm_pipe,ppm_pipe,pcx_pipe,qoi_pipe,"
    "sunrast_pipe,ico"
)
# 8192 x 8192: beyond 8K film; a header that declares more is a trap or a fault.
MAX_PIXELS = 1 << 26
# Reading goes on after this many failures in a row at most.
_MOST_READ_FAILURES = 100
_IMAGE_CODECS = {"mjpeg", "png", "bmp", "gif", "webp", "tiff", "jpegxl", "jpeg2000"}
_NOT_FILM = Disposition.attached_pic | Disposition.timed_thumbnails
_NOT_MAIN = (
    Disposition.dub
    | Disposition.comment
    | Disposition.karaoke
    | Disposition.hearing_impaired
    | Disposition.visual_impaired
    | Disposition.clean_effects
    | Disposition.descriptions
    | Disposition.dependent
)


@dataclass
class Source:
    """An open file and the streams chosen from it; close it when done.

    Attributes:
        path: the file.
        container: PyAV's open container.
        video, audio: the chosen streams; None where there is none that can be decoded.
        info: what the container claims.
        origin: presentation time in seconds that counts as 0.
        warnings: what was left aside, in sentences.
        corrupt: packets that could not be read.
    """

    path: Path
    container: InputContainer
    video: VideoStream | None
    audio: AudioStream | None
    info: MediaInfo
    origin: Fraction
    warnings: list[str] = field(default_factory=list)
    corrupt: int = 0

    def packets(self, *streams: VideoStream | AudioStream) -> Iterator[Packet[Stream]]:
        """The packets of these streams in file order; unreadable ones are skipped and counted.

        Raises:
            MediaError: they are encrypted.
        """
        failures = 0
        while True:
            try:
                for packet in self.container.demux(*streams):
                    failures = 0
                    # Decoders make noise of what they have no key for, and report no error.
                    if packet.has_sidedata("encryption_info"):
                        raise MediaError(
                            f"{_shown(self.path)} is encrypted",
                            "Give a copy without copy protection",
                        )
                    # An empty packet would tell the decoder that the stream is over.
                    if packet.size:
                        yield packet
            except FFmpegError:
                self.corrupt += 1
                failures += 1
                if failures >= _MOST_READ_FAILURES:
                    return
            else:
                return

    def close(self) -> None:
        """Close the file."""
        self.container.close()


def open_source(path: str | os.PathLike[str], threads: int = 0) -> Source:
    """Open a file and choose its streams.

    Args:
        path: the name of a file on disk, whatever characters it has; never a URL or a pattern.
        threads: decoder threads; 0 for as many as there are cores.

    Raises:
        MediaError: there is no such file, it cannot be read, it is not media, or it has neither
            picture nor sound that can be decoded.
    """
    name = Path(path)
    container = _open_container(name)
    try:
        return _choose(name, container, threads)
    except BaseException:
        container.close()
        raise


def _open_container(path: Path) -> InputContainer:
    descriptor = _open_descriptor(path)
    # FFmpeg gets an open file and no name: nothing in the name can mean a protocol or a pattern,
    # and the only protocol allowed cannot open anything further.
    try:
        return av.open(
            "fd:",
            mode="r",
            options={"max_pixels": str(MAX_PIXELS)},
            container_options={
                "fd": str(descriptor),
                "protocol_whitelist": "fd",
                "format_whitelist": _CONTAINERS,
            },
            metadata_errors="replace",
        )
    except FFmpegError as error:
        raise _not_media(path, descriptor) from error
    finally:
        os.close(descriptor)


def _open_descriptor(path: Path) -> int:
    shown = _shown(path)
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise MediaError(f"{shown} is a folder", "Give the files in it")
        if not stat.S_ISREG(mode):
            raise MediaError(
                f"{shown} is a pipe or device, not a file", "Save it to a file and give that"
            )
        # Should the file have turned into a pipe since, opening it must not wait for a writer.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise MediaError(f"There is no file {shown}", "Check the path") from error
    except PermissionError as error:
        raise MediaError(f"{shown} may not be read", "Check its permissions") from error
    except (OSError, ValueError) as error:
        raise MediaError(f"{shown} cannot be opened: {error}", "Check the path") from error
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode) or status.st_size == 0:
        os.close(descriptor)
        raise MediaError(f"{shown} is empty", "Copy or download the file again")
    return descriptor


def _not_media(path: Path, descriptor: int) -> MediaError:
    """Say why FFmpeg would not open a file, by looking at how it starts."""
    shown = _shown(path)
    head = os.pread(descriptor, 4096, 0)
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n")
    if text.startswith((b"#EXTM3U", b"ffconcat", b"v=0", b"[playlist]")) or b"<MPD" in head:
        return MediaError(
            f"{shown} is a playlist or manifest that points at other files",
            "Give the media files themselves",
        )
    if head[4:8] in (b"ftyp", b"moov", b"mdat", b"free", b"wide", b"skip"):
        return MediaError(
            f"{shown} is an MP4 or QuickTime file without a readable index, as when a download "
            "or recording was cut off",
            "Copy or download it again, or repair it",
        )
    if not head.strip(b"\0"):
        return MediaError(f"{shown} holds only zeros", "Copy or download the file again")
    return MediaError(
        f"{shown} is not a video or sound file that can be read, or it is damaged at its start",
        "Check that it plays, or convert it to MP4",
    )


def _choose(path: Path, container: InputContainer, threads: int) -> Source:
    warnings: list[str] = []
    sounds = [s for s in container.streams.audio if _decodable(s, warnings)]
    pictures = [
        s
        for s in container.streams.video
        if not s.disposition & _NOT_FILM and _decodable(s, warnings)
    ]
    if sounds:
        pictures = [s for s in pictures if not _is_cover(s)]
    pictures = [s for s in pictures if _fits(s, warnings)]
    # The first of those that the container marks as default, if it marks any.
    audio = min(
        sounds,
        key=lambda s: (
            bool(s.disposition & _NOT_MAIN),
            not s.disposition & Disposition.default,
            s.index,
        ),
        default=None,
    )
    video = min(
        pictures,
        key=lambda s: (
            _is_cover(s),
            bool(s.disposition & Disposition.dependent),
            not s.disposition & Disposition.default,
            s.index,
        ),
        default=None,
    )
    if video is None and audio is None:
        reason = warnings[0] if warnings else "it has no stream of either kind"
        raise MediaError(
            f"{_shown(path)} has neither picture nor sound that can be decoded: {reason}",
            "Check that it plays, or convert it to MP4 with H.264 and AAC",
        )
    for stream in (video, audio):
        if stream is not None:
            stream.codec_context.thread_type = "AUTO"
            stream.codec_context.thread_count = threads
    if video is not None:
        video.codec_context.options = {"max_pixels": str(MAX_PIXELS)}
    return Source(
        path, container, video, audio, _info(path, container, video, audio),
        _origin(video, audio), warnings,
    )  # fmt: skip


def _decodable(stream: VideoStream | AudioStream, warnings: list[str]) -> bool:
    kind = "picture" if stream.type == "video" else "sound"
    # A stream without a decoder has no codec context, though PyAV's types do not say so.
    context = stream.codec_context
    if context is None:
        warnings.append(f"there is no decoder for the {kind}")
        return False
    if stream.type == "audio" and not (stream.channels and stream.sample_rate):
        warnings.append("nothing is known of the sound, as if there were none")
        return False
    return True


def _is_cover(stream: VideoStream) -> bool:
    return stream.frames == 1 and stream.codec_context.name in _IMAGE_CODECS


def _fits(stream: VideoStream, warnings: list[str]) -> bool:
    width, height = stream.codec_context.width, stream.codec_context.height
    if width * height > MAX_PIXELS:
        warnings.append(f"the picture claims {width} x {height} pixels, more than is believed")
        return False
    return True


def _origin(video: VideoStream | None, audio: AudioStream | None) -> Fraction:
    """Time 0: where the picture starts, or the sound where that is clearly earlier.

    Encoders start sound a few hundredths of a second early to fill their filters; that is no
    reason to move the picture.
    """
    starts = [
        s.start_time * s.time_base
        for s in (video, audio)
        if s is not None and s.start_time is not None and s.time_base is not None
    ]
    if not starts:
        return Fraction(0)
    return starts[0] if starts[0] - min(starts) < Fraction(1, 10) else min(starts)


def _info(
    path: Path, container: InputContainer, video: VideoStream | None, audio: AudioStream | None
) -> MediaInfo:
    return MediaInfo(
        path=str(path),
        container=container.format.name,
        duration_s=None if container.duration is None else container.duration / av.time_base,
        has_picture=video is not None,
        has_sound=audio is not None,
        width=video.codec_context.width if video else None,
        height=video.codec_context.height if video else None,
        fps=float(video.average_rate) if video and video.average_rate else None,
        video_codec=video.codec_context.name if video else None,
        audio_codec=audio.codec_context.name if audio else None,
        sound_rate=audio.sample_rate if audio else None,
        sound_channels=audio.channels if audio else None,
    )


def _shown(path: Path) -> str:
    """The path for an error message: one line, printable whatever its bytes are."""
    return repr(str(path)) if not str(path).isprintable() else str(path)
