use std::time::UNIX_EPOCH;

use super::*;

fn of(texts: &[&'static str]) -> Pieces {
    texts.iter().map(|text| Bytes::from_static(text.as_bytes())).collect()
}

/// Returns a pseudo-random number below `bound` that depends only on the seed (splitmix64).
fn below(state: &mut u64, bound: usize) -> usize {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    usize::try_from((mixed ^ (mixed >> 31)) % bound as u64).unwrap()
}

fn letter(state: &mut u64) -> u8 {
    b"abc"[below(state, 3)]
}

#[test]
fn slicing_and_reading_match_a_vector() {
    let first = UNIX_EPOCH.elapsed().unwrap().as_secs();
    for seed in first..first + 300 {
        let mut random = seed;
        let parts: Vec<Vec<u8>> = (0..below(&mut random, 9))
            .map(|_| (0..below(&mut random, 5)).map(|_| letter(&mut random)).collect())
            .collect();
        let model = parts.concat();
        let pieces: Pieces = parts.into_iter().map(Bytes::from).collect();
        assert_eq!(pieces, model, "seed {seed}");
        for start in 0..=model.len() {
            for end in start..=model.len() {
                let slice = pieces.slice(start..end);
                assert_eq!(slice, model[start..end], "seed {seed}, {start}..{end}");
                assert_eq!(slice, slice.iter().collect::<Pieces>(), "seed {seed}, {start}..{end}");
                assert!(slice.slices().all(|piece| !piece.is_empty()));
                assert_eq!(slice.to_bytes(), model[start..end]);
                let middle = below(&mut random, end - start + 1);
                assert_eq!(slice.slice(middle..slice.len()), model[start + middle..end], "seed {seed}");
            }
        }
        let (mut rest, mut read) = (pieces, Vec::new());
        while !rest.is_empty() {
            let mut buffer = [0; 7];
            let count = rest.read(&mut buffer[..1 + below(&mut random, 7)]).unwrap();
            read.extend_from_slice(&buffer[..count]);
            assert_eq!(rest, model[read.len()..], "seed {seed}");
        }
        assert_eq!(read, model, "seed {seed}");
    }
}

#[test]
fn slice_shares_its_bytes() {
    let pieces = of(&["abc", "def", "ghi"]);
    let slice = pieces.slice(1..8);
    let addresses: Vec<_> = slice.slices().map(<[u8]>::as_ptr).collect();
    let expected: Vec<_> = pieces.slices().map(<[u8]>::as_ptr).collect();
    assert_eq!(addresses[1..], expected[1..]);
    assert_eq!(addresses[0], expected[0].wrapping_add(1));
    assert_eq!(pieces.slice(3..5).as_one().unwrap().as_ptr(), expected[1]);
}

#[test]
fn equality_ignores_piece_boundaries() {
    assert_eq!(of(&["ab", "c"]), of(&["a", "", "bc"]));
    assert_ne!(of(&["ab", "c"]), of(&["ab", "d"]));
    assert_ne!(of(&["ab", "c"]), of(&["ab"]));
    assert_eq!(of(&[]), Pieces::new());
}

#[test]
fn single_piece_is_held_inline() {
    assert_eq!(size_of::<Pieces>(), size_of::<Bytes>());
    let bytes = Bytes::from(vec![1, 2, 3]);
    assert_eq!(Pieces::from(bytes.clone()).as_one().unwrap().as_ptr(), bytes.as_ptr());
}

#[test]
fn single_bytes_are_merged_into_few_pieces_with_little_copying() {
    const COUNT: usize = 100_000;
    let one = Pieces::from(Bytes::from_static(b"x"));
    let (mut pieces, copied) = (Pieces::new(), std::cell::Cell::new(0));
    for _ in 0..COUNT {
        pieces = pieces.joined(&one, |bytes| {
            copied.set(copied.get().max(bytes.len()));
            bytes.into_vec().into()
        });
    }
    assert_eq!(pieces.len(), COUNT);
    assert!(pieces.iter().count() <= COUNT / SMALL + 1, "{pieces:?}");
    assert!(copied.get() <= 2 * SMALL);
}

#[test]
fn joining_shares_large_pieces_and_copies_only_small_neighbours() {
    let large: Pieces = (0..768).map(|_| Bytes::from(vec![7; 65_536])).collect();
    let copied = std::cell::Cell::new(0);
    let share = |bytes: Box<[u8]>| {
        copied.set(copied.get() + bytes.len());
        Bytes::from(bytes.into_vec())
    };
    let first = large.joined(&Bytes::from_static(b"x").into(), share);
    let second = first.joined(&Bytes::from_static(b"y").into(), share);
    assert_eq!((second.len(), copied.get()), (large.len() + 2, 2));
    let same = large.slices().zip(second.slices()).filter(|(one, other)| one.as_ptr() == other.as_ptr());
    assert_eq!(same.count(), 768);
}
