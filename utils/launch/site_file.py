"""A site's file, in the form of Kaldi's conf/queue.conf: options of launchers as options of the scheduler."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
SITE_FILES = {"slurm.sh": ("sbatch", "slurm.conf"), "queue.sh": ("qsub", "queue.conf")}


class WrongCall(Exception):
    """A mistake in a call or in a site's file: one line that names it."""


class Site(NamedTuple):
    """The content of a file.

    Attributes:
        command: the command to submit, and its options in all calls.
        options: option -> value, or * for any -> words, in which $0 is the value.
        defaults: option -> value, for calls that do not give it.
        elsewhere: options that the launcher handles itself.
    """

    path: Path
    command: list[str]
    options: dict[str, dict[str, list[str]]]
    defaults: dict[str, str]
    elsewhere: tuple[str, ...]

    def translate(self, options: dict[str, str]) -> list[str]:
        """Options of a call as options of the scheduler.

        Raises:
            WrongCall: an option, or a value of it, that the file has no line for.
        """
        words = []
        for name, value in {**self.defaults, **options}.items():
            dashed, lines = f"--{name.replace('_', '-')}", self.options.get(name, {})
            if value in lines:
                words += lines[value]
            elif "*" in lines:
                words += [word.replace("$0", value) for word in lines["*"]]
            elif lines:
                raise WrongCall(f"{dashed} {value}: {self.path} has lines for {', '.join(lines)} alone")
            elif name not in self.elsewhere:
                known = ", ".join(f"--{other.replace('_', '-')}" for other in self.options)
                raise WrongCall(f"unknown option {dashed}: {self.path} has lines for {known}")
        return words


def find_site(program: str, given: str) -> Site:
    """The file that was given, or that of the working folder, or the toolkit's.

    Raises:
        WrongCall: as read_site.
    """
    path = Path("conf", SITE_FILES[program][1])
    if given or not path.exists():
        path = Path(given) if given else ROOT / path
    return read_site(path, ("max_jobs_run",) if program == "slurm.sh" else ())


def read_site(path: Path, elsewhere: tuple[str, ...] = ()) -> Site:
    """Read a file.

    Raises:
        WrongCall: a line of another form, incomplete or given twice; a default without an option; no command.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise WrongCall(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from None
    site = Site(path, [], {}, {}, elsewhere)
    for number, line in enumerate(lines, 1):
        line = re.sub(r"(^|\s)#.*", "", line).strip()
        if line and (wrong := _add(site, *line.partition(" ")[::2])):
            raise WrongCall(f"{path}:{number}: {line}: {wrong}")
    if not site.command:
        raise WrongCall(f"{path}: has no line that begins with command")
    for name in site.defaults:
        if name not in site.options:
            raise WrongCall(f"{path}: default {name}, but no line for option {name}")
    return site


def _add(site: Site, kind: str, rest: str) -> str:
    """Add a line; what is wrong with it, or ""."""
    try:
        first, *others = shlex.split(rest) or [""]
    except ValueError as error:
        return str(error)
    name, _, value = first.partition("=")
    known = {"command": site.command, "option": value in site.options.get(name, {}), "default": name in site.defaults}
    if kind not in known:
        return "a line begins with command, option or default"
    if known[kind]:
        return "is there twice"
    if kind == "command" and first:
        site.command.extend([first, *others])
    elif kind == "option" and name and value and (value != "*" or "$0" in rest):
        site.options.setdefault(name, {})[value] = others
    elif kind == "default" and name and value and not others:
        site.defaults[name] = value
    else:
        return "is incomplete; such as: command qsub, option mem=* -l mem_free=$0, option gpu=0, default gpu=0"
    return ""
