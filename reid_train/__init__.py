"""Training and scoring of video person re-identification networks: `python -m reid_train`."""
