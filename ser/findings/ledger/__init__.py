"""One row a run and one a prediction, rebuilt from the folders of the experiments alone."""

from ser.findings.ledger.build import build_ledger

__all__ = ["build_ledger"]
