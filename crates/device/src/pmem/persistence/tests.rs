//! Litmus programs by brute force, and random programs against a model that keeps every store of every byte.

use std::collections::BTreeSet;

use super::*;
use crate::pmem::{NoWatch, PersistentMemory, Pmem, PmemAlign, PmemOptions, Zeroes};
use proptest::prelude::*;

const A: Cpu = Cpu(1);
const B: Cpu = Cpu(2);
const SIZE: u64 = 4096;

type Memory = Pmem<Zeroes, Persistence>;

fn memory(domain: Domain) -> Memory {
    let options = PmemOptions { align: PmemAlign::None, ..PmemOptions::default() };
    Pmem::zeroed(SIZE, options, Persistence::new(domain)).unwrap()
}

/// What the words at these addresses can be after a power cut now.
fn outcomes<const N: usize>(memory: &Memory, words: [u64; N]) -> BTreeSet<[u64; N]> {
    let states = memory.crash_states();
    let mut choice = states.none();
    let mut image = states.image(&choice);
    let (mut found, mut count) = (BTreeSet::new(), 0u128);
    loop {
        states.image_into(&choice, &mut image);
        found.insert(words.map(|addr| image.load_u64(A, addr).unwrap()));
        count += 1;
        if !states.next(&mut choice) {
            break;
        }
    }
    assert_eq!(Some(count), states.count());
    found
}

#[test]
fn publishing_without_a_fence_may_show_the_flag_without_the_data() {
    let (data, flag) = (0, 64);
    let mut m = memory(Domain::Adr);
    m.store_u64(A, data, 42).unwrap();
    m.clwb(A, data).unwrap();
    m.store_u64(A, flag, 1).unwrap();
    assert_eq!(outcomes(&m, [data, flag]), BTreeSet::from([[0, 0], [0, 1], [42, 0], [42, 1]]));
    m.clwb(A, flag).unwrap();
    m.sfence(A);
    assert_eq!(outcomes(&m, [data, flag]), BTreeSet::from([[42, 1]]));
    assert!(m.watch().is_durable());
}

#[test]
fn publishing_with_flush_and_fence_is_safe_at_every_point() {
    let (data, flag) = (0, 64);
    let mut m = memory(Domain::Adr);
    let mut seen = BTreeSet::new();
    m.store_u64(A, data, 42).unwrap();
    seen.extend(outcomes(&m, [data, flag]));
    m.clflushopt(A, data).unwrap();
    m.sfence(A);
    seen.extend(outcomes(&m, [data, flag]));
    m.store_u64(A, flag, 1).unwrap();
    seen.extend(outcomes(&m, [data, flag]));
    assert_eq!(seen, BTreeSet::from([[0, 0], [42, 0], [42, 1]]));
}

#[test]
fn stores_to_one_line_persist_in_order() {
    let mut m = memory(Domain::Adr);
    m.store_u64(A, 0, 42).unwrap();
    m.store_u64(A, 8, 1).unwrap();
    assert_eq!(outcomes(&m, [0, 8]), BTreeSet::from([[0, 0], [42, 0], [42, 1]]));
}

#[test]
fn a_fence_orders_the_write_backs_of_its_own_cpu_only() {
    let mut m = memory(Domain::Adr);
    m.store_u64(A, 0, 1).unwrap();
    m.clwb(A, 0).unwrap();
    m.sfence(B);
    assert_eq!(outcomes(&m, [0]), BTreeSet::from([[0], [1]]));
    assert_eq!(m.watch().whereabouts(0, 0), Whereabouts::OnItsWay);
    // What comes after the write-back is not covered by it.
    m.store_u64(B, 0, 2).unwrap();
    assert_eq!(m.watch().whereabouts(0, 0), Whereabouts::Cache);
    assert_eq!(m.load_u64(A, 0).unwrap(), 2);
    m.sfence(A);
    assert_eq!(outcomes(&m, [0]), BTreeSet::from([[1], [2]]));
    let in_flight: Vec<_> = m.watch().in_flight().collect();
    assert_eq!(in_flight, [InFlight { line: 0, min: 1, max: 2, on_its_way: 1, states: 2 }]);
    // A write-back covers what others stored.
    m.clwb(A, 0).unwrap();
    assert!(m.watch().is_marked(0, A) && !m.watch().is_marked(0, B));
    m.sfence(A);
    assert_eq!(outcomes(&m, [0]), BTreeSet::from([[2]]));
    assert_eq!(m.watch().whereabouts(0, 0), Whereabouts::Durable);
}

#[test]
fn clflush_needs_no_fence_and_a_store_past_the_cache_needs_nothing_else() {
    let mut m = memory(Domain::Adr);
    m.store_u64(A, 0, 1).unwrap();
    m.clflush(B, 63).unwrap();
    assert!(m.watch().is_durable());
    m.store_nt(A, 64, &7u64.to_le_bytes()).unwrap();
    assert_eq!(outcomes(&m, [0, 64]), BTreeSet::from([[1, 0], [1, 7]]));
    m.sfence(A);
    assert_eq!(outcomes(&m, [0, 64]), BTreeSet::from([[1, 7]]));
}

