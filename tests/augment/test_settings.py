"""Transforms built from the settings of an experiment, and their digest."""

import pytest
import soundfile
from conftest import refuses

from ser.augment import build_augment
from ser.augment.settings import Augment
from ser.config import load
from ser.config.registry import KINDS


@pytest.fixture
def augment(tmp_path):
    """Build the kinds of conf/augment.yaml, with some settings changed."""

    def build(*overrides: str, rooms="rooms") -> Augment:
        experiment = load("strict", None, ["corpora=[ravdess]", *(f"augment.{override}" for override in overrides)])
        return build_augment(experiment.augment, tmp_path / rooms)

    return build


def write_noise(folder, **sizes):
    folder.mkdir()
    for name, size in sizes.items():
        soundfile.write(folder / f"{name}.wav", [0.1, -0.1] * size, 8000, subtype="PCM_16")
    return f"noise.folder={folder}"


def test_kinds_in_use_in_the_order_of_application(augment, tmp_path):
    built = augment("copies=3", "chain=2", "kinds=[volume, speed, noise]", "noise.snr=[5, 10]")
    assert (built.copies, built.chain, list(built.kinds)) == (3, 2, ["speed", "noise", "volume"])
    assert (built.kinds["noise"].snr, built.kinds["speed"].factors) == ((5.0, 10.0), [0.9, 1.1])
    every = augment(f"kinds=[{', '.join(sorted(KINDS))}]").kinds
    assert list(every) == list(KINDS) == ["speed", "vtlp", "room", "noise", "band_pass", "mp3", "volume"]
    assert {name: type(kind).__name__ for name, kind in every.items()} == {
        name: place.rpartition(":")[2] for name, place in KINDS.items()
    }
    assert every["room"].cache == str(tmp_path / "rooms")


def test_the_digest_is_of_settings_that_affect_a_copy(augment):
    first = augment().digest
    assert augment().digest == first
    for same in (
        ["copies=5"],
        ["speed.factors=[0.8]"],  # not in use
        ["kinds=[volume, mp3, band_pass, noise, room, vtlp]"],
        ["noise.snr=[0.0, 15.0]"],
    ):
        assert augment(*same).digest == first
    assert augment(rooms="elsewhere").digest == first
    for other in (["chain=2"], ["noise.snr=[0, 14]"], ["room.count=99"], ["kinds=[volume]"]):
        assert augment(*other).digest != first


def test_the_digest_is_of_the_content_of_a_folder_and_not_of_its_path(augment, tmp_path):
    def digest(option):
        return augment("kinds=[noise]", option).digest

    first = digest(write_noise(tmp_path / "one", a=100, b=50))
    assert digest(write_noise(tmp_path / "two", a=100, b=50)) == first
    assert digest(write_noise(tmp_path / "three", a=100, b=51)) != first
    (tmp_path / "two" / "LICENCE").write_text("none")
    assert digest(f"noise.folder={tmp_path / 'two'}") == first
    assert digest(write_noise(tmp_path / "four", a=100, c=50)) != first
    assert digest("noise.folder=") != first


def test_a_folder_is_read_only_if_its_transform_is_in_use(augment, tmp_path):
    missing = f"noise.folder={tmp_path / 'none'}"
    with refuses("no such folder of noise", where="none"):
        augment(missing)
    assert list(augment(missing, "kinds=[mp3]").kinds) == ["mp3"]
