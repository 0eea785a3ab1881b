//! The damage that is done, batch by batch: lists of changes to sound images, all of them decided by one seed.

use super::cycles;
use super::places::{Edit, Finder, extremes};
use daxkit_volume::Volume;

/// A sound image and what is known of it.
pub(crate) struct Sound {
    pub(crate) name: &'static str,
    pub(crate) bytes: Vec<u8>,
    pub(crate) volume: Volume,
}

/// One damaged image.
pub(crate) struct Case {
    /// Which image.
    pub(crate) image: usize,
    pub(crate) what: String,
    pub(crate) edits: Vec<Edit>,
    /// Cut to this length.
    pub(crate) len: Option<usize>,
}

/// Sorts of damage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Batch {
    Truncated,
    Zeroed,
    Flipped,
    Extremes,
    Pairs,
    Cycles,
    /// Not of images, but of who uses them: what would be a bug.
    Panics,
    Grows,
    Hangs,
}

impl Batch {
    pub(crate) const ALL: [Self; 9] = [
        Self::Truncated,
        Self::Zeroed,
        Self::Flipped,
        Self::Extremes,
        Self::Pairs,
        Self::Cycles,
        Self::Panics,
        Self::Grows,
        Self::Hangs,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Truncated => "images that end early",
            Self::Zeroed => "blocks of zeroes",
            Self::Flipped => "flipped bits",
            Self::Extremes => "fields at their extremes",
            Self::Pairs => "several fields at their extremes",
            Self::Cycles => "cycles and overlaps",
            Self::Panics => "panics",
            Self::Grows => "unbounded memory",
            Self::Hangs => "hangs",
        }
    }

    /// Fewest damaged images.
    pub(crate) fn least(self) -> usize {
        if std::env::var_os("DAXKIT_HOSTILE_ONLY").is_some() {
            return 0;
        }
        match self {
            Self::Truncated => 150,
            Self::Zeroed => 300,
            Self::Flipped => 600,
            Self::Extremes => 1500,
            Self::Pairs => 600,
            Self::Cycles => 1000,
            Self::Panics | Self::Grows | Self::Hangs => 1,
        }
    }

    /// One of so many cases is tried.
    fn share(self) -> u64 {
        match self {
            Self::Extremes => 9,
            Self::Cycles => 3,
            Self::Zeroed => 2,
            _ => 1,
        }
    }
}

/// Numbers that look like chance, from the seed (xorshift64*).
pub(crate) struct Rng(u64);

impl Rng {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16
    }

    pub(crate) fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }
}

/// All cases of a batch, or the share of them that is tried.
pub(crate) fn cases(batch: Batch, images: &[Sound], seed: u64, everything: bool) -> Vec<Case> {
    let mut rng = Rng::new(seed ^ batch as u64);
    let mut all = Vec::new();
    for (image, sound) in images.iter().enumerate() {
        let mut add = |what: String, edits: Vec<Edit>, len: Option<usize>| all.push(Case { image, what, edits, len });
        match batch {
            Batch::Truncated => truncated(sound, &mut rng, &mut add),
            Batch::Zeroed => zeroed(sound, &mut add),
            Batch::Flipped => flipped(sound, &mut rng, &mut add),
            Batch::Extremes => {
                for spot in Finder::all(&sound.volume) {
                    extremes(&spot).into_iter().for_each(|(what, edit)| add(what, vec![edit], None));
                }
            }
            Batch::Pairs => pairs(sound, &mut rng, &mut add),
            Batch::Cycles => cycles::all(sound, &mut rng, &mut add),
            Batch::Panics | Batch::Grows | Batch::Hangs if sound.name == "old" => {
                add("nothing".into(), Vec::new(), None);
            }
            Batch::Panics | Batch::Grows | Batch::Hangs => {}
        }
    }
    if !everything {
        all.retain(|_| rng.next().is_multiple_of(batch.share()));
    }
    all
}

/// Takes a case.
pub(crate) type Add<'a> = dyn FnMut(String, Vec<Edit>, Option<usize>) + 'a;

fn truncated(sound: &Sound, rng: &mut Rng, add: &mut Add<'_>) {
    let len = sound.bytes.len();
    let mut lens = vec![0, 1, 1023, 1024, 1025, 1024 + 255, 1024 + 256, 2047, 2048, 2049, 3072, 4096, 4097, len - 1];
    lens.extend((1..12).map(|i| len / 12 * i));
    lens.extend((0..12).map(|_| rng.below(len)));
    // Where the metadata is.
    lens.extend((0..12).map(|_| rng.below(200 << 10)));
    lens.into_iter().for_each(|len| add(format!("{len} bytes of it"), Vec::new(), Some(len)));
}

/// The blocks that hold anything, by the kilobyte.
fn used(sound: &Sound) -> Vec<u64> {
    let blocks = sound.bytes.chunks(1024).enumerate();
    blocks.filter(|(_, b)| b.iter().any(|b| *b != 0)).map(|(i, _)| i as u64 * 1024).collect()
}

fn zeroed(sound: &Sound, add: &mut Add<'_>) {
    for at in used(sound) {
        add(format!("1 KiB of zeroes at {at}"), vec![(at, vec![0; 1024])], None);
        let end = (at + 4096).min(sound.bytes.len() as u64);
        if at.is_multiple_of(4096) {
            add(format!("4 KiB of ones at {at}"), vec![(at, vec![0xff; (end - at) as usize])], None);
        }
    }
}

fn flipped(sound: &Sound, rng: &mut Rng, add: &mut Add<'_>) {
    let used = used(sound);
    for _ in 0..150 {
        let count = 1 + rng.below(12);
        let mut edits: Vec<Edit> = Vec::new();
        let mut what = format!("{count} bits:");
        for _ in 0..count {
            // Every other time near the superblock and the descriptors.
            let block = if rng.below(4) == 0 { 1024 } else { used[rng.below(used.len())] as usize };
            let (at, bit) = (block + rng.below(1024), rng.below(8));
            let before = edits.iter().rev().find(|(a, _)| *a == at as u64).map_or(sound.bytes[at], |(_, b)| b[0]);
            what += &format!(" {at:#x}.{bit}");
            edits.push((at as u64, vec![before ^ (1 << bit)]));
        }
        add(what, edits, None);
    }
}

fn pairs(sound: &Sound, rng: &mut Rng, add: &mut Add<'_>) {
    let spots = Finder::all(&sound.volume);
    for _ in 0..150 {
        let (mut what, mut edits) = (Vec::new(), Vec::new());
        // Fields of one structure more often than of several.
        let mut spot = rng.below(spots.len());
        for _ in 0..2 + rng.below(5) {
            if rng.below(3) == 0 {
                spot = rng.below(spots.len());
            }
            let mut choices = extremes(&spots[spot]);
            if !choices.is_empty() {
                let (text, edit) = choices.swap_remove(rng.below(choices.len()));
                what.push(text);
                edits.push(edit);
            }
        }
        add(what.join(", "), edits, None);
    }
}
