"""Data sets, clip sampling, transforms and loading. `build.load_split` opens a data set by name."""
