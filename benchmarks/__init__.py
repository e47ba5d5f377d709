"""Measurements: of speed, by ratios that are taken in one run; and how sure a figure is."""
