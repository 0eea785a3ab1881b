//! How a system call or an access ends when it does not succeed.

use std::fmt;

use daxkit_format::dax::Errno;

/// Why kernel code gave up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fail {
    /// An error number for the caller.
    Errno(Errno),
    /// A signal for the task: an access to memory went wrong.
    Signal(Signal),
    /// The kernel crashed in this task: it dies where it stands, with the locks it holds.
    Oops,
}

impl From<Errno> for Fail {
    fn from(errno: Errno) -> Self {
        Self::Errno(errno)
    }
}

impl fmt::Display for Fail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Errno(errno) => write!(f, "{errno}"),
            Self::Signal(signal) => write!(f, "{signal}"),
            Self::Oops => f.write_str("Oops"),
        }
    }
}

/// A signal that an access raises, with its `si_code`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// SIGSEGV, `SEGV_MAPERR`: no mapping there.
    SegvMapErr,
    /// SIGSEGV, `SEGV_ACCERR`: the mapping forbids it.
    SegvAccErr,
    /// SIGBUS, `BUS_ADRERR`: past the end of the file, or the file system failed.
    BusAdrErr,
    /// SIGBUS, `BUS_MCEERR_AR`: the memory is poisoned.
    BusMceErrAr,
}

impl Signal {
    /// `SIGSEGV` or `SIGBUS`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::SegvMapErr | Self::SegvAccErr => "SIGSEGV",
            Self::BusAdrErr | Self::BusMceErrAr => "SIGBUS",
        }
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let code = match self {
            Self::SegvMapErr => "SEGV_MAPERR",
            Self::SegvAccErr => "SEGV_ACCERR",
            Self::BusAdrErr => "BUS_ADRERR",
            Self::BusMceErrAr => "BUS_MCEERR_AR",
        };
        write!(f, "{} ({code})", self.name())
    }
}

/// What the real kernel would have died of. Never a panic of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Oops {
    /// A call through an operations vector that has no such method.
    NullMethod {
        /// The vector and the method, `ext4_dax_aops.read_folio`.
        method: &'static str,
    },
    /// `page_mkwrite` of the page cache ran without a page.
    NullPage {
        /// The function.
        function: &'static str,
    },
    /// A `BUG_ON`.
    Bug {
        /// Its condition, as the kernel writes it.
        condition: &'static str,
    },
}

impl fmt::Display for Oops {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NullMethod { method } => write!(f, "call of the absent method {method}"),
            Self::NullPage { function } => write!(f, "{function} without a page"),
            Self::Bug { condition } => write!(f, "BUG_ON({condition})"),
        }
    }
}

/// What a fault handler returns (`vm_fault_t`), errors apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VmFault {
    /// 0: the core has to go on with what the handler left.
    Done,
    /// `VM_FAULT_NOPAGE`: the entry is there, or the access must be tried again.
    NoPage,
    /// `VM_FAULT_NOPAGE | VM_FAULT_MAJOR`: as before, and blocks were allocated or read.
    NoPageMajor,
    /// `VM_FAULT_LOCKED`: the folio is returned locked.
    Locked,
    /// `VM_FAULT_LOCKED | VM_FAULT_MAJOR`.
    LockedMajor,
    /// `VM_FAULT_DONE_COW`.
    DoneCow,
    /// `VM_FAULT_FALLBACK`: try a smaller size.
    Fallback,
    /// `VM_FAULT_NEEDDSYNC`: the entry is stored, the metadata must be durable before the page is mapped.
    NeedDsync,
    /// `VM_FAULT_RETRY`.
    Retry,
    /// `VM_FAULT_SIGBUS`.
    Sigbus,
    /// `VM_FAULT_HWPOISON`.
    HwPoison,
    /// `VM_FAULT_OOM`.
    Oom,
}

/// The result of kernel code.
pub type Result<T, E = Fail> = std::result::Result<T, E>;
