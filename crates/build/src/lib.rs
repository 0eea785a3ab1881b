//! daxkit-build
