"""HTML pages: each is one file without links to other sites, and all text in it is escaped.

`elements` makes elements, tables and pictures. `page` writes whole pages, with a policy by which browsers run no script
but the one that the page was given. `page.css` is the style of all pages.
"""
