"""Downloads weights from the Hugging Face Hub within a time limit, and uploads folders to it.

Nothing here touches the network, or imports a package that could, before `fetch` or `upload` is
called.
"""

from __future__ import annotations

import hashlib
import logging
import re
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TypeVar

from lenet_digits import __version__
from lenet_digits.storage.files import MAX_BYTES, exists
from lenet_digits.storage.shipped import REPO, REVISION, SHIPPED_SHA256, WEIGHTS_FILE

T = TypeVar("T")

TIMEOUT = 10.0  # seconds
COUNTED_FILE = "config.json"  # the Hub counts a download for each request for it

_SOURCE = re.compile(r"(?P<repo>[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(?:@(?P<revision>\S+))?")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_THREAD = "lenet-digits-hub"


class HubError(OSError):
    """What the Hub did not deliver, or not as it should."""


def split_source(source: object) -> tuple[str, str | None] | None:
    """The repository and the revision in "owner/name" or "owner/name@revision".

    None for all that is rather a file: a path object, a name that exists or ends as weights do.
    """
    if not isinstance(source, str) or exists(source):
        return None
    found = _SOURCE.fullmatch(source)
    if not found or source.endswith((".safetensors", ".pth", ".pt", ".bin")):
        return None
    return found["repo"], found["revision"]


def fetch(
    repo: str,
    filename: str = WEIGHTS_FILE,
    *,
    revision: str | None = None,
    token: str | bool | None = None,
    cache_dir: str | Path | None = None,
    local_files_only: bool = False,
    timeout: float = TIMEOUT,
) -> Path:
    """Download a file of a model repository, or find it in the Hub's cache on this disk.

    A commit, or the packaged revision of the project's own repository, never changes: if it is in
    the cache, the network is not asked. Anything else is asked for, and what is in the cache
    serves where the Hub does not.

    Args:
        repo: "owner/name".
        filename: of the file within it.
        revision: tag, branch or commit; `REVISION` for the project's own repository and the
            branch ``main`` for others by default.
        token, cache_dir, local_files_only: as in ``huggingface_hub.hf_hub_download``.
        timeout: seconds after which to give up.

    Raises:
        HubError: the Hub cannot be reached in time, refuses, lacks the file, or sends another than
            the one it announces or this package knows; the message says which.
    """
    wanted = revision or (REVISION if repo == REPO else "main")
    pinned = bool(_COMMIT.fullmatch(wanted)) or (repo, wanted) == (REPO, REVISION)
    origin = f"{repo}@{wanted}"

    def cached() -> Path | None:
        from huggingface_hub import try_to_load_from_cache

        found = try_to_load_from_cache(repo, filename, cache_dir=cache_dir, revision=wanted)
        return Path(found) if isinstance(found, str) else None

    def download() -> Path:
        from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url
        from tqdm import tqdm

        class Silent(tqdm):  # type: ignore[misc]
            def __init__(self, *args: object, **kwargs: object) -> None:
                super().__init__(*args, **(kwargs | {"disable": True}))

        for handler in logging.getLogger("huggingface_hub").handlers:
            handler.addFilter(_not_from_here)
        # Asked first, this answers at once where hf_hub_download would try again for minutes.
        url = hf_hub_url(repo, filename, revision=wanted)
        found = get_hf_file_metadata(url, token=token, timeout=timeout)
        if found.commit_hash is None:
            raise HubError(
                "the server that answered is not the Hugging Face Hub, perhaps a proxy or a login "
                "page"
            )
        if found.size is not None and found.size > MAX_BYTES:
            raise HubError(f"it has {found.size:,} bytes; LeNet-5's weights take about 250,000")
        path = hf_hub_download(
            repo,
            filename,
            revision=wanted,
            token=token,
            cache_dir=cache_dir,
            etag_timeout=timeout,
            tqdm_class=Silent,
        )
        _count_download(repo, wanted, token, timeout)
        return Path(path)

    def obtain() -> Path:
        path = cached() if pinned or local_files_only else None
        if path is None and local_files_only:
            raise HubError("it is not in the cache on this disk, and only that was to be searched")
        return path or download()

    try:
        try:
            path = _within(timeout, obtain)
        except (HubError, ValueError):
            raise
        except Exception:
            fallback = cached()
            if fallback is None:
                raise
            path = fallback
        digest = _verify(path)
        if (repo, filename, wanted) == (REPO, WEIGHTS_FILE, REVISION) and digest != SHIPPED_SHA256:
            raise HubError(
                f"it is not the file that lenet-digits {__version__} was released with (its "
                "SHA-256 differs)"
            )
    except Exception as error:
        raise HubError(f"{filename} of {origin}: {_reason(error, timeout)}.") from error
    return path


