//! What overlays promise.

use super::*;
use crate::memory::MemoryDevice;

#[test]
fn the_base_stays_and_changes_are_listed() {
    let base = MemoryDevice::from_bytes(&[7; 30_000]);
    let overlay = Overlay::new(&base);
    assert!(overlay.is_unchanged());
    overlay.write_at(4000, &[1; 200]).unwrap();
    overlay.write_zeroes(12_288, 8192).unwrap();
    overlay.write_zeroes(20_480, 5).unwrap();
    let mut expected = vec![7; 30_000];
    expected[4000..4200].fill(1);
    expected[12_288..20_485].fill(0);
    let mut now = vec![9; 30_000];
    overlay.read_at(0, &mut now).unwrap();
    assert_eq!(now, expected);
    assert!(base.to_vec().iter().all(|b| *b == 7));
    assert_eq!(
        overlay.changes(),
        [
            Change { range: 0..8192, zeroed: false },
            Change { range: 12_288..20_480, zeroed: true },
            Change { range: 20_480..24_576, zeroed: false },
        ]
    );
    overlay.apply_to(&base).unwrap();
    assert_eq!(base.to_vec(), expected);
    overlay.forget();
    assert!(overlay.is_unchanged() && overlay.changes().is_empty());
}

#[test]
fn the_short_last_page_is_a_whole_page() {
    let base = MemoryDevice::from_bytes(&[7; 5000]);
    let overlay = Overlay::new(&base);
    overlay.write_zeroes(4096, 904).unwrap();
    assert_eq!(overlay.changes(), [Change { range: 4096..5000, zeroed: true }]);
    assert!(overlay.known_zero(4096, 904) && !overlay.known_zero(4095, 2));
    overlay.write_at(4999, b"x").unwrap();
    assert_eq!(overlay.changes(), [Change { range: 4096..5000, zeroed: false }]);
    let mut tail = [9; 3];
    overlay.read_at(4997, &mut tail).unwrap();
    assert_eq!(&tail, b"\0\0x");
}

#[test]
fn savepoints_take_back_what_was_written_since_and_nest() {
    // Whether all, some or no pages are in memory.
    for limit in [u64::MAX, 3 * PAGE, 0] {
        savepoints_within(limit);
    }
}

fn savepoints_within(limit: u64) {
    let base = MemoryDevice::from_bytes(&[7; 40_960]);
    let overlay = Overlay::spilling(&base, limit);
    let all = || {
        let mut bytes = vec![0; 40_960];
        overlay.read_at(0, &mut bytes).unwrap();
        bytes
    };
    overlay.write_at(0, &[1; 10]).unwrap();
    overlay.write_zeroes(8192, 8192).unwrap();
    let (first, changes) = (all(), overlay.changes());
    overlay.set_savepoint();
    overlay.write_at(5, &[2; 4096]).unwrap();
    overlay.write_at(8192, &[3; 4]).unwrap();
    let second = all();
    overlay.set_savepoint();
    overlay.write_zeroes(0, 40_960).unwrap();
    overlay.write_at(20_000, &[4; 100]).unwrap();
    overlay.roll_back_to_savepoint();
    assert_eq!(all(), second);
    overlay.set_savepoint();
    overlay.write_zeroes(4096, 20_480).unwrap();
    overlay.write_at(0, &[5; 9000]).unwrap();
    overlay.release_savepoint();
    assert!(all()[..9000].iter().all(|b| *b == 5));
    overlay.roll_back_to_savepoint();
    assert_eq!((all(), overlay.changes()), (first, changes));
    // Without a savepoint there is nothing to take back.
    overlay.roll_back_to_savepoint();
    overlay.release_savepoint();
    assert!(!overlay.is_unchanged());
}

#[test]
fn zeroing_what_is_zero_below_is_no_change() {
    let overlay = Overlay::new(MemoryDevice::new(15 << 40));
    overlay.write_zeroes(1, (15 << 40) - 2).unwrap();
    assert!(overlay.is_unchanged());
    overlay.write_at(1 << 40, b"x").unwrap();
    assert_eq!(overlay.next_data(0).unwrap(), Some(1 << 40..(1 << 40) + 4096));
    assert!(overlay.known_zero(0, 1 << 40) && !overlay.known_zero(0, (1 << 40) + 1));
}

