"""CITATION.cff is YAML with the keys that its format requires, and agrees with the package."""

from pathlib import Path

import yaml

from foanet_jax import __version__

ROOT = Path(__file__).parents[2]


def citation():
    return yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))


def test_the_required_keys_are_there():
    content = citation()
    assert content["cff-version"] == "1.2.0"
    assert {"message", "title", "authors"} <= set(content)
    for cited in (content, content["preferred-citation"], *content["references"]):
        assert cited["type"]
        assert cited["title"]
        assert all({"family-names", "given-names"} <= set(author) or "name" in author for author in cited["authors"])


def test_it_names_this_version_the_paper_and_the_data():
    content = citation()
    assert content["version"] == __version__
    assert content["license"] == "Apache-2.0"
    paper = content["preferred-citation"]
    assert [author["family-names"] for author in paper["authors"]] == ["Zhao", "Puybureau", "Boutry", "Géraud"]
    assert "A Focus of Attention Network with Application to Myocardium Segmentation" in paper["title"]
    (data,) = content["references"]
    assert data["doi"] == "10.1109/TMI.2018.2837502"
    terms = (ROOT / "foanet_jax" / "weights" / "LICENSE.md").read_text(encoding="utf-8")
    assert data["doi"] in terms
