//! `pushpull mixin` as a user runs it: what it writes, and what it says of a configuration that is bad.
#![cfg(feature = "cli")]

#[cfg(test)]
mod mixin {
    mod written;
}
