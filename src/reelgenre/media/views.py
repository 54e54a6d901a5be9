"""Handing decoded frames and sound to consumers in other threads, through bounded queues."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from types import TracebackType
from typing import Generic, Self, TypeVar

from reelgenre.media.types import Frame, Frames, MediaInfo, Sound, SoundBlock

T = TypeVar("T")


class Channel(Generic[T]):
    """A bounded queue from one producer to one consumer, either of which may end it.

    Args:
        size: items that may wait before ``put`` blocks.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._items: deque[T] = deque()
        self._changed = threading.Condition()
        self._finished = False
        self._failure: BaseException | None = None
        self._closed = False

    @property
    def closed(self) -> bool:
        """The consumer wants no more."""
        return self._closed

    def put(self, item: T) -> None:
        """Queue one item; waits while the queue is full, drops it once the consumer has closed."""
        with self._changed:
            while len(self._items) >= self._size and not self._closed:
                self._changed.wait()
            if not self._closed:
                self._items.append(item)
                self._changed.notify_all()

    def finish(self, failure: BaseException | None = None) -> None:
        """No more items will come; with a failure, the consumer raises it after the last one."""
        with self._changed:
            if not self._finished:
                self._finished = True
                self._failure = failure
                self._changed.notify_all()

    def close(self) -> None:
        """The consumer wants no more; a waiting ``put`` returns at once."""
        with self._changed:
            self._closed = True
            self._items.clear()
            self._changed.notify_all()

    def __iter__(self) -> Iterator[T]:
        try:
            while True:
                with self._changed:
                    while not self._items and not self._finished and not self._closed:
                        self._changed.wait()
                    if self._closed:
                        return
                    if not self._items:
                        if self._failure is not None:
                            raise self._failure
                        return
                    item = self._items.popleft()
                    self._changed.notify_all()
                yield item
        finally:
            # A consumer that leaves its loop early, or dies in it, wants no more.
            self.close()


class MediaView:
    """One consumer's single pass over a file; made by :meth:`Media.view`.

    Iterate it in a thread other than the one that runs :meth:`Media.run`, one thread per view.
    Leaving the loop early closes the view, as does using it as a context manager.

    Attributes:
        info: what the container claims.
        needs: what this view was asked for.
    """

    def __init__(self, info: MediaInfo, needs: Frames | Sound, queue: int) -> None:
        self.info = info
        self.needs = needs
        self._frames: Channel[Frame] = Channel(queue)
        self._sound: Channel[SoundBlock] = Channel(queue)

    def frames(self) -> Iterator[Frame]:
        """The mid-shot frames in the order of time; ends at once where there is no picture.

        Raises:
            ValueError: the view was made for sound.
            MediaError: the decoding failed.
        """
        if not isinstance(self.needs, Frames):
            raise ValueError("this view was made for sound")
        return iter(self._frames)

    def sound(self) -> Iterator[SoundBlock]:
        """Consecutive blocks of sound without gaps; ends at once where there is no sound.

        Raises:
            ValueError: the view was made for frames.
            MediaError: the decoding failed.
        """
        if not isinstance(self.needs, Sound):
            raise ValueError("this view was made for frames")
        return iter(self._sound)

    def close(self) -> None:
        """Take no more: the decoder drops the rest instead of waiting. May be called twice."""
        self._frames.close()
        self._sound.close()

    @property
    def closed(self) -> bool:
        """Whether the consumer wants no more."""
        return self._frames.closed

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def put(self, item: Frame | SoundBlock) -> None:
        """For the decoder: queue one item, waiting while the queue is full."""
        if isinstance(item, Frame):
            self._frames.put(item)
        else:
            self._sound.put(item)

    def finish(self, failure: BaseException | None = None) -> None:
        """For the decoder: no more items will come."""
        self._frames.finish(failure)
        self._sound.finish(failure)
