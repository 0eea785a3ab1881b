//! fscrypt contexts (`struct fscrypt_context_v1`, `_v2`, Linux `fs/crypto/fscrypt_private.h`): the value of the attribute `c` with
//! name index 9 on every encrypted inode.

/// Name of the attribute behind its index.
pub const XATTR_NAME: &[u8] = b"c";

on_disk! {
    /// Version 1.
    pub struct ContextV1("fscrypt_context_v1", 28) {
        0 version: u8,
        1 contents_encryption_mode: u8,
        2 filenames_encryption_mode: u8,
        3 flags: u8,
        4 master_key_descriptor: [u8; 8],
        12 nonce: [u8; 16],
    }
}

on_disk! {
    /// Version 2.
    pub struct ContextV2("fscrypt_context_v2", 40) {
        0 version: u8,
        1 contents_encryption_mode: u8,
        2 filenames_encryption_mode: u8,
        3 flags: u8,
        4 log2_data_unit_size: u8,
        5 reserved: [u8; 3],
        8 master_key_identifier: [u8; 16],
        24 nonce: [u8; 16],
    }
}

/// True when `value` has the length and version of a context.
#[must_use]
pub fn is_context(value: &[u8]) -> bool {
    matches!((value.len(), value.first()), (28, Some(1)) | (40, Some(2)))
}
