"""Reads and draws what quell writes: outliers.h5, results.h5, sensitivity.json, folders of sweeps."""
from quell_analysis.outliers import OutlierFile
from quell_analysis.results import ResultsFile
from quell_analysis.sensitivity import read_sensitivity
from quell_analysis.sweeps import SweepFolder

__all__ = ["OutlierFile", "ResultsFile", "SweepFolder", "read_sensitivity"]
