//! The directory hash of the htree: `ext4fs_dirhash` (fs/ext4/hash.c, Linux 6.12).
//!
//! Three families (legacy, half MD4, TEA), each with names read as signed or as unsigned bytes, and SipHash-2-4 for
//! directories that are both encrypted and casefolded. Invariant: pure, no allocation, defined for every length.
//!
//! Signedness matters only for bytes of 0x80 and above. It exists because the first kernels hashed `char`, whose sign
//! depends on the architecture; `s_flags` of the superblock records which one made the file system.

use std::fmt;

/// The hash a directory index uses, as stored in `s_def_hash_version` and `dx_root_info.hash_version`.
///
/// On disk only `Legacy`, `HalfMd4`, `Tea` and `SipHash` appear; [`HashVersion::resolve`] applies the superblock's flag.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum HashVersion {
    /// `DX_HASH_LEGACY`: a multiplicative hash, ignores the seed.
    Legacy = 0,
    /// `DX_HASH_HALF_MD4`: MD4's rounds with half of the words. The default.
    HalfMd4 = 1,
    /// `DX_HASH_TEA`: the Tiny Encryption Algorithm as a compression function.
    Tea = 2,
    /// `DX_HASH_LEGACY_UNSIGNED`.
    LegacyUnsigned = 3,
    /// `DX_HASH_HALF_MD4_UNSIGNED`.
    HalfMd4Unsigned = 4,
    /// `DX_HASH_TEA_UNSIGNED`.
    TeaUnsigned = 5,
    /// `DX_HASH_SIPHASH`: keyed with the directory's secret, so only whoever has the encryption key can compute it.
    SipHash = 6,
}

/// A hash version no kernel knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("unknown directory hash version {0}")]
pub struct UnknownHashVersion(
    /// The number found.
    pub u8,
);

impl TryFrom<u8> for HashVersion {
    type Error = UnknownHashVersion;

    fn try_from(value: u8) -> Result<Self, Self::Error> {
        Self::ALL.into_iter().find(|v| *v as u8 == value).ok_or(UnknownHashVersion(value))
    }
}

impl HashVersion {
    /// Every version, in the order of its number.
    pub const ALL: [Self; 7] = [
        Self::Legacy,
        Self::HalfMd4,
        Self::Tea,
        Self::LegacyUnsigned,
        Self::HalfMd4Unsigned,
        Self::TeaUnsigned,
        Self::SipHash,
    ];

    /// The version to compute with: the one stored on disk, and whether `s_flags` has `EXT2_FLAGS_UNSIGNED_HASH`.
    pub fn resolve(version: u8, flags_unsigned: bool) -> Result<Self, UnknownHashVersion> {
        let stored = Self::try_from(version)?;
        Ok(if flags_unsigned { stored.unsigned() } else { stored })
    }

    /// The same family with unsigned bytes. SipHash has only one form.
    pub const fn unsigned(self) -> Self {
        match self {
            Self::Legacy => Self::LegacyUnsigned,
            Self::HalfMd4 => Self::HalfMd4Unsigned,
            Self::Tea => Self::TeaUnsigned,
            other => other,
        }
    }

    /// The number that goes on disk: the family, without its sign.
    pub const fn on_disk(self) -> u8 {
        match self {
            Self::Legacy | Self::LegacyUnsigned => 0,
            Self::HalfMd4 | Self::HalfMd4Unsigned => 1,
            Self::Tea | Self::TeaUnsigned => 2,
            Self::SipHash => 6,
        }
    }

    /// Its name, as e2fsprogs writes it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Legacy => "legacy",
            Self::HalfMd4 => "half_md4",
            Self::Tea => "tea",
            Self::LegacyUnsigned => "legacy_unsigned",
            Self::HalfMd4Unsigned => "half_md4_unsigned",
            Self::TeaUnsigned => "tea_unsigned",
            Self::SipHash => "siphash",
        }
    }

    /// The version with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|v| v.name() == name)
    }
}

