"""Reads and draws what quell writes: outliers.h5 and results.h5."""
from quell_analysis.outliers import OutlierFile
from quell_analysis.results import ResultsFile

__all__ = ["OutlierFile", "ResultsFile"]
