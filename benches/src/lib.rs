//! What the benchmarks share: rounds, medians, ratios.
