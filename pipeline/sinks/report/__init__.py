"""report.html: a run in pictures, one file that needs nothing else."""
