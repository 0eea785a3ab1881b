//! Any place of any image, changed at random and sealed: no checksum is wrong then that the change did not write itself,
//! nothing else has changed, and taking the change back leaves the image as it was.

use crate::images::{KINDS, build};
use crate::places::{open, printed};
use crate::tools::load;
use daxkit_build::defect::{DefectError, Reason, apply};
use daxkit_build::dump::{DumpOptions, dump_to_string};
use daxkit_build::recipe::{At, Checksum, Defect, DefectChange};
use daxkit_device::{BlockDevice, Overlay};
use daxkit_format::field::{FieldRef, Object, Place};
use daxkit_format::{FieldKind, FieldValue};
use daxkit_volume::{Located, Seal, Verdict, Volume};
use std::collections::{BTreeMap, HashSet};
use std::mem::{Discriminant, discriminant};
use std::ops::Range;
use std::sync::Arc;

/// Changes tried on each image.
const ROUNDS: usize = 800;

/// A generator of numbers that are the same on every run.
struct Lcg(u64);

impl Lcg {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 31
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n.max(1) as u64) as usize
    }

    fn pick<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len())]
    }

    fn bytes(&mut self, n: usize) -> Vec<u8> {
        (0..n).map(|_| self.next() as u8).collect()
    }
}

/// Places by kind of object, so that rare ones come up as often as others.
fn by_kind(objects: HashSet<String>) -> Vec<Vec<Object>> {
    let mut kinds: Vec<(Discriminant<Object>, BTreeMap<String, Object>)> = Vec::new();
    for text in objects {
        let object = text.parse::<Place>().unwrap().object;
        let kind = discriminant(&object);
        match kinds.iter_mut().find(|(k, _)| *k == kind) {
            Some((_, list)) => drop(list.insert(text, object)),
            None => kinds.push((kind, BTreeMap::from([(text, object)]))),
        }
    }
    kinds.sort_by_key(|(_, list)| list.keys().next().cloned());
    kinds.into_iter().map(|(_, list)| list.into_values().collect()).collect()
}

/// A place in the object and a change of it.
fn random_change(rng: &mut Lcg, volume: &Volume, object: &Object) -> Option<(Place, DefectChange)> {
    let whole = volume.locate(&object.clone().place()).unwrap_or_else(|e| panic!("{e}"));
    if matches!(object, Object::BlockBitmap(_) | Object::InodeBitmap(_)) {
        let index = rng.below(volume.block_size() as usize * 8) as u32;
        return Some((object.clone().place(), DefectChange::Bit { index, to: rng.below(2) == 0 }));
    }
    let fields: Vec<_> = object.structures().iter().flat_map(|s| s.fields()).collect();
    if fields.is_empty() || rng.below(5) == 0 {
        let len = whole.object.end - whole.object.start;
        let offset = rng.below(len as usize) as u64;
        let n = 1 + rng.below((len - offset).min(4) as usize);
        return Some((Place { offset, ..object.clone().place() }, DefectChange::Bytes(rng.bytes(n))));
    }
    let mut place = object.clone().field(rng.pick(&fields).name);
    let mut located = volume.locate(&place).ok()?;
    let value = located.field?.get(&located.read(&**volume.device()).unwrap())?;
    if let FieldValue::Ints(all) = &value {
        let index = rng.below(all.len()).to_string();
        place.field = place.field.map(|f| FieldRef { index: Some(index), ..f });
        located = volume.locate(&place).unwrap();
    }
    let field = located.field?;
    let size = field.low().kind.len();
    if let FieldKind::Bytes { .. } = field.kind() {
        return Some((place, DefectChange::Bytes(rng.bytes(size))));
    }
    let value = rng.next() << 20 ^ rng.next();
    let value = if size == 8 { value } else { value & ((1 << (size * 8)) - 1) };
    let text = match rng.below(3) {
        0 => value.to_string(),
        1 => format!("{value:#x}"),
        _ => (value & 3).to_string(),
    };
    Some((
        place,
        match rng.below(6) {
            0 => DefectChange::Set(text),
            1 => DefectChange::Set(format!("-{}", value & 0x7f)),
            2 => DefectChange::Or(text),
            3 => DefectChange::Clear(text),
            4 => DefectChange::Xor(format!("0b1|{text}")),
            _ => DefectChange::Add(value as i64),
        },
    ))
}

/// What undoes a change.
fn back(change: &DefectChange, before: &str) -> DefectChange {
    match change {
        DefectChange::Bytes(_) => DefectChange::Bytes(daxkit_format::field::parse_hex(before).unwrap()),
        DefectChange::Bit { index, to } => DefectChange::Bit { index: *index, to: !to },
        _ => DefectChange::Set(before.to_owned()),
    }
}

fn overlap(a: &Range<u64>, b: &Range<u64>) -> bool {
    a.start < b.end && b.start < a.end
}

/// The bytes that the change itself may write.
fn written(located: &Located, place: &Place, change: &DefectChange) -> Vec<Range<u64>> {
    match (change, &located.field) {
        (DefectChange::Bytes(b), _) => vec![located.named.start..located.named.start + b.len() as u64],
        (DefectChange::Bit { index, .. }, _) => {
            let at = located.object.start + u64::from(index / 8);
            vec![at..at + 1]
        }
        (_, Some(field)) => {
            let (start, end) = (located.structure_bytes.start, located.structure_bytes.end);
            let pieces = field.pieces((end - start) as usize);
            pieces.into_iter().map(|p| start + p.start as u64..start + p.end as u64).collect()
        }
        _ => panic!("{place} is no field"),
    }
}