impl fmt::Display for HashVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The hash of one name. Index order is by `hash` alone; the kernel's readdir position uses both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct DirHash {
    /// The index key. Bit 0 is always clear: on disk it marks a hash continued from the previous leaf.
    pub hash: u32,
    /// Tells names apart that share `hash`. Zero for the legacy hash.
    pub minor_hash: u32,
}

impl DirHash {
    fn new(hash: u32, minor_hash: u32) -> Self {
        let hash = hash & !1;
        Self { hash: if hash == HASH_EOF { HASH_EOF - 2 } else { hash }, minor_hash }
    }
}

/// `EXT4_HTREE_EOF_32BIT`, shifted: the position that means "end of directory", which no name may have.
const HASH_EOF: u32 = 0x7fff_ffff << 1;

/// MD4's initial state, used when the superblock has no seed.
const DEFAULT_SEED: [u32; 4] = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476];

/// The hash of `name` under `version`.
///
/// `seed` is `s_hash_seed`; all zero means the built-in constants. For SipHash it is the directory's 128-bit hash key
/// as little-endian words, and zero is a key like any other. A casefolded directory hashes the folded name: see
/// [`dirhash_casefold`](super::casefold::dirhash_casefold).
pub fn dirhash(name: &[u8], version: HashVersion, seed: &[u32; 4]) -> DirHash {
    let [hash] = dirhashes(&[name], version, seed);
    hash
}

/// As [`dirhash`], of several names. Half MD4 makes each step wait for the one before it, so that some names side by side take hardly
/// longer than one.
pub fn dirhashes<const N: usize>(names: &[&[u8]; N], version: HashVersion, seed: &[u32; 4]) -> [DirHash; N] {
    match version {
        HashVersion::HalfMd4 => half_md4::<N, true>(names, state(seed)),
        HashVersion::HalfMd4Unsigned => half_md4::<N, false>(names, state(seed)),
        _ => names.map(|name| one_by_one(name, version, seed)),
    }
}

fn one_by_one(name: &[u8], version: HashVersion, seed: &[u32; 4]) -> DirHash {
    let (hash, minor_hash) = match version {
        HashVersion::Legacy => (legacy::<true>(name), 0),
        HashVersion::LegacyUnsigned => (legacy::<false>(name), 0),
        HashVersion::Tea => tea::<true>(name, state(seed)),
        HashVersion::TeaUnsigned => tea::<false>(name, state(seed)),
        HashVersion::SipHash => {
            let whole = siphash(name, seed);
            ((whole >> 32) as u32, whole as u32)
        }
        HashVersion::HalfMd4 | HashVersion::HalfMd4Unsigned => return dirhash(name, version, seed),
    };
    DirHash::new(hash, minor_hash)
}

fn state(seed: &[u32; 4]) -> [u32; 4] {
    if *seed == [0; 4] { DEFAULT_SEED } else { *seed }
}

#[inline(always)]
fn widen<const SIGNED: bool>(byte: u8) -> u32 {
    if SIGNED { byte as i8 as u32 } else { u32::from(byte) }
}

fn legacy<const SIGNED: bool>(name: &[u8]) -> u32 {
    let (mut newer, mut older) = (0x12a3_fe2d_u32, 0x37ab_e8f9_u32);
    for &byte in name {
        let mut hash = older.wrapping_add(newer ^ widen::<SIGNED>(byte).wrapping_mul(7_152_373));
        if hash & 0x8000_0000 != 0 {
            hash = hash.wrapping_sub(0x7fff_ffff);
        }
        older = newer;
        newer = hash;
    }
    newer << 1
}

