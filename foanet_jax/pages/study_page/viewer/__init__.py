"""All images of a study on its page, with contours.

`player` shows one of them at a time, and player.js moves it. `greys` encodes the images. `doubts` collects what was
found on each, `timeline` draws the curves above a map of the images, and `moments` shows the slices at end diastole and
end systole, without scripts and on paper too.
"""
