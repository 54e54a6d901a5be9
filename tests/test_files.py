"""Folders are flushed where they can be, and a failing disk is told."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from reelgenre.files import flush_folder


def test_flushing_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flushed: list[int] = []
    monkeypatch.setattr(os, "fsync", flushed.append)
    flush_folder(tmp_path)
    (descriptor,) = flushed
    with pytest.raises(OSError, match=os.strerror(errno.EBADF)):
        os.fstat(descriptor)  # closed again


@pytest.mark.parametrize(("number", "told"), [(errno.EINVAL, False), (errno.EIO, True)])
def test_disks_that_do_not_flush_folders_and_disks_that_fail(
    number: int, told: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(_: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fails)
    if told:
        with pytest.raises(OSError, match=os.strerror(number)):
            flush_folder(tmp_path)
    else:
        flush_folder(tmp_path)
