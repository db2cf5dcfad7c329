//! ajax
