"""Redaction: texts, JSON values, columns, and how well it does on lines it has not seen."""
