"""A new plugin: a copy of the template, a working plugin, under a name of one's own.

The template is a project folder that holds a package `dynplat_template`, the model ids `template/...` and classes with
`Template` in their names; a copy has `dynplat_<name>`, `<name>/...` and `<Name>` in their places, in texts and in names
of files.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from dynplat.errors import ArgumentError, StorageError

_NAME = re.compile(r"[a-z][a-z0-9]*([-_][a-z0-9]+)*")

#: Where the placeholder stands in a text: the package, the distribution, the family of the models or the entry point
#: (never the mere word), and the names of classes.
_PLACEHOLDER = re.compile(
    r"""(dynplat_template)|(dynplat-template)|\b(template)(?=/|["'`]|[ ]?=[ ]?"dynplat_)|(Template)"""
)

#: What running the template leaves in its folder.
_LEFTOVERS = shutil.ignore_patterns("__pycache__", "*.py[co]", ".*_cache", ".hypothesis", "*.egg-info", "build", "dist")


def new_plugin(name: str, directory: str | Path = ".", *, template: str | Path | None = None) -> Path:
    """Make the folder of a new plugin, all of it or nothing.

    Args:
        name: Name of the plugin and family of its models: lower-case letters, digits and single hyphens or underscores.
            `my-family` gives the folder and distribution `dynplat-my-family`, the package `dynplat_my_family`, the
            entry point `my-family`, models `my-family/...` and classes `MyFamily...`.
        directory: Existing folder in which the new one is made.
        template: Folder to copy instead of the template that comes with dynplat.

    Returns:
        The new folder.

    Raises:
        ArgumentError: The name is malformed, or `directory` is no folder.
        StorageError: The new folder exists already, cannot be written, or the template is not installed.
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name) or name == "template":
        raise ArgumentError(
            "`name` of a plugin must be lower-case letters, digits and single hyphens or underscores, begin with a "
            f"letter, and not be 'template'; got {name!r}. Try a name such as 'pendulums'."
        )
    parent = Path(directory)
    if not parent.is_dir():
        raise ArgumentError(f"`directory` must be an existing folder; {str(parent)!r} is none. Make it first.")
    source = template_folder() if template is None else Path(template)
    if not source.is_dir():
        raise ArgumentError(f"`template` must be an existing folder; {str(source)!r} is none.")
    words = name.replace("_", "-")
    target = parent / f"dynplat-{words}"
    if target.exists():
        raise StorageError(f"{str(target)!r} exists already; remove it or choose another name or folder.")
    try:
        # Made beside its place and then renamed, so that nobody ever sees half of it.
        with tempfile.TemporaryDirectory(prefix=".dynplat-", dir=parent) as scratch:
            copy = Path(scratch) / target.name
            _copy(source, copy, _renamer(words))
            copy.rename(target)
    except OSError as error:
        raise StorageError(f"{str(target)!r} cannot be written: {error}.") from error
    return target


def template_folder() -> Path:
    """Return the folder of the template that comes with dynplat: inside the package, or in a checkout beside it.

    Raises:
        StorageError: There is none.
    """
    here = Path(__file__).resolve()
    for folder in (here.parent / "template", here.parents[2] / "plugins" / "template"):
        if (folder / "dynplat_template").is_dir():
            return folder
    raise StorageError("the plugin template is missing from this installation of dynplat; reinstall dynplat.")


def _renamer(words: str) -> Callable[[str], str]:
    package = f"dynplat_{words.replace('-', '_')}"
    camel = "".join(word.capitalize() for word in words.split("-"))
    replacements = (package, f"dynplat-{words}", words, camel)

    def rename(text: str) -> str:
        return _PLACEHOLDER.sub(lambda match: replacements[(match.lastindex or 1) - 1], text)

    return rename


def _copy(source: Path, target: Path, rename: Callable[[str], str]) -> None:
    shutil.copytree(source, target, ignore=_LEFTOVERS)
    # Deepest first: a folder is renamed after what it holds.
    for path in sorted(target.rglob("*"), key=lambda p: len(p.parts), reverse=True):
        if path.is_file():
            content = path.read_bytes()
            try:
                path.write_bytes(rename(content.decode("utf-8")).encode("utf-8"))
            except UnicodeDecodeError:  # a picture or the like: it stays as it is
                pass
        named = rename(path.name)
        if named != path.name:
            path.rename(path.with_name(named))
