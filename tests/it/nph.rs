//! nph
