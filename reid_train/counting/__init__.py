"""How many individuals pass through a video, counted window by window with embeddings.

A person counts once per video. Time is cut into windows of three seconds; the tracklets of a window are compared with
a memory of the people seen lately, and who is not recognised is new. The protocol of inflow and the error measures are
those of video individual counting (Liu et al., "Weakly Supervised Video Individual Counting", CVPR 2024).
"""

from reid_train.counting.config import CountConfig
from reid_train.counting.count import Embed, VideoCount, count_people, count_tracks, true_count
from reid_train.counting.memory import PersonMemory
from reid_train.counting.scores import CountScore, count_errors, score_counts
from reid_train.counting.windows import PersonTrack, Piece, cut_frames, cut_tracks

__all__ = [
    "CountConfig",
    "CountScore",
    "Embed",
    "PersonMemory",
    "PersonTrack",
    "Piece",
    "VideoCount",
    "count_errors",
    "count_people",
    "count_tracks",
    "cut_frames",
    "cut_tracks",
    "score_counts",
    "true_count",
]
