"""Where models are found, put and sent: paths and the Hugging Face Hub; does not know what is in a model."""

from __future__ import annotations

import errno
import glob
import os
import re
import shutil
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from dragoman.errors import OptionError, StorageError
from dragoman.files import NO_SPACE, as_word, atomic, lock
from dragoman.storage import CONFIG, GRAPHS, TRAINING, ModelDirectory

_HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")
_HALF = ".tmp"
"""How the names of folders end that a model is being made in."""


def locate(name: str | Path) -> Path:
    """A model directory from a path, or from a Hugging Face Hub name such as `someone/model` if no such path exists."""
    if not isinstance(name, str | os.PathLike):
        raise OptionError(f"a model's name must be text or a path, but is {name!r:.80}")
    if name == "":  # which as a path is the folder that one is in
        raise StorageError("a model's name must not be empty: give its directory, a bundle or a name on the hub")
    path = Path(name)
    if path.exists() or not _HUB_NAME.fullmatch(str(name)) or path.parent.exists():
        return path
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HTTPError  # type: ignore[attr-defined]  # of the HTTP library that it uses

    try:
        return Path(snapshot_download(str(name), ignore_patterns=[f"{TRAINING}/*"]))
    except (HTTPError, OSError, ValueError) as error:
        raise StorageError(f"there is no model at {name}, and the hub gave none: {_reason(error)}") from None


def copy_model(directory: ModelDirectory, path: Path, *, overwrite: bool) -> None:
    """Write a model directory to `path`, all of it or nothing, without what only resuming needs."""
    directory.require_folder("saving a copy")
    check_claim(path, overwrite=overwrite)
    place = path.resolve()
    if place.is_dir() and not any(place.iterdir()):  # it stays: where a disk is mounted nothing else can be put
        try:
            _copy_files(directory, place)
        except BaseException as error:
            for half in place.iterdir():
                _remove(half)
            if isinstance(error, OSError) and error.errno in NO_SPACE:
                raise _no_space(path) from None
            raise
        return
    for taken in (place, _old(place)) if path.exists() else ():
        if directory.path.resolve().is_relative_to(taken.resolve()):
            raise StorageError(
                f"{directory.path} is the model to be saved, and would itself be moved or removed to make room for {path}; choose "
                "another path"
            )
    with placed(path, overwrite=overwrite) as folder:
        _copy_files(directory, folder)


def _copy_files(directory: ModelDirectory, path: Path) -> None:
    """Copy what translating and training on need, the configuration last, without which it is no model."""
    for folder in (Path(GRAPHS), Path()):
        files = sorted((directory.path / folder).glob("*"), key=lambda file: (file.name == CONFIG, file.name))
        if files:
            (path / folder).mkdir(exist_ok=True)
        for file in files:
            if file.is_file() and not file.name.startswith("."):
                with atomic(path / folder / file.name) as temporary:
                    shutil.copyfile(file, temporary)