#[test]
fn of_a_long_store_any_atoms_persist_and_only_8_aligned_bytes_are_one() {
    let mut m = memory(Domain::Adr);
    let two: Vec<u8> = [1u64, 2].iter().flat_map(|w| w.to_le_bytes()).collect();
    m.store(A, 0, &two).unwrap();
    m.store_u64(A, 16, 3).unwrap();
    let expected = [[0, 0, 0], [1, 0, 0], [0, 2, 0], [1, 2, 0], [1, 2, 3]];
    assert_eq!(outcomes(&m, [0, 8, 16]), BTreeSet::from(expected));
    // 8 bytes across two atoms can be torn.
    let mut m = memory(Domain::Adr);
    m.store_u64(A, 4, u64::MAX).unwrap();
    assert_eq!(outcomes(&m, [0, 8]).len(), 4);
    // And across two lines they are two stores.
    let mut m = memory(Domain::Adr);
    m.store_u64(A, 60, u64::MAX).unwrap();
    assert_eq!(m.crash_states().lines().len(), 2);
    assert_eq!(outcomes(&m, [56, 64]).len(), 4);
}

#[test]
fn with_eadr_what_is_stored_is_durable() {
    let mut m = memory(Domain::Eadr);
    m.store_u64(A, 0, 42).unwrap();
    assert_eq!(outcomes(&m, [0]), BTreeSet::from([[42]]));
    assert_eq!(m.crash_states().count(), Some(1));
}

#[test]
fn zeroing_is_a_store_like_others() {
    let mut m = memory(Domain::Adr);
    m.store_u64(A, 128, 9).unwrap();
    m.clflush(A, 128).unwrap();
    m.zero(B, 0, SIZE).unwrap();
    assert_eq!(m.touched_lines(), 0);
    assert_eq!(m.load_u64(A, 128).unwrap(), 0);
    let mut durable = [0; 16];
    m.read_durable(120, &mut durable).unwrap();
    assert_eq!(durable[8..], 9u64.to_le_bytes());
    let states = m.crash_states();
    assert_eq!(states.image(&states.none()).load_u64(A, 128).unwrap(), 9);
    assert_eq!(states.image(&states.all()).load_u64(A, 128).unwrap(), 0);
    assert_eq!(states.count(), None, "64 lines of 256 states are more than 2^128");
    m.sfence(B);
    assert!(m.watch().is_durable());
}

#[test]
fn what_watches_later_takes_what_is_there_as_durable() {
    let options = PmemOptions { align: PmemAlign::None, ..PmemOptions::default() };
    let mut plain = Pmem::zeroed(SIZE, options, NoWatch).unwrap();
    plain.store_u64(A, 0, 5).unwrap();
    let mut m = plain.watched_by(Persistence::new(Domain::Adr));
    m.store_u64(A, 0, 6).unwrap();
    assert_eq!(outcomes(&m, [0]), BTreeSet::from([[5], [6]]));
}

/// The model: all stores to a line since ever, byte by byte, and how many of them have persisted for certain.
#[derive(Clone)]
struct Model {
    bytes: Vec<u8>,
    lines: Vec<ModelLine>,
}

#[derive(Clone, Default)]
struct ModelLine {
    /// Each store: which bytes of the line it sets.
    stores: Vec<Vec<(usize, u8)>>,
    guaranteed: usize,
    marks: Vec<(Cpu, usize)>,
}

impl Model {
    fn new(lines: usize) -> Self {
        Self { bytes: vec![0; lines * LINE], lines: vec![ModelLine::default(); lines] }
    }

    fn store(&mut self, cpu: Cpu, addr: usize, data: &[u8], non_temporal: bool) {
        for line in 0..self.lines.len() {
            let part: Vec<(usize, u8)> =
                (addr..).zip(data).filter(|(at, _)| at / LINE == line).map(|(at, byte)| (at % LINE, *byte)).collect();
            if !part.is_empty() {
                self.lines[line].stores.push(part);
                if non_temporal {
                    self.write_back(cpu, line);
                }
            }
        }
        self.bytes[addr..addr + data.len()].copy_from_slice(data);
    }

    fn write_back(&mut self, cpu: Cpu, line: usize) {
        let upto = self.lines[line].stores.len();
        self.lines[line].marks.push((cpu, upto));
    }

    fn flush(&mut self, line: usize) {
        self.lines[line].guaranteed = self.lines[line].stores.len();
    }

    fn fence(&mut self, cpu: Cpu) {
        for line in &mut self.lines {
            for (_, upto) in line.marks.extract_if(.., |(by, _)| *by == cpu) {
                line.guaranteed = line.guaranteed.max(upto);
            }
        }
    }

