"""Results of all experiments of a grid: the ledger, the tables, and the uncertainty of each figure."""
