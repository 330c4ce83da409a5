"""People and places drawn from nothing but numbers, with exact truth: video, detection sets and ReID sets.

`assets` and `bodies` give the people, `gait` moves them, `wardrobe` dresses them; `places` builds where they are,
`light` and `optics` how it is seen; `renderer` draws it (OpenGL on EGL), `truth` reads the boxes off the id image.
`walkers` and `town` make people go about; `video`, `detection_set` and `reid_set` write files.
"""