#[test]
fn what_is_given_up_makes_room_for_others() {
    let overlay = Overlay::spilling(MemoryDevice::new(1 << 20), 2 * PAGE);
    let write = |page: u64| overlay.write_at(page * PAGE, &[1; 4096]).unwrap();
    for round in 0..50 {
        overlay.set_savepoint();
        (0..20).for_each(write);
        overlay.set_savepoint();
        (10..30).for_each(write);
        match round % 3 {
            0 => overlay.release_savepoint(),
            1 => overlay.roll_back_to_savepoint(),
            _ => {
                overlay.write_zeroes(0, 1 << 20).unwrap();
                overlay.release_savepoint();
            }
        }
        overlay.roll_back_to_savepoint();
        assert!(overlay.is_unchanged());
    }
    // Thirty pages and what they were before, whatever happened in fifty rounds.
    let state = overlay.state();
    assert!(state.store.spilled_pages() <= 60, "{:?}", state.store);
}

#[test]
fn pages_written_many_at_once_are_as_those_written_one_by_one() {
    for limit in [u64::MAX, 3 * PAGE, 0] {
        let len = 3 << 20;
        let base = MemoryDevice::from_bytes(&vec![7; len]);
        let (overlay, mut expected) = (Overlay::spilling(&base, limit), vec![7; len]);
        overlay.write_zeroes(0, 1 << 16).unwrap();
        expected[..1 << 16].fill(0);
        overlay.set_savepoint();
        let before = expected.clone();
        for (at, count) in
            [(0, 2 << 20), (5000, 9000), (4096, 8192), (1_048_000, 20_000), (len - 10_000, 10_000), (3, 4)]
        {
            let bytes: Vec<u8> = (0..count).map(|n| (n * 31 + at) as u8).collect();
            overlay.write_at(at as u64, &bytes).unwrap();
            expected[at..at + count].copy_from_slice(&bytes);
        }
        let mut now = vec![9; len];
        overlay.read_at(0, &mut now).unwrap();
        assert!(now == expected, "{limit}");
        overlay.roll_back_to_savepoint();
        overlay.read_at(0, &mut now).unwrap();
        assert!(now == before, "{limit}");
    }
}

#[test]
fn a_change_of_many_pages_is_a_write() {
    for limit in [u64::MAX, 3 * PAGE, 0] {
        let len = 6 << 20;
        let base = MemoryDevice::from_bytes(&vec![7; len]);
        let (one, other) = (Overlay::spilling(&base, limit), Overlay::spilling(&base, limit));
        let same = || {
            let (mut a, mut b) = (vec![0; len], vec![1; len]);
            one.read_at(0, &mut a).unwrap();
            other.read_at(0, &mut b).unwrap();
            a == b && one.changes() == other.changes()
        };
        for overlay in [&one, &other] {
            overlay.write_zeroes(1 << 20, 1 << 16).unwrap();
            overlay.write_at(2 << 20, &[4; 50_000]).unwrap();
            overlay.set_savepoint();
        }
        for (n, (start, end)) in
            [(5, 3 << 20), (4096, 4096), (4000, 5000), (4096, 8192), (100_000, 5_000_001), (1, len), (0, len)]
                .into_iter()
                .enumerate()
        {
            let change = |bytes: &mut [u8]| {
                bytes.iter_mut().zip(0..).for_each(|(b, at)| *b = b.wrapping_add((at / 3 + n) as u8));
                Ok::<_, u8>(true)
            };
            assert_eq!(one.change(start as u64..end as u64, change).unwrap(), Ok(true));
            let mut bytes = vec![0; end - start];
            other.read_at(start as u64, &mut bytes).unwrap();
            change(&mut bytes).unwrap();
            other.write_at(start as u64, &bytes).unwrap();
            assert!(same(), "{limit} {start}..{end}");
        }
        one.roll_back_to_savepoint();
        other.roll_back_to_savepoint();
        assert!(same(), "{limit}");
        // What does not change is not kept, nor what fails.
        let before = one.pages();
        for result in [Ok(false), Err(3)] {
            let done = one.change(0..1 << 20, |bytes| {
                bytes.fill(9);
                result
            });
            assert!(done.unwrap() == result && before == one.pages() && same());
        }
        assert!(one.change(1..len as u64 + 1, |_| Ok::<_, u8>(true)).is_err());
    }
}
