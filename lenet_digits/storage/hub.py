"""Downloads weights from the Hugging Face Hub within a time limit, and uploads folders to it.

Importing this module is cheap: only `fetch` and `upload` import packages that can use the network.
"""

from __future__ import annotations

import hashlib
import logging
import re
import threading
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import TypeVar

from lenet_digits import __version__
from lenet_digits.storage.files import MAX_BYTES, exists
from lenet_digits.storage.shipped import REPO, REVISION, SHIPPED_SHA256, WEIGHTS_FILE

T = TypeVar("T")

TIMEOUT = 10.0  # seconds
COUNTED_FILE = "config.json"  # the Hub counts a download for each request for this file

_SOURCE = re.compile(r"(?P<repo>[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(?:@(?P<revision>\S+))?")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_THREAD = "lenet-digits-hub"


class HubError(OSError):
    """The Hub did not deliver a file, delivered another one, or refused an upload."""


def split_source(source: object) -> tuple[str, str | None] | None:
    """The repository and the revision in "owner/name" or "owner/name@revision".

    None for a path: a `Path`, an existing file, or a name that ends as weights files do.
    """
    if not isinstance(source, str) or exists(source):
        return None
    found = _SOURCE.fullmatch(source)
    if not found or source.endswith((".safetensors", ".pth", ".pt", ".bin")):
        return None
    return found["repo"], found["revision"]


def fetch(
    repo: str,
    *,
    revision: str | None = None,
    token: str | bool | None = None,
    cache_dir: str | Path | None = None,
    local_files_only: bool = False,
    timeout: float = TIMEOUT,
) -> Path:
    """Download a repository's weights file, or find it in the Hub's cache on this disk.

    A commit never changes, and neither does `REVISION` of the project's own repository: what the
    cache has of them is used without a request. The Hub is asked for anything else. If it does not
    answer, the file that it last sent is used, if the cache has one.

    Args:
        repo: "owner/name".
        revision: tag, branch or commit. The default is `REVISION` for the project's own repository
            and the branch ``main`` for others.
        token, cache_dir, local_files_only: as in ``huggingface_hub.hf_hub_download``.
        timeout: seconds after which to give up.

    Returns:
        The path of the file in the cache.

    Raises:
        HubError: the Hub cannot be reached in time, refuses, or lacks the file; or the file is not
            the one that the Hub announced or that this version was released with. The message says
            which.
    """
    from huggingface_hub import try_to_load_from_cache

    wanted = revision or (REVISION if repo == REPO else "main")
    is_ours = (repo, wanted) == (REPO, REVISION)
    try:
        found = try_to_load_from_cache(repo, WEIGHTS_FILE, cache_dir=cache_dir, revision=wanted)
        cached = Path(found) if isinstance(found, str) else None
        if cached and (local_files_only or is_ours or _COMMIT.fullmatch(wanted)):
            path = cached
        elif local_files_only:
            raise HubError("it is not in the cache on this disk, and only that was to be searched")
        else:
            work = partial(_download, repo, wanted, token, cache_dir, timeout)
            try:
                path = _in_thread(work).result(timeout)
            except HubError:
                raise
            except Exception:
                if cached is None:
                    raise
                path = cached
        if is_ours and _sha256(path.read_bytes()) != SHIPPED_SHA256:
            raise HubError(
                f"it is not the file that lenet-digits {__version__} was released with (its "
                f"SHA-256 differs); to download it again, delete {path}"
            )
    except Exception as error:
        reason = _reason(error, timeout)
        raise HubError(f"{WEIGHTS_FILE} of {repo}@{wanted}: {reason}.") from error
    return path


def _download(
    repo: str,
    revision: str,
    token: str | bool | None,
    cache_dir: str | Path | None,
    timeout: float,
) -> Path:
    """Download a weights file to the Hub's cache, and check the hash that the Hub announced."""
    from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url
    from tqdm import tqdm

    class NoBar(tqdm):  # type: ignore[misc]
        def __init__(self, *args: object, **kwargs: object) -> None:
            super().__init__(*args, **(kwargs | {"disable": True}))

    for handler in logging.getLogger("huggingface_hub").handlers:
        handler.addFilter(_is_not_from_here)
    # This request fails at once where hf_hub_download would try again for minutes.
    url = hf_hub_url(repo, WEIGHTS_FILE, revision=revision)
    announced = get_hf_file_metadata(url, token=token, timeout=timeout)
    if announced.commit_hash is None or announced.etag is None:
        raise HubError(
            "the server that answered is not the Hugging Face Hub; it may be a proxy or a login "
            "page"
        )
    if announced.size is not None and announced.size > MAX_BYTES:
        raise HubError(f"it has {announced.size:,} bytes; LeNet-5's weights take about 250,000")
    path = Path(
        hf_hub_download(
            repo,
            WEIGHTS_FILE,
            revision=revision,
            token=token,
            cache_dir=cache_dir,
            etag_timeout=timeout,
            tqdm_class=NoBar,
        )
    )
    content = path.read_bytes()
    blob = b"blob %d\0" % len(content) + content  # git hashes this
    hashes = {64: _sha256(content), 40: hashlib.sha1(blob, usedforsecurity=False).hexdigest()}
    if announced.etag != hashes.get(len(announced.etag), announced.etag):
        path.resolve().unlink()  # or the next call would find it in the cache
        path.unlink(missing_ok=True)
        raise HubError("what arrived is not what the Hub announced (its hash differs); try again")
    counted = hf_hub_url(repo, COUNTED_FILE, revision=revision)
    # Nobody waits for the answer, and an error of this request is ignored.
    _in_thread(partial(get_hf_file_metadata, counted, token=token, timeout=timeout))
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
        folder: all files in it are uploaded.
        repo: "owner/name"; created if it does not exist.
        repo_type: "model" or "space".
        private: whether to make a new repository private. None leaves it to the owner's settings.
        token: as in ``huggingface_hub.HfApi``.
        message: the commit's message.
        tag: a tag for the commit. If the repository has that tag already, it stays where it is.
        exact: whether to delete files of the repository that the folder lacks.
        sdk: "gradio" or "static", for a new Space.
        hardware: for a new Space, for example "zero-a10g". None is the free hardware.

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


def _in_thread(work: Callable[[], T]) -> Future[T]:
    """Start work in a daemon thread: neither the caller nor the process has to wait for it."""
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except Exception as error:
            future.set_exception(error)

    threading.Thread(target=run, name=_THREAD, daemon=True).start()
    return future


def _is_not_from_here(record: logging.LogRecord) -> bool:
    """A filter that drops log records from our threads: `HubError` says what went wrong there."""
    return record.threadName != _THREAD


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _reason(error: Exception, timeout: float = TIMEOUT) -> str:
    """What went wrong, to be put after a colon in a sentence."""
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
        return "the Hub got too many requests from here; try again later"
    if status is not None:
        return f"the Hub answered with the error {status}; try again later"
    if "Connect" in type(error).__name__:
        return "the Hub cannot be reached; check your network connection"
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__
