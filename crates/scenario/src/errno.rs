//! How an operation fails: error numbers and signals.

use core::fmt;
use serde::Serialize;

macro_rules! errnos {
    ($($name:ident = $number:literal),+ $(,)?) => {
        /// An error number of Linux, by its name.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
        #[allow(missing_docs, reason = "the names are the kernel's")]
        pub enum Errno { $($name = $number),+ }

        impl Errno {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$name),+];

            /// Its name.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => stringify!($name)),+ }
            }
        }
    };
}

errnos! {
    EPERM = 1, ENOENT = 2, EINTR = 4, EIO = 5, ENXIO = 6, E2BIG = 7, ENOEXEC = 8, EBADF = 9, ECHILD = 10, EAGAIN = 11,
    ENOMEM = 12, EACCES = 13, EFAULT = 14, ENOTBLK = 15, EBUSY = 16, EEXIST = 17, EXDEV = 18, ENODEV = 19, ENOTDIR = 20,
    EISDIR = 21, EINVAL = 22, ENFILE = 23, EMFILE = 24, ENOTTY = 25, ETXTBSY = 26, EFBIG = 27, ENOSPC = 28, ESPIPE = 29,
    EROFS = 30, EMLINK = 31, EPIPE = 32, EDOM = 33, ERANGE = 34, EDEADLK = 35, ENAMETOOLONG = 36, ENOLCK = 37, ENOSYS = 38,
    ENOTEMPTY = 39, ELOOP = 40, ENODATA = 61, EBADMSG = 74, EOVERFLOW = 75, EOPNOTSUPP = 95, ESTALE = 116, EUCLEAN = 117, EDQUOT = 122,
    ENOKEY = 126, EKEYREVOKED = 128, EHWPOISON = 133,
}

impl Errno {
    /// The number, as on most of Linux' architectures.
    #[must_use]
    pub const fn number(self) -> i32 {
        self as i32
    }

    /// The one with this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        // The kernel's own and older names for some of them.
        let name = match name {
            "EFSBADCRC" => "EBADMSG",
            "EFSCORRUPTED" => "EUCLEAN",
            "EWOULDBLOCK" => "EAGAIN",
            "ENOTSUP" => "EOPNOTSUPP",
            name => name,
        };
        Self::ALL.iter().copied().find(|errno| errno.name() == name)
    }

    /// The one with this number.
    #[must_use]
    pub fn from_number(number: i32) -> Option<Self> {
        Self::ALL.iter().copied().find(|errno| errno.number() == number)
    }
}

impl From<daxkit_format::dax::Errno> for Errno {
    fn from(errno: daxkit_format::dax::Errno) -> Self {
        Self::from_number(errno.number()).unwrap_or(Self::EIO)
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

crate::word::words! {
    /// A signal that a load, a store or a call on mapped memory ends with.
    pub enum Signal "SIGNAL" {
        /// There is no such page, or it has failed.
        Sigbus = "SIGBUS",
        /// The mapping does not allow it, or there is none.
        Sigsegv = "SIGSEGV",
        /// The task was ended.
        Sigkill = "SIGKILL",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use daxkit_format::dax;

    #[test]
    fn errnos_of_the_rules_are_here() {
        for errno in [dax::Errno::EPERM, dax::Errno::EUCLEAN, dax::Errno::ENOKEY, dax::Errno::EOPNOTSUPP] {
            assert_eq!(Errno::from(errno).name(), errno.to_string());
        }
        assert_eq!(Errno::from_name("EFSCORRUPTED"), Some(Errno::EUCLEAN));
        assert_eq!(Errno::from_name("EFOO"), None);
    }
}
