"""Hook of mkdocs.yml: the site has the repository's pages under their own paths, so that links work in both."""

from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

PATTERNS = (
    "*.md",
    "*.cff",
    "LICENSE",
    "docs/*.md",
    "docs/*.png",
    "docs/*.ipynb",
    "egs/*.md",
    "egs/*/*.md",
    "egs/*/controls/*.md",
)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """The theme's files, and those of the repository in place of docs/ alone."""
    root = Path(config.config_file_path).parent
    theme = [file for file in files if not str(file.abs_src_path).startswith(config.docs_dir)]
    pages = [path for pattern in PATTERNS for path in sorted(root.glob(pattern))]
    own = [File.generated(config, path.relative_to(root).as_posix(), abs_src_path=str(path)) for path in pages]
    return Files([*theme, *own])
