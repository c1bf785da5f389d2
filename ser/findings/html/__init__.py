"""All findings as one HTML file, which needs nothing beside it: no script, style sheet, picture or network."""

from ser.findings.html.page import write_report

__all__ = ["write_report"]