/// The next `N` words of the message: four bytes each, most significant first. The length of what remains, repeated in
/// each byte, fills the rest of a word that is cut short and every word after it.
#[inline(always)]
fn message<const N: usize, const SIGNED: bool>(rest: &[u8]) -> [u32; N] {
    let len = rest.len() as u32;
    let pad = len | (len << 8);
    let pad = pad | (pad << 16);
    // A negative byte borrows from the one before it, so this is a sum and not a concatenation.
    let summed = |bytes: &[u8]| bytes.iter().fold(pad, |value, &byte| (value << 8).wrapping_add(widen::<SIGNED>(byte)));
    let mut words = [pad; N];
    let (whole, tail) = rest.as_chunks::<4>();
    for (word, bytes) in words.iter_mut().zip(whole) {
        let ascii = u32::from_ne_bytes(*bytes) & 0x8080_8080 == 0;
        *word = if !SIGNED || ascii { u32::from_be_bytes(*bytes) } else { summed(bytes) };
    }
    if let Some(word) = words.get_mut(whole.len()).filter(|_| !tail.is_empty()) {
        *word = summed(tail);
    }
    words
}

/// A word of each of several names.
type Lanes<const N: usize> = [u32; N];

fn half_md4<const N: usize, const SIGNED: bool>(names: &[&[u8]; N], state: [u32; 4]) -> [DirHash; N] {
    let mut state = state.map(|word| [word; N]);
    let longest = names.iter().map(|name| name.len()).max().unwrap_or(0);
    for at in (0..longest).step_by(32) {
        let mut words = [[0; N]; 8];
        for (lane, name) in names.iter().enumerate() {
            let message = message::<8, SIGNED>(name.get(at..).unwrap_or_default());
            words.iter_mut().zip(message).for_each(|(words, word)| words[lane] = word);
        }
        let before = state;
        half_md4_block(&mut state, &words);
        // A name that has ended stays as it is.
        for (lane, _) in names.iter().enumerate().filter(|(_, name)| name.len() <= at) {
            state.iter_mut().zip(before).for_each(|(word, before)| word[lane] = before[lane]);
        }
    }
    let [_, hash, minor_hash, _] = state;
    std::array::from_fn(|lane| DirHash::new(hash[lane], minor_hash[lane]))
}

/// One block of each name. The compiler makes vectors of the lanes as long as all that happens to one is the body of one loop.
fn half_md4_block<const N: usize>(state: &mut [Lanes<N>; 4], x: &[Lanes<N>; 8]) {
    for lane in 0..N {
        let [mut a, mut b, mut c, mut d] = [state[0][lane], state[1][lane], state[2][lane], state[3][lane]];
        // Each step also rotates the roles of the four registers, so after four of them they are back in place.
        macro_rules! round {
            ($f:expr, $k:expr, $shifts:expr, $order:expr) => {
                for quad in $order {
                    let words: [usize; 4] = quad;
                    let shifts: [u32; 4] = $shifts;
                    for (word, shift) in words.into_iter().zip(shifts) {
                        let next = a.wrapping_add($f(b, c, d)).wrapping_add(x[word][lane]).wrapping_add($k);
                        (a, d, c, b) = (d, c, b, next.rotate_left(shift));
                    }
                }
            };
        }
        round!(|x: u32, y: u32, z: u32| z ^ (x & (y ^ z)), 0, [3, 7, 11, 19], [[0, 1, 2, 3], [4, 5, 6, 7]]);
        round!(
            |x: u32, y: u32, z: u32| (x & y).wrapping_add((x ^ y) & z),
            0x5a82_7999_u32,
            [3, 5, 9, 13],
            [[1, 3, 5, 7], [0, 2, 4, 6]]
        );
        round!(|x: u32, y: u32, z: u32| x ^ y ^ z, 0x6ed9_eba1_u32, [3, 9, 11, 15], [[3, 7, 2, 6], [1, 5, 0, 4]]);
        for (words, add) in state.iter_mut().zip([a, b, c, d]) {
            words[lane] = words[lane].wrapping_add(add);
        }
    }
}

fn tea<const SIGNED: bool>(name: &[u8], mut state: [u32; 4]) -> (u32, u32) {
    let mut rest = name;
    while !rest.is_empty() {
        tea_block(&mut state, &message::<4, SIGNED>(rest));
        rest = rest.get(16..).unwrap_or_default();
    }
    (state[0], state[1])
}