    /// Every content that a line may have after a power cut.
    fn contents(&self, line: usize) -> BTreeSet<[u8; LINE]> {
        let ModelLine { stores, guaranteed, .. } = &self.lines[line];
        let mut content = [0; LINE];
        stores[..*guaranteed].iter().flatten().for_each(|(at, byte)| content[*at] = *byte);
        let mut all = BTreeSet::from([content]);
        for store in &stores[*guaranteed..] {
            for atoms in 0u32..256 {
                let mut torn = content;
                store.iter().filter(|(at, _)| atoms >> (at / 8) & 1 == 1).for_each(|(at, byte)| torn[*at] = *byte);
                all.insert(torn);
            }
            store.iter().for_each(|(at, byte)| content[*at] = *byte);
        }
        all
    }
}

const LINES: usize = 4;

#[derive(Debug, Clone)]
enum Step {
    Store { cpu: u32, at: usize, len: usize, byte: u8, non_temporal: bool },
    WriteBack { cpu: u32, at: usize, how: u8 },
    Fence { cpu: u32 },
    Keep,
    Restore,
}

fn step() -> impl Strategy<Value = Step> {
    let cpu = 0u32..3;
    let at = 0usize..LINES * LINE;
    prop_oneof![
        6 => (cpu.clone(), at.clone(), prop_oneof![3 => 1usize..9, 1 => 1usize..80], any::<u8>(), any::<bool>())
            .prop_map(|(cpu, at, len, byte, non_temporal)| Step::Store { cpu, at, len, byte, non_temporal }),
        4 => (cpu.clone(), at, 0u8..5).prop_map(|(cpu, at, how)| Step::WriteBack { cpu, at, how }),
        2 => cpu.prop_map(|cpu| Step::Fence { cpu }),
        1 => Just(Step::Keep),
        1 => Just(Step::Restore),
    ]
}

proptest! {
    #[test]
    fn it_behaves_like_a_record_of_every_store(steps in prop::collection::vec(step(), 1..40)) {
        let (mut m, mut model) = (memory(Domain::Adr), Model::new(LINES));
        let mut kept = (m.clone(), model.clone());
        for step in steps {
            match step {
                Step::Store { cpu, at, len, byte, non_temporal } => {
                    let data: Vec<u8> = (0..len.min(LINES * LINE - at)).map(|n| byte.wrapping_add(n as u8)).collect();
                    if non_temporal {
                        m.store_nt(Cpu(cpu), at as u64, &data).unwrap();
                    } else {
                        m.store(Cpu(cpu), at as u64, &data).unwrap();
                    }
                    model.store(Cpu(cpu), at, &data, non_temporal);
                }
                Step::WriteBack { cpu, at, how } => match how {
                    0 => {
                        m.clflush(Cpu(cpu), at as u64).unwrap();
                        model.flush(at / LINE);
                    }
                    1 | 2 => {
                        m.clflushopt(Cpu(cpu), at as u64).unwrap();
                        model.write_back(Cpu(cpu), at / LINE);
                    }
                    _ => {
                        m.clwb(Cpu(cpu), at as u64).unwrap();
                        model.write_back(Cpu(cpu), at / LINE);
                    }
                },
                Step::Fence { cpu } => {
                    m.sfence(Cpu(cpu));
                    model.fence(Cpu(cpu));
                }
                Step::Keep => kept = (m.clone(), model.clone()),
                Step::Restore => {
                    m.clone_from(&kept.0);
                    model.clone_from(&kept.1);
                }
            }
            let mut seen = vec![0; LINES * LINE];
            m.load(A, 0, &mut seen).unwrap();
            prop_assert_eq!(&seen, &model.bytes);
            let states = m.crash_states();
            let mut durable = vec![0; LINES * LINE];
            m.read_durable(0, &mut durable).unwrap();
            for line in 0..LINES {
                let expected = model.contents(line);
                let place = states.lines().iter().position(|l| l.line == line as u64);
                let found: BTreeSet<[u8; LINE]> = match place {
                    Some(place) => (0..states.lines()[place].states).filter_map(|n| states.content(place, n)).collect(),
                    None => BTreeSet::from([<[u8; LINE]>::try_from(&seen[line * LINE..(line + 1) * LINE]).unwrap()]),
                };
                prop_assert_eq!(&found, &expected);
                let pending = model.lines[line].stores.len() - model.lines[line].guaranteed;
                let state = m.watch().in_flight().find(|l| l.line == line as u64);
                prop_assert_eq!(state.map_or(0, |l| l.max - l.min), pending as u64);
                prop_assert!(expected.contains(&durable[line * LINE..(line + 1) * LINE]));
            }
            prop_assert_eq!(m.watch().is_durable(), states.lines().is_empty());
        }
    }
}
