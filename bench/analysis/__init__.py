"""What records come to: statistics, rows for figures and tables, comparisons, exports."""
