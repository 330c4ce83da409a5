"""`python -m reid_train`."""

from reid_train.cli import main

main()
