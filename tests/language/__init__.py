"""Tests of natural text: folding, segmentation, function words, numerals."""
