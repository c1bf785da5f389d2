"""Speech emotion recognition over several corpora: the library behind the recipes in egs/."""

__version__ = "0.1.0"