def upload(
    folder: str | Path,
    repo: str,
    *,
    repo_type: str = "model",
    private: bool | None = None,
    token: str | bool | None = None,
    message: str,
    tag: str | None = None,
    exact: bool = False,
    sdk: str = "gradio",
    hardware: str | None = None,
) -> str:
    """Upload a folder to a repository, in one commit; returns the commit's hash.

    Args:
        folder: with the files, no others.
        repo: "owner/name"; created if it does not exist.
        repo_type: "model" or "space".
        private: whether a repository made here is; the owner's default where not said.
        token: as in ``huggingface_hub.HfApi``.
        message: of the commit.
        tag: to put on the commit, unless the repository has it already.
        exact: whether to remove from the repository what the folder lacks.
        sdk: of a Space made here, "gradio" or "static".
        hardware: of a Space made here, say "zero-a10g"; the free one where not said.

    Raises:
        HubError: the Hub cannot be reached or refuses; the message says why.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    api = HfApi(token=token)
    try:
        api.create_repo(
            repo,
            repo_type=repo_type,
            private=private,
            exist_ok=True,
            space_sdk=sdk if repo_type == "space" else None,
            space_hardware=hardware,  # type: ignore[arg-type]
        )
        commit = api.upload_folder(
            repo_id=repo,
            repo_type=repo_type,
            folder_path=folder,
            commit_message=message,
            delete_patterns="*" if exact else None,
        ).oid
        if tag is not None:
            api.create_tag(repo, tag=tag, revision=commit, repo_type=repo_type, exist_ok=True)
    except Exception as error:
        reason = _reason(error)
        if isinstance(error, HfHubHTTPError) and error.response.status_code in (401, 403):
            reason = "the Hub asks for a login with a token that may write there (hf auth login)"
        elif isinstance(error, HfHubHTTPError) and error.response.status_code == 402:
            reason = "the Hub asks for money for that hardware; another (zero-a10g) may be free"
        raise HubError(f"Nothing was published to {repo}: {reason}.") from error
    return commit


def _count_download(repo: str, revision: str, token: str | bool | None, timeout: float) -> None:
    """Have the Hub count the download, in a thread of its own.

    The caller does not need the result: the Hub may have no such file, or not answer.
    """

    def ask() -> None:
        from huggingface_hub import get_hf_file_metadata, hf_hub_url

        with suppress(Exception):
            url = hf_hub_url(repo, COUNTED_FILE, revision=revision)
            get_hf_file_metadata(url, token=token, timeout=timeout)

    threading.Thread(target=ask, name=_THREAD, daemon=True).start()


def _verify(path: Path) -> str:
    """Compare a cached file with its name in the cache: the hash by which the Hub announced it.

    Returns the SHA-256 of the file, in hexadecimal.
    """
    announced = path.readlink().name if path.is_symlink() else ""
    content = path.read_bytes()
    sha256 = hashlib.sha256(content).hexdigest()
    blob = b"blob %d\0" % len(content) + content  # what git hashes
    actual = {64: sha256, 40: hashlib.sha1(blob, usedforsecurity=False).hexdigest()}
    if announced != actual.get(len(announced), announced):
        path.resolve().unlink()
        path.unlink()
        raise HubError("what arrived is not what the Hub announced (its hash differs); try again")
    return sha256


def _within(seconds: float, work: Callable[[], T]) -> T:
    """Do the work in a thread, and leave it behind where it takes longer."""
    outcome: SimpleQueue[tuple[T | None, Exception | None]] = SimpleQueue()

    def run() -> None:
        try:
            outcome.put((work(), None))
        except Exception as error:
            outcome.put((None, error))

    threading.Thread(target=run, name=_THREAD, daemon=True).start()
    try:
        result, error = outcome.get(timeout=seconds)
    except Empty:
        raise TimeoutError from None
    if error is not None:
        raise error
    return result  # type: ignore[return-value]


def _not_from_here(record: logging.LogRecord) -> bool:
    """A filter: what went wrong is said once, by `HubError`."""
    return record.threadName != _THREAD


def _reason(error: Exception, timeout: float = TIMEOUT) -> str:
    """What went wrong, as the rest of a sentence."""
    from huggingface_hub import errors

    status = getattr(getattr(error, "response", None), "status_code", None)
    if isinstance(error, HubError):
        return str(error)
    if isinstance(error, TimeoutError) or "Timeout" in type(error).__name__:
        return f"the Hub did not deliver it within {timeout:g} seconds"
    if isinstance(error, errors.OfflineModeIsEnabled):
        return "it is not in the cache on this disk, and HF_HUB_OFFLINE keeps it from the network"
    if isinstance(error, errors.RevisionNotFoundError):
        return "there is no such revision"
    if isinstance(error, errors.EntryNotFoundError):
        return "the repository has no such file"
    if isinstance(error, errors.RepositoryNotFoundError) or status in (401, 403):
        return "there is no such repository, or it is private and needs a login (hf auth login)"
    if status == 429:
        return "the Hub has had too many requests from here; try again later"
    if status is not None:
        return f"the Hub answered with the error {status}; try again later"
    if "Connect" in type(error).__name__:
        return "the Hub cannot be reached; check your network connection"
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__
