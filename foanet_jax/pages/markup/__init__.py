"""HTML pages that are one file: no scripts, nothing from elsewhere, every text escaped that is not markup.

`elements` makes elements, tables, pictures and whole pages; `page.css` is what all pages look like.
"""