/// Sixteen cycles of TEA with the message as the key. Only the first two words of the state take part.
fn tea_block(state: &mut [u32; 4], key: &[u32; 4]) {
    let (mut y, mut z, mut sum) = (state[0], state[1], 0u32);
    let mix = |v: u32, sum: u32, k0: u32, k1: u32| {
        (v << 4).wrapping_add(k0) ^ v.wrapping_add(sum) ^ (v >> 5).wrapping_add(k1)
    };
    for _ in 0..16 {
        sum = sum.wrapping_add(0x9e37_79b9);
        y = y.wrapping_add(mix(z, sum, key[0], key[1]));
        z = z.wrapping_add(mix(y, sum, key[2], key[3]));
    }
    state[0] = state[0].wrapping_add(y);
    state[1] = state[1].wrapping_add(z);
}

/// SipHash-2-4 (Aumasson and Bernstein 2012).
fn siphash(name: &[u8], key: &[u32; 4]) -> u64 {
    let k0 = u64::from(key[0]) | (u64::from(key[1]) << 32);
    let k1 = u64::from(key[2]) | (u64::from(key[3]) << 32);
    let mut v = [
        k0 ^ 0x736f_6d65_7073_6575,
        k1 ^ 0x646f_7261_6e64_6f6d,
        k0 ^ 0x6c79_6765_6e65_7261,
        k1 ^ 0x7465_6462_7974_6573,
    ];
    let (words, tail) = name.as_chunks::<8>();
    // The last word carries the length in its top byte.
    let mut last = (name.len() as u64) << 56;
    for (i, &byte) in tail.iter().enumerate() {
        last |= u64::from(byte) << (8 * i);
    }
    for word in words.iter().map(|w| u64::from_le_bytes(*w)).chain([last]) {
        v[3] ^= word;
        sip_round(&mut v);
        sip_round(&mut v);
        v[0] ^= word;
    }
    v[2] ^= 0xff;
    for _ in 0..4 {
        sip_round(&mut v);
    }
    v[0] ^ v[1] ^ v[2] ^ v[3]
}

