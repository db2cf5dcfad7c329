//! Which of the threads that serve this is. What all of them count or keep lies apart by this number: two processors
//! that write to the same place wait for each other.

use std::cell::Cell;

/// Stripes at most; with more threads some share one.
pub(crate) const MOST: usize = 8;

thread_local! {
    static NUMBER: Cell<usize> = const { Cell::new(0) };
}

/// This thread is the one of this number. Threads that never say so count as the first.
pub(crate) fn set(number: usize) {
    NUMBER.set(number % MOST);
}

/// Below [`MOST`].
pub(crate) fn number() -> usize {
    NUMBER.get()
}
