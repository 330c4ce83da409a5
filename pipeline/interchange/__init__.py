"""Files of tracks in other systems' formats: read into one table of aligned rows, and written from it."""
