"""Check of a data set: all errors and warnings in one pass, and an overview picture on one page."""

from foanet_jax.jobs.check.facts import CheckReport, Finding, Severity, StudyFacts
from foanet_jax.jobs.check.picture import draw_check
from foanet_jax.jobs.check.reading import THUMBNAILS, Listing, check_data_set
from foanet_jax.jobs.check.text import format_check, write_check
from foanet_jax.jobs.check.thumbnail import THUMBNAIL_MM, THUMBNAIL_PX

__all__ = [
    "THUMBNAILS",
    "THUMBNAIL_MM",
    "THUMBNAIL_PX",
    "CheckReport",
    "Finding",
    "Listing",
    "Severity",
    "StudyFacts",
    "check_data_set",
    "draw_check",
    "format_check",
    "write_check",
]
