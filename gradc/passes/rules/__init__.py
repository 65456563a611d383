"""Rewrite rules by subject: exact in IEEE arithmetic (a NaN stays some NaN), but for those in `inexact`."""