type Changed = Arc<Overlay<Arc<dyn BlockDevice>>>;

/// A device on which changes stay apart.
fn over(device: &Arc<dyn BlockDevice>) -> (Changed, Arc<dyn BlockDevice>) {
    let overlay = Arc::new(Overlay::new(Arc::clone(device)));
    let shared: Arc<dyn BlockDevice> = Arc::<Overlay<_>>::clone(&overlay);
    (overlay, shared)
}

/// The bytes in which the overlay differs from what is below.
fn differences(overlay: &Changed) -> Vec<u64> {
    let mut out = Vec::new();
    for change in overlay.changes() {
        let len = (change.range.end - change.range.start) as usize;
        let (mut now, mut before) = (vec![0; len], vec![0; len]);
        overlay.read_at(change.range.start, &mut now).unwrap();
        overlay.base().read_at(change.range.start, &mut before).unwrap();
        out.extend((change.range.start..).zip(now.iter().zip(&before)).filter(|(_, (a, b))| a != b).map(|(at, _)| at));
    }
    out
}

#[test]
fn what_is_sealed_fits_and_what_is_taken_back_leaves_no_trace() {
    let dir = tempfile::tempdir().unwrap();
    let (mut sealed, mut returned, mut refused) = (0, 0, 0);
    for (i, kind) in KINDS.iter().enumerate() {
        let seed = 0x5eed + i as u64;
        println!("{}: seed {seed:#x}", kind.name);
        let mut rng = Lcg(seed);
        let device = load(&build(kind, dir.path()));
        let volume = open(&device);
        let dump = dump_to_string(&device, &DumpOptions::default()).unwrap();
        let objects: HashSet<String> = printed(&dump).into_iter().map(|p| p.place.object.place().to_string()).collect();
        let all_seals: HashSet<Seal> = objects
            .iter()
            .flat_map(|text| volume.locate(&text.parse().unwrap()).unwrap().seals)
            .filter(|seal| seal.verify(&*device).unwrap() == Verdict::Right)
            .collect();
        let objects = by_kind(objects);
        for round in 0..ROUNDS {
            let object = {
                let list = rng.below(objects.len());
                rng.pick(&objects[list]).clone()
            };
            let Some((place, change)) = random_change(&mut rng, &volume, &object) else { continue };
            let what = format!("{} round {round}: {place} {change:?}", kind.name);
            let at = At::default();
            let defect =
                |change| Defect { at, name: String::new(), place: place.clone(), change, checksum: Checksum::Seal };
            let (overlay, damaged) = over(&device);
            let applied = match apply(&damaged, &[defect(change.clone())]) {
                Ok(applied) => applied,
                Err(DefectError::Defect { reason, .. })
                    if matches!(*reason, Reason::Seal(_) | Reason::Unchanged { .. } | Reason::Value(_)) =>
                {
                    assert!(overlay.is_unchanged(), "{what}");
                    refused += 1;
                    continue;
                }
                Err(e) => panic!("{what}: {e}"),
            };
            let located = volume.locate(&place).unwrap();
            let own = written(&located, &place, &change);
            let stored = |device: &dyn BlockDevice| -> Vec<_> {
                let unused = |s: &Seal| s.verify(device).unwrap() == Verdict::Unused;
                located.seals.iter().map(|s| (s.stored_at(device).unwrap(), unused(s))).collect()
            };
            let (before, after) = (stored(&*device), stored(&*damaged));
            // A checksum that has moved may lie over another now.
            let moved = if before == after { &[] } else { after.as_slice() };
            let writers: Vec<_> = own.iter().chain(moved.iter().flat_map(|(s, _)| s)).collect();
            for seal in all_seals.iter().chain(&located.seals) {
                let verdict = seal.verify(&*damaged).unwrap();
                let fits = matches!(verdict, Verdict::Right | Verdict::Unused);
                let written =
                    || seal.stored_at(&*damaged).unwrap().iter().any(|s| writers.iter().any(|o| overlap(s, o)));
                assert!(fits || written(), "{what}: {seal} {verdict:?}");
            }
            sealed += 1;
            for byte in differences(&overlay) {
                let here = byte..byte + 1;
                let ours = own.iter().chain(after.iter().flat_map(|(s, _)| s)).any(|r| overlap(r, &here));
                assert!(ours, "{what}: byte {byte:#x} has changed");
            }
            // Where a checksum is kept, and whether there is one, may be what was changed: nobody remembers what stood in its
            // new place.
            if before != after {
                continue;
            }
            let (overlay, damaged) = over(&device);
            let undo = defect(back(&change, &applied[0].before));
            let both = apply(&damaged, &[defect(change), undo]).unwrap_or_else(|e| panic!("{what}: {e}"));
            assert_eq!((&both[1].before, &both[1].after), (&both[0].after, &both[0].before), "{what}");
            let left = differences(&overlay);
            assert!(left.is_empty(), "{what}: {} left at {left:x?}", applied[0].before);
            returned += 1;
        }
    }
    println!("{sealed} sealed, {returned} returned, {refused} refused");
    assert!(sealed > 8000 && returned > 7800 && refused < sealed / 2, "{sealed} {returned} {refused}");
}