def upload(directory: ModelDirectory, name: str, *, private: bool) -> str:
    """Upload a model directory, without what only resuming needs, to the Hugging Face Hub; returns its address."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HTTPError  # type: ignore[attr-defined]  # of the HTTP library that it uses

    directory.require_folder("the hub")
    api = HfApi()
    try:
        address = api.create_repo(name, private=private, exist_ok=True)
        api.upload_folder(repo_id=name, folder_path=directory.path, ignore_patterns=[f"{TRAINING}/*", "*.tmp"])
    except (HTTPError, OSError, ValueError) as error:
        raise StorageError(f"{name} could not be uploaded: {_reason(error)}") from None
    return str(address)


def _reason(error: Exception) -> str:
    """The first line of what an error of the hub says, if it says anything."""
    return next(iter(str(error).splitlines()), type(error).__name__)


@contextmanager
def sole_trainer(path: Path) -> Iterator[None]:
    """Keep other processes from training in a model directory, and from replacing it, as long as the block runs."""
    with ExitStack() as opened:
        with suppress(OSError):  # there may be no data to train on
            file = opened.enter_context((path / TRAINING / "data" / "texts.json").open("rb"))
            if lock(file) is False:
                raise StorageError(f"{path} is being trained by another process; wait for it, or stop it")
        yield


def check_claim(out: Path, *, overwrite: bool) -> None:
    """Raise `StorageError` if `claim` would: for finding out before hours of work, not after."""
    try:
        os.path.realpath(out).encode()
    except UnicodeEncodeError:
        shown = os.fsencode(os.path.realpath(out)).decode("utf-8", "backslashreplace")
        raise StorageError(f"{shown} is not UTF-8, which the name of a model must be; choose another `out`") from None
    if not (out.exists() or out.is_symlink()) or (out.is_dir() and not any(out.iterdir())):
        return
    if out.name in ("", ".."):
        raise StorageError(f"{out} is not empty; give `out` by its name, as `overwrite` keeps what stands there")
    if not overwrite:
        going_on = f"go on with it (dragoman train --resume {as_word(out)}), " if _was_stopped(out) else ""
        may_go = not out.exists() or (out / CONFIG).exists()
        way_out = f", or give `overwrite` to move it to {out}.old" if may_go else ""
        raise StorageError(f"{out} exists; {going_on}choose another `out`{way_out}")
    old = _old(out)
    for path in (out, old):
        if path.exists() and not (path / CONFIG).exists():
            raise StorageError(f"{path} is no model (it has no {CONFIG}), so `overwrite` leaves it alone")
        with sole_trainer(path):
            pass


def _was_stopped(out: Path) -> bool:
    """Whether a training in `out` has not come to its end."""
    with suppress(StorageError):
        directory = ModelDirectory.open(out, weights=False)
        return directory.training.exists() and not directory.config.get("run")
    return False


def claim(out: Path, *, overwrite: bool) -> None:
    """Make a new, empty model directory at `out`; with `overwrite` the model that stood there is kept as `OUT.old`."""
    check_claim(out, overwrite=overwrite)
    if out.is_dir() and not any(out.iterdir()):
        return
    try:
        if out.exists() or out.is_symlink():
            _move_to_old(out)
        out.mkdir(parents=True)
    except FileExistsError:
        raise StorageError(f"{out} was made by another process meanwhile; choose another `out`") from None
    except OSError as error:
        raise StorageError(f"{out} cannot be made: {error.strerror}") from None


def _move_to_old(out: Path) -> None:
    """Rename `out`, and remove what has that name already, but only then."""
    old, aside = _old(out), out.with_name(f".{out.name}.old{_HALF}")
    if old.exists() or old.is_symlink():
        _remove(aside)  # of a process that was killed
        old.rename(aside)
    try:
        out.rename(old)
    except OSError:  # a disk that is mounted there
        if aside.exists():
            aside.rename(old)
        raise
    _remove(aside)


@contextmanager
def placed(out: Path, *, overwrite: bool) -> Iterator[Path]:
    """A hidden folder to make a model in, which takes the place `out` when the block ends well, and goes when it does not.

    Folders that killed processes left behind of the same `out` go too.
    """
    check_claim(out, overwrite=overwrite)
    place = out.resolve()
    if place == Path.cwd():
        raise StorageError(f"{place} is the current directory, which cannot be replaced; choose another `out`")
    if place.is_mount():
        text = (
            f"{place} is where a disk is mounted, which cannot be replaced; choose a folder in it, as {place / 'model'}"
        )
        raise StorageError(text)
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        _clear_abandoned(place)
        folder = place.with_name(f".{place.name}.{uuid.uuid4().hex}{_HALF}")
        folder.mkdir()
    except FileExistsError as error:
        raise StorageError(f"{out} cannot be made: {error.filename} is a file, not a directory") from None
    except OSError as error:
        raise StorageError(f"{out} cannot be made: {error.strerror}") from None
    with ExitStack() as held:
        with suppress(OSError):
            lock(_opened(folder, held))
        try:
            yield folder
            claim(place, overwrite=overwrite)
            place.rmdir()
            folder.rename(place)
        except BaseException as error:
            shutil.rmtree(folder, ignore_errors=True)
            if isinstance(error, OSError) and error.errno in NO_SPACE:
                raise _no_space(out) from None
            if isinstance(error, OSError) and error.errno in (errno.ENOTEMPTY, errno.EEXIST):
                raise StorageError(f"{out} was made by another process meanwhile; choose another `out`") from None
            if isinstance(error, StorageError):  # it may name a file in the folder, which is gone
                raise StorageError(str(error).replace(str(folder), str(out))) from None
            raise


def _no_space(out: Path) -> StorageError:
    return StorageError(f"{out} cannot be made: there is no space left on the disk")


def _clear_abandoned(place: Path) -> None:
    """Remove the hidden folders of processes that were killed; one that is not known to be nobody's stays."""
    for folder in place.parent.glob(f".{glob.escape(place.name)}.*{_HALF}"):
        with suppress(OSError), ExitStack() as held:
            if folder.is_dir() and lock(_opened(folder, held)):
                shutil.rmtree(folder)


def _opened(folder: Path, held: ExitStack) -> int:
    number = os.open(folder, os.O_RDONLY)
    held.callback(os.close, number)
    return number


def _old(out: Path) -> Path:
    return out.with_name(out.name + ".old")


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
