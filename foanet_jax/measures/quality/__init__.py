"""Whether a prediction can be trusted: what is odd about a mask, a verdict, and how sure the network was.

`shape` looks at each slice, `plausible` at volumes, walls and the beat, `picture` at the image beside what was trained
on; `review` puts them together with `finding`'s verdict. `ranks` and `calibration` tell on studies with truth what a
confidence is worth, `table` keeps that. docs/indices.md has every threshold and where it comes from.
"""
