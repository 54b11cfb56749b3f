//! Azure for Backstay.
