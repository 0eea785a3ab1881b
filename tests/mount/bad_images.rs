//! Images that cannot be mounted: the kernel's errno, and a line that says why.
