"""The main job: video streams of many cameras in, one identity per person out.

python run_pipeline.py --cams cams.yaml [--config pipeline.yaml] [--set key=value ...] [--output DIR] [--video]
"""

from pipeline.cli import main_run

if __name__ == "__main__":
    main_run()
