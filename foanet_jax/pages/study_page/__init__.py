"""The page of a study, which opens offline, on a phone and on paper, and the index of such pages.

`page` puts the page together, `numbers` has its numbers and tables, `pictures` are those that Matplotlib draws, and
`viewer` shows the images.
"""

from foanet_jax.pages.study_page.index import IndexEntry, write_index_page
from foanet_jax.pages.study_page.page import write_study_page
from foanet_jax.pages.study_page.result import Flag, StudyResult

__all__ = ["Flag", "IndexEntry", "StudyResult", "write_index_page", "write_study_page"]
