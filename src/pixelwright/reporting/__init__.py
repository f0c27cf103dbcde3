"""The report of a run: figures and one page. It only reads the run folder."""
