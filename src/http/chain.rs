//! A list that only grows: read without a lock, and without writing to memory that other threads read.
//!
//! It must stay short, since it is read from its start; who adds to it bounds it.

use std::sync::OnceLock;

/// Values in the order in which they were added.
pub(super) struct Chain<T> {
    first: Link<T>,
}

/// The place for a value, empty until one is added.
type Link<T> = OnceLock<Box<Node<T>>>;

struct Node<T> {
    value: T,
    next: Link<T>,
}

impl<T> Default for Chain<T> {
    fn default() -> Self {
        Self { first: OnceLock::new() }
    }
}

impl<T> Chain<T> {
    /// The first value that `is` holds for.
    pub(super) fn find(&self, is: impl Fn(&T) -> bool) -> Option<&T> {
        let mut link = &self.first;
        while let Some(node) = link.get() {
            if is(&node.value) {
                return Some(&node.value);
            }
            link = &node.next;
        }
        None
    }

    /// The first value that `is` holds for; without one, what `make` gives, added at the end. `is` must hold for it.
    ///
    /// Where two threads add at once, one waits for the other and then looks at what that one added.
    pub(super) fn find_or_add(&self, is: impl Fn(&T) -> bool, make: impl Fn() -> T) -> &T {
        let mut link = &self.first;
        loop {
            let node = link.get_or_init(|| Box::new(Node { value: make(), next: OnceLock::new() }));
            if is(&node.value) {
                return &node.value;
            }
            link = &node.next;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicUsize, Ordering},
        thread,
    };

    use super::*;

    #[test]
    fn each_value_is_made_once_however_many_threads_ask() {
        let chain = Chain::default();
        let made = AtomicUsize::new(0);
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for wanted in 0..100 {
                        let make = || {
                            made.fetch_add(1, Ordering::Relaxed);
                            wanted
                        };
                        assert_eq!(*chain.find_or_add(|value| *value == wanted, make), wanted);
                    }
                });
            }
        });
        assert_eq!(made.load(Ordering::Relaxed), 100);
        assert_eq!(chain.find(|value| *value == 42), Some(&42));
        assert_eq!(chain.find(|value| *value == 100), None);
    }
}
