"""`python -m detect_train`."""

from detect_train.cli import main

main()
