"""CrossCam: one identity per person over many cameras. Start reading at `pipeline/app.py`."""

__version__ = "0.1.0"
