//! Where the kernel of this machine is newer than the emulated one, and answers otherwise since.

use crate::call::{Call, Out};
use crate::pair::Kind;

/// Whether a difference is a known one.
pub(crate) fn covers(_kind: Kind, _call: &Call, _emulated: &Out, _host: &Out) -> bool {
    false
}
