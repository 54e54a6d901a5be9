"""Files of Hugging Face repositories at fixed commits, in that library's own shared cache."""

from __future__ import annotations

from pathlib import Path

from reelgenre.errors import WeightsError
from reelgenre.weights.artefacts import HubFile


def hub_file(origin: HubFile) -> Path | None:
    """The cached file; None where it was not fetched yet. Asks nobody."""
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(origin.repo, origin.path, revision=origin.revision)
    return Path(found) if isinstance(found, str) else None


def fetch_hub_file(origin: HubFile, *, again: bool) -> Path:
    """Fetch a file into the hub's cache.

    Args:
        origin: what to fetch.
        again: fetch it even where the cache has it, since that copy is damaged.

    Raises:
        WeightsError: no network, no access, no such file, or no place to write it.
    """
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError

    where = f"{origin.repo}/{origin.path} at {origin.revision[:12]}"
    try:
        found = hf_hub_download(
            origin.repo,
            origin.path,
            revision=origin.revision,
            force_download=again,
            local_files_only=False,
        )
    except HfHubHTTPError as error:
        raise WeightsError(
            f"The model hub refused {where} ({str(error).splitlines()[0]})",
            "Check that the repository is still there and that you have access to it",
        ) from error
    # The hub's own errors for no connection and no cached file are OSErrors as well.
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise WeightsError(
            f"{where} cannot be fetched from the model hub ({reason})",
            "Check the network and the space on the disk, then run again",
        ) from error
    return Path(found)