#[inline(always)]
fn sip_round(v: &mut [u64; 4]) {
    v[0] = v[0].wrapping_add(v[1]);
    v[2] = v[2].wrapping_add(v[3]);
    v[1] = v[1].rotate_left(13) ^ v[0];
    v[3] = v[3].rotate_left(16) ^ v[2];
    v[0] = v[0].rotate_left(32).wrapping_add(v[3]);
    v[2] = v[2].wrapping_add(v[1]);
    v[1] = v[1].rotate_left(17) ^ v[2];
    v[3] = v[3].rotate_left(21) ^ v[0];
    v[2] = v[2].rotate_left(32);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(name: &[u8], version: HashVersion, seed: &[u32; 4]) -> (u32, u32) {
        let hash = dirhash(name, version, seed);
        (hash.hash, hash.minor_hash)
    }

    #[test]
    fn known_values_of_ascii_names() {
        for version in HashVersion::ALL {
            let expected = match version {
                HashVersion::Legacy | HashVersion::LegacyUnsigned => (0x3225_2546, 0),
                HashVersion::HalfMd4 | HashVersion::HalfMd4Unsigned => (0x1746_da32, 0x4200_13b5),
                HashVersion::Tea | HashVersion::TeaUnsigned => (0x6f5b_b1a8, 0x2319_17c2),
                HashVersion::SipHash => continue,
            };
            assert_eq!(pair(b"hello", version, &[0; 4]), expected, "{version}");
        }
        assert_eq!(pair(b"a b", HashVersion::HalfMd4, &[0; 4]), (0x4573_5802, 0x2a2a_ba85));
    }

    #[test]
    fn known_values_of_bytes_above_127() {
        assert_eq!(pair(b"\xe9t\xff", HashVersion::HalfMd4, &[0; 4]), (0x101b_c956, 0x772e_2dd7));
        for (signed, unsigned) in [
            (HashVersion::Legacy, HashVersion::LegacyUnsigned),
            (HashVersion::HalfMd4, HashVersion::HalfMd4Unsigned),
            (HashVersion::Tea, HashVersion::TeaUnsigned),
        ] {
            assert_ne!(dirhash(b"\xe9t\xff", signed, &[0; 4]), dirhash(b"\xe9t\xff", unsigned, &[0; 4]));
            assert_eq!(dirhash(b"plain", signed, &[7; 4]), dirhash(b"plain", unsigned, &[7; 4]));
        }
    }

    #[test]
    fn siphash_matches_the_paper() {
        // The reference vector: key 00..0f, message 00..0e.
        let key = [0x0302_0100, 0x0706_0504, 0x0b0a_0908, 0x0f0e_0d0c];
        let message: Vec<u8> = (0..15).collect();
        assert_eq!(siphash(&message, &key), 0xa129_ca61_49be_45e5);
        assert_eq!(siphash(b"", &key), 0x726f_db47_dd0e_0e31);
        assert_eq!(pair(&message, HashVersion::SipHash, &key), (0xa129_ca60, 0x49be_45e5));
    }

    #[test]
    fn a_partial_seed_is_a_seed() {
        let zero = dirhash(b"x", HashVersion::HalfMd4, &[0; 4]);
        assert_eq!(zero, dirhash(b"x", HashVersion::HalfMd4, &DEFAULT_SEED));
        assert_ne!(zero, dirhash(b"x", HashVersion::HalfMd4, &[0, 0, 0, 1]));
        assert_eq!(dirhash(b"x", HashVersion::Legacy, &[0; 4]), dirhash(b"x", HashVersion::Legacy, &[9; 4]));
    }

    #[test]
    fn no_name_hashes_to_the_end_of_the_directory() {
        // An empty name leaves the state as it is, so the seed decides the hash.
        let seed = [0, u32::MAX, 5, 0];
        assert_eq!(pair(b"", HashVersion::HalfMd4, &seed), (0xffff_fffc, 5));
        assert_eq!(pair(b"", HashVersion::HalfMd4, &[0, 0xffff_fffc, 5, 0]), (0xffff_fffc, 5));
    }

    #[test]
    fn any_length_is_fine_and_bit_zero_is_clear() {
        let name: Vec<u8> = (0..2000u32).map(|i| (i * 37 % 256) as u8).collect();
        for version in HashVersion::ALL {
            for len in (0..=300).chain([1999, 2000]) {
                assert_eq!(dirhash(&name[..len], version, &[1, 2, 3, 4]).hash & 1, 0);
            }
        }
    }

    #[test]
    fn several_names_are_hashed_as_each_by_itself() {
        let bytes: Vec<u8> = (0..600u32).map(|i| (i * 37 % 256) as u8).collect();
        for version in HashVersion::ALL {
            for seed in [[0; 4], [1, 2, 3, 4]] {
                for len in 0..=260 {
                    let names = [0, 1, 31, 32, 33, len, len + 7, 255].map(|len| &bytes[len..len * 2]);
                    let each = names.map(|name| dirhash(name, version, &seed));
                    assert_eq!(dirhashes(&names, version, &seed), each, "{version} {len}");
                }
            }
        }
    }

    #[test]
    fn versions_and_names() {
        for (number, version) in HashVersion::ALL.into_iter().enumerate() {
            assert_eq!(HashVersion::try_from(number as u8), Ok(version));
            assert_eq!(HashVersion::from_name(version.name()), Some(version));
            let unsigned = HashVersion::resolve(version.on_disk(), true).unwrap();
            assert_eq!(unsigned, version.unsigned());
        }
        assert_eq!(HashVersion::try_from(7), Err(UnknownHashVersion(7)));
        assert_eq!(HashVersion::resolve(1, false), Ok(HashVersion::HalfMd4));
        assert_eq!(HashVersion::resolve(1, true), Ok(HashVersion::HalfMd4Unsigned));
        assert_eq!(HashVersion::resolve(200, true), Err(UnknownHashVersion(200)));
        assert_eq!(HashVersion::from_name("md5"), None);
    }
}
