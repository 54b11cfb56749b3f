//! AWS for Backstay.
