"""The wheel has the whole package, and its program runs outside the checkout."""

import configparser
import email
import importlib
import os
import shutil
import subprocess
import sys
import zipfile
from importlib import metadata
from pathlib import Path

import nibabel
import numpy as np
import pytest

from foanet_jax.data.nifti.write import write_nifti
from foanet_jax.data.phantom.short_axis import short_axis_stack

ROOT = Path(__file__).parents[2]
FEWEST = 77  # of setuptools, see pyproject.toml


def setuptools_version() -> int:
    try:
        return int(metadata.version("setuptools").partition(".")[0])
    except metadata.PackageNotFoundError:
        return 0


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The folder of an unpacked wheel."""
    if setuptools_version() < FEWEST:
        pytest.skip(f"setuptools {FEWEST} or later is not installed")
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    shutil.copytree(ROOT / "foanet_jax", source / "foanet_jax", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "requirements.txt", "LICENSE", "CITATION.cff"):
        shutil.copy(ROOT / name, source)
    build = "import sys, setuptools.build_meta as build; print(build.build_wheel(sys.argv[1]))"
    done = subprocess.run(
        [sys.executable, "-c", build, str(folder)], cwd=source, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    (wheel,) = folder.glob("foanet_jax-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


def run(site, cwd, *words):
    """`python -m foanet_jax WORDS` with the unpacked wheel, in a folder outside the checkout."""
    environment = {**os.environ, "PYTHONPATH": str(site), "COLUMNS": "80"}
    command = [sys.executable, "-m", "foanet_jax", *map(str, words)]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)


def test_every_file_of_the_package_is_in_the_wheel(site):
    def files(folder):
        paths = (path for path in (folder / "foanet_jax").rglob("*") if path.is_file())
        return {path.relative_to(folder) for path in paths if "__pycache__" not in path.parts}

    wanted = files(ROOT)
    assert {path.suffix for path in wanted} >= {".py", ".css", ".safetensors"}
    assert files(site) == wanted
    assert {path.name.partition("-")[0] for path in site.iterdir()} == {"foanet_jax"}


def test_the_licences_are_in_the_wheel(site):
    (info,) = site.glob("*.dist-info")
    said = email.message_from_string((info / "METADATA").read_text(encoding="utf-8"))
    assert said["License-Expression"] == "Apache-2.0"
    names = {"LICENSE", "CITATION.cff", "foanet_jax/weights/LICENSE.md"}
    assert set(said.get_all("License-File")) == names
    for name in names:
        assert (info / "licenses" / name).read_bytes() == (ROOT / name).read_bytes()
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert "Apache License" in text
    assert text.rstrip().endswith("limitations under the License.")


def test_the_console_command_is_a_function(site):
    (path,) = site.glob("*.dist-info/entry_points.txt")
    parser = configparser.ConfigParser()
    parser.read(path)
    assert dict(parser["console_scripts"]) == {"foanet": "foanet_jax.jobs.console:main"}
    module, _, name = parser["console_scripts"]["foanet"].partition(":")
    assert callable(getattr(importlib.import_module(module), name))


def test_the_program_predicts_with_the_wheel_alone(site, tmp_path):
    study = short_axis_stack(1, size=64, slices=2, frames=1)
    path = tmp_path / "heart.nii.gz"
    write_nifti(study.voxels[:1], affine=study.affine, spacing_mm=study.spacing_mm, path=path)
    done = run(site, tmp_path, "predict", path, "OUT")
    assert done.returncode == 0, done.stderr[-3000:]
    assert "1 of 1 studies segmented" in done.stdout
    assert f"{site / 'foanet_jax' / 'weights'}" in done.stdout
    mask = nibabel.load(tmp_path / "OUT" / "heart_seg.nii.gz")
    assert mask.shape == (64, 64, 2)
    assert set(np.unique(np.asarray(mask.dataobj))) <= {0, 1, 2, 3}
    page = (tmp_path / "OUT" / "heart.html").read_text(encoding="utf-8")
    assert "<style>" in page
    assert "The player on the page of a study." in page
    # A pipe gets no carriage returns, and no warning of another package.
    *_, last = lines = done.stderr.splitlines()
    assert all(line.startswith("predicting: ") for line in lines)
    assert last.startswith("predicting: 1 of 1 study (100 %), ")
    assert "\r" not in done.stderr


def test_outside_a_checkout_a_job_says_where_experiments_are(site, tmp_path):
    done = run(site, tmp_path, "train")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: arguments: foanet train also needs --config=FILE, such as ")
    assert "experiments/ of the project's source code" in done.stderr
    assert list(tmp_path.iterdir()) == []
