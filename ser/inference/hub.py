"""Model packages on a model hub: fetched by name and revision, and prepared for an upload."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from ser.common import InputError, atomic_path, write_text
from ser.frontends.weights import COMMIT, HUB_NAME, first_line, hub_errors
from ser.inference.card import check_files, model_card
from ser.inference.model import CARD, DESCRIPTION, SUMS, read_description, verify_checksums, write_sums
from ser.inference.predict.outputs import check_not_in

INSTALL = "huggingface_hub is not installed; pip install '.[hub]' in the toolkit's folder"


def find_package(model: Path) -> Path:
    """The folder of a model package: a folder, or <owner>/<name>[@<revision>] of the hub, which is fetched once.

    Without a revision the newest is fetched, and its commit is printed; give it to fetch the same again.

    Raises:
        InputError: neither a folder nor a name of the hub; or it cannot be fetched.
    """
    name, _, revision = str(model).partition("@")
    if model.is_dir() or not HUB_NAME.fullmatch(name):
        return model  # opening it checks that it is a package
    try:
        import huggingface_hub
        from huggingface_hub.constants import HF_HOME
    except ImportError:
        raise InputError(f"no such folder; to fetch a model of that name from the hub, {INSTALL}", model) from None
    # Copies, not the links of the hub's cache, which may lead anywhere.
    cache = Path(HF_HOME, "ser", *name.split("/"))
    if COMMIT.fullmatch(revision) and (cache / revision / SUMS).is_file():
        return cache / revision
    try:
        commit = str(huggingface_hub.HfApi().model_info(name, revision=revision or None).sha)
        if not (cache / commit / SUMS).is_file():
            with atomic_path(cache / commit) as temporary:
                huggingface_hub.snapshot_download(name, revision=commit, local_dir=temporary)
    except hub_errors() as error:
        what = f"no such folder, and no model that can be fetched from the hub ({first_line(error)})"
        raise InputError(what, model, "check path, name, revision and network") from None
    if not revision:
        print(f"{name}@{commit}: the newest revision", file=sys.stderr)
    return cache / commit


def publish(folder: Path, out: Path, name: str, upload: bool = False) -> None:
    """Copy a model package, with the card of a model hub and new checksums.

    Args:
        folder: the model package.
        out: the copy.
        name: <owner>/<name> on the hub.
        upload: also upload it, with the token of `hf auth login`.

    Raises:
        InputError: no model package, or one that is damaged; a name of another form; a copy that exists or lies in the
            package; the hub refuses.
    """
    if not HUB_NAME.fullmatch(name):
        raise InputError("<owner>/<name>, such as lab/ser-public", f"--name {name}")
    verify_checksums(folder)
    description = read_description(folder)
    if out.exists():
        raise InputError("there already", out, "choose another folder")
    check_not_in(out, folder)
    text = model_card(description, check_files(folder))
    with atomic_path(out) as temporary:
        shutil.copytree(folder, temporary)
        write_text(temporary / CARD, _front_matter(description, name) + text.replace("<this folder>", name))
        write_sums(temporary)
        verify_checksums(temporary)
    if upload:
        _upload(out, name)


def _front_matter(description: Mapping[str, Any], name: str) -> str:
    """The head of a card in YAML: licence, languages, corpora, and test scores as a model index."""
    corpora = description["corpora"]
    languages = sorted({about["language"] for about in corpora.values()})
    results = [
        {
            "task": {"type": "audio-classification", "name": "Speech emotion recognition"},
            "dataset": {"type": corpus, "name": corpora.get(corpus, {}).get("name", corpus)},
            "metrics": [
                {"type": "recall", "name": "UA (unweighted average recall), speakers unseen", "value": scores["ua"]},
                {"type": "accuracy", "name": "WA (accuracy), speakers unseen", "value": scores["wa"]},
            ],
        }
        for corpus, scores in description["metrics"]["test"].items()
    ]
    values = {
        "license": "other",
        "license_name": "licences of the corpora, listed below",
        "language": languages,
        "library_name": "ser",
        "pipeline_tag": "audio-classification",
        "tags": ["speech-emotion-recognition", "audio"],
        "datasets": [about["name"] for about in corpora.values()],
        "metrics": ["recall", "accuracy"],
        "model-index": [{"name": name, "results": results}],
    }
    return f"---\n{yaml.safe_dump(values, sort_keys=False, allow_unicode=True)}---\n"


def _upload(folder: Path, name: str) -> None:
    try:
        from huggingface_hub import HfApi
    except ImportError:
        raise InputError(INSTALL, "--upload") from None
    try:
        api = HfApi()
        api.create_repo(name, exist_ok=True)
        api.upload_folder(repo_id=name, folder_path=folder, commit_message=f"{DESCRIPTION} and weights")
    except hub_errors() as error:
        what = f"{name}: {first_line(error)}. {folder} is ready"
        raise InputError(what, "--upload", "upload it by hand") from None
