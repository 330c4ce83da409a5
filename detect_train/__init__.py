"""Training of the project's own person detector on drawn people: `python -m detect_train train | export | evaluate`.

    python -m pipeline simulate detections --output data/det_train --frames 2400 --frames-per-scene 12 --seed 21
    python -m pipeline simulate detections --output data/det_office --places office --frames 396 \\
        --frames-per-scene 6 --most-people 12 --seed 31
    python -m detect_train train configs/detect_train/person.yaml --output out/person
    python -m detect_train export out/person --output pipeline/models/person_detector.onnx --fit data/det_train \\
        --fit data/det_office
    python -m pipeline simulate detections --output data/det_test --frames 160 --frames-per-scene 8 --seed 1021
    python -m detect_train evaluate pipeline/models/person_detector.onnx data/det_test

Read in this order: `config` (the recipe), `data` and `crops` (which part of which picture), `camera_look` and
`clutter` (what is done to it), `model`, `assignment`, `losses`, `train`, `export`, `scores` and `evaluate`. The
pipeline never imports this package; they meet in the exported file.
"""
