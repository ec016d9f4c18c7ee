//! The memory that an allocation takes.

/// Returns the memory that an allocation of this many bytes takes: the bytes and one word of the allocator,
/// rounded up to two words, at least four words. This is exact for glibc; other allocators differ by a few
/// percent.
pub(super) const fn allocated(bytes: usize) -> usize {
    const WORD: usize = size_of::<usize>();
    let taken = (bytes + WORD).next_multiple_of(2 * WORD);
    if taken < 4 * WORD { 4 * WORD } else { taken }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn allocations_are_multiples_of_two_words() {
        let words = |count: usize| count * size_of::<usize>();
        assert_eq!(allocated(0), words(4));
        assert_eq!(allocated(words(3)), words(4));
        assert_eq!(allocated(words(3) + 1), words(6));
        assert_eq!(allocated(words(5)), words(6));
    }
}
