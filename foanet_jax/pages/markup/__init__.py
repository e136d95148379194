"""HTML pages: each is one file without scripts or links to other sites, and all text in it is escaped.

`elements` makes elements, tables and pictures. `page` writes whole pages. `page.css` is the style of all pages.
"""
