"""The command line of the launchers."""

from __future__ import annotations

import difflib
import os
import re
import sys
from collections.abc import Iterable
from typing import NamedTuple

from site_file import SITE_FILES, WrongCall, find_site

USAGE = """usage: {program} [options] [JOB=1:4] exp/log/x.JOB.log command [arguments ...]
  JOB=first:last      one job for each number, which takes the place of JOB (or any other name that stands here) in the
                      log's name and in the arguments; JOB=3 for one
  --max-jobs-run N    so many jobs at once{most}
  --mem 4G            memory of each thread: a number with M, G or T behind it; 0 for what the site gives
  --num-threads N     cores of each job
  --gpu N             GPUs of each job
  --time 12:00:00     after which a job is ended: hours:minutes:seconds, or days-hours:minutes:seconds
{site}No word is evaluated by a shell: for pipes, call bash -c '...'.

Exit code 0: all jobs ended with 0; else 1, and the logs of those that did not are named. A job that ends with 75 wrote
what it needs to go on, and is started again{again}; at most SER_RESTARTS times ({restarts}).
A launcher that is interrupted ends its jobs, which have SER_KILL_WAIT seconds ({kill_wait}) for it.
"""
LOCAL_HELP = "                      --mem to --time are for clusters, and of no effect here\n"
CLUSTER_HELP = """  --config FILE       what these become for {command}; without it conf/{file}, here or in the toolkit
  --any-other value   an option for which that file has a line
"""
RESTART_HELP = """, as is one that was preempted or lost its node
(on Grid Engine: a node that is silent for SER_NODE_WAIT seconds, {node_wait})"""

OPTIONS = ("max_jobs_run", "mem", "num_threads", "gpu", "time")
SETTINGS = {"restarts": 20, "kill_wait": 30, "node_wait": 600}


class Call(NamedTuple):
    """One call of a launcher.

    Attributes:
        variable: word that the number of a job replaces, or "".
        words: the log, the command and its arguments.
        max_jobs_run: 0 if not given.
        seconds: the time limit, 0 for none.
        config: the site's file.
        command: the scheduler's command to submit, with the options of the site for all calls.
        options: options of this call in the words of the site.
        settings: from the environment: restarts, and seconds of kill_wait and node_wait.
    """

    program: str
    variable: str
    numbers: range
    words: list[str]
    max_jobs_run: int
    threads: int
    seconds: int
    config: str
    command: list[str]
    options: list[str]
    settings: dict[str, int]


def read_call(program: str, words: list[str]) -> Call:
    """Read the words of a call, or print --help and exit.

    Raises:
        WrongCall: an unknown option, a wrong value, an empty range, a log that all jobs would share.
    """
    settings = {
        name: _whole(f"SER_{name.upper()}", os.environ.get(f"SER_{name.upper()}") or value, 0)
        for name, value in SETTINGS.items()
    }
    options, words = _split(program, words)
    if "help" in options:
        print(_usage(program, settings), end="")
        sys.exit(0)
    max_jobs_run = _whole("--max-jobs-run", options.get("max_jobs_run", 0), 1)
    threads = _whole("--num-threads", options.get("num_threads", 1), 1)
    _whole("--gpu", options.get("gpu", 0), 0)
    seconds = _check_sizes(options)
    variable, numbers = _range(words[0]) if words else ("", range(1, 2))
    words = words[1:] if variable else words
    if len(words) < 2:
        print(_usage(program, settings), end="", file=sys.stderr)
        sys.exit(1)
    if len(numbers) > 1 and variable not in words[0]:
        raise WrongCall(f"{words[0]}: the log's name must hold {variable}, or the jobs share one file")
    config, command, mapped = "", [], []
    if program in SITE_FILES:
        site = find_site(program, options.pop("config", ""))
        config, command, mapped = str(site.path), site.command, site.translate(options)
    return Call(program, variable, numbers, words, max_jobs_run, threads, seconds, config, command, mapped, settings)


def _usage(program: str, settings: dict[str, int]) -> str:
    if program in SITE_FILES:
        command, file = SITE_FILES[program]
        parts = {"most": "", "site": CLUSTER_HELP.format(command=command, file=file)}
        parts["again"] = RESTART_HELP.format(**settings)
    else:
        parts = {"most": " (the number of cores)", "site": LOCAL_HELP, "again": ""}
    return USAGE.format(program=program, **parts, **settings)


def _split(program: str, words: list[str]) -> tuple[dict[str, str], list[str]]:
    """Options by name, with _ for -, and the words after them."""
    options = {}
    while words and words[0].startswith("-"):
        word, equals, value = words[0].partition("=")
        name = word[2:].replace("-", "_")
        if word == "--help":
            return {"help": ""}, []
        if not re.fullmatch(r"--[a-z][a-z0-9_-]*", word) or (program not in SITE_FILES and name not in OPTIONS):
            raise WrongCall(f"unknown option {word}{nearest(name, OPTIONS)}; {program} --help lists them")
        if not equals:
            if len(words) < 2 or words[1].startswith("--"):
                raise WrongCall(f"option {word} needs a value")
            value, words = words[1], words[1:]
        options[name], words = value, words[1:]
    return options, words


def nearest(name: str, names: Iterable[str]) -> str:
    """A hint at the option with the most similar name, or ""."""
    matches = difflib.get_close_matches(name, list(names), 1)
    return f" (did you mean --{matches[0].replace('_', '-')}?)" if matches else ""


def _range(word: str) -> tuple[str, range]:
    """JOB and 1 to 4 from JOB=1:4; "" and one job from any other word."""
    match = re.fullmatch(r"([A-Za-z_][A-Za-z0-9_]*)=([0-9]+)(?::([0-9]+))?", word)
    if not match:
        return "", range(1, 2)
    numbers = range(int(match[2]), int(match[3] or match[2]) + 1)
    if not numbers:
        raise WrongCall(f"{word}: the range is empty")
    return match[1], numbers


def _whole(name: str, value: str | int, least: int) -> int:
    """A whole number from `least`; a default, which is a number already, is not checked."""
    if isinstance(value, str) and not (re.fullmatch("[0-9]+", value) and int(value) >= least):
        raise WrongCall(f"{name} {value}: not a whole number of {least} or more")
    return int(value)


def _check_sizes(options: dict[str, str]) -> int:
    """Check --mem, write --time in the form that all schedulers read, and return it in seconds."""
    if not re.fullmatch(r"0|[1-9][0-9]*[MGT]", options.get("mem", "0")):
        raise WrongCall(f"--mem {options['mem']}: a whole number with M, G or T behind it, such as 500M or 4G")
    if "time" not in options:
        return 0
    match = re.fullmatch(r"(?:([0-9]+)-)?([0-9]+):([0-5][0-9]):([0-5][0-9])", options["time"])
    days, hours, minutes, seconds = map(int, match.groups("0")) if match else (0, 0, 0, 0)
    hours += 24 * days
    total = (hours * 60 + minutes) * 60 + seconds
    if not total:
        raise WrongCall(f"--time {options['time']}: hours:minutes:seconds or days-hours:minutes:seconds, as in 4:00:00")
    options["time"] = f"{hours}:{minutes:02}:{seconds:02}"
    return total
