//! daxkit-volume
