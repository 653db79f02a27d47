"""Print jobs from files: daily print logs and CSV reports in a folder."""
